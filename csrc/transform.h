/* transform.h: from a neuron or a query to the vector that is hashed. */
#ifndef SLIDE_TRANSFORM_H
#define SLIDE_TRANSFORM_H

#include "network.h"

#define SLIDE_L2_ALSH_TERMS 3 /* coordinates that L2-ALSH appends: m, as its authors recommend */

/* out has room for lsh.dim floats. */
void slide_hashed_neuron(const slide_layer *layer, int64_t neuron, float *out);
void slide_hashed_query(const slide_layer *layer, const slide_vector *input, float *out);

#endif
