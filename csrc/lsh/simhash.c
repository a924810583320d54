/* simhash.c: SimHash (Charikar, STOC 2002): a bit is the side of a random hyperplane, with four kinds of hyperplanes. */
#include <string.h>

#include "lsh/families.h"

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
void slide_project_dense(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, int64_t x_stride, int n,
                         float *projection)
{
    int64_t size = slide_projection_size(lsh);
    if (lsh->kind != SLIDE_SIMHASH) {
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

/* A bucket to look into: the code, and the squared distance to the nearest point that has it. */
typedef struct {
    double cost;
    uint32_t code;
} probe;

/* best[n] and the same with one more bit flipped, at a further cost of `more`: the `most` cheapest, ascending. Returns
 * how many. The square of a float is exact in a double, so costs are the same bits with or without fused
 * multiply-add. */
static int merge_flipped(probe *best, int n, int most, double more, uint32_t bit)
{
    probe merged[SLIDE_MOST_PROBES];
    int kept = 0, flipped = 0, m = 0;
    for (; m < most && flipped < n; m++) {
        probe next = {best[flipped].cost + more, best[flipped].code ^ bit};
        if (kept < n && best[kept].cost <= next.cost)
            merged[m] = best[kept++];
        else
            merged[m] = next, flipped++;
    }
    memcpy(best, merged, (size_t)m * sizeof *best);
    return m;
}

/* Query-directed multi-probe (Lv et al., VLDB 2007), for hyperplanes: codes of which a query is sure in all but a few
 * bits, in the order of the sums of the squared margins of those bits. A table of fewer buckets repeats its own. */
void slide_simhash_probes(const slide_lsh *lsh, const float *projection, uint32_t *codes)
{
    for (int t = lsh->L - 1; t >= 0; t--) { /* backwards: what is written lies behind the codes still to be read */
        probe best[SLIDE_MOST_PROBES] = {{0, codes[t]}};
        uint32_t own = codes[t];
        int n = 1;
        for (int k = 0; k < lsh->K; k++) {
            double margin = projection[t * lsh->K + k];
            n = merge_flipped(best, n, lsh->probes, margin * margin, (uint32_t)1 << (lsh->K - 1 - k));
        }
        for (int p = 0; p < lsh->probes; p++) codes[t * lsh->probes + p] = p < n ? best[p].code : own;
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
    if (is_dense) slide_project_dense(kernels, lsh, x, x_stride, n, projection);
    for (int r = 0; r < n; r++) {
        if (lsh->kind == SLIDE_SIMHASH_SPARSE) sparse(lsh, x + r * x_stride, projection);
        if (lsh->kind == SLIDE_SIMHASH_HADAMARD) hadamard(kernels, lsh, x + r * x_stride, projection);
        sides(lsh, projection + (is_dense ? r * slide_projection_size(lsh) : 0), codes + (int64_t)r * lsh->L);
    }
}
