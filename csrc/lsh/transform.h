/* transform.h: from a neuron or a query to the vector that is hashed. */
#ifndef SLIDE_LSH_TRANSFORM_H
#define SLIDE_LSH_TRANSFORM_H

#include "core/vector.h"

#define SLIDE_L2_ALSH_TERMS 3 /* coordinates that L2-ALSH appends: m, as its authors recommend */

/* out has room for lsh.dim floats. */
void slide_hashed_neuron(const slide_layer *layer, int64_t neuron, float *out);
void slide_hashed_query(const slide_layer *layer, const slide_activations *input, float *out);

#endif
