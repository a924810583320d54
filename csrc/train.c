/* train.c: one sample, one thread, HOGWILD: Algorithm 1 of the SLIDE paper, and the loop that runs it on all threads. */
#include <math.h>
#include <stddef.h>

#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_thread_num() 0
#endif

#include "active.h"
#include "layer.h"
#include "loss.h"
#include "wide.h"

#define SAMPLES_AT_ONCE 4 /* taken by a thread from the queue: small, since active sets differ in size */

/* Fills outputs of every layer; returns the number of distinct labels. */
static int64_t forward(const slide_network *net, slide_scratch *s, const int32_t *labels, int64_t n_labels,
                       uint64_t step)
{
    int64_t distinct = n_labels;
    slide_input_forward(net, s);
    for (int i = 1; i < net->n_layers; i++) {
        const slide_layer *layer = &net->layers[i];
        int last = i == net->n_layers - 1;
        if (layer->kind == SLIDE_SAMPLED) {
            slide_rng rng = slide_rng_stream(net->seed, SLIDE_STREAM_TAIL + 16 * (uint64_t)i, step);
            if (layer->lsh.L && !slide_all_active(layer)) slide_active_hash(net, layer, s, &s->outputs[i - 1]);
            int64_t found = slide_active_set(layer, s, labels, last ? n_labels : 0, &rng, &s->outputs[i]);
            if (last) distinct = found;
        }
        slide_layer_forward(net, layer, &s->outputs[i - 1], &s->outputs[i]);
    }
    return distinct;
}

/* Returns the layer whose update would have left float32; those below it are not updated either. -1 if none. */
static int backward(const slide_network *net, slide_scratch *s, float lr)
{
    for (int i = net->n_layers - 1; i > 0; i--) {
        if (i < net->n_layers - 1) slide_activation_backward(net->layers[i].activation, &s->outputs[i]);
        if (!slide_layer_backward(net, &net->layers[i], &s->outputs[i - 1], &s->outputs[i], lr)) return i;
    }
    return slide_input_backward(net, s, lr) ? -1 : 0;
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
    slide_vector *out = &s->outputs[net->n_layers - 1];
    int sampled = net->layers[net->n_layers - 1].kind == SLIDE_SAMPLED;
    slide_load_features(net, s, ex, row, step, net->layers[0].dropout);
    n_labels = forward(net, s, labels, n_labels, step);
    float loss = slide_loss_gradient(net, out, labels, n_labels, sampled ? s->corrections : NULL);
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
    if (net->n_layers && !train_deep(net, s, ex, row, step, lr)) return 0;
    if (!net->has_wide || slide_wide_train(net->kernels, &net->wide, s, ex, row, lr)) return 1;
    return stop_at(s, step, net->n_layers, 1);
}

slide_status slide_train(slide_network *net, const slide_examples *ex, int64_t first_step, const float *lr,
                         slide_train_stats *stats)
{
    slide_status status = slide_reserve_for(net, ex);
    if (status) return status;
    int stop = 0;
    for (int t = 0; t < net->n_threads; t++)
        net->scratch[t].stats = (slide_train_stats){.bad_step = -1, .bad_layer = -1};
#pragma omp parallel num_threads(net->n_threads)
    {
        slide_scratch *s = &net->scratch[omp_get_thread_num()];
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
    *stats = (slide_train_stats){.bad_step = -1, .bad_layer = -1};
    for (int t = 0; t < net->n_threads; t++) {
        const slide_train_stats *mine = &net->scratch[t].stats;
        stats->loss += mine->loss;
        stats->n_loss += mine->n_loss;
        stats->n_active += mine->n_active;
        stats->wide_loss += mine->wide_loss;
        stats->n_wide_active += mine->n_wide_active;
        if (mine->bad_step >= 0 && (stats->bad_step < 0 || mine->bad_step < stats->bad_step)) {
            stats->bad_step = mine->bad_step;
            stats->bad_layer = mine->bad_layer;
            stats->bad_update = mine->bad_update;
        }
    }
    return stats->bad_step >= 0 ? SLIDE_NOT_FINITE : SLIDE_OK;
}
