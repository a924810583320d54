/* layer.h: forward and backward passes of one sample through one layer. */
#ifndef SLIDE_LAYER_H
#define SLIDE_LAYER_H

#include "net/network.h"

/* Copies the sample's features, leaving each out with chance `dropout` and scaling the rest by 1 / (1 - dropout). */
void slide_load_features(const slide_network *net, slide_scratch *s, const slide_examples *ex, int64_t row,
                         uint64_t step, float dropout);

/* Layer 0: out = f(sum of the sample's feature rows). */
void slide_input_forward(const slide_network *net, const slide_scratch *s, slide_vector *out);
int slide_input_backward(const slide_network *net, const slide_scratch *s, slide_vector *out, float lr);

/* row . x + bias of one neuron, x being dense. */
static inline float slide_logit(const slide_network *net, const slide_layer *layer, int64_t i, const float *x)
{
    if (layer->codes) {
        const int8_t *codes = layer->codes + i * layer->padded;
        return layer->scales[i] * net->kernels->dot_codes(codes, x, layer->padded) + layer->biases[i];
    }
    float *row = slide_row(layer, i);
    if (layer->is_half)
        return net->kernels->dot_half(slide_half_row(layer, i), x, layer->padded) + slide_tail(layer, row)[SLIDE_BIAS];
    return net->kernels->dot(row, x, layer->padded) + slide_tail(layer, row)[SLIDE_BIAS];
}

/* Other layers: out->val = f(row . in + bias) for the neurons in out->ids (all if NULL). */
void slide_layer_forward(const slide_network *net, const slide_layer *layer, const slide_vector *in,
                         slide_vector *out);
/* Consumes out->grad (already multiplied by f'), adds to in->grad, updates the rows. Both backward passes change nothing
 * and return 0 where the updates would leave float32. */
int slide_layer_backward(const slide_network *net, const slide_layer *layer, slide_vector *in, slide_vector *out,
                         float lr);
/* out->grad *= f'(out->val) */
void slide_activation_backward(int activation, slide_vector *out);

#endif
