/* query_cells.c: fills and reads the lists of query cells.
 *
 * A fill scores neurons against all centres, 64 cells at a time (one block of directions). A refresh scores only those
 * that can have risen: the neurons which a list of the block holds, and those that were last a label of a query in the
 * block. Neither depends on the number of threads. */
#include "lsh/query_cells.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rows.h"
#include "core/vector.h"
#include "lsh/tables.h"

#define BLOCK SLIDE_DIRECTION_BLOCK
#define CHUNK 8192 /* neurons whose ids are listed at a time: 32 KiB on the stack */

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

/* Score and id in one number: a smaller one is better, and of equal scores the lower id. */
static uint64_t pack(float score, int32_t id)
{
    union {
        float f;
        uint32_t u;
    } bits = {score};
    uint32_t ascending = bits.u & 0x80000000u ? ~bits.u : bits.u | 0x80000000u;
    return (uint64_t)~ascending << 32 | (uint32_t)id;
}

static float score_of(uint64_t item)
{
    uint32_t ascending = ~(uint32_t)(item >> 32);
    union {
        uint32_t u;
        float f;
    } bits = {ascending & 0x80000000u ? ascending & 0x7FFFFFFFu : ~ascending};
    return bits.f;
}

/* The best `wanted` of all that was offered, in a buffer with room for `room`. */
typedef struct {
    uint64_t *items;
    int64_t n, wanted, room;
} shortlist;

/* Splits a[lo..hi] into what is at most and what is at least the pivot: a[lo..j] and a[i..hi] (Hoare, CACM 1961). */
static void split(uint64_t *a, int64_t lo, int64_t hi, int64_t *j_out, int64_t *i_out)
{
    uint64_t x = a[lo], y = a[lo + (hi - lo) / 2], z = a[hi];
    uint64_t pivot = x < y ? (y < z ? y : x < z ? z : x) : (x < z ? x : y < z ? z : y);
    int64_t i = lo, j = hi;
    while (i <= j) {
        while (a[i] < pivot) i++;
        while (a[j] > pivot) j--;
        if (i > j) break;
        uint64_t t = a[i];
        a[i++] = a[j];
        a[j--] = t;
    }
    *i_out = i;
    *j_out = j;
}

/* Moves the best `wanted` of n items to the front. */
static void select_best(uint64_t *a, int64_t n, int64_t wanted)
{
    int64_t lo = 0, hi = n - 1, i, j;
    while (lo < hi) {
        split(a, lo, hi, &j, &i);
        if (wanted - 1 <= j)
            hi = j;
        else if (wanted - 1 >= i)
            lo = i;
        else
            return;
    }
}

/* Ascending: a few at a time by insertion, else the shorter part first, so that the stack stays shallow. */
static void sort_items(uint64_t *a, int64_t n)
{
    while (n > 16) {
        int64_t i, j;
        split(a, 0, n - 1, &j, &i);
        if (j + 1 < n - i) {
            sort_items(a, j + 1);
            a += i;
            n -= i;
        } else {
            sort_items(a + i, n - i);
            n = j + 1;
        }
    }
    for (int64_t i = 1; i < n; i++) {
        uint64_t item = a[i];
        int64_t j = i;
        for (; j > 0 && a[j - 1] > item; j--) a[j] = a[j - 1];
        a[j] = item;
    }
}

/* Keeps the best; returns the lowest score among them where the list is full, else that of `least`. */
static float trim(shortlist *s, float least)
{
    if (s->n < s->wanted) return least;
    select_best(s->items, s->n, s->wanted);
    s->n = s->wanted;
    uint64_t worst = s->items[0];
    for (int64_t i = 1; i < s->n; i++) worst = s->items[i] > worst ? s->items[i] : worst;
    return score_of(worst);
}

/* *least: what scores lower is not among the best. */
static void offer(shortlist *s, int32_t id, float score, float *least)
{
    if (!(score >= *least)) return;
    s->items[s->n++] = pack(score, id);
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
static void score_four(const slide_kernels *kernels, const slide_layer *layer, const float *centres, const int32_t *ids,
                       int n, float *x, float *out)
{
    int64_t stride = slide_pad(layer->fan_in + 1);
    float bias[SLIDE_PROJECT_ROWS] = {0};
    for (int r = 0; r < n; r++) {
        float *row = slide_row(layer, ids[r]);
        for (int64_t d = 0; d < layer->fan_in; d++) x[r * stride + d] = slide_cells_round(slide_weight(layer, row, d));
        bias[r] = slide_row_scalars(layer, row)[SLIDE_BIAS];
    }
    kernels->project_rows(out, BLOCK, centres, x, stride, layer->fan_in);
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
static void offer_neurons(const slide_kernels *kernels, const slide_layer *layer, float *x, const float *centres,
                          const int32_t *ids, int64_t n, shortlist *lists, float *least)
{
    float scores[SLIDE_PROJECT_ROWS * BLOCK] __attribute__((aligned(64)));
    for (int64_t i = 0; i < n; i += SLIDE_PROJECT_ROWS) {
        int m = (int)min64(n - i, SLIDE_PROJECT_ROWS);
        for (int r = 0; r < m && i + r + 16 < n; r++)
            slide_prefetch_row(slide_row(layer, ids[i + r + 16]), layer->stride);
        score_four(kernels, layer, centres, ids + i, m, x, scores);
        for (int r = 0; r < m; r++)
            if (any_reaches(scores + r * BLOCK, least))
                for (int c = 0; c < BLOCK; c++) offer(&lists[c], ids[i + r], scores[r * BLOCK + c], &least[c]);
    }
}

enum { LISTED = 1, LABELLED = 2 };

/* Marks the neurons that a refresh of a block looks at. */
static void mark_candidates(const slide_layer *layer, int64_t block, uint8_t *marks)
{
    const slide_lsh *lsh = &layer->lsh;
    for (int64_t i = 0; i < layer->n; i++) {
        int32_t cell = lsh->label_cell[i];
        marks[i] = cell >= 0 && cell / BLOCK == block ? LABELLED : 0;
    }
    for (int c = 0; c < BLOCK; c++) {
        const int32_t *bucket = slide_bucket(lsh, 0, (uint32_t)(block * BLOCK + c));
        for (int32_t i = 1; i <= bucket[0]; i++) marks[bucket[i]] = LISTED;
    }
}

/* Offers the neurons with this mark, or all where marks is NULL, to the lists of one block of cells. */
static void offer_marked(const slide_kernels *kernels, const slide_layer *layer, float *x, const float *centres,
                         const uint8_t *marks, int mark, shortlist *lists, float *least)
{
    int32_t ids[CHUNK + 1];
    int64_t m = 0;
    for (int64_t i = 0; i < layer->n; i++) {
        ids[m] = (int32_t)i;
        m += !marks || marks[i] == mark;
        if (m == CHUNK || i == layer->n - 1) {
            offer_neurons(kernels, layer, x, centres, ids, m, lists, least);
            m = 0;
        }
    }
}

/* Fills the 64 buckets of a block from the marked neurons; marks NULL stands for all of them. */
static void fill_block(const slide_kernels *kernels, const slide_layer *layer, float *x, int64_t block,
                       const uint8_t *marks, shortlist *lists)
{
    const slide_lsh *lsh = &layer->lsh;
    const float *centres = lsh->directions + block * lsh->dim * BLOCK;
    float least[BLOCK];
    for (int c = 0; c < BLOCK; c++) lists[c].n = 0, least[c] = -INFINITY;
    offer_marked(kernels, layer, x, centres, marks, LISTED, lists, least); /* sets the bar for the rest */
    if (marks) offer_marked(kernels, layer, x, centres, marks, LABELLED, lists, least);
    for (int c = 0; c < BLOCK; c++) {
        int32_t *bucket = slide_bucket(lsh, 0, (uint32_t)(block * BLOCK + c));
        trim(&lists[c], 0);
        sort_items(lists[c].items, lists[c].n);
        bucket[0] = (int32_t)lists[c].n;
        for (int64_t i = 0; i < lists[c].n; i++) bucket[1 + i] = (int32_t)lists[c].items[i];
    }
}

slide_status slide_cells_fill(const slide_kernels *kernels, const slide_layer *layer, int refresh, int n_threads)
{
    const slide_lsh *lsh = &layer->lsh;
    int64_t blocks = slide_cells_count(lsh) / BLOCK, wanted = min64(lsh->capacity, layer->n);
    int failed = 0;
#pragma omp parallel num_threads(n_threads)
    {
        shortlist *lists = new_shortlists(BLOCK, wanted, 2 * wanted + 16);
        uint8_t *marks = refresh ? malloc((size_t)layer->n) : NULL;
        float *x = slide_floats(SLIDE_PROJECT_ROWS * slide_pad(layer->fan_in + 1));
        int ready = lists && x && (marks || !refresh);
        if (!ready) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t b = 0; b < blocks; b++) {
            if (!ready) continue;
            if (refresh) mark_candidates(layer, b, marks);
            fill_block(kernels, layer, x, b, marks, lists);
        }
        free_shortlists(lists);
        free(marks);
        free(x);
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
