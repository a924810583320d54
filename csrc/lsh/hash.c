/* hash.c: from a vector to its codes: which family does it. Sums run in the order of the coordinates and products are
 * exact, comparisons keep the first winner: equal input gives equal codes on every instruction set and in the reference
 * back end. The families: simhash.c, euclidean.c, wta.c, minhash.c, query_cells.c. */
#include "lsh/hash.h"

#include <stddef.h>

#include "core/memory.h"
#include "lsh/families.h"
#include "lsh/query_cells.h"

int64_t slide_hash_scratch(const slide_lsh *lsh)
{
    switch (lsh->kind) {
    case SLIDE_WTA:
    case SLIDE_CUSTOM: return 0;
    case SLIDE_DWTA: return 2 * slide_projection_size(lsh);
    case SLIDE_MINHASH: return slide_minhash_scratch(lsh);
    case SLIDE_QUERY_CELLS: return slide_cells_scratch(lsh);
    default: return slide_simhash_scratch(lsh);
    }
}

int slide_hash_rows_most(const slide_lsh *lsh)
{
    return lsh->kind == SLIDE_QUERY_CELLS ? SLIDE_CELL_QUERIES : SLIDE_PROJECT_ROWS;
}

/* What comes from outside is cut to the bits that the tables were made for. */
static void custom(const slide_lsh *lsh, const float *x, int64_t x_stride, int n, uint32_t *codes)
{
    lsh->hash(lsh->context, x, n, x_stride, codes);
    for (int64_t i = 0; i < (int64_t)n * lsh->L; i++) codes[i] &= ((uint32_t)1 << lsh->code_bits) - 1;
}

void slide_hash_rows(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, int64_t x_stride, int n,
                     float *projection, uint32_t *codes)
{
    switch (lsh->kind) {
    case SLIDE_WTA:
        for (int r = 0; r < n; r++) slide_wta(lsh, x + r * x_stride, codes + (int64_t)r * lsh->L);
        return;
    case SLIDE_DWTA:
        for (int r = 0; r < n; r++)
            slide_dwta(lsh, NULL, x + r * x_stride, lsh->dim, 0, projection, codes + (int64_t)r * lsh->L);
        return;
    case SLIDE_MINHASH:
        for (int r = 0; r < n; r++)
            slide_minhash(lsh, NULL, x + r * x_stride, lsh->dim, 0, projection, codes + (int64_t)r * lsh->L);
        return;
    case SLIDE_QUERY_CELLS:
        slide_cells_nearest(kernels, lsh, x, x_stride, n, projection, codes);
        return;
    case SLIDE_EUCLIDEAN: slide_euclidean_rows(kernels, lsh, x, x_stride, n, projection, codes); return;
    case SLIDE_CUSTOM: custom(lsh, x, x_stride, n, codes); return;
    default: slide_simhash_rows(kernels, lsh, x, x_stride, n, projection, codes);
    }
}

void slide_hash(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, float *projection, uint32_t *codes)
{
    if (lsh->kind == SLIDE_QUERY_CELLS)
        codes[0] = slide_cells_hash(kernels, lsh, x, projection);
    else
        slide_hash_rows(kernels, lsh, x, slide_pad(lsh->dim), 1, projection, codes);
}

void slide_hash_probes(const slide_lsh *lsh, const float *projection, uint32_t *codes)
{
    if (lsh->probes > 1 && lsh->kind != SLIDE_QUERY_CELLS) slide_simhash_probes(lsh, projection, codes);
}

int slide_hash_takes_sparse(const slide_lsh *lsh)
{
    int as_it_is = !lsh->frame && lsh->transform == SLIDE_AS_IT_IS;
    return as_it_is && (lsh->kind == SLIDE_DWTA || lsh->kind == SLIDE_MINHASH);
}

void slide_hash_sparse(const slide_lsh *lsh, const int32_t *ids, const float *x, int64_t n, float *projection,
                       uint32_t *codes)
{
    if (lsh->kind == SLIDE_DWTA)
        slide_dwta(lsh, ids, x, n, 1, projection, codes);
    else
        slide_minhash(lsh, ids, x, n, 1, projection, codes);
}
