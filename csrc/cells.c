/* cells.c: fills and reads the lists of query cells.
 *
 * A fill scores neurons against all centres, 64 cells at a time (one block of directions). A refresh scores only those
 * that can have risen: the neurons which a list of the block holds, and those whose home is in the block, that is which
 * were last a label there. Neither depends on the number of threads. */
#include "cells.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_thread_num() 0
#endif

#include "counter.h"
#include "leaves.h"
#include "select.h"
#include "tables.h"

#define BLOCK SLIDE_DIRECTION_BLOCK
#define CHUNK 8192

int64_t slide_cells_scratch(const slide_lsh *lsh)
{
    return SLIDE_PROJECT_ROWS * (slide_cells_count(lsh) + slide_pad(lsh->dim));
}

void slide_cells_hash(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, int64_t x_stride, int n,
                      float *projection, uint32_t *codes)
{
    int64_t cells = slide_cells_count(lsh), stride = slide_pad(lsh->dim);
    float *rounded = projection + SLIDE_PROJECT_ROWS * cells;
    for (int r = 0; r < n; r++)
        for (int d = 0; d < lsh->dim; d++) rounded[r * stride + d] = slide_cells_round(x[r * x_stride + d]);
    if (n < SLIDE_PROJECT_ROWS) memset(projection, 0, (size_t)(n * cells) * sizeof *projection);
    for (int64_t b = 0; b < cells; b += BLOCK) {
        const float *centres = lsh->directions + b * lsh->dim;
        if (n == SLIDE_PROJECT_ROWS)
            kernels->project_rows(projection + b, cells, centres, rounded, stride, lsh->dim);
        else
            for (int r = 0; r < n; r++)
                kernels->project(projection + r * cells + b, centres, rounded + r * stride, lsh->dim);
    }
    for (int r = 0; r < n; r++) {
        const float *scores = projection + r * cells;
        int64_t best = 0;
        for (int64_t c = 1; c < cells; c++)
            if (scores[c] > scores[best]) best = c;
        codes[r] = (uint32_t)best;
    }
}

/* The best `wanted` of all that was offered, in a buffer with room for `room`. */
typedef struct {
    uint64_t *items;
    int64_t n, wanted, room;
} shortlist;

/* Keeps the best; returns the lowest score among them where the list is full, else that of `least`. */
static float trim(shortlist *s, float least)
{
    if (s->n < s->wanted) return least;
    slide_select_best(s->items, s->n, s->wanted);
    s->n = s->wanted;
    uint64_t worst = s->items[0];
    for (int64_t i = 1; i < s->n; i++) worst = s->items[i] > worst ? s->items[i] : worst;
    return slide_packed_score(worst);
}

/* *least: what scores lower is not among the best. */
static void offer(shortlist *s, int32_t id, float score, float *least)
{
    if (!(score >= *least)) return;
    s->items[s->n++] = slide_pack(score, id);
    if (s->n == s->room) *least = trim(s, *least);
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* n shortlists in one allocation that the first one owns. */
static shortlist *new_shortlists(int64_t n, int64_t wanted, int64_t room)
{
    shortlist *lists = malloc((size_t)n * sizeof *lists);
    uint64_t *items = malloc((size_t)(n * room) * sizeof *items);
    if (!lists || !items) {
        free(lists);
        free(items);
        return NULL;
    }
    for (int64_t i = 0; i < n; i++) lists[i] = (shortlist){items + i * room, 0, wanted, room};
    return lists;
}

static void free_shortlists(shortlist *lists)
{
    if (lists) free(lists[0].items);
    free(lists);
}

/* out[r][c] = score of each of 4 neurons (n of them in use) with the 64 centres of a block; x is scratch. */
static void score_four(const slide_network *net, const slide_layer *layer, const float *centres, const int32_t *ids,
                       int n, float *x, float *out)
{
    int64_t stride = slide_pad(layer->fan_in + 1);
    float bias[SLIDE_PROJECT_ROWS] = {0};
    for (int r = 0; r < n; r++) {
        float *row = slide_row(layer, ids[r]);
        for (int64_t d = 0; d < layer->fan_in; d++) x[r * stride + d] = slide_cells_round(slide_weight(layer, row, d));
        bias[r] = slide_tail(layer, row)[SLIDE_BIAS];
    }
    net->kernels->project_rows(out, BLOCK, centres, x, stride, layer->fan_in);
    for (int r = 0; r < n; r++)
        for (int c = 0; c < BLOCK; c++) out[r * BLOCK + c] += bias[r];
}

/* Whether any of the block's lists could take one of these scores. */
static int any_reaches(const float *scores, const float *least)
{
    int any = 0;
    for (int c = 0; c < BLOCK; c++) any |= scores[c] >= least[c];
    return any;
}

/* Offers neurons ids[0..n) to the lists of one block of cells. */
static void offer_neurons(const slide_network *net, const slide_layer *layer, slide_scratch *s, const float *centres,
                          const int32_t *ids, int64_t n, shortlist *lists, float *least)
{
    float scores[SLIDE_PROJECT_ROWS * BLOCK] __attribute__((aligned(64)));
    for (int64_t i = 0; i < n; i += SLIDE_PROJECT_ROWS) {
        int m = (int)min64(n - i, SLIDE_PROJECT_ROWS);
        for (int r = 0; r < m && i + r + 16 < n; r++)
            slide_prefetch_row(slide_row(layer, ids[i + r + 16]), layer->stride);
        score_four(net, layer, centres, ids + i, m, s->query, scores);
        for (int r = 0; r < m; r++)
            if (any_reaches(scores + r * BLOCK, least))
                for (int c = 0; c < BLOCK; c++) offer(&lists[c], ids[i + r], scores[r * BLOCK + c], &least[c]);
    }
}

enum { LISTED = 1, AT_HOME = 2 };

/* Marks the neurons that a refresh of a block looks at. */
static void mark_candidates(const slide_layer *layer, int64_t block, uint8_t *marks)
{
    const slide_lsh *lsh = &layer->lsh;
    for (int64_t i = 0; i < layer->n; i++) marks[i] = lsh->homes[i] >= 0 && lsh->homes[i] / BLOCK == block ? AT_HOME : 0;
    for (int c = 0; c < BLOCK; c++) {
        const int32_t *bucket = slide_bucket(lsh, 0, (uint32_t)(block * BLOCK + c));
        for (int32_t i = 1; i <= bucket[0]; i++) marks[bucket[i]] = LISTED;
    }
}

/* Offers the neurons with this mark, or all where marks is NULL, to the lists of one block of cells. */
static void offer_marked(const slide_network *net, const slide_layer *layer, slide_scratch *s, const float *centres,
                         const uint8_t *marks, int mark, shortlist *lists, float *least)
{
    int32_t ids[CHUNK + 1];
    int64_t m = 0;
    for (int64_t i = 0; i < layer->n; i++) {
        ids[m] = (int32_t)i;
        m += !marks || marks[i] == mark;
        if (m == CHUNK || i == layer->n - 1) {
            offer_neurons(net, layer, s, centres, ids, m, lists, least);
            m = 0;
        }
    }
}

/* The 64 lists of a block, {length, ids best first}, stride apart. */
static void write_lists(shortlist *lists, float *least, int32_t *out, int64_t stride)
{
    for (int c = 0; c < BLOCK; c++, out += stride) {
        trim(&lists[c], least[c]);
        slide_sort_packed(lists[c].items, lists[c].n);
        out[0] = (int32_t)lists[c].n;
        for (int64_t i = 0; i < lists[c].n; i++) out[1 + i] = (int32_t)lists[c].items[i];
    }
}

/* Fills the 64 buckets of a block from the marked neurons; marks NULL stands for all of them. */
static void fill_block(const slide_network *net, const slide_layer *layer, slide_scratch *s, int64_t block,
                       const uint8_t *marks, shortlist *lists)
{
    const slide_lsh *lsh = &layer->lsh;
    const float *centres = lsh->directions + block * lsh->dim * BLOCK;
    float least[BLOCK];
    for (int c = 0; c < BLOCK; c++) lists[c].n = 0, least[c] = -INFINITY;
    offer_marked(net, layer, s, centres, marks, LISTED, lists, least); /* sets the bar for the rest */
    if (marks) offer_marked(net, layer, s, centres, marks, AT_HOME, lists, least);
    write_lists(lists, least, slide_bucket(lsh, 0, (uint32_t)(block * BLOCK)), lsh->bucket_stride);
}

slide_status slide_cells_fill(slide_network *net, const slide_layer *layer, int refresh)
{
    const slide_lsh *lsh = &layer->lsh;
    int64_t blocks = slide_cells_count(lsh) / BLOCK, wanted = min64(lsh->capacity, layer->n);
    int failed = 0;
#pragma omp parallel num_threads(net->n_threads)
    {
        shortlist *lists = new_shortlists(BLOCK, wanted, 2 * wanted + 16);
        uint8_t *marks = refresh ? malloc((size_t)layer->n) : NULL;
        if (!lists || (refresh && !marks)) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t b = 0; b < blocks; b++) {
            if (!lists || (refresh && !marks)) continue;
            if (refresh) mark_candidates(layer, b, marks);
            fill_block(net, layer, &net->scratch[omp_get_thread_num()], b, marks, lists);
        }
        free_shortlists(lists);
        free(marks);
    }
    return failed ? SLIDE_NO_MEMORY : SLIDE_OK;
}

slide_status slide_leaves_fill(slide_network *net, const slide_leaves *leaves, const int64_t *indptr, const int32_t *ids)
{
    const slide_layer *layer = slide_last_layer(net);
    int64_t blocks = leaves->n_leaves / BLOCK, wanted = min64(leaves->stride - 1, layer->n);
    int failed = 0;
#pragma omp parallel num_threads(net->n_threads)
    {
        shortlist *lists = new_shortlists(BLOCK, wanted, 2 * wanted + 16);
        float least[BLOCK];
        if (!lists) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t b = 0; b < blocks; b++) {
            if (!lists) continue;
            for (int c = 0; c < BLOCK; c++) lists[c].n = 0, least[c] = -INFINITY;
            offer_neurons(net, layer, &net->scratch[omp_get_thread_num()], leaves->leaves + b * leaves->dim * BLOCK,
                          ids + indptr[b], indptr[b + 1] - indptr[b], lists, least);
            write_lists(lists, least, leaves->lists + b * BLOCK * leaves->stride, leaves->stride);
        }
        free_shortlists(lists);
    }
    return failed ? SLIDE_NO_MEMORY : SLIDE_OK;
}

int64_t slide_cells_take(const slide_lsh *lsh, slide_counter *counter, const int32_t *cells, int n_cells,
                         int64_t wanted, int32_t *ids)
{
    int64_t taken = 0;
    for (int32_t rank = 0; rank < lsh->capacity && taken < wanted; rank++) {
        int any = 0;
        for (int c = 0; c < n_cells && taken < wanted; c++) {
            const int32_t *bucket = slide_bucket(lsh, 0, (uint32_t)cells[c]);
            if (rank >= bucket[0]) continue;
            any = 1;
            if (slide_counter_join(counter, bucket[1 + rank])) ids[taken++] = bucket[1 + rank];
        }
        if (!any) break;
    }
    return taken;
}

static int32_t next_nearest(const slide_lsh *lsh, float *scores)
{
    int64_t best = 0, n = slide_cells_count(lsh);
    for (int64_t c = 1; c < n; c++)
        if (scores[c] > scores[best]) best = c;
    scores[best] = -INFINITY;
    return (int32_t)best;
}

int64_t slide_cells_take_nearest(const slide_lsh *lsh, slide_counter *counter, float *scores, int64_t wanted,
                                 int32_t *ids)
{
    int32_t cells[SLIDE_CELL_PROBES];
    int n = 0;
    for (; n < lsh->probes; n++) cells[n] = next_nearest(lsh, scores);
    int64_t taken = slide_cells_take(lsh, counter, cells, n, wanted, ids);
    for (; taken < wanted && n < SLIDE_CELL_PROBES; n++) {
        cells[0] = next_nearest(lsh, scores);
        taken += slide_cells_take(lsh, counter, cells, 1, wanted - taken, ids + taken);
    }
    return taken;
}
