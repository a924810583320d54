/* hash.h: codes of a vector under a hash family, one per table. The families: families.h and query_cells.h. */
#ifndef SLIDE_LSH_HASH_H
#define SLIDE_LSH_HASH_H

#include "kernels/kernels.h"

/* x has lsh->dim coordinates. projection is scratch of slide_hash_scratch floats. */
void slide_hash(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, float *projection, uint32_t *codes);

/* The same for up to slide_hash_rows_most vectors, x_stride apart; codes [n][L]. */
int slide_hash_rows_most(const slide_lsh *lsh);
void slide_hash_rows(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, int64_t x_stride, int n,
                     float *projection, uint32_t *codes);

/* Whether the family gains from a query's list of n coordinates (in any order, each once) instead of the dense vector;
 * and its codes of that list and a last coordinate of 1, equal to those of the dense vector. */
int slide_hash_takes_sparse(const slide_lsh *lsh);
void slide_hash_sparse(const slide_lsh *lsh, const int32_t *ids, const float *x, int64_t n, float *projection,
                       uint32_t *codes);

/* From the codes [L] of the query last hashed alone to the codes [L][probes] of the buckets to look into, in place: each
 * table's own first. */
void slide_hash_probes(const slide_lsh *lsh, const float *projection, uint32_t *codes);

int64_t slide_hash_scratch(const slide_lsh *lsh);

#endif
