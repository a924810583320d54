/* lists.c: scores neurons four at a time against the 64 centres of a block, and keeps the best of each (lists.h). */
#include "lsh/lists.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/rows.h"
#include "lsh/query_cells.h"
#include "lsh/select.h"

#define BLOCK SLIDE_DIRECTION_BLOCK
#define AHEAD 16 /* neurons whose rows are on their way while one is scored */

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

slide_status slide_lists_new(slide_lists *lists, const slide_layer *layer, int64_t capacity)
{
    memset(lists, 0, sizeof *lists);
    lists->wanted = min64(capacity, layer->n);
    lists->room = 2 * lists->wanted + 16;
    lists->items = malloc((size_t)(BLOCK * lists->room) * sizeof *lists->items);
    lists->x = slide_floats(SLIDE_PROJECT_ROWS * slide_pad(layer->fan_in + 1));
    return lists->items && lists->x ? SLIDE_OK : SLIDE_NO_MEMORY;
}

void slide_lists_free(slide_lists *lists)
{
    free(lists->items);
    free(lists->x);
}

void slide_lists_begin(slide_lists *lists)
{
    for (int c = 0; c < BLOCK; c++) {
        lists->n[c] = 0;
        lists->least[c] = -INFINITY;
    }
}

/* Keeps the best of list c. */
static void trim(slide_lists *lists, int c)
{
    uint64_t *items = lists->items + c * lists->room;
    if (lists->n[c] < lists->wanted) return;
    slide_select_best(items, lists->n[c], lists->wanted);
    lists->n[c] = lists->wanted;
    uint64_t worst = items[0];
    for (int64_t i = 1; i < lists->wanted; i++) worst = items[i] > worst ? items[i] : worst;
    lists->least[c] = slide_packed_score(worst);
}

static void offer(slide_lists *lists, int c, int32_t id, float score)
{
    if (!(score >= lists->least[c])) return;
    lists->items[c * lists->room + lists->n[c]++] = slide_pack(score, lists->first + id);
    if (lists->n[c] == lists->room) trim(lists, c);
}

/* out[r][c] = score of each of 4 neurons (n of them in use) with the 64 centres of a block. */
static void score_four(slide_lists *lists, const slide_kernels *kernels, const slide_layer *layer, const float *centres,
                       const int32_t *ids, int n, float *out)
{
    int64_t stride = slide_pad(layer->fan_in + 1);
    float bias[SLIDE_PROJECT_ROWS] = {0};
    for (int r = 0; r < n; r++) {
        float *row = slide_row(layer, ids[r]), *x = lists->x + r * stride;
        for (int64_t d = 0; d < layer->fan_in; d++) x[d] = slide_cells_round(slide_weight(layer, row, d));
        bias[r] = slide_row_scalars(layer, row)[SLIDE_BIAS];
    }
    kernels->project_rows(out, BLOCK, centres, lists->x, stride, layer->fan_in);
    for (int r = 0; r < n; r++)
        for (int c = 0; c < BLOCK; c++) out[r * BLOCK + c] += bias[r];
}

/* Whether any of the lists could take one of these scores. */
static int any_reaches(const float *scores, const float *least)
{
    int any = 0;
    for (int c = 0; c < BLOCK; c++) any |= scores[c] >= least[c];
    return any;
}

void slide_lists_offer(slide_lists *lists, const slide_kernels *kernels, const slide_layer *layer, const float *centres,
                       const int32_t *ids, int64_t n)
{
    float scores[SLIDE_PROJECT_ROWS * BLOCK] __attribute__((aligned(64)));
    for (int64_t i = 0; i < n; i += SLIDE_PROJECT_ROWS) {
        int m = (int)min64(n - i, SLIDE_PROJECT_ROWS);
        for (int r = 0; r < m && i + r + AHEAD < n; r++)
            slide_prefetch_row(slide_row(layer, ids[i + r + AHEAD]), layer->stride);
        score_four(lists, kernels, layer, centres, ids + i, m, scores);
        for (int r = 0; r < m; r++)
            if (any_reaches(scores + r * BLOCK, lists->least))
                for (int c = 0; c < BLOCK; c++) offer(lists, c, ids[i + r], scores[r * BLOCK + c]);
    }
}

void slide_lists_write(slide_lists *lists, int32_t *out, int64_t stride)
{
    for (int c = 0; c < BLOCK; c++, out += stride) {
        uint64_t *items = lists->items + c * lists->room;
        trim(lists, c);
        slide_sort_packed(items, lists->n[c]);
        out[0] = (int32_t)lists->n[c];
        for (int64_t i = 0; i < lists->n[c]; i++) out[1 + i] = (int32_t)items[i];
    }
}
