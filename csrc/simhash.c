/* simhash.c: SimHash (Charikar, STOC 2002): a bit is the side of a random hyperplane, with four kinds of hyperplanes. */
#include <string.h>

#include "hash.h"

static void sides(const slide_lsh *lsh, const float *projection, uint32_t *codes)
{
    for (int t = 0; t < lsh->L; t++) {
        uint32_t code = 0;
        for (int k = 0; k < lsh->K; k++) code = code << 1 | (projection[t * lsh->K + k] > 0);
        codes[t] = code;
    }
}

/* To 17 significant digits: a product with a 7-digit integer is exact. */
static void shorten(float *out, const float *x, int64_t n)
{
    for (int64_t d = 0; d < n; d++) {
        union {
            float f;
            uint32_t i;
        } digits = {.f = x[d]};
        digits.i = (digits.i + 0x40u) & ~0x7Fu;
        out[d] = digits.f;
    }
}

/* Dense directions, as signs (Achlioptas, JCSS 2003) or as Gaussian numbers in steps of 1/32. */
static void dense(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, int64_t x_stride, int n,
                  float *projection)
{
    int64_t size = slide_projection_size(lsh);
    if (lsh->kind == SLIDE_SIMHASH_GAUSSIAN) {
        float *shortened = projection + SLIDE_PROJECT_ROWS * size;
        for (int r = 0; r < n; r++) shorten(shortened + r * slide_pad(lsh->dim), x + r * x_stride, lsh->dim);
        x = shortened;
        x_stride = slide_pad(lsh->dim);
    }
    if (n == SLIDE_PROJECT_ROWS) {
        for (int64_t b = 0; b < size; b += SLIDE_DIRECTION_BLOCK)
            kernels->project_rows(projection + b, size, lsh->directions + b * lsh->dim, x, x_stride, lsh->dim);
        return;
    }
    memset(projection, 0, (size_t)(n * size) * sizeof *projection);
    for (int r = 0; r < n; r++)
        for (int64_t b = 0; b < size; b += SLIDE_DIRECTION_BLOCK)
            kernels->project(projection + r * size + b, lsh->directions + b * lsh->dim, x + r * x_stride, lsh->dim);
}

/* Very sparse random projections (Li, Hastie & Church, KDD 2006): sqrt(dim) coordinates a direction. */
static void sparse(const slide_lsh *lsh, const float *x, float *projection)
{
    const int32_t *at = lsh->positions;
    for (int b = 0; b < lsh->K * lsh->L; b++) {
        float sum = 0;
        for (int j = 0; j < lsh->window; j++, at++) sum += *at < 0 ? -x[~*at] : x[*at];
        projection[b] = sum;
    }
}

/* Rotations by random signs and Walsh-Hadamard transforms in turn (Ailon & Chazelle, STOC 2006; three rounds as in
 * Andoni et al., NIPS 2015): window directions for window log(window) additions. */
static void hadamard(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, float *projection)
{
    int64_t n = lsh->window, wanted = (int64_t)lsh->K * lsh->L;
    float *turned = projection + slide_projection_size(lsh), *flipped = turned + slide_pad(n);
    const float *signs = lsh->directions;
    for (int64_t first = 0; first < wanted; first += n) {
        memset(turned, 0, (size_t)n * sizeof *turned);
        memcpy(turned, x, (size_t)lsh->dim * sizeof *turned);
        for (int round = 0; round < SLIDE_HADAMARD_ROUNDS; round++, signs += n) {
            for (int64_t d = 0; d < n; d++) flipped[d] = signs[d] * turned[d];
            kernels->hadamard(turned, flipped, n);
        }
        memcpy(projection + first, turned, (size_t)(wanted - first < n ? wanted - first : n) * sizeof *turned);
    }
}

int64_t slide_simhash_scratch(const slide_lsh *lsh)
{
    int64_t size = slide_projection_size(lsh);
    if (lsh->kind == SLIDE_SIMHASH_SPARSE) return size;
    if (lsh->kind == SLIDE_SIMHASH_HADAMARD) return size + 2 * slide_pad(lsh->window);
    return SLIDE_PROJECT_ROWS * (size + slide_pad(lsh->dim));
}

void slide_simhash_rows(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, int64_t x_stride, int n,
                        float *projection, uint32_t *codes)
{
    int is_dense = lsh->kind == SLIDE_SIMHASH || lsh->kind == SLIDE_SIMHASH_GAUSSIAN;
    if (is_dense) dense(kernels, lsh, x, x_stride, n, projection);
    for (int r = 0; r < n; r++) {
        if (lsh->kind == SLIDE_SIMHASH_SPARSE) sparse(lsh, x + r * x_stride, projection);
        if (lsh->kind == SLIDE_SIMHASH_HADAMARD) hadamard(kernels, lsh, x + r * x_stride, projection);
        sides(lsh, projection + (is_dense ? r * slide_projection_size(lsh) : 0), codes + (int64_t)r * lsh->L);
    }
}
