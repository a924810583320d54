/* layer.h: forward and backward passes of one sample through one layer. */
#ifndef SLIDE_NET_LAYER_H
#define SLIDE_NET_LAYER_H

#include "net/network.h"

/* Copies the sample's features, leaving each out with chance `dropout` and scaling the rest by 1 / (1 - dropout). */
void slide_load_features(const slide_network *net, slide_scratch *s, const slide_examples *ex, int64_t row,
                         uint64_t step, float dropout);

/* Layer 0: out = f(sum of the sample's feature rows), or the sample itself, of which there is nothing to learn. */
void slide_input_forward(const slide_network *net, const slide_scratch *s, slide_activations *out);
int slide_input_backward(const slide_network *net, const slide_scratch *s, slide_activations *out, float lr);

/* row . x + bias of one neuron, x being dense. */
static inline float slide_logit(const slide_network *net, const slide_layer *layer, int64_t i, const float *x)
{
    if (layer->qweights) {
        const int8_t *q = layer->qweights + i * layer->padded;
        return layer->scales[i] * net->kernels->dot_qweights(q, x, layer->padded) + layer->biases[i];
    }
    float *row = slide_row(layer, i);
    if (layer->is_bf16)
        return net->kernels->dot_bf16(slide_bf16_row(layer, i), x, layer->padded) + slide_row_scalars(layer, row)[SLIDE_BIAS];
    return net->kernels->dot(row, x, layer->padded) + slide_row_scalars(layer, row)[SLIDE_BIAS];
}

/* Whether what enters the layer is the sample itself: nobody wants its gradient. */
static inline int slide_is_over_the_data(const slide_network *net, const slide_layer *layer)
{
    return layer == &net->layers[1] && net->layers[0].kind == SLIDE_DENSE_INPUT;
}

/* Other layers: out->val = f(row . in + bias) for the neurons in out->ids (all if NULL). */
void slide_layer_forward(const slide_network *net, const slide_layer *layer, const slide_activations *in,
                         slide_activations *out);
/* Consumes out->grad (already multiplied by f'), adds to in->grad, updates the rows. Both backward passes change nothing
 * and return 0 where the updates would leave float32. */
int slide_layer_backward(const slide_network *net, const slide_layer *layer, slide_activations *in, slide_activations *out,
                         float lr);
/* z = f(z) */
void slide_activate(const slide_network *net, int activation, float *z, int64_t n);
/* out->grad *= f'(out->val) */
void slide_activation_backward(int activation, slide_activations *out);

#endif
