/* batch_plan.c: which samples of a call share an active set: those of like queries, that is of the same cell
 * (lsh/query_cells.h) or of neighbouring ones. What they do together is in batch.c. */
#include "net/batch_plan.h"

#include <stdlib.h>
#include <string.h>

#include "core/omp.h"
#include "lsh/active.h"
#include "lsh/query_cells.h"
#include "net/batch_below.h"
#include "net/batch_set.h"
#include "net/scratch.h"

/* A sampled layer over dense ones, with query cells or no tables. */
int slide_batch_possible(const slide_network *net)
{
    if (net->n_layers < 2 || slide_last_layer(net)->kind != SLIDE_SAMPLED) return 0;
    for (int i = 1; i < net->n_layers - 1; i++)
        if (net->layers[i].kind == SLIDE_SAMPLED) return 0;
    const slide_lsh *lsh = &slide_last_layer(net)->lsh;
    return lsh->L == 0 || lsh->kind == SLIDE_QUERY_CELLS || slide_active_is_all(slide_last_layer(net));
}

/* Cells of the n samples, at most a batch, from position i on. */
static void find_cells(const slide_network *net, slide_scratch *s, slide_batch_plan *plan, int64_t i, int n)
{
    const slide_layer *layer = slide_last_layer(net);
    int64_t stride = slide_pad(layer->lsh.dim);
    slide_clock_start(&s->clock);
    slide_batch_forward(net, s, plan, i, n);
    slide_clock_stop(&s->clock, SLIDE_PHASE_INPUT);
    for (int q = 0; q < n; q++) {
        const slide_activations *query = &slide_batch_outputs(net, &s->batch, q)[net->n_layers - 2];
        memcpy(s->lsh.query + q * stride, query->val, (size_t)layer->fan_in * sizeof(float));
        s->lsh.query[q * stride + layer->fan_in] = 1;
    }
    slide_cells_nearest(net->kernels, &layer->lsh, s->lsh.query, stride, n, s->lsh.projection, plan->cells + i);
    slide_clock_stop(&s->clock, SLIDE_PHASE_HASH);
}

static void find_all_cells(const slide_network *net, slide_batch_plan *plan)
{
    int64_t total = plan->examples.n;
#pragma omp parallel for num_threads(net->n_threads) schedule(static)
    for (int64_t i = 0; i < total; i += SLIDE_BATCH_MOST) {
        int n = total - i < SLIDE_BATCH_MOST ? (int)(total - i) : SLIDE_BATCH_MOST;
        find_cells(net, &net->scratch[slide_thread()], plan, i, n);
    }
}

/* The cell of every label becomes that of the last sample that has it. */
static void record_label_cell(const slide_layer *layer, const slide_batch_plan *plan)
{
    const slide_examples *ex = &plan->examples;
    if (!layer->lsh.label_cell) return;
    for (int64_t i = 0; i < ex->n; i++)
        for (int64_t j = ex->y_indptr[ex->order[i]]; j < ex->y_indptr[ex->order[i] + 1]; j++)
            layer->lsh.label_cell[ex->y_indices[j]] = (int32_t)plan->cells[i];
}

/* Counting sort of the positions by cell. */
static slide_status sort_by_cell(const slide_network *net, slide_batch_plan *plan)
{
    int64_t n = plan->examples.n, cells = slide_cells_count(&slide_last_layer(net)->lsh);
    int64_t *start = calloc((size_t)cells + 1, sizeof *start);
    if (!start) return SLIDE_NO_MEMORY;
    for (int64_t i = 0; i < n; i++) start[plan->cells[i] + 1]++;
    for (int64_t c = 0; c < cells; c++) start[c + 1] += start[c];
    for (int64_t i = 0; i < n; i++) plan->visit[start[plan->cells[i]]++] = i;
    free(start);
    return SLIDE_OK;
}

/* Batches in random order: neighbours in the plan are alike, neighbours in time should not be. */
static void shuffle(const slide_network *net, slide_batch_plan *plan)
{
    slide_rng rng = slide_rng_stream(net->seed, SLIDE_STREAM_BATCH, (uint64_t)plan->first_step);
    for (int64_t i = 0; i < plan->n_batches; i++) {
        int64_t j = slide_rng_below(&rng, (uint32_t)i + 1);
        plan->order[i] = plan->order[j];
        plan->order[j] = i;
    }
}

slide_status slide_batch_plan_fill(slide_network *net, const slide_examples *ex, int64_t first_step, const float *lr,
                                   int batch_size, const slide_shard *shard, slide_batch_plan *plan)
{
    const slide_layer *layer = slide_last_layer(net);
    int has_cells = layer->lsh.L > 0 && !slide_active_is_all(layer);
    if (batch_size > SLIDE_BATCH_MOST) batch_size = SLIDE_BATCH_MOST;
    *plan = (slide_batch_plan){
        .examples = *ex, .shard = shard, .lr = lr, .first_step = first_step, .batch_size = batch_size};
    plan->n_batches = (ex->n + batch_size - 1) / batch_size;
    plan->visit = malloc((size_t)(ex->n + 1) * sizeof *plan->visit);
    plan->order = malloc((size_t)(plan->n_batches + 1) * sizeof *plan->order);
    plan->cells = has_cells ? malloc((size_t)(ex->n + 1) * sizeof *plan->cells) : NULL;
    if (!plan->visit || !plan->order || (has_cells && !plan->cells)) return SLIDE_NO_MEMORY;
    shuffle(net, plan);
    for (int64_t i = 0; i < ex->n; i++) plan->visit[i] = i;
    if (!has_cells) return SLIDE_OK;
    if (shard)
        memcpy(plan->cells, shard->cells, (size_t)ex->n * sizeof *plan->cells);
    else
        find_all_cells(net, plan);
    record_label_cell(layer, plan);
    return sort_by_cell(net, plan);
}

slide_batch_plan *slide_batch_plan_new(slide_network *net, const slide_examples *ex, int64_t first_step, const float *lr,
                                       int batch_size, const slide_shard *shard)
{
    slide_batch_plan *plan = calloc(1, sizeof *plan);
    slide_status status = plan ? slide_reserve_for(net, ex, 1) : SLIDE_NO_MEMORY;
    if (!status) status = slide_batch_plan_fill(net, ex, first_step, lr, batch_size, shard, plan);
    if (!status) return plan;
    slide_batch_plan_free(plan);
    return NULL;
}

int64_t slide_batch_plan_size(const slide_batch_plan *plan)
{
    return plan->n_batches;
}

/* Threads may mark the same row. */
slide_status slide_batch_plan_rows(slide_network *net, const slide_batch_plan *plan, int64_t first, int64_t n,
                                   uint8_t *marks)
{
    int failed = 0;
#pragma omp parallel for num_threads(net->n_threads) schedule(static) reduction(| : failed)
    for (int64_t i = first; i < first + n; i++) {
        slide_scratch *s = &net->scratch[slide_thread()];
        int64_t begin;
        int samples = slide_batch_samples(plan, i, &begin);
        failed |= slide_batch_choose(net, s, plan, begin, samples) != SLIDE_OK;
        for (int64_t k = 0; !failed && k < s->batch.n; k++) {
            int is_drawn = s->batch.neg_log_q[k] > 0;
            __atomic_fetch_or(&marks[s->batch.ids[k]], is_drawn ? SLIDE_ROW_DRAWN : SLIDE_ROW_CHOSEN, __ATOMIC_RELAXED);
        }
    }
    return failed ? SLIDE_NO_MEMORY : SLIDE_OK;
}

/* A few of those drawn may be labels or listed; others take their place, which nobody knows yet. */
void slide_batch_rows_ahead(const slide_network *net, const slide_examples *ex, int64_t first_step, int batch_size,
                            uint8_t *marks)
{
    const slide_layer *layer = slide_last_layer(net);
    if (batch_size > SLIDE_BATCH_MOST) batch_size = SLIDE_BATCH_MOST;
    for (int64_t i = 0; i < ex->n; i++)
        for (int64_t j = ex->y_indptr[ex->order[i]]; j < ex->y_indptr[ex->order[i] + 1]; j++)
            marks[ex->y_indices[j]] |= SLIDE_ROW_CHOSEN;
    for (int64_t first = 0; first < ex->n && !slide_active_is_all(layer); first += batch_size) {
        slide_rng rng = slide_batch_rng(net, first_step, first);
        for (int64_t k = 0; k < layer->n_random; k++) marks[slide_rng_below(&rng, (uint32_t)layer->n)] |= SLIDE_ROW_DRAWN;
    }
}

void slide_batch_plan_free(slide_batch_plan *plan)
{
    if (plan) slide_batch_plan_empty(plan);
    free(plan);
}

void slide_batch_plan_empty(slide_batch_plan *plan)
{
    free(plan->visit);
    free(plan->order);
    free(plan->cells);
}
