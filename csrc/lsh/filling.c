/* filling.c: all blocks of cells hold their lists at once, and each part of the rows is offered to all of them by as many
 * threads as there are. What is best does not depend on the order of the offers, so neither on the parts. */
#include "lsh/filling.h"

#include <stdlib.h>

#include "lsh/lists.h"
#include "lsh/query_cells.h"
#include "lsh/tables.h"

#define BLOCK SLIDE_DIRECTION_BLOCK
#define CHUNK 4096 /* neurons whose ids are listed at a time: 16 KiB on the stack */

struct slide_filling {
    slide_lists *lists;      /* [n_blocks] */
    int64_t first_block, n_blocks;
    uint64_t *marks;         /* [n_blocks][words]: a bit for each neuron that a refresh of the block looks at; or NULL */
    int64_t words;
};

static void mark(slide_filling *f, int64_t block, int64_t neuron)
{
    f->marks[block * f->words + neuron / 64] |= (uint64_t)1 << (neuron % 64);
}

static int is_marked(const slide_filling *f, int64_t block, int64_t neuron)
{
    return !f->marks || (f->marks[block * f->words + neuron / 64] >> (neuron % 64) & 1);
}

/* The neurons that a list of the block holds, and those that were last a label of a query in it. */
static void mark_candidates(slide_filling *f, const slide_layer *layer)
{
    const slide_lsh *lsh = &layer->lsh;
    for (int64_t i = 0; i < layer->n; i++) {
        int64_t block = lsh->label_cell[i] < 0 ? -1 : lsh->label_cell[i] / BLOCK - f->first_block;
        if (block >= 0 && block < f->n_blocks) mark(f, block, i);
    }
    for (int64_t b = 0; b < f->n_blocks; b++)
        for (int c = 0; c < BLOCK; c++) {
            const int32_t *bucket = slide_bucket(lsh, 0, (uint32_t)((f->first_block + b) * BLOCK + c));
            for (int32_t i = 1; i <= bucket[0]; i++) mark(f, b, bucket[i]);
        }
}

static void filling_free(slide_filling *f)
{
    for (int64_t b = 0; f->lists && b < f->n_blocks; b++) slide_lists_free(&f->lists[b]);
    free(f->lists);
    free(f->marks);
    free(f);
}

slide_filling *slide_cells_filling_new(const slide_layer *layer, int refresh, int64_t first_block, int64_t n_blocks)
{
    slide_filling *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    f->first_block = first_block;
    f->n_blocks = n_blocks;
    f->words = (layer->n + 63) / 64;
    f->lists = calloc((size_t)n_blocks, sizeof *f->lists);
    int refreshes = refresh && layer->lsh.label_cell;
    if (refreshes) f->marks = calloc((size_t)(n_blocks * f->words), sizeof *f->marks);
    int failed = !f->lists || (refreshes && !f->marks);
    for (int64_t b = 0; b < n_blocks && !failed; b++) {
        failed = slide_lists_new(&f->lists[b], layer, layer->lsh.capacity) != SLIDE_OK;
        if (!failed) slide_lists_begin(&f->lists[b]);
    }
    if (failed) {
        filling_free(f);
        return NULL;
    }
    if (refreshes) mark_candidates(f, layer);
    return f;
}

/* Offers one block of cells the neurons of a part; part: the layer, with the rows of these neurons alone. */
static void offer_part(slide_filling *f, const slide_kernels *kernels, const slide_layer *part, int64_t block, int64_t first)
{
    const float *centres = part->lsh.directions + (f->first_block + block) * part->lsh.dim * BLOCK;
    int32_t ids[CHUNK + 1];
    int64_t m = 0;
    f->lists[block].first = (int32_t)first;
    for (int64_t i = 0; i < part->n; i++) {
        ids[m] = (int32_t)i;
        m += is_marked(f, block, first + i);
        if (m == CHUNK || i == part->n - 1) {
            slide_lists_offer(&f->lists[block], kernels, part, centres, ids, m);
            m = 0;
        }
    }
}

void slide_cells_filling_offer(slide_filling *f, const slide_kernels *kernels, const slide_layer *layer, float *rows,
                               int64_t first, int64_t n, int n_threads)
{
    slide_layer part = *layer;
    part.rows = rows;
    part.slots = NULL;
    part.n = n;
#pragma omp parallel for num_threads(n_threads) schedule(dynamic, 1)
    for (int64_t b = 0; b < f->n_blocks; b++) offer_part(f, kernels, &part, b, first);
}

void slide_cells_filling_end(slide_filling *f, const slide_layer *layer)
{
    for (int64_t b = 0; b < f->n_blocks; b++)
        slide_lists_write(&f->lists[b], slide_bucket(&layer->lsh, 0, (uint32_t)((f->first_block + b) * BLOCK)),
                          layer->lsh.bucket_stride);
    filling_free(f);
}
