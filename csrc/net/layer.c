/* layer.c: what a sample does to one layer. Rows of the active set are fetched a few ahead: their addresses are known
 * and random, so the processor cannot guess them. */
#include "net/layer.h"

#include <math.h>
#include <string.h>

#include "net/optimizer.h"

#define AHEAD 8 /* rows; measured at 76 features a row: 4 takes 1.1 times as long, 16 as long */

void slide_activate(const slide_network *net, int activation, float *z, int64_t n)
{
    if (activation == SLIDE_RELU)
        for (int64_t i = 0; i < n; i++) z[i] = z[i] > 0 ? z[i] : 0;
    else if (activation == SLIDE_TANH)
        net->kernels->tanh(z, n);
}

void slide_activation_backward(int activation, slide_activations *out)
{
    if (activation == SLIDE_RELU)
        for (int64_t i = 0; i < out->n; i++) out->grad[i] = out->val[i] > 0 ? out->grad[i] : 0;
    else if (activation == SLIDE_TANH)
        for (int64_t i = 0; i < out->n; i++) out->grad[i] *= 1 - out->val[i] * out->val[i];
}

static float sqnorm(const slide_network *net, const float *x, int64_t n, int sparse)
{
    if (!sparse) return net->kernels->dot(x, x, slide_pad(n));
    float s = 0;
    for (int64_t i = 0; i < n; i++) s += x[i] * x[i];
    return s;
}

void slide_load_features(const slide_network *net, slide_scratch *s, const slide_examples *ex, int64_t row,
                         uint64_t step, float dropout)
{
    float scale = 1 / (1 - dropout);
    slide_rng rng = slide_rng_stream(net->seed, SLIDE_STREAM_DROPOUT, step);
    s->n_features = 0;
    for (int64_t i = ex->x_indptr[row]; i < ex->x_indptr[row + 1]; i++) {
        if (dropout > 0 && slide_rng_float(&rng) < dropout) continue;
        s->features[s->n_features] = ex->x_indices[i];
        s->feature_values[s->n_features++] = ex->x_data[i] * scale;
    }
}

/* sum += x times a feature's row */
static void add_feature(const slide_network *net, const slide_layer *layer, int64_t feature, float x, float *sum)
{
    if (layer->qweights)
        net->kernels->axpy_qweights(sum, x * layer->scales[feature], layer->qweights + feature * layer->padded, layer->padded);
    else if (layer->is_bf16)
        net->kernels->axpy_bf16(sum, x, slide_bf16_row(layer, feature), layer->padded);
    else
        net->kernels->axpy(sum, x, slide_row(layer, feature), layer->padded);
}

SLIDE_RACY void slide_input_forward(const slide_network *net, const slide_scratch *s, slide_activations *out)
{
    const slide_layer *layer = &net->layers[0];
    memset(out->val, 0, (size_t)layer->padded * sizeof(float));
    if (layer->kind == SLIDE_DENSE_INPUT) {
        for (int64_t i = 0; i < s->n_features; i++) out->val[s->features[i]] = s->feature_values[i];
        return;
    }
    if (layer->has_bias) add_feature(net, layer, layer->fan_in, 1, out->val);
    for (int64_t i = 0; i < s->n_features; i++) {
        if (i + AHEAD < s->n_features) slide_prefetch_weights(layer, s->features[i + AHEAD]);
        add_feature(net, layer, s->features[i], s->feature_values[i], out->val);
    }
    slide_activate(net, layer->activation, out->val, out->n);
}

int slide_input_backward(const slide_network *net, const slide_scratch *s, slide_activations *out, float lr)
{
    const slide_layer *layer = &net->layers[0];
    if (layer->kind == SLIDE_DENSE_INPUT) return 1; /* it has no weights */
    slide_activations gradient = {.n = out->n, .val = out->grad};
    slide_activation_backward(layer->activation, out);
    slide_rank1 factor = {&gradient, sqnorm(net, out->grad, out->n, 0), 1};
    if (factor.sqnorm == 0) return 1;
    const float one = 1;
    if (!slide_update_fits(&net->optimizer, &factor, s->feature_values, s->n_features, lr)) return 0;
    if (layer->has_bias && !slide_update_fits(&net->optimizer, &factor, &one, 1, lr)) return 0;
    for (int64_t i = 0; i < s->n_features; i++) {
        if (i + AHEAD < s->n_features) slide_prefetch_row(slide_row(layer, s->features[i + AHEAD]), layer->stride);
        slide_update_row(net, layer, s->features[i], &factor, NULL, s->feature_values[i], lr);
    }
    if (layer->has_bias) slide_update_row(net, layer, layer->fan_in, &factor, NULL, one, lr);
    return 1;
}

/* Training only: no layer is compressed. */
SLIDE_RACY static float logit_of_sparse(const slide_layer *layer, int64_t i, const slide_activations *in)
{
    float z = 0, *row = slide_row(layer, i);
    for (int64_t j = 0; j < in->n; j++) z += slide_weight(layer, row, in->ids[j]) * in->val[j];
    return z + slide_row_scalars(layer, row)[SLIDE_BIAS];
}

SLIDE_RACY void slide_layer_forward(const slide_network *net, const slide_layer *layer, const slide_activations *in,
                                    slide_activations *out)
{
    for (int64_t k = 0; k < out->n; k++) {
        if (out->ids && k + AHEAD < out->n) slide_prefetch_weights(layer, out->ids[k + AHEAD]);
        int64_t i = out->ids ? out->ids[k] : k;
        out->val[k] = in->ids ? logit_of_sparse(layer, i, in) : slide_logit(net, layer, i, in->val);
    }
    slide_activate(net, layer->activation, out->val, out->n);
}

int slide_layer_backward(const slide_network *net, const slide_layer *layer, slide_activations *in, slide_activations *out,
                         float lr)
{
    slide_rank1 factor = {in, sqnorm(net, in->val, in->n, in->ids != NULL), 1};
    float *d_in = slide_is_over_the_data(net, layer) ? NULL : in->grad;
    if (!slide_update_fits(&net->optimizer, &factor, out->grad, out->n, lr)) return 0;
    if (d_in) memset(d_in, 0, (size_t)slide_pad(in->n) * sizeof(float));
    for (int64_t k = 0; k < out->n; k++)
        if (out->grad[k] != 0)
            slide_update_row(net, layer, out->ids ? out->ids[k] : k, &factor, d_in, out->grad[k], lr);
    return 1;
}
