/* hash.h: codes of a vector under a hash family, one per table. */
#ifndef SLIDE_HASH_H
#define SLIDE_HASH_H

#include "network.h"

/* x has lsh->dim coordinates. projection is scratch of slide_hash_scratch floats. */
void slide_hash(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, float *projection, uint32_t *codes);

/* The same for up to SLIDE_PROJECT_ROWS vectors, x_stride apart; codes [n][L]. */
void slide_hash_rows(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, int64_t x_stride, int n,
                     float *projection, uint32_t *codes);

/* Whether the family gains from a query's list of n coordinates (in any order, each once) instead of the dense vector;
 * and its codes of that list and a last coordinate of 1, equal to those of the dense vector. */
int slide_hash_takes_sparse(const slide_lsh *lsh);
void slide_hash_sparse(const slide_lsh *lsh, const int32_t *ids, const float *x, int64_t n, float *projection,
                       uint32_t *codes);

/* From the codes [L] of the query last hashed to the codes [L][probes] of the buckets to look into, in place: each
 * table's own first. */
void slide_hash_probes(const slide_lsh *lsh, const float *projection, uint32_t *codes);

int64_t slide_hash_scratch(const slide_lsh *lsh);
int64_t slide_projection_size(const slide_lsh *lsh); /* K * L rounded up to whole blocks of directions */

/* simhash.c, euclidean.c, wta.c, minhash.c: the families. Lists of coordinates may come in parts; ids NULL means all in order. */
void slide_simhash_rows(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, int64_t x_stride, int n,
                        float *projection, uint32_t *codes);
void slide_simhash_probes(const slide_lsh *lsh, const float *projection, uint32_t *codes);
int64_t slide_simhash_scratch(const slide_lsh *lsh); /* and of the Euclidean family */
/* projection [n][slide_projection_size] = directions . x; those that are not signs meet x in 17 digits. */
void slide_project_dense(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, int64_t x_stride, int n,
                         float *projection);
void slide_euclidean_rows(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, int64_t x_stride, int n,
                          float *projection, uint32_t *codes);
void slide_wta(const slide_lsh *lsh, const float *x, uint32_t *codes);
void slide_dwta(const slide_lsh *lsh, const int32_t *ids, const float *x, int64_t n, int with_one, float *scratch,
                uint32_t *codes);
void slide_minhash(const slide_lsh *lsh, const int32_t *ids, const float *x, int64_t n, int with_one, float *scratch,
                   uint32_t *codes);
int64_t slide_minhash_scratch(const slide_lsh *lsh);

#endif
