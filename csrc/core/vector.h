/* vector.h: a layer's output for one sample, and how large numbers may become before an update is refused. */
#ifndef SLIDE_CORE_VECTOR_H
#define SLIDE_CORE_VECTOR_H

#include "core/memory.h"
#include "core/types.h"

/* A step longer than this is no training, and so many of them as one could wait for do not reach float32's limit; nor
 * do the sums of squared gradients that are kept. */
#define SLIDE_LONGEST_STEP 1e15f
#define SLIDE_LARGEST_SQUARE (SLIDE_LONGEST_STEP * SLIDE_LONGEST_STEP)

/* Output of a layer for one sample: n values; ids NULL means all neurons in order, else the active ones. */
typedef struct {
    int64_t n, capacity;
    int32_t *ids;
    float *val, *grad;
} slide_activations;

/* Room for `capacity` neurons, with ids if sparse. Free it also after a failure. */
slide_status slide_activations_new(slide_activations *v, int64_t capacity, int sparse, int64_t n);
void slide_activations_free(slide_activations *v);

/* Largest |x[i]|; NaN counts as larger than infinity. */
float slide_magnitude(const float *x, int64_t n);

#endif
