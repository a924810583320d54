/* batch.c: one step for up to 32 samples that share an active set (batch_set.c).
 *
 * Labels of one sample are negatives of the others. With Z [A][samples] the logits, W [A][H] the active rows and X
 * [samples][H] the hidden vectors, the passes are Z = W X', dX = dZ' W and dW = dZ X, all by the tile kernel; each row then
 * takes one step of the optimizer with its summed gradient. */
#include "net/batch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "net/batch_below.h"
#include "net/batch_set.h"
#include "net/layer.h"
#include "net/loss.h"
#include "net/optimizer.h"

#define Q SLIDE_BATCH_MOST
#define R SLIDE_TILE_ROWS
#define AHEAD 8 /* rows fetched ahead, as in layer.c */
#define FIRST_LABELS 1024 /* labels of a batch for which there is room from the start: 32 a sample */

/* -- memory ---------------------------------------------------------------------------------------------------------- */

/* A query takes whole tiles of Q floats. */
static int64_t query_stride(const slide_layer *layer)
{
    return (layer->padded + Q - 1) / Q * Q;
}

void slide_batch_free(const slide_network *net, slide_scratch *s)
{
    slide_batch *b = &s->batch;
    for (int64_t i = 0; b->outputs && i < Q * (net->n_layers - 1); i++) slide_activations_free(&b->outputs[i]);
    free(b->outputs);
    free(b->queries);
    free(b->queries_t);
    free(b->d_queries_t);
    free(b->gradient);
    free(b->inputs);
    slide_batch_set_free(b);
    memset(b, 0, sizeof *b);
}

slide_status slide_batch_new(const slide_network *net, slide_scratch *s)
{
    slide_batch *b = &s->batch;
    const slide_layer *layer = slide_last_layer(net);
    int64_t padded = layer->padded;
    b->outputs = calloc((size_t)(Q * (net->n_layers - 1)), sizeof *b->outputs);
    b->queries = slide_floats(Q * query_stride(layer));
    b->queries_t = slide_floats(padded * Q);
    b->d_queries_t = slide_floats(padded * Q);
    b->gradient = slide_floats(R * query_stride(layer));
    if (!b->outputs || !b->queries || !b->queries_t || !b->d_queries_t || !b->gradient) return SLIDE_NO_MEMORY;
    if (slide_batch_set_reserve(layer, b, FIRST_LABELS)) return SLIDE_NO_MEMORY;
    for (int64_t i = 0; i < Q * (net->n_layers - 1); i++) {
        const slide_layer *below = &net->layers[i % (net->n_layers - 1)];
        slide_status status = slide_activations_new(&b->outputs[i], below->n, 0, below->n);
        if (status) return status;
    }
    return SLIDE_OK;
}

/* -- forward --------------------------------------------------------------------------------------------------------- */

static void load_queries(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t first, int n)
{
    slide_batch *b = &s->batch;
    int64_t padded = slide_last_layer(net)->padded, stride = query_stride(slide_last_layer(net));
    memset(b->queries, 0, (size_t)(Q * stride) * sizeof(float));
    slide_batch_forward(net, s, plan, first, n);
    for (int q = 0; q < n; q++) {
        const slide_activations *query = &slide_batch_outputs(net, b, q)[net->n_layers - 2];
        memcpy(b->queries + q * stride, query->val, (size_t)query->n * sizeof(float));
    }
    for (int64_t d = 0; d < padded; d++)
        for (int q = 0; q < Q; q++) b->queries_t[d * Q + q] = b->queries[q * stride + d];
}

/* Copies the active rows side by side, which both passes read, and computes the logits, shifted by the neg_log_q. */
SLIDE_RACY static void forward_last(const slide_network *net, slide_batch *b)
{
    const slide_layer *layer = slide_last_layer(net);
    int64_t padded = layer->padded, rows = (b->n + R - 1) / R * R;
    for (int64_t k = 0; k < b->n; k++) {
        if (k + AHEAD < b->n) slide_prefetch_row(slide_row(layer, b->ids[k + AHEAD]), layer->stride);
        float *row = slide_row(layer, b->ids[k]);
        if (layer->is_bf16)
            net->kernels->expand_bf16(b->rows + k * padded, slide_bf16_row(layer, b->ids[k]), padded);
        else
            for (int64_t d = 0; d < padded; d++) b->rows[k * padded + d] = row[d];
        b->neg_log_q[k] += slide_row_scalars(layer, row)[SLIDE_BIAS];
    }
    memset(b->rows + b->n * padded, 0, (size_t)((rows - b->n) * padded) * sizeof(float));
    for (int64_t k = 0; k < rows; k += R)
        net->kernels->tile(b->logits + k * Q, Q, b->rows + k * padded, padded, 1, b->queries_t, Q, padded);
    for (int64_t k = 0; k < b->n; k++)
        for (int q = 0; q < Q; q++) b->logits[k * Q + q] += b->neg_log_q[k];
}

/* -- loss: logits become their gradients; losses[q] per sample ------------------------------------------------------- */

/* Labels of the q-th sample of a batch, and those of them that are here: all, but in a shard. */
static int labels_here(const slide_batch *b, int q)
{
    return b->first_place[q + 1] - b->first_place[q];
}

static int labels_of(const slide_batch *b, const slide_batch_plan *plan, int64_t first, int q)
{
    return plan->shard ? plan->shard->n_labels[plan->visit[first + q]] : labels_here(b, q);
}

/* Takes the others' exponentials into a softmax over the labels here; log_sum[q] becomes that of all. */
static void join_others(slide_batch *b, const slide_batch_plan *plan, int64_t first, int n, float *log_sum)
{
    float kept[Q] = {0};
    for (int q = 0; q < n; q++) {
        float ratio = expf(plan->shard->others[plan->visit[first + q]] - log_sum[q]);
        kept[q] = 1 / (1 + ratio);
        log_sum[q] = isinf(ratio) ? plan->shard->others[plan->visit[first + q]] : log_sum[q] + log1pf(ratio);
    }
    for (int64_t k = 0; k < b->n; k++)
        for (int q = 0; q < Q; q++) b->logits[k * Q + q] *= kept[q];
}

static void softmax_gradient(const slide_network *net, slide_batch *b, const slide_batch_plan *plan, int64_t first, int n,
                             float *losses)
{
    float weight[Q] = {0}, shift[Q], sum[Q], label_sum[Q] = {0}, log_sum[Q], share = plan->shard ? plan->shard->share : 1;
    for (int q = 0; q < n; q++) {
        int labels = labels_of(b, plan, first, q);
        weight[q] = labels > 0; /* a sample without labels has no target distribution and says nothing */
        for (int i = 0; i < labels_here(b, q); i++)
            label_sum[q] += b->logits[(int64_t)b->places[b->first_place[q] + i] * Q + q] / (float)labels;
    }
    net->kernels->softmax_lanes(b->logits, b->n, weight, shift, sum);
    for (int q = 0; q < n; q++) log_sum[q] = logf(sum[q]) + shift[q];
    if (plan->shard) {
        for (int q = 0; q < n; q++) plan->shard->log_sum[plan->visit[first + q]] = log_sum[q];
        join_others(b, plan, first, n, log_sum);
    }
    for (int q = 0; q < n; q++) {
        int labels = labels_of(b, plan, first, q);
        losses[q] = labels > 0 ? share * log_sum[q] - label_sum[q] : 0;
        for (int i = 0; i < labels_here(b, q); i++)
            b->logits[(int64_t)b->places[b->first_place[q] + i] * Q + q] -= 1 / (float)labels;
    }
}

static void binary_gradient(slide_batch *b, int n, float *losses)
{
    for (int q = 0; q < n; q++) {
        losses[q] = 0;
        for (int i = b->first_place[q]; i < b->first_place[q + 1]; i++)
            losses[q] -= b->logits[(int64_t)b->places[i] * Q + q];
    }
    for (int64_t k = 0; k < b->n; k++)
        for (int q = 0; q < Q; q++) {
            float *z = &b->logits[k * Q + q];
            if (q < n) losses[q] += slide_softplus(*z);
            *z = q < n ? 1 / (1 + expf(-*z)) : 0;
        }
    for (int q = 0; q < n; q++)
        for (int i = b->first_place[q]; i < b->first_place[q + 1]; i++) b->logits[(int64_t)b->places[i] * Q + q] -= 1;
}

/* Losses and gradients count as many times as their sample's row. */
static void weigh(slide_batch *b, const slide_batch_plan *plan, int64_t first, int n, float *losses)
{
    float weight[Q] = {0};
    for (int q = 0; q < n; q++) {
        weight[q] = slide_weight_of(&plan->examples, plan->examples.order[plan->visit[first + q]]);
        losses[q] *= weight[q];
    }
    for (int64_t k = 0; k < b->n; k++)
        for (int q = 0; q < Q; q++) b->logits[k * Q + q] *= weight[q];
}

/* -- backward -------------------------------------------------------------------------------------------------------- */

/* Gradients of the queries from the rows as they were read. */
static void backward_queries(const slide_network *net, slide_batch *b)
{
    int64_t padded = slide_last_layer(net)->padded;
    for (int64_t d = 0; d < padded; d += R)
        net->kernels->tile(b->d_queries_t + d * Q, Q, b->rows + d, 1, padded, b->logits, Q, b->n);
}

/* One step of every active row with its gradient summed over the batch. */
static void update_rows(const slide_network *net, slide_batch *b, int n, float lr)
{
    const slide_layer *layer = slide_last_layer(net);
    int64_t padded = layer->padded, stride = query_stride(layer);
    slide_activations gradient = {.n = layer->fan_in};
    for (int64_t k = 0; k < b->n; k += R) {
        const float *logits = b->logits + k * Q;
        for (int64_t d = 0; d < stride; d += Q)
            net->kernels->tile(b->gradient + d, stride, logits, Q, 1, b->queries + d, stride, n);
        for (int r = 0; r < R && k + r < b->n; r++) {
            float bias = 0;
            int moves = 0;
            for (int q = 0; q < n; q++) {
                bias += logits[r * Q + q];
                moves |= logits[r * Q + q] != 0;
            }
            if (!moves) continue;
            gradient.val = b->gradient + r * stride;
            slide_rank1 factor = {&gradient, net->kernels->dot(gradient.val, gradient.val, padded), bias};
            slide_update_row(net, layer, b->ids[k + r], &factor, NULL, 1, lr);
        }
    }
}

/* Whether the step of every active row stays within float32: no row's gradient is longer than this. */
static int rows_fit(const slide_network *net, const slide_batch *b, int n, float lr)
{
    int64_t padded = slide_last_layer(net)->padded, stride = query_stride(slide_last_layer(net));
    float longest = 0, largest = 0;
    for (int q = 0; q < n; q++) {
        float sqnorm = net->kernels->dot(b->queries + q * stride, b->queries + q * stride, padded);
        longest = sqnorm > longest ? sqnorm : longest;
    }
    for (int64_t k = 0; k < b->n; k++) {
        float sum = 0;
        for (int q = 0; q < n; q++) sum += fabsf(b->logits[k * Q + q]);
        largest = sum > largest ? sum : largest;
    }
    slide_rank1 factor = {NULL, longest, 1};
    return slide_update_fits(&net->optimizer, &factor, &largest, 1, lr);
}

/* The first sample whose loss is not finite ends the training; the layer is the lowest with such an output. */
static int all_finite(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t first, int n,
                      const float *losses)
{
    for (int q = 0; q < n; q++) {
        if (isfinite(losses[q])) continue;
        s->stats.bad_step = plan->first_step + plan->visit[first + q];
        s->stats.bad_layer = net->n_layers - 1;
        for (int i = net->n_layers - 2; i >= 0; i--) {
            const slide_activations *out = &slide_batch_outputs(net, &s->batch, q)[i];
            for (int64_t d = 0; d < out->n; d++)
                if (!isfinite(out->val[d])) s->stats.bad_layer = i;
        }
        return 0;
    }
    return 1;
}

static int stop_at(slide_scratch *s, const slide_batch_plan *plan, int64_t place, int layer)
{
    s->stats.bad_step = plan->first_step + plan->visit[place];
    s->stats.bad_layer = layer;
    s->stats.bad_update = 1;
    return 0;
}

int slide_batch_log_sums(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t first, int n)
{
    slide_batch *b = &s->batch;
    float weight[Q] = {0}, shift[Q], sum[Q];
    load_queries(net, s, plan, first, n);
    if (slide_batch_choose(net, s, plan, first, n)) {
        s->stats.no_memory = 1;
        return 0;
    }
    forward_last(net, b);
    net->kernels->softmax_lanes(b->logits, b->n, weight, shift, sum);
    for (int q = 0; q < n; q++) plan->shard->log_sum[plan->visit[first + q]] = logf(sum[q]) + shift[q];
    return 1;
}

int slide_batch_train(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t first, int n)
{
    slide_batch *b = &s->batch;
    float losses[Q], lr = plan->lr[plan->visit[first]];
    const slide_examples *ex = &plan->examples;
    load_queries(net, s, plan, first, n);
    slide_clock_stop(&s->clock, SLIDE_PHASE_INPUT);
    if (slide_batch_choose(net, s, plan, first, n)) {
        s->stats.no_memory = 1;
        return 0;
    }
    slide_clock_stop(&s->clock, SLIDE_PHASE_RETRIEVE);
    forward_last(net, b);
    slide_clock_stop(&s->clock, SLIDE_PHASE_FORWARD);
    if (net->loss == SLIDE_SOFTMAX)
        softmax_gradient(net, b, plan, first, n, losses);
    else
        binary_gradient(b, n, losses);
    if (ex->weights) weigh(b, plan, first, n, losses);
    if (!all_finite(net, s, plan, first, n, losses)) return 0;
    for (int q = 0; q < n; q++) {
        s->stats.loss += losses[q];
        s->stats.n_loss += labels_of(b, plan, first, q) > 0 || net->loss == SLIDE_BINARY;
        s->stats.n_active += b->n;
    }
    slide_clock_stop(&s->clock, SLIDE_PHASE_LOSS);
    if (!rows_fit(net, b, n, lr)) return stop_at(s, plan, first, net->n_layers - 1);
    int nothing_below = !plan->shard && slide_is_over_the_data(net, slide_last_layer(net));
    if (!nothing_below) backward_queries(net, b);
    slide_clock_stop(&s->clock, SLIDE_PHASE_BACKWARD);
    update_rows(net, b, n, lr);
    slide_clock_stop(&s->clock, SLIDE_PHASE_UPDATE);
    if (nothing_below) return 1;
    int q, layer = slide_batch_backward(net, s, plan, first, n, lr, &q);
    if (layer >= 0) return stop_at(s, plan, first + q, layer);
    slide_clock_stop(&s->clock, SLIDE_PHASE_BELOW);
    return 1;
}
