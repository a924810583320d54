/* leaves.c: finds the nearest leaves of queries, and makes shortlists from their lists.
 *
 * Rows of a call are visited in the order of their nearest leaf: neighbours score much the same labels, whose weights are
 * then in cache. How leaves are learned is in slide/leaves.py, how their lists are filled in cells.c. */
#include "leaves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_thread_num() 0
#endif

#include "cells.h"
#include "layer.h"
#include "select.h"

#define BLOCK SLIDE_DIRECTION_BLOCK
#define FEW 32 /* rows that one thread takes alone */

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
    s->rounded = aligned_alloc(64, (size_t)(SLIDE_PROJECT_ROWS * slide_pad(t->dim)) * sizeof(float));
    s->scores = aligned_alloc(64, (size_t)(SLIDE_PROJECT_ROWS * t->n_cells) * sizeof(float));
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
                        int n, int n_cells, int wanted, int32_t *out)
{
    score_cells(kernels, t, s, x, x_stride, n);
    for (int r = 0; r < n; r++) {
        nearest cells = {.wanted = n_cells}, found = {.wanted = wanted};
        for (int64_t c = 0; c < t->n_cells; c++) nearest_offer(&cells, s->scores[r * t->n_cells + c], (int32_t)c);
        offer_leaves(kernels, t, s->rounded + r * slide_pad(t->dim), &cells, &found);
        for (int i = 0; i < wanted; i++) out[r * wanted + i] = i < found.n ? found.ids[i] : -1;
    }
}

/* The same for any number of vectors, on all threads. */
static slide_status find_all(slide_network *net, const slide_leaves *t, const float *x, int64_t n, int64_t stride,
                             int n_cells, int wanted, int32_t *out)
{
    int failed = 0;
#pragma omp parallel num_threads(net->n_threads) reduction(| : failed) if (n > FEW)
    {
        searcher s = {NULL, NULL};
        failed = !searcher_new(t, &s);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i += SLIDE_PROJECT_ROWS)
            if (!failed)
                find_leaves(net->kernels, t, &s, x + i * stride, stride,
                            n - i < SLIDE_PROJECT_ROWS ? (int)(n - i) : SLIDE_PROJECT_ROWS, n_cells, wanted,
                            out + i * wanted);
        searcher_free(&s);
    }
    return failed ? SLIDE_NO_MEMORY : SLIDE_OK;
}

slide_status slide_leaves_codes(slide_network *net, const slide_leaves *leaves, const float *vectors, int64_t n,
                                int64_t stride, const int32_t *cells, int32_t *codes)
{
    int failed = 0;
#pragma omp parallel num_threads(net->n_threads) reduction(| : failed)
    {
        float *rounded = aligned_alloc(64, (size_t)slide_pad(leaves->dim) * sizeof *rounded);
        failed = !rounded;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i++) {
            if (failed) continue;
            nearest cell = {.ids = {cells[i]}, .n = 1}, found = {.wanted = 1};
            round_query(leaves, vectors + i * stride, rounded);
            offer_leaves(net->kernels, leaves, rounded, &cell, &found);
            codes[i] = found.ids[0];
        }
        free(rounded);
    }
    return failed ? SLIDE_NO_MEMORY : SLIDE_OK;
}

/* Leaves whose lists are read in turn for so many candidates: two, or as many as hold them and one for overlap. */
static int leaves_for(const slide_leaves *t, int64_t n_candidates)
{
    int64_t wanted = (n_candidates + t->stride - 2) / (t->stride - 1) + 1;
    return wanted > SLIDE_MOST_LEAVES ? SLIDE_MOST_LEAVES : (int)wanted;
}

/* One thread's own: the candidates of a row, a set of them (open addressing, -1 where free), and them with scores. */
typedef struct {
    int32_t *ids, *set;
    uint64_t *items, mask;
} ranker;

static int ranker_new(ranker *r, int64_t n_candidates)
{
    uint64_t size = 1024;
    while (size < 2 * (uint64_t)n_candidates) size *= 2;
    r->mask = size - 1;
    r->ids = malloc((size_t)(n_candidates + 1) * sizeof *r->ids);
    r->set = malloc(size * sizeof *r->set);
    r->items = malloc((size_t)(n_candidates + 1) * sizeof *r->items);
    return r->ids && r->set && r->items;
}

static void ranker_free(ranker *r)
{
    free(r->ids);
    free(r->set);
    free(r->items);
}

/* Adds an id to the set. Returns 0 if it was in. */
static int is_new(ranker *r, int32_t id)
{
    for (uint64_t at = ((uint32_t)id * (uint64_t)0x9E3779B97F4A7C15u) >> 20;; at++) {
        int32_t *place = &r->set[at & r->mask];
        if (*place == id) return 0;
        if (*place >= 0) continue;
        *place = id;
        return 1;
    }
}

/* Candidates from these leaves' lists in turn, best first. Returns how many. */
static int64_t take(const slide_leaves *t, ranker *r, const int32_t *leaves, int n_leaves, int64_t wanted)
{
    int64_t taken = 0;
    memset(r->set, 0xFF, (size_t)(r->mask + 1) * sizeof *r->set);
    for (int64_t rank = 1; rank < t->stride && taken < wanted; rank++)
        for (int l = 0; l < n_leaves && taken < wanted; l++) {
            const int32_t *list = leaves[l] < 0 ? NULL : t->lists + leaves[l] * t->stride;
            if (list && rank <= list[0] && is_new(r, list[rank])) r->ids[taken++] = list[rank];
        }
    return taken;
}

static void shorten(const slide_network *net, ranker *r, const float *x, int64_t n_candidates, int n, int32_t *ids,
                    float *logits)
{
    const slide_layer *layer = slide_last_layer(net);
    for (int64_t i = 0; i < n_candidates; i++) {
        if (i + 8 < n_candidates) slide_prefetch_weights(layer, r->ids[i + 8]);
        r->items[i] = slide_pack(slide_logit(net, layer, r->ids[i], x), r->ids[i]);
    }
    int64_t found = n_candidates < n ? n_candidates : n;
    if (found) slide_select_best(r->items, n_candidates, found);
    slide_sort_packed(r->items, found);
    for (int64_t i = 0; i < n; i++) {
        ids[i] = i < found ? (int32_t)r->items[i] : -1;
        logits[i] = i < found ? slide_packed_score(r->items[i]) : -INFINITY;
    }
}

/* Rows by their nearest leaf: a counting sort. */
static slide_status sort_by_leaf(const slide_leaves *t, const int32_t *leaves, int n_leaves, int64_t n, int64_t *visit)
{
    int64_t *start = calloc((size_t)t->n_leaves + 2, sizeof *start);
    if (!start) return SLIDE_NO_MEMORY;
    for (int64_t i = 0; i < n; i++) start[leaves[i * n_leaves] + 2]++;
    for (int64_t l = 0; l <= t->n_leaves; l++) start[l + 1] += start[l];
    for (int64_t i = 0; i < n; i++) visit[start[leaves[i * n_leaves] + 1]++] = i;
    free(start);
    return SLIDE_OK;
}

static slide_status rank_all(slide_network *net, const slide_leaves *t, const float *x, const int32_t *leaves, int n_leaves,
                             const int64_t *visit, int64_t rows, int n, int64_t n_candidates, int32_t *ids, float *logits)
{
    int64_t padded = slide_last_layer(net)->padded;
    int failed = 0;
#pragma omp parallel num_threads(net->n_threads) reduction(| : failed) if (rows > FEW)
    {
        ranker r = {.mask = 0};
        failed = !ranker_new(&r, n_candidates);
#pragma omp for schedule(dynamic, 64)
        for (int64_t v = 0; v < rows; v++) {
            if (failed) continue;
            int64_t i = visit[v], found = take(t, &r, leaves + i * n_leaves, n_leaves, n_candidates);
            shorten(net, &r, x + i * padded, found, n, ids + i * n, logits + i * n);
        }
        ranker_free(&r);
    }
    return failed ? SLIDE_NO_MEMORY : SLIDE_OK;
}

slide_status slide_shortlist(slide_network *net, const slide_leaves *leaves, const slide_examples *ex, int n,
                             int64_t n_candidates, int32_t *ids, float *logits)
{
    const slide_layer *layer = slide_last_layer(net);
    int n_leaves = leaves_for(leaves, n_candidates);
    float *x = aligned_alloc(64, (size_t)((ex->n + 1) * layer->padded) * sizeof *x);
    int32_t *near = malloc((size_t)(ex->n * n_leaves + 1) * sizeof *near);
    int64_t *visit = malloc((size_t)(ex->n + 1) * sizeof *visit);
    slide_status status = x && near && visit ? SLIDE_OK : SLIDE_NO_MEMORY;
    if (!status) {
        memset(x, 0, (size_t)(ex->n * layer->padded) * sizeof *x);
        status = slide_hidden(net, ex, net->n_layers - 1, x, layer->padded);
    }
    if (!status) status = find_all(net, leaves, x, ex->n, layer->padded, SLIDE_LEAF_CELLS, n_leaves, near);
    if (!status) status = sort_by_leaf(leaves, near, n_leaves, ex->n, visit);
    if (!status) status = rank_all(net, leaves, x, near, n_leaves, visit, ex->n, n, n_candidates, ids, logits);
    free(x);
    free(near);
    free(visit);
    return status;
}
