/* optimizer.h: one row's update. This is the HOGWILD leaf: the only place where threads write shared memory without
 * locks, on purpose (Niu et al., NIPS 2011). */
#ifndef SLIDE_NET_OPTIMIZER_H
#define SLIDE_NET_OPTIMIZER_H

#include "net/network.h"

/* A layer's gradient has rank 1 in a sample: each row's is a scalar times this vector. Its squared norm is taken once for
 * all rows; bias is what the bias meets. */
typedef struct {
    const slide_activations *vector;
    float sqnorm, bias;
} slide_rank1;

/* The gradient of row i is g * factor (and g * factor->bias for the bias). d_factor, if any, receives g * row from before
 * the update. */
void slide_update_row(const slide_network *net, const slide_layer *layer, int64_t i, const slide_rank1 *factor,
                      float *d_factor, float g, float lr);

/* Whether updates with these gradients g[n] and this factor keep every weight and state within float32, whatever
 * they are now: so a learning rate that explodes is stopped before it has written anything. */
int slide_update_fits(const slide_optimizer *o, const slide_rank1 *factor, const float *g, int64_t n, float lr);

/* For rows without a bias that n samples move one after the other: steps[q] times the q-th sample's vector, whose squared
 * norm is sqnorm[q], is its move where the row's gradient is g[q] times that vector; and the row takes the sum of all
 * moves. Only where a step does not depend on the weights, nor on single coordinates: slide_row_steps_possible. */
int slide_row_steps_possible(const slide_optimizer *o);
void slide_row_steps(const slide_network *net, const slide_layer *layer, int64_t i, const float *g, const float *sqnorm,
                     int n, float lr, float *steps);
void slide_move_row(const slide_network *net, const slide_layer *layer, int64_t i, const float *move);

int slide_optimizer_states(int kind);

#endif
