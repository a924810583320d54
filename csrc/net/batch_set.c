/* batch_set.c: the active set of samples that share one: the labels of all of them, the lists of their cells in turn, and
 * uniform negatives. What is done with it is in batch.c. */
#include "net/batch_set.h"

#include <stdlib.h>
#include <string.h>

#include "lsh/active.h"
#include "lsh/query_cells.h"

#define Q SLIDE_BATCH_MOST
#define R SLIDE_TILE_ROWS

void slide_batch_set_free(slide_batch *b)
{
    free(b->rows);
    free(b->logits);
    free(b->neg_log_q);
    free(b->ids);
    free(b->place_of);
    free(b->places);
}

/* Rows with very many labels are rare, so it grows when they come. */
slide_status slide_batch_set_reserve(const slide_layer *layer, slide_batch *b, int64_t labels)
{
    if (labels <= b->max_labels) return SLIDE_OK;
    int64_t active = (layer->n_active + layer->n_random + labels + R - 1) / R * R;
    slide_batch_set_free(b);
    for (b->slots = 64; b->slots < 2 * labels; b->slots *= 2) continue;
    b->rows = slide_floats(active * layer->padded);
    b->logits = slide_floats(active * Q);
    b->neg_log_q = slide_floats(active);
    b->ids = malloc((size_t)active * sizeof(int32_t));
    b->place_of = malloc((size_t)b->slots * sizeof(int32_t));
    b->places = malloc((size_t)(labels + Q) * sizeof(int32_t));
    b->max_labels = b->rows && b->logits && b->neg_log_q && b->ids && b->place_of && b->places ? labels : 0;
    return b->max_labels ? SLIDE_OK : SLIDE_NO_MEMORY;
}

/* Place of a label in the active set; a new label is appended. */
static int32_t place_of_label(slide_batch *b, slide_counter *counter, int32_t label)
{
    uint64_t at = ((uint32_t)label * (uint64_t)0x9E3779B97F4A7C15u) >> 32;
    for (;; at++) {
        int32_t *slot = &b->place_of[at & (uint64_t)(b->slots - 1)];
        if (*slot >= 0 && b->ids[*slot] == label) return *slot;
        if (*slot >= 0) continue;
        slide_counter_join(counter, label);
        b->ids[b->n] = label;
        return *slot = (int32_t)b->n++;
    }
}

/* Places of the sample's labels, each once. */
static void take_labels(slide_batch *b, slide_counter *counter, const slide_examples *ex, int64_t row, int q)
{
    int32_t *places = b->places + b->first_place[q];
    int n = 0;
    for (int64_t i = ex->y_indptr[row]; i < ex->y_indptr[row + 1]; i++) {
        int32_t place = place_of_label(b, counter, ex->y_indices[i]);
        int known = 0;
        for (int j = 0; j < n; j++) known |= places[j] == place;
        if (!known) places[n++] = place;
    }
    b->first_place[q + 1] = b->first_place[q] + n;
}

/* The distinct cells of the batch. */
static int cells_of(const slide_batch_plan *plan, int64_t first, int n, int32_t *cells)
{
    int found = 0;
    for (int q = 0; q < n; q++) {
        int32_t cell = (int32_t)plan->cells[plan->visit[first + q]];
        if (found == 0 || cells[found - 1] != cell) cells[found++] = cell; /* sorted by cell */
    }
    return found;
}

/* Of a batch's place in the plan, whatever samples it is of: what it draws is known before weights and cells are. */
slide_rng slide_batch_rng(const slide_network *net, int64_t first_step, int64_t first)
{
    return slide_active_rng(net->seed, net->n_layers - 1, (uint64_t)(first_step + first));
}

/* Fills b->ids, b->neg_log_q and the places of labels. The lists get at least half of what the labels leave. */
static void choose_active(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t first, int n)
{
    const slide_layer *layer = slide_last_layer(net);
    const slide_examples *ex = &plan->examples;
    slide_batch *b = &s->batch;
    int32_t cells[Q];
    slide_counter_begin(&s->lsh.counter, layer->n);
    memset(b->place_of, -1, (size_t)b->slots * sizeof *b->place_of);
    b->n = b->first_place[0] = 0;
    for (int q = 0; q < n; q++) take_labels(b, &s->lsh.counter, ex, ex->order[plan->visit[first + q]], q);
    if (slide_active_is_all(layer)) {
        b->n = slide_active_all(layer, &s->lsh.counter, b->n, b->ids, b->neg_log_q);
        return;
    }
    int64_t listed = layer->n_active - layer->n_random, left = listed - b->n;
    if (left < listed / 2) left = listed / 2;
    if (plan->cells)
        b->n += slide_cells_take(&layer->lsh, &s->lsh.counter, cells, cells_of(plan, first, n, cells), left, b->ids + b->n);
    slide_rng rng = slide_batch_rng(net, plan->first_step, first);
    b->n = slide_active_negatives(layer, &s->lsh.counter, &rng, b->n, b->ids, b->neg_log_q);
}

slide_status slide_batch_choose(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t first,
                                int n)
{
    const slide_examples *ex = &plan->examples;
    int64_t labels = 0;
    for (int q = 0; q < n; q++) {
        int64_t row = ex->order[plan->visit[first + q]];
        labels += ex->y_indptr[row + 1] - ex->y_indptr[row];
    }
    slide_status status = slide_batch_set_reserve(slide_last_layer(net), &s->batch, labels);
    if (!status) choose_active(net, s, plan, first, n);
    return status;
}
