/* leaves.h: a finer partition of the queries below the cells of cells.h, for shortlists: a two-level inverted file.
 *
 * Each cell has a few blocks of 64 leaves, more where queries are dense; small neighbours share one. A leaf lists the
 * neurons with the largest inner product, bias included, with its centre, of those that its cells' lists and the labels
 * of its training rows offer (slide/leaves.py). A query meets the cells, then the leaves of the nearest ones: 2^14 leaves
 * cost what 2^10 cells cost. Cells are a copy, so that tables may follow training while leaves stay as they are. */
#ifndef SLIDE_LEAVES_H
#define SLIDE_LEAVES_H

#include "slide.h"

#define SLIDE_LEAF_CELLS 3  /* cells whose leaves a query meets */
#define SLIDE_MOST_LEAVES 8 /* leaves at most that one query's candidates are taken from */

typedef struct slide_leaves {
    const float *cells;      /* [n_cells / 64][dim][64], as lsh->directions of query cells */
    const float *leaves;     /* [n_leaves / 64][dim][64], the same of leaves */
    const int32_t *blocks;   /* [n_cells][2] first block of a cell's leaves and one past its last */
    int32_t *lists;          /* [n_leaves][stride] {length, ids best first} */
    int64_t n_cells, n_leaves, dim, stride;
} slide_leaves;

/* The nearest leaf of each of n vectors [n][stride], of the leaves of its cell. */
slide_status slide_leaves_codes(slide_network *net, const slide_leaves *leaves, const float *vectors, int64_t n,
                                int64_t stride, const int32_t *cells, int32_t *codes);

/* cells.c. Fills every list from the last layer's rows; ids[indptr[b]..indptr[b + 1]) are offered to block b. */
slide_status slide_leaves_fill(slide_network *net, const slide_leaves *leaves, const int64_t *indptr,
                               const int32_t *ids);

/* The n best labels of each row and their logits, best first, (-1, -inf) where there are fewer, of n_candidates from the
 * lists of its nearest leaves. Equal for any number of threads. */
slide_status slide_shortlist(slide_network *net, const slide_leaves *leaves, const slide_examples *ex, int n,
                             int64_t n_candidates, int32_t *ids, float *logits);

#endif
