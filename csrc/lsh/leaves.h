/* leaves.h: a finer partition of the queries below the query cells, for shortlists: a two-level inverted file.
 *
 * Each cell has a few blocks of 64 leaves, more where queries are dense; small neighbours share one. A leaf lists the
 * neurons with the largest inner product, bias included, with its centre, of those that its cells' lists and the labels
 * of its training rows offer (slide/model/leaves.py); it holds their places among the labels of its block, in 16 bits. A query meets the cells, then the leaves of the nearest ones: 2^14
 * leaves cost what 2^10 cells cost. Cells are a copy, so that tables may follow training while leaves stay as they are. */
#ifndef SLIDE_LSH_LEAVES_H
#define SLIDE_LSH_LEAVES_H

#include "kernels/kernels.h"

#define SLIDE_LEAF_CELLS 3  /* cells whose leaves a query meets */
#define SLIDE_MOST_LEAVES 8 /* leaves at most that one query's candidates are taken from */

typedef struct {
    const float *cells;      /* [n_cells / 64][dim][64], as lsh->directions of query cells */
    const float *leaves;     /* [n_leaves / 64][dim][64], the same of leaves */
    const int32_t *blocks;   /* [n_cells][2] first block of a cell's leaves and one past its last */
    const uint16_t *places;  /* [n_leaves][stride] {length, places best first} */
    const int32_t *labels;   /* of block b from first_label[b] on: what a place stands for */
    const int64_t *first_label; /* [n_leaves / 64 + 1] */
    int64_t n_cells, n_leaves, dim, stride;
} slide_leaves;

/* The nearest leaf of each of n vectors [n][stride], of the leaves of its cell. */
slide_status slide_leaves_codes(const slide_kernels *kernels, const slide_leaves *leaves, const float *vectors, int64_t n,
                                int64_t stride, const int32_t *cells, int n_threads, int32_t *codes);

/* The lists themselves, [n_leaves][stride] {length, ids best first}, from the layer's rows; ids[indptr[b]..indptr[b + 1])
 * are offered to block b. */
slide_status slide_leaves_fill(const slide_kernels *kernels, const slide_leaves *leaves, const slide_layer *layer,
                               const int64_t *indptr, const int32_t *ids, int n_threads, int32_t *lists);

/* Leaves whose lists are read in turn for so many candidates: those that hold them, and one for what they share. */
int slide_leaves_for(const slide_leaves *leaves, int64_t n_candidates);

/* The `wanted` nearest leaves of n vectors [n][stride], nearest first, -1 where there are fewer: near [n][wanted]. */
slide_status slide_leaves_find(const slide_kernels *kernels, const slide_leaves *leaves, const float *x, int64_t n,
                               int64_t stride, int wanted, int n_threads, int32_t *near);

/* Rows in the order of their nearest leaf: neighbours score much the same neurons. */
slide_status slide_leaves_order(const slide_leaves *leaves, const int32_t *near, int n_leaves, int64_t n, int64_t *visit);

/* One thread's own: candidates of a query, and a set of them (open addressing, -1 where free). */
typedef struct {
    int32_t *ids, *set;
    uint64_t mask;
} slide_candidates;

slide_status slide_candidates_new(slide_candidates *c, int64_t most); /* free it also after a failure */
void slide_candidates_free(slide_candidates *c);

/* Takes up to `wanted` candidates from these leaves' lists in turn, best first. Returns how many are in c->ids. */
int64_t slide_leaves_take(const slide_leaves *leaves, slide_candidates *c, const int32_t *near, int n_leaves,
                          int64_t wanted);

#endif
