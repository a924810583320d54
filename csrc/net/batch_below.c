/* batch_below.c: the layers below the last for the samples of a batch.
 *
 * Sparse rows gather each their own rows of weights (layer.c). Dense rows all need the same ones: with X [D][samples] and
 * W [D][H], the hidden vectors are W' X, and W moves by steps times their gradients, both by the tile kernel. A step is
 * that which the samples would take one after the other: no row of W has a say in another's, so that their order may be
 * changed, and Adagrad's sums are the same numbers. */
#include "net/batch_below.h"

#include <stdlib.h>
#include <string.h>

#include "net/layer.h"
#include "net/optimizer.h"

#define Q SLIDE_BATCH_MOST
#define R SLIDE_TILE_ROWS

/* -- one sample after the other -------------------------------------------------------------------------------------- */

static void load(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t place)
{
    int64_t at = plan->visit[place];
    slide_load_features(net, s, &plan->examples, plan->examples.order[at], (uint64_t)(plan->first_step + at),
                        net->layers[0].dropout);
}

/* The layers between the first and the last. */
static void forward_between(const slide_network *net, slide_activations *out)
{
    for (int i = 1; i < net->n_layers - 1; i++) slide_layer_forward(net, &net->layers[i], &out[i - 1], &out[i]);
}

/* Down to the gradient of the first layer's output. Returns as slide_batch_backward. */
static int backward_between(const slide_network *net, slide_batch *b, int q, float lr)
{
    slide_activations *out = slide_batch_outputs(net, b, q);
    int top = net->n_layers - 2;
    for (int64_t d = 0; d < out[top].n; d++) out[top].grad[d] = b->d_queries_t[d * Q + q];
    for (int i = top; i > 0; i--) {
        slide_activation_backward(net->layers[i].activation, &out[i]);
        if (!slide_layer_backward(net, &net->layers[i], &out[i - 1], &out[i], lr)) return i;
    }
    return -1;
}

/* -- all samples at once --------------------------------------------------------------------------------------------- */

/* Rows of the first layer, that of the biases included. */
static int64_t n_rows(const slide_layer *layer)
{
    return layer->fan_in + layer->has_bias;
}

/* Width of a row in whole tiles. */
static int64_t whole_tiles(const slide_layer *layer)
{
    return (layer->padded + Q - 1) / Q * Q;
}

/* Room for the matrices, made when the first dense rows come: D may be millions where they are sparse. */
static int reserve(const slide_network *net, slide_batch *b)
{
    const slide_layer *layer = &net->layers[0];
    int64_t rows = (n_rows(layer) + R - 1) / R * R, wide = whole_tiles(layer);
    if (b->inputs) return 1;
    b->inputs = slide_floats(rows * Q + rows * R + (Q + R) * wide); /* rows is even: what follows is whole cache lines */
    if (!b->inputs) return 0;
    memset(b->inputs + n_rows(layer) * Q, 0, (size_t)((rows - n_rows(layer)) * Q) * sizeof(float));
    b->columns = b->inputs + rows * Q;
    b->deltas = b->columns + rows * R;
    b->moves = b->deltas + Q * wide;
    memset(b->deltas, 0, (size_t)(Q * wide) * sizeof(float));
    return 1;
}

/* Whether more than half of the samples' values are not 0. Where there is no room they go one by one. */
static int are_dense(const slide_network *net, slide_batch *b, const slide_batch_plan *plan, int64_t first, int n)
{
    const slide_layer *layer = &net->layers[0];
    const slide_examples *ex = &plan->examples;
    int64_t values = 0;
    if (layer->kind != SLIDE_SPARSE_INPUT || layer->is_bf16) return 0;
    for (int q = 0; q < n; q++) {
        int64_t row = ex->order[plan->visit[first + q]];
        values += ex->x_indptr[row + 1] - ex->x_indptr[row];
    }
    return 2 * values > n * layer->fan_in && reserve(net, b);
}

/* X, by feature; what dropout takes is 0. */
static void load_matrix(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t first, int n)
{
    const slide_layer *layer = &net->layers[0];
    float *inputs = s->batch.inputs;
    memset(inputs, 0, (size_t)(layer->fan_in * Q) * sizeof(float));
    for (int q = 0; q < n; q++) {
        load(net, s, plan, first + q);
        for (int64_t i = 0; i < s->n_features; i++) inputs[(int64_t)s->features[i] * Q + q] = s->feature_values[i];
    }
    for (int q = 0; q < Q && layer->has_bias; q++) inputs[layer->fan_in * Q + q] = 1;
}

/* R columns of W from h on, side by side. */
SLIDE_RACY static void copy_columns(const slide_layer *layer, int64_t h, float *columns)
{
    for (int64_t d = 0; d < n_rows(layer); d++)
        for (int r = 0; r < R; r++) columns[d * R + r] = slide_row(layer, d)[h + r];
}

static void matrix_forward(const slide_network *net, slide_batch *b, int n)
{
    const slide_layer *layer = &net->layers[0];
    _Alignas(64) float sums[R * Q];
    for (int64_t h = 0; h < layer->padded; h += R) {
        copy_columns(layer, h, b->columns);
        net->kernels->tile(sums, Q, b->columns, 1, R, b->inputs, Q, n_rows(layer));
        for (int q = 0; q < n; q++)
            for (int r = 0; r < R; r++) slide_batch_outputs(net, b, q)[0].val[h + r] = sums[r * Q + q];
    }
    for (int q = 0; q < n; q++) {
        slide_activations *out = &slide_batch_outputs(net, b, q)[0];
        slide_activate(net, layer->activation, out->val, out->n);
    }
}

/* Gradients of the hidden vectors to b->deltas, and their squared lengths. Returns the first sample whose update would
 * leave float32, -1 if there is none. */
static int load_deltas(const slide_network *net, slide_batch *b, int n, float lr, float *sqnorm)
{
    const slide_layer *layer = &net->layers[0];
    float largest[Q] = {0};
    for (int64_t d = 0; d < n_rows(layer); d++)
        for (int q = 0; q < Q; q++) {
            float x = b->inputs[d * Q + q];
            x = x < 0 ? -x : x;
            largest[q] = x > largest[q] ? x : largest[q];
        }
    for (int q = 0; q < n; q++) {
        slide_activations *out = &slide_batch_outputs(net, b, q)[0];
        slide_activation_backward(layer->activation, out);
        sqnorm[q] = net->kernels->dot(out->grad, out->grad, layer->padded);
        slide_rank1 factor = {NULL, sqnorm[q], 1};
        if (sqnorm[q] != 0 && !slide_update_fits(&net->optimizer, &factor, &largest[q], 1, lr)) return q;
        memcpy(b->deltas + q * whole_tiles(layer), out->grad, (size_t)layer->padded * sizeof(float));
    }
    return -1;
}

static int matrix_backward(const slide_network *net, slide_batch *b, int n, float lr)
{
    const slide_layer *layer = &net->layers[0];
    int64_t wide = whole_tiles(layer), rows = n_rows(layer);
    _Alignas(64) float steps[R * Q] = {0};
    float sqnorm[Q];
    int bad = load_deltas(net, b, n, lr, sqnorm);
    if (bad >= 0) return bad;
    for (int64_t d = 0; d < rows; d += R) {
        int64_t left = rows - d < R ? rows - d : R;
        for (int64_t r = 0; r < left; r++)
            slide_row_steps(net, layer, d + r, b->inputs + (d + r) * Q, sqnorm, n, lr, steps + r * Q);
        for (int64_t h = 0; h < wide; h += Q)
            net->kernels->tile(b->moves + h, wide, steps, Q, 1, b->deltas + h, wide, n);
        for (int64_t r = 0; r < left; r++) slide_move_row(net, layer, d + r, b->moves + r * wide);
    }
    return -1;
}

/* -- in another process, which holds those layers --------------------------------------------------------------------- */

static void load_hidden(const slide_network *net, slide_batch *b, const slide_batch_plan *plan, int64_t first, int n)
{
    int64_t width = slide_last_layer(net)->padded;
    for (int q = 0; q < n; q++)
        memcpy(slide_batch_outputs(net, b, q)[net->n_layers - 2].val, plan->shard->hidden + plan->visit[first + q] * width,
               (size_t)width * sizeof(float));
}

static void hand_down(const slide_network *net, const slide_batch *b, const slide_batch_plan *plan, int64_t first, int n)
{
    int64_t width = slide_last_layer(net)->padded;
    for (int q = 0; q < n; q++) {
        float *d = plan->shard->d_hidden + plan->visit[first + q] * width;
        for (int64_t i = 0; i < width; i++) d[i] = b->d_queries_t[i * Q + q];
    }
}

/* -- all of them ------------------------------------------------------------------------------------------------------------ */

void slide_batch_forward(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t first, int n)
{
    slide_batch *b = &s->batch;
    if (plan->shard) {
        load_hidden(net, b, plan, first, n);
        return;
    }
    b->is_dense = are_dense(net, b, plan, first, n);
    if (b->is_dense) {
        load_matrix(net, s, plan, first, n);
        matrix_forward(net, b, n);
    }
    for (int q = 0; q < n; q++) {
        slide_activations *out = slide_batch_outputs(net, b, q);
        if (!b->is_dense) {
            load(net, s, plan, first + q);
            slide_input_forward(net, s, &out[0]);
        }
        forward_between(net, out);
    }
}

int slide_batch_backward(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t first, int n,
                         float lr, int *q)
{
    slide_batch *b = &s->batch;
    if (plan->shard) {
        hand_down(net, b, plan, first, n);
        return -1;
    }
    int at_once = b->is_dense && slide_row_steps_possible(&net->optimizer);
    for (*q = 0; *q < n; ++*q) {
        int layer = backward_between(net, b, *q, lr);
        if (layer >= 0) return layer;
        if (at_once) continue;
        load(net, s, plan, first + *q);
        if (!slide_input_backward(net, s, &slide_batch_outputs(net, b, *q)[0], lr)) return 0;
    }
    if (!at_once) return -1;
    *q = matrix_backward(net, b, n, lr);
    return *q < 0 ? -1 : 0;
}
