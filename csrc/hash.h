/* hash.h: codes of a vector under a hash family, one per table. */
#ifndef SLIDE_HASH_H
#define SLIDE_HASH_H

#include "network.h"

/* x has lsh->dim coordinates. projection is scratch of slide_projection_size floats. */
void slide_hash(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, float *projection, uint32_t *codes);
int64_t slide_projection_size(const slide_lsh *lsh);

#endif
