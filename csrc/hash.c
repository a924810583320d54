/* hash.c: SimHash, WTA and DWTA codes. Sums run in the order of the coordinates and products are exact, comparisons
 * keep the first winner: equal input gives equal codes on every instruction set and in the reference back end. */
#include "hash.h"

#include <math.h>
#include <string.h>

#include "cells.h"

#define EMPTY (-1)
#define DENSIFY_TRIES 64

int64_t slide_projection_size(const slide_lsh *lsh)
{
    int64_t n = lsh->kind == SLIDE_QUERY_CELLS ? slide_cells_count(lsh) : (int64_t)lsh->K * lsh->L;
    return (n + SLIDE_DIRECTION_BLOCK - 1) / SLIDE_DIRECTION_BLOCK * SLIDE_DIRECTION_BLOCK;
}

static void sides(const slide_lsh *lsh, const float *projection, uint32_t *codes)
{
    for (int t = 0; t < lsh->L; t++) {
        uint32_t code = 0;
        for (int k = 0; k < lsh->K; k++) code = code << 1 | (projection[t * lsh->K + k] > 0);
        codes[t] = code;
    }
}

/* SimHash (Charikar, STOC 2002): a bit is the side of a random hyperplane; directions are +-1 (Achlioptas, 2003). */
static void simhash(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, float *projection,
                    uint32_t *codes)
{
    int64_t padded = slide_projection_size(lsh);
    memset(projection, 0, (size_t)padded * sizeof *projection);
    for (int64_t b = 0; b < padded; b += SLIDE_DIRECTION_BLOCK)
        kernels->project(projection + b, lsh->directions + b * lsh->dim, x, lsh->dim);
    sides(lsh, projection, codes);
}

/* The nearest centre: the largest x . c - |c|^2 / 2, which stays in projection for all cells. The rounded vector is
 * kept behind the projections. */
static void nearest_cell(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, float *projection,
                         uint32_t *codes)
{
    int64_t n = slide_cells_count(lsh), best = 0;
    float *rounded = projection + n;
    for (int d = 0; d < lsh->dim; d++) rounded[d] = slide_cells_round(x[d]);
    memset(projection, 0, (size_t)n * sizeof *projection);
    for (int64_t b = 0; b < n; b += SLIDE_DIRECTION_BLOCK)
        kernels->project(projection + b, lsh->directions + b * lsh->dim, rounded, lsh->dim);
    for (int64_t c = 1; c < n; c++)
        if (projection[c] > projection[best]) best = c;
    codes[0] = (uint32_t)best;
}

/* Winner-take-all (Yagnik et al., ICCV 2011): which of a window of coordinates is the largest. */
static void wta(const slide_lsh *lsh, const float *x, uint32_t *codes)
{
    const int32_t *window = lsh->positions;
    for (int t = 0; t < lsh->L; t++) {
        uint32_t code = 0;
        for (int k = 0; k < lsh->K; k++, window += lsh->window) {
            int best = 0;
            for (int j = 1; j < lsh->window; j++)
                if (x[window[j]] > x[window[best]]) best = j;
            code = code << lsh->log2_window | (uint32_t)best;
        }
        codes[t] = code;
    }
}

/* An empty bin takes the winner of another, found by a hash that depends on the bin alone, so equal vectors agree. */
static int32_t borrow(const int32_t *winners, int bins, int bin)
{
    for (int attempt = 1; attempt <= DENSIFY_TRIES; attempt++) {
        uint64_t h = slide_mix64((uint64_t)bin * DENSIFY_TRIES + (uint64_t)attempt);
        int32_t winner = winners[(h >> 32) % (uint64_t)bins];
        if (winner != EMPTY) return winner;
    }
    return 0;
}

/* Densified WTA (Chen & Shrivastava, UAI 2018): each non-zero coordinate falls into one bin a permutation; absent
 * coordinates do not compete. The first bins double as scratch: winners and their values share `projection`. */
static void dwta(const slide_lsh *lsh, const float *x, float *projection, uint32_t *codes)
{
    int bins = lsh->K * lsh->L;
    int32_t *winners = (int32_t *)projection;
    float *values = projection + slide_projection_size(lsh);
    for (int b = 0; b < bins; b++) winners[b] = EMPTY;
    for (int p = 0; p < lsh->permutations; p++) {
        const int32_t *place = lsh->positions + (int64_t)p * lsh->dim;
        int first = p * (lsh->dim / lsh->window);
        for (int d = 0; d < lsh->dim; d++) {
            if (x[d] == 0) continue;
            int in_permutation = place[d] >> lsh->log2_window, bin = first + in_permutation;
            if (in_permutation >= lsh->dim / lsh->window || bin >= bins) continue;
            int32_t offset = place[d] & (lsh->window - 1);
            if (winners[bin] == EMPTY || x[d] > values[bin] || (x[d] == values[bin] && offset < winners[bin])) {
                winners[bin] = offset;
                values[bin] = x[d];
            }
        }
    }
    for (int t = 0, bin = 0; t < lsh->L; t++) {
        uint32_t code = 0;
        for (int k = 0; k < lsh->K; k++, bin++) {
            int32_t winner = winners[bin] == EMPTY ? borrow(winners, bins, bin) : winners[bin];
            code = code << lsh->log2_window | (uint32_t)winner;
        }
        codes[t] = code;
    }
}

int64_t slide_hash_scratch(const slide_lsh *lsh)
{
    int64_t size = slide_projection_size(lsh);
    if (lsh->kind == SLIDE_QUERY_CELLS) return size + slide_pad(lsh->dim);
    return lsh->kind == SLIDE_SIMHASH ? SLIDE_PROJECT_ROWS * size : 2 * size;
}

void slide_hash_rows(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, int64_t x_stride, int n,
                     float *projection, uint32_t *codes)
{
    int64_t padded = slide_projection_size(lsh);
    if (lsh->kind != SLIDE_SIMHASH || n < SLIDE_PROJECT_ROWS) {
        for (int r = 0; r < n; r++) slide_hash(kernels, lsh, x + r * x_stride, projection, codes + (int64_t)r * lsh->L);
        return;
    }
    for (int64_t b = 0; b < padded; b += SLIDE_DIRECTION_BLOCK)
        kernels->project_rows(projection + b, padded, lsh->directions + b * lsh->dim, x, x_stride, lsh->dim);
    for (int r = 0; r < n; r++) sides(lsh, projection + r * padded, codes + (int64_t)r * lsh->L);
}

void slide_hash(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, float *projection, uint32_t *codes)
{
    if (lsh->kind == SLIDE_SIMHASH)
        simhash(kernels, lsh, x, projection, codes);
    else if (lsh->kind == SLIDE_QUERY_CELLS)
        nearest_cell(kernels, lsh, x, projection, codes);
    else if (lsh->kind == SLIDE_WTA)
        wta(lsh, x, codes);
    else
        dwta(lsh, x, projection, codes);
}
