/* leaves.c: fills leaves, finds the nearest ones of queries, and takes candidates from their lists.
 *
 * How leaves are learned is in slide/model/leaves.py; what is done with the candidates, in net/shortlist.c. */
#include "lsh/leaves.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "lsh/lists.h"
#include "lsh/query_cells.h"

#define BLOCK SLIDE_DIRECTION_BLOCK
#define FEW 32 /* vectors that one thread takes alone */

/* The best few of what was offered, best first; of equals the first offered. */
typedef struct {
    float scores[SLIDE_MOST_LEAVES];
    int32_t ids[SLIDE_MOST_LEAVES];
    int n, wanted;
} nearest;

static void nearest_offer(nearest *b, float score, int32_t id)
{
    int i = b->n < b->wanted ? b->n++ : b->wanted;
    if (i == b->wanted && !(score > b->scores[--i])) return;
    for (; i > 0 && score > b->scores[i - 1]; i--) {
        b->scores[i] = b->scores[i - 1];
        b->ids[i] = b->ids[i - 1];
    }
    b->scores[i] = score;
    b->ids[i] = id;
}

/* One thread's own. */
typedef struct {
    float *rounded; /* [SLIDE_PROJECT_ROWS][dim padded] */
    float *scores;  /* [SLIDE_PROJECT_ROWS][n_cells] */
} searcher;

static int searcher_new(const slide_leaves *t, searcher *s)
{
    s->rounded = slide_floats(SLIDE_PROJECT_ROWS * slide_pad(t->dim));
    s->scores = slide_floats(SLIDE_PROJECT_ROWS * t->n_cells);
    return s->rounded && s->scores;
}

static void searcher_free(searcher *s)
{
    free(s->rounded);
    free(s->scores);
}

/* {query, 1} of 12 significant bits */
static void round_query(const slide_leaves *t, const float *x, float *rounded)
{
    for (int64_t d = 0; d < t->dim - 1; d++) rounded[d] = slide_cells_round(x[d]);
    rounded[t->dim - 1] = 1;
}

/* Scores of up to SLIDE_PROJECT_ROWS vectors {query, 1}, rounded, with all cells. */
static void score_cells(const slide_kernels *kernels, const slide_leaves *t, searcher *s, const float *x, int64_t x_stride,
                        int n)
{
    int64_t stride = slide_pad(t->dim);
    for (int r = 0; r < n; r++) round_query(t, x + r * x_stride, s->rounded + r * stride);
    if (n < SLIDE_PROJECT_ROWS) memset(s->scores, 0, (size_t)(n * t->n_cells) * sizeof(float));
    for (int64_t b = 0; b < t->n_cells; b += BLOCK) {
        const float *centres = t->cells + b * t->dim;
        if (n == SLIDE_PROJECT_ROWS)
            kernels->project_rows(s->scores + b, t->n_cells, centres, s->rounded, stride, t->dim);
        else
            for (int r = 0; r < n; r++)
                kernels->project(s->scores + r * t->n_cells + b, centres, s->rounded + r * stride, t->dim);
    }
}

/* Offers all leaves of these cells, each block once. */
static void offer_leaves(const slide_kernels *kernels, const slide_leaves *t, const float *rounded, const nearest *cells,
                         nearest *found)
{
    float scores[BLOCK] __attribute__((aligned(64)));
    for (int i = 0; i < cells->n; i++) {
        const int32_t *range = t->blocks + 2 * cells->ids[i];
        int seen = 0;
        for (int j = 0; j < i; j++) seen |= t->blocks[2 * cells->ids[j]] == range[0];
        for (int32_t b = range[0]; b < range[1] && !seen; b++) {
            memset(scores, 0, sizeof scores);
            kernels->project(scores, t->leaves + b * t->dim * BLOCK, rounded, t->dim);
            for (int c = 0; c < BLOCK; c++) nearest_offer(found, scores[c], b * BLOCK + c);
        }
    }
}

/* The `wanted` nearest leaves of up to SLIDE_PROJECT_ROWS vectors, -1 where there are fewer: out [n][wanted]. */
static void find_leaves(const slide_kernels *kernels, const slide_leaves *t, searcher *s, const float *x, int64_t x_stride,
                        int n, int wanted, int32_t *out)
{
    score_cells(kernels, t, s, x, x_stride, n);
    for (int r = 0; r < n; r++) {
        nearest cells = {.wanted = SLIDE_LEAF_CELLS}, found = {.wanted = wanted};
        for (int64_t c = 0; c < t->n_cells; c++) nearest_offer(&cells, s->scores[r * t->n_cells + c], (int32_t)c);
        offer_leaves(kernels, t, s->rounded + r * slide_pad(t->dim), &cells, &found);
        for (int i = 0; i < wanted; i++) out[r * wanted + i] = i < found.n ? found.ids[i] : -1;
    }
}

slide_status slide_leaves_find(const slide_kernels *kernels, const slide_leaves *leaves, const float *x, int64_t n,
                               int64_t stride, int wanted, int n_threads, int32_t *near)
{
    int failed = 0;
#pragma omp parallel num_threads(n_threads) reduction(| : failed) if (n > FEW)
    {
        searcher s = {NULL, NULL};
        failed = !searcher_new(leaves, &s);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i += SLIDE_PROJECT_ROWS)
            if (!failed)
                find_leaves(kernels, leaves, &s, x + i * stride, stride,
                            n - i < SLIDE_PROJECT_ROWS ? (int)(n - i) : SLIDE_PROJECT_ROWS, wanted, near + i * wanted);
        searcher_free(&s);
    }
    return failed ? SLIDE_NO_MEMORY : SLIDE_OK;
}

slide_status slide_leaves_codes(const slide_kernels *kernels, const slide_leaves *leaves, const float *vectors, int64_t n,
                                int64_t stride, const int32_t *cells, int n_threads, int32_t *codes)
{
    int failed = 0;
#pragma omp parallel num_threads(n_threads) reduction(| : failed)
    {
        float *rounded = slide_floats(leaves->dim);
        failed = !rounded;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i++) {
            if (failed) continue;
            nearest cell = {.ids = {cells[i]}, .n = 1}, found = {.wanted = 1};
            round_query(leaves, vectors + i * stride, rounded);
            offer_leaves(kernels, leaves, rounded, &cell, &found);
            codes[i] = found.ids[0];
        }
        free(rounded);
    }
    return failed ? SLIDE_NO_MEMORY : SLIDE_OK;
}

slide_status slide_leaves_fill(const slide_kernels *kernels, const slide_leaves *leaves, const slide_layer *layer,
                               const int64_t *indptr, const int32_t *ids, int n_threads, int32_t *out)
{
    int64_t blocks = leaves->n_leaves / BLOCK;
    int failed = 0;
#pragma omp parallel num_threads(n_threads) reduction(| : failed)
    {
        slide_lists lists;
        failed = slide_lists_new(&lists, layer, leaves->stride - 1) != SLIDE_OK;
#pragma omp for schedule(dynamic, 1)
        for (int64_t b = 0; b < blocks; b++) {
            if (failed) continue;
            slide_lists_begin(&lists);
            slide_lists_offer(&lists, kernels, layer, leaves->leaves + b * leaves->dim * BLOCK, ids + indptr[b],
                              indptr[b + 1] - indptr[b]);
            slide_lists_write(&lists, out + b * BLOCK * leaves->stride, leaves->stride);
        }
        slide_lists_free(&lists);
    }
    return failed ? SLIDE_NO_MEMORY : SLIDE_OK;
}

int slide_leaves_for(const slide_leaves *leaves, int64_t n_candidates)
{
    int64_t wanted = (n_candidates + leaves->stride - 2) / (leaves->stride - 1) + 1;
    return wanted > SLIDE_MOST_LEAVES ? SLIDE_MOST_LEAVES : (int)wanted;
}

/* A counting sort. */
slide_status slide_leaves_order(const slide_leaves *leaves, const int32_t *near, int n_leaves, int64_t n, int64_t *visit)
{
    visit[0] = 0;
    if (n < 2) return SLIDE_OK;
    int64_t *start = calloc((size_t)leaves->n_leaves + 2, sizeof *start);
    if (!start) return SLIDE_NO_MEMORY;
    for (int64_t i = 0; i < n; i++) start[near[i * n_leaves] + 2]++;
    for (int64_t l = 0; l <= leaves->n_leaves; l++) start[l + 1] += start[l];
    for (int64_t i = 0; i < n; i++) visit[start[near[i * n_leaves] + 1]++] = i;
    free(start);
    return SLIDE_OK;
}

slide_status slide_candidates_new(slide_candidates *c, int64_t most)
{
    uint64_t size = 1024;
    while (size < 2 * (uint64_t)most) size *= 2;
    c->mask = size - 1;
    c->ids = malloc((size_t)(most + 1) * sizeof *c->ids);
    c->set = malloc(size * sizeof *c->set);
    return c->ids && c->set ? SLIDE_OK : SLIDE_NO_MEMORY;
}

void slide_candidates_free(slide_candidates *c)
{
    free(c->ids);
    free(c->set);
}

/* Adds an id to the set. Returns 0 if it was in. */
static int is_new(slide_candidates *c, int32_t id)
{
    for (uint64_t at = ((uint32_t)id * (uint64_t)0x9E3779B97F4A7C15u) >> 20;; at++) {
        int32_t *place = &c->set[at & c->mask];
        if (*place == id) return 0;
        if (*place >= 0) continue;
        *place = id;
        return 1;
    }
}

int64_t slide_leaves_take(const slide_leaves *leaves, slide_candidates *c, const int32_t *near, int n_leaves,
                          int64_t wanted)
{
    const uint16_t *lists[SLIDE_MOST_LEAVES];
    const int32_t *labels[SLIDE_MOST_LEAVES];
    int64_t taken = 0;
    int n = 0;
    for (int l = 0; l < n_leaves; l++) {
        if (near[l] < 0) continue;
        lists[n] = leaves->places + near[l] * leaves->stride;
        labels[n++] = leaves->labels + leaves->first_label[near[l] / BLOCK];
    }
    memset(c->set, 0xFF, (size_t)(c->mask + 1) * sizeof *c->set);
    for (int64_t rank = 1; rank < leaves->stride && taken < wanted; rank++)
        for (int l = 0; l < n && taken < wanted; l++) {
            if (rank > lists[l][0]) continue;
            int32_t id = labels[l][lists[l][rank]];
            if (is_new(c, id)) c->ids[taken++] = id;
        }
    return taken;
}
