/* train.c: one sample, one thread, HOGWILD: Algorithm 1 of the SLIDE paper, and the loop that runs it on all threads. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "core/omp.h"
#include "lsh/active.h"
#include "net/approximation.h"
#include "net/batch_plan.h"
#include "net/layer.h"
#include "net/loss.h"
#include "net/scratch.h"

#define SAMPLES_AT_ONCE 4 /* taken by a thread from the queue: small, since active sets differ in size */

/* Fills outputs of every layer; returns the number of distinct labels. */
static int64_t forward(const slide_network *net, slide_scratch *s, const int32_t *labels, int64_t n_labels,
                       uint64_t step)
{
    int64_t distinct = n_labels;
    slide_input_forward(net, s, &s->outputs[0]);
    slide_clock_stop(&s->clock, SLIDE_PHASE_INPUT);
    for (int i = 1; i < net->n_layers; i++) {
        const slide_layer *layer = &net->layers[i];
        int last = i == net->n_layers - 1;
        if (layer->kind == SLIDE_SAMPLED) {
            int64_t n = last ? n_labels : 0;
            slide_rng rng = slide_active_rng(net->seed, i, step);
            if (slide_active_ask(net->kernels, layer, &s->lsh, &s->outputs[i - 1], labels, n, &rng))
                slide_clock_stop(&s->clock, SLIDE_PHASE_HASH);
            int64_t found = slide_active_set(layer, &s->lsh, labels, n, &rng, &s->outputs[i]);
            if (last) distinct = found;
            slide_clock_stop(&s->clock, SLIDE_PHASE_RETRIEVE);
        }
        slide_layer_forward(net, layer, &s->outputs[i - 1], &s->outputs[i]);
        slide_clock_stop(&s->clock, last ? SLIDE_PHASE_FORWARD : SLIDE_PHASE_INPUT);
    }
    return distinct;
}

/* Returns the layer whose update would have left float32; those below it are not updated either. -1 if none. */
static int backward(const slide_network *net, slide_scratch *s, float lr)
{
    for (int i = net->n_layers - 1; i > 0; i--) {
        if (i < net->n_layers - 1) slide_activation_backward(net->layers[i].activation, &s->outputs[i]);
        if (!slide_layer_backward(net, &net->layers[i], &s->outputs[i - 1], &s->outputs[i], lr)) return i;
        slide_clock_stop(&s->clock, i == net->n_layers - 1 ? SLIDE_PHASE_UPDATE : SLIDE_PHASE_BELOW);
    }
    int fits = slide_input_backward(net, s, &s->outputs[0], lr);
    slide_clock_stop(&s->clock, SLIDE_PHASE_BELOW);
    return fits ? -1 : 0;
}

static int stop_at(slide_scratch *s, uint64_t step, int64_t layer, int update)
{
    s->stats.bad_step = (int64_t)step;
    s->stats.bad_layer = layer;
    s->stats.bad_update = update;
    return 0;
}

static int64_t first_bad_layer(const slide_network *net, const slide_scratch *s)
{
    for (int i = 0; i < net->n_layers; i++)
        for (int64_t k = 0; k < s->outputs[i].n; k++)
            if (!isfinite(s->outputs[i].val[k])) return i;
    return net->n_layers - 1;
}

/* The network's own step. A sample whose loss is not finite is reported and changes nothing. */
static int train_deep(const slide_network *net, slide_scratch *s, const slide_examples *ex, int64_t row, uint64_t step,
                      float lr)
{
    const int32_t *labels = ex->y_indices + ex->y_indptr[row];
    int64_t n_labels = ex->y_indptr[row + 1] - ex->y_indptr[row];
    slide_activations *out = &s->outputs[net->n_layers - 1];
    int sampled = net->layers[net->n_layers - 1].kind == SLIDE_SAMPLED;
    slide_load_features(net, s, ex, row, step, net->layers[0].dropout);
    n_labels = forward(net, s, labels, n_labels, step);
    float loss = slide_loss_gradient(net, out, labels, n_labels, sampled ? s->lsh.neg_log_q : NULL,
                                     slide_weight_of(ex, row));
    slide_clock_stop(&s->clock, SLIDE_PHASE_LOSS);
    if (!isfinite(loss)) return stop_at(s, step, first_bad_layer(net, s), 0);
    s->stats.loss += loss;
    s->stats.n_loss += n_labels > 0 || net->loss == SLIDE_BINARY;
    s->stats.n_active += out->n;
    int too_far = backward(net, s, lr);
    return too_far < 0 || stop_at(s, step, too_far, 1);
}

static int train_sample(const slide_network *net, slide_scratch *s, const slide_examples *ex, int64_t row,
                        uint64_t step, float lr)
{
    slide_clock_start(&s->clock);
    if (net->n_layers && !train_deep(net, s, ex, row, step, lr)) return 0;
    if (!net->has_wide) return 1;
    int fits = slide_wide_train(net->kernels, &net->wide, &s->wide, ex, row, lr, &s->stats);
    slide_clock_stop(&s->clock, SLIDE_PHASE_SPARSE);
    return fits || stop_at(s, step, net->n_layers, 1);
}

/* Deals samples out to threads, each with its own active sets. */
static void train_singly(slide_network *net, const slide_examples *ex, int64_t first_step, const float *lr)
{
    int stop = 0;
#pragma omp parallel num_threads(net->n_threads)
    {
        slide_scratch *s = &net->scratch[slide_thread()];
#pragma omp for schedule(dynamic, SAMPLES_AT_ONCE)
        for (int64_t i = 0; i < ex->n; i++) {
            int stopped;
#pragma omp atomic read
            stopped = stop;
            if (stopped) continue;
            if (train_sample(net, s, ex, ex->order[i], (uint64_t)(first_step + i), lr[i])) continue;
#pragma omp atomic write
            stop = 1;
        }
    }
}

static int train_batch(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t first, int n)
{
    slide_clock_start(&s->clock);
    if (!slide_batch_train(net, s, plan, first, n)) return 0;
    if (!net->has_wide) return 1;
    for (int64_t i = first; i < first + n; i++) {
        int64_t at = plan->visit[i];
        if (!slide_wide_train(net->kernels, &net->wide, &s->wide, &plan->examples, plan->examples.order[at], plan->lr[at],
                              &s->stats))
            return stop_at(s, (uint64_t)(plan->first_step + at), net->n_layers, 1);
    }
    slide_clock_stop(&s->clock, SLIDE_PHASE_SPARSE);
    return 1;
}

/* Deals out the batches of a plan from the first on, n of them. */
static void train_in_batches(slide_network *net, const slide_batch_plan *plan, int64_t first, int64_t n)
{
    int stop = 0;
#pragma omp parallel num_threads(net->n_threads)
    {
        slide_scratch *s = &net->scratch[slide_thread()];
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = first; i < first + n; i++) {
            int stopped;
            int64_t begin;
            int samples = slide_batch_samples(plan, i, &begin);
#pragma omp atomic read
            stopped = stop;
            if (stopped) continue;
            if (train_batch(net, s, plan, begin, samples)) continue;
#pragma omp atomic write
            stop = 1;
        }
    }
}

static void sum_stats(const slide_network *net, slide_train_stats *stats)
{
    *stats = (slide_train_stats){.bad_step = -1, .bad_layer = -1};
    for (int t = 0; t < net->n_threads; t++) {
        const slide_train_stats *mine = &net->scratch[t].stats;
        stats->loss += mine->loss;
        stats->n_loss += mine->n_loss;
        stats->n_active += mine->n_active;
        stats->no_memory |= mine->no_memory;
        stats->wide_loss += mine->wide_loss;
        stats->n_wide_active += mine->n_wide_active;
        for (int p = 0; p < SLIDE_PHASES; p++) stats->phase_ns[p] += net->scratch[t].clock.phase_ns[p];
        if (mine->bad_step >= 0 && (stats->bad_step < 0 || mine->bad_step < stats->bad_step)) {
            stats->bad_step = mine->bad_step;
            stats->bad_layer = mine->bad_layer;
            stats->bad_update = mine->bad_update;
        }
    }
}

void slide_train_begin(slide_network *net)
{
    slide_approximation_stale(net);
    for (int t = 0; t < net->n_threads; t++) {
        net->scratch[t].stats = (slide_train_stats){.bad_step = -1, .bad_layer = -1};
        net->scratch[t].clock = (slide_clock){.is_on = net->is_timed};
    }
}

slide_status slide_train_end(slide_network *net, slide_train_stats *stats)
{
    slide_approximation_stale(net); /* a prediction beside the training may have made one */
    sum_stats(net, stats);
    if (stats->no_memory) return SLIDE_NO_MEMORY;
    return stats->bad_step >= 0 ? SLIDE_NOT_FINITE : SLIDE_OK;
}

slide_status slide_train(slide_network *net, const slide_examples *ex, int64_t first_step, const float *lr,
                         int batch_size, slide_train_stats *stats)
{
    int batches = batch_size > 1 && slide_batch_possible(net);
    slide_status status = slide_reserve_for(net, ex, batches);
    if (status) return status;
    slide_train_begin(net);
    if (batches) {
        slide_batch_plan plan;
        status = slide_batch_plan_fill(net, ex, first_step, lr, batch_size, NULL, &plan);
        if (!status) train_in_batches(net, &plan, 0, plan.n_batches);
        slide_batch_plan_empty(&plan);
        if (status) return status;
    } else {
        train_singly(net, ex, first_step, lr);
    }
    return slide_train_end(net, stats);
}

slide_status slide_batch_plan_train(slide_network *net, const slide_batch_plan *plan, int64_t first, int64_t n,
                                    slide_train_stats *stats)
{
    slide_train_begin(net);
    train_in_batches(net, plan, first, n);
    return slide_train_end(net, stats);
}
