/* hash.h: codes of a vector under a hash family, one per table. */
#ifndef SLIDE_HASH_H
#define SLIDE_HASH_H

#include "network.h"

/* x has lsh->dim coordinates. projection is scratch of slide_hash_scratch floats. */
void slide_hash(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, float *projection, uint32_t *codes);

/* The same for up to SLIDE_PROJECT_ROWS vectors, x_stride apart; codes [n][L]. */
void slide_hash_rows(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, int64_t x_stride, int n,
                     float *projection, uint32_t *codes);

int64_t slide_hash_scratch(const slide_lsh *lsh);
int64_t slide_projection_size(const slide_lsh *lsh); /* K * L rounded up to whole blocks of directions */

#endif
