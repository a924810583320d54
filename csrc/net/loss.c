/* loss.c: softmax and binary cross-entropy.
 *
 * A neuron that came in with probability q stands for 1 / q neurons. Its logit is shifted by -log q, which makes the
 * softmax's sum over the active set an unbiased estimate of the sum over all neurons (Bengio & Senecal, 2008; Jean et
 * al., ACL 2015), and gives the binary loss the odds of a case-control sample. Labels and retrieved neurons have q = 1. */
#include "net/loss.h"

#include <math.h>
#include <string.h>

static void pad_with(float *z, int64_t n, float value)
{
    for (int64_t i = n; i < slide_pad(n); i++) z[i] = value;
}

static int64_t place_of(const slide_activations *out, const int32_t *labels, int64_t i)
{
    return out->ids ? i : labels[i];
}

static float softmax_gradient(const slide_network *net, slide_activations *out, const int32_t *labels, int64_t n_labels)
{
    if (n_labels == 0) { /* no target distribution: the sample says nothing */
        memset(out->grad, 0, (size_t)slide_pad(out->n) * sizeof(float));
        return 0;
    }
    float *z = out->grad, target = 1 / (float)n_labels, loss = 0;
    pad_with(z, out->n, -INFINITY);
    float shift = net->kernels->max(z, slide_pad(out->n));
    for (int64_t i = 0; i < n_labels; i++) loss -= target * (z[place_of(out, labels, i)] - shift);
    float sum = net->kernels->exp_sum(z, shift, slide_pad(out->n)), scale = 1 / sum;
    for (int64_t i = 0; i < out->n; i++) z[i] *= scale;
    for (int64_t i = 0; i < n_labels; i++) z[place_of(out, labels, i)] -= target;
    return loss + logf(sum);
}

float slide_softplus(float z)
{
    return (z > 0 ? z : 0) + log1pf(expf(-fabsf(z)));
}

static float binary_gradient(slide_activations *out, const int32_t *labels, int64_t n_labels)
{
    float *z = out->grad, loss = 0;
    for (int64_t i = 0; i < n_labels; i++) loss -= z[place_of(out, labels, i)];
    for (int64_t i = 0; i < out->n; i++) {
        loss += slide_softplus(z[i]);
        z[i] = 1 / (1 + expf(-z[i]));
    }
    for (int64_t i = 0; i < n_labels; i++) z[place_of(out, labels, i)] -= 1;
    return loss;
}

float slide_loss_gradient(const slide_network *net, slide_activations *out, const int32_t *labels, int64_t n_labels,
                          const float *neg_log_q, float weight)
{
    for (int64_t i = 0; i < out->n; i++) out->grad[i] = out->val[i] + (neg_log_q ? neg_log_q[i] : 0);
    float loss = net->loss == SLIDE_SOFTMAX ? softmax_gradient(net, out, labels, n_labels)
                                            : binary_gradient(out, labels, n_labels);
    if (weight == 1) return loss;
    for (int64_t i = 0; i < out->n; i++) out->grad[i] *= weight;
    return loss * weight;
}
