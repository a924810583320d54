/* query_cells.h: query cells: a partition of the space of queries, and for each cell the neurons that score highest there.
 *
 * The other families hash neurons and queries alike and count on near vectors meeting. Here the one hash function is
 * learned from queries (k-means; slide/lsh/query_cells.py), and a bucket holds what its cell is asked for: the neurons with the
 * largest inner product, bias included, with the cell's centre, best first. Retrieval is one look-up. */
#ifndef SLIDE_LSH_QUERY_CELLS_H
#define SLIDE_LSH_QUERY_CELLS_H

#include "kernels/kernels.h"
#include "lsh/counter.h"

#define SLIDE_CELL_PROBES 8 /* cells at most that one query's candidates are taken from */
#define SLIDE_CELL_QUERIES 32 /* queries whose cells are found at a time */

static inline int64_t slide_cells_count(const slide_lsh *lsh)
{
    return (int64_t)1 << lsh->K;
}

/* 12 significant bits: a product of two such numbers is exact in a float, so that sums in the order of the coordinates
 * are the same bits with or without fused multiply-add, on every instruction set. */
static inline float slide_cells_round(float x)
{
    union {
        float f;
        uint32_t u;
    } bits = {x};
    bits.u = (bits.u + 0x800u) & 0xFFFFF000u;
    return bits.f;
}

int64_t slide_cells_scratch(const slide_lsh *lsh);

/* The nearest centre of a vector {query, 1}: the largest x . c - |c|^2 / 2. The scores of all cells stay in projection. */
uint32_t slide_cells_hash(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, float *projection);

/* The same of n (up to SLIDE_CELL_QUERIES) vectors, a block of centres after the other: it stays in the first cache while
 * all vectors are scored with it. */
void slide_cells_nearest(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, int64_t x_stride, int n,
                         float *scratch, uint32_t *codes);

/* Fills every bucket of a layer from its current rows. refresh: looks only at neurons that can have risen (query_cells.c). */
slide_status slide_cells_fill(const slide_kernels *kernels, const slide_layer *layer, int refresh, int n_threads);

/* Takes neurons that are no members yet from the lists of these cells in turn, best first, until `wanted` are in ids.
 * Returns how many. */
int64_t slide_cells_take(const slide_lsh *lsh, slide_counter *counter, const int32_t *cells, int n_cells,
                         int64_t wanted, int32_t *ids);

/* The same for one query, whose score with every cell is in `scores` (lost here): from the best lsh->probes cells, then
 * from the next ones where those are short of neurons. */
int64_t slide_cells_take_nearest(const slide_lsh *lsh, slide_counter *counter, float *scores, int64_t wanted,
                                 int32_t *ids);

#endif
