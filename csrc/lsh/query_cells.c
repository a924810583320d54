/* query_cells.c: fills and reads the lists of query cells.
 *
 * A fill scores neurons against all centres, 64 cells at a time (one block of directions). A refresh scores only those
 * that can have risen: the neurons which a list of the block holds, and those that were last a label of a query in the
 * block. Neither depends on the number of threads. */
#include "lsh/query_cells.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/vector.h"
#include "lsh/lists.h"
#include "lsh/tables.h"

#define BLOCK SLIDE_DIRECTION_BLOCK
#define CHUNK 8192 /* neurons whose ids are listed at a time: 32 KiB on the stack */

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Of slide_cells_hash: scores and the rounded vector; of slide_cells_nearest: see there. */
int64_t slide_cells_scratch(const slide_lsh *lsh)
{
    int64_t one = slide_cells_count(lsh), many = SLIDE_PROJECT_ROWS * BLOCK + SLIDE_CELL_QUERIES * 2 * BLOCK;
    return max64(one, many) + SLIDE_CELL_QUERIES * slide_pad(lsh->dim);
}

static void round_vector(const slide_lsh *lsh, const float *x, float *rounded)
{
    for (int d = 0; d < lsh->dim; d++) rounded[d] = slide_cells_round(x[d]);
}

uint32_t slide_cells_hash(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, float *projection)
{
    int64_t cells = slide_cells_count(lsh), best = 0;
    float *rounded = projection + cells;
    round_vector(lsh, x, rounded);
    memset(projection, 0, (size_t)cells * sizeof *projection);
    for (int64_t b = 0; b < cells; b += BLOCK)
        kernels->project(projection + b, lsh->directions + b * lsh->dim, rounded, lsh->dim);
    for (int64_t c = 1; c < cells; c++)
        if (projection[c] > projection[best]) best = c;
    return (uint32_t)best;
}

/* Scores [n][BLOCK] of up to SLIDE_PROJECT_ROWS rounded vectors with the centres of a block. */
static void score_block(const slide_kernels *kernels, const float *centres, int64_t dim, const float *rounded, int n,
                        float *scores)
{
    int64_t stride = slide_pad(dim);
    if (n == SLIDE_PROJECT_ROWS) {
        kernels->project_rows(scores, BLOCK, centres, rounded, stride, dim);
        return;
    }
    memset(scores, 0, (size_t)(n * BLOCK) * sizeof *scores);
    for (int r = 0; r < n; r++) kernels->project(scores + r * BLOCK, centres, rounded + r * stride, dim);
}

/* The cell of the largest score, of equals the first: best[i] is the largest of the cells 64 b + i, block[i] its b. */
static uint32_t best_cell(const float *best, const float *block)
{
    int at = 0;
    for (int i = 1; i < BLOCK; i++)
        if (best[i] > best[at] || (best[i] == best[at] && block[i] < block[at])) at = i;
    return (uint32_t)block[at] * BLOCK + (uint32_t)at;
}

void slide_cells_nearest(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, int64_t x_stride, int n,
                         float *scratch, uint32_t *codes)
{
    int64_t blocks = slide_cells_count(lsh) / BLOCK, stride = slide_pad(lsh->dim);
    float *scores = scratch, *best = scores + SLIDE_PROJECT_ROWS * BLOCK;
    float *block = best + SLIDE_CELL_QUERIES * BLOCK, *rounded = block + SLIDE_CELL_QUERIES * BLOCK;
    for (int r = 0; r < n; r++) round_vector(lsh, x + r * x_stride, rounded + r * stride);
    for (int i = 0; i < n * BLOCK; i++) best[i] = -INFINITY, block[i] = 0;
    for (int64_t b = 0; b < blocks; b++)
        for (int q = 0; q < n; q += SLIDE_PROJECT_ROWS) {
            int rows = n - q < SLIDE_PROJECT_ROWS ? n - q : SLIDE_PROJECT_ROWS;
            score_block(kernels, lsh->directions + b * BLOCK * lsh->dim, lsh->dim, rounded + q * stride, rows, scores);
            kernels->keep_larger(best + q * BLOCK, block + q * BLOCK, scores, (float)b, rows * BLOCK);
        }
    for (int r = 0; r < n; r++) codes[r] = best_cell(best + r * BLOCK, block + r * BLOCK);
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
static void offer_marked(const slide_kernels *kernels, const slide_layer *layer, const float *centres,
                         const uint8_t *marks, int mark, slide_lists *lists)
{
    int32_t ids[CHUNK + 1];
    int64_t m = 0;
    for (int64_t i = 0; i < layer->n; i++) {
        ids[m] = (int32_t)i;
        m += !marks || marks[i] == mark;
        if (m == CHUNK || i == layer->n - 1) {
            slide_lists_offer(lists, kernels, layer, centres, ids, m);
            m = 0;
        }
    }
}

/* Fills the 64 buckets of a block from the marked neurons; marks NULL stands for all of them. */
static void fill_block(const slide_kernels *kernels, const slide_layer *layer, int64_t block, const uint8_t *marks,
                       slide_lists *lists)
{
    const slide_lsh *lsh = &layer->lsh;
    const float *centres = lsh->directions + block * lsh->dim * BLOCK;
    slide_lists_begin(lists);
    offer_marked(kernels, layer, centres, marks, LISTED, lists); /* sets the bar for the rest */
    if (marks) offer_marked(kernels, layer, centres, marks, LABELLED, lists);
    slide_lists_write(lists, slide_bucket(lsh, 0, (uint32_t)(block * BLOCK)), lsh->bucket_stride);
}

slide_status slide_cells_fill(const slide_kernels *kernels, const slide_layer *layer, int refresh, int n_threads)
{
    const slide_lsh *lsh = &layer->lsh;
    int64_t blocks = slide_cells_count(lsh) / BLOCK;
    int failed = 0;
#pragma omp parallel num_threads(n_threads) reduction(| : failed)
    {
        slide_lists lists;
        uint8_t *marks = refresh ? malloc((size_t)layer->n) : NULL;
        failed = slide_lists_new(&lists, layer, lsh->capacity) != SLIDE_OK || (refresh && !marks);
#pragma omp for schedule(dynamic, 1)
        for (int64_t b = 0; b < blocks; b++) {
            if (failed) continue;
            if (refresh) mark_candidates(layer, b, marks);
            fill_block(kernels, layer, b, marks, &lists);
        }
        slide_lists_free(&lists);
        free(marks);
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
