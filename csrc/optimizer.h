/* optimizer.h: one row's update. This is the HOGWILD leaf: the only place where threads write shared memory without
 * locks, on purpose (Niu et al., NIPS 2011). */
#ifndef SLIDE_OPTIMIZER_H
#define SLIDE_OPTIMIZER_H

#include "network.h"

/* A step longer than this is no training, and so many of them as one could wait for do not reach float32's limit; nor
 * do the sums of squared gradients that are kept. */
#define SLIDE_LONGEST_STEP 1e15f
#define SLIDE_LARGEST_SQUARE (SLIDE_LONGEST_STEP * SLIDE_LONGEST_STEP)

/* The vector a row meets in a sample, its squared norm, taken once for all rows, and what the bias meets. */
typedef struct {
    const slide_vector *vector;
    float sqnorm, bias;
} slide_factor;

/* Row's gradient is g * factor (and g * factor->bias for the bias). d_factor, if any, receives g * row from before the update. */
void slide_update_row(const slide_network *net, const slide_layer *layer, float *row, const slide_factor *factor,
                      float *d_factor, float g, float lr);

/* Whether updates with these gradients g[n] and this factor keep every weight and state within float32, whatever
 * they are now: so a learning rate that explodes is stopped before it has written anything. */
int slide_update_fits(const slide_optimizer *o, const slide_factor *factor, const float *g, int64_t n, float lr);

/* Largest |x[i]|; NaN counts as larger than infinity. */
float slide_magnitude(const float *x, int64_t n);

int slide_optimizer_states(int kind);

#endif
