/* lists.h: for each of 64 centres of queries, the neurons that score highest there: what query cells and leaves list.
 *
 * A score is the inner product with the centre, bias included, of numbers with 12 significant bits (query_cells.h), so
 * that lists are the same on every instruction set. */
#ifndef SLIDE_LSH_LISTS_H
#define SLIDE_LSH_LISTS_H

#include "kernels/kernels.h"

/* One thread's own: 64 lists that are being filled, each in a buffer with room for more than are wanted. */
typedef struct {
    uint64_t *items;                    /* [64][room], packed (select.h) */
    int64_t n[SLIDE_DIRECTION_BLOCK];
    float least[SLIDE_DIRECTION_BLOCK]; /* what scores lower is not among the best */
    int64_t wanted, room;
    int32_t first;                      /* is added to the ids that are offered: 0, unless rows come in parts */
    float *x;                           /* scratch: SLIDE_PROJECT_ROWS neurons, rounded */
} slide_lists;

/* Lists of up to `capacity` of the layer's neurons. Free it also after a failure. */
slide_status slide_lists_new(slide_lists *lists, const slide_layer *layer, int64_t capacity);
void slide_lists_free(slide_lists *lists);

/* Empties the lists; offers them neurons ids[0..n), centres [dim][64] being those of one block of directions; writes
 * them, {length, ids best first}, stride apart. */
void slide_lists_begin(slide_lists *lists);
void slide_lists_offer(slide_lists *lists, const slide_kernels *kernels, const slide_layer *layer, const float *centres,
                       const int32_t *ids, int64_t n);
void slide_lists_write(slide_lists *lists, int32_t *out, int64_t stride);

#endif
