/* approximation.h: the output layer in 8 bits, with how far each row is from its own: filter.h finds the exact best labels by
 * them without reading all weights (the VA-file: Weber, Schek & Blott, VLDB 1998).
 *
 * It is of the weights of one moment. Training makes it stale; the next calls of slide_predict make another. Several of those
 * may run at once, so each takes it and gives it back. */
#ifndef SLIDE_NET_APPROXIMATION_H
#define SLIDE_NET_APPROXIMATION_H

#include "net/network.h"

#define SLIDE_APPROXIMATION_LABELS 2048 /* with fewer labels all weights are read: they lie in the cache */

/* Row i is about scales[i] qweights[i], a vector no longer than lengths[i]; the rest of it is no longer than errors[i]. */
struct slide_approximation {
    const int8_t *qweights;  /* [n][padded] */
    const float *scales;     /* [n] */
    float *errors, *lengths, *biases; /* [n] */
    int32_t *sums;           /* [n] of the row's qweights */
    float longest;           /* of a row of the layer */
    float largest_bias, largest_pair; /* of both parts; of the sparse part's weights */
    int is_usable;           /* no weight is infinite or NaN */
    int64_t version;         /* of the weights */
    int readers, is_current; /* behind network->lock */
    int8_t *own_qweights;    /* of a layer that is not compressed already */
    float *own_scales;
};

/* That of the weights as they are, made if so many rows were asked for that it pays; NULL: there is none. `rows`: that are
 * asked for now. */
const slide_approximation *slide_approximation_take(slide_network *net, int64_t rows);
void slide_approximation_leave(slide_network *net, const slide_approximation *a);

/* The weights are about to change, or have changed. */
void slide_approximation_stale(slide_network *net);
void slide_approximation_free(slide_approximation *a);

#endif
