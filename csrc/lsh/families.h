/* families.h: the hash families that hash.c chooses among: simhash.c, euclidean.c, wta.c, minhash.c. */
#ifndef SLIDE_LSH_FAMILIES_H
#define SLIDE_LSH_FAMILIES_H

#include "core/memory.h"
#include "kernels/kernels.h"

#define SLIDE_MOST_PROBES 8 /* buckets of a table that one query looks into */

/* K * L rounded up to whole blocks of directions. */
static inline int64_t slide_projection_size(const slide_lsh *lsh)
{
    int64_t n = (int64_t)lsh->K * lsh->L;
    return (n + SLIDE_DIRECTION_BLOCK - 1) / SLIDE_DIRECTION_BLOCK * SLIDE_DIRECTION_BLOCK;
}

/* Lists of coordinates may come in parts; ids NULL means all in order. */
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
