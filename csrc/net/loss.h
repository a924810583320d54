/* loss.h: multi-label losses over an active set, corrected for how each neuron came to be in it. */
#ifndef SLIDE_NET_LOSS_H
#define SLIDE_NET_LOSS_H

#include "net/network.h"

/* out->val holds logits; its first `n_labels` neurons are the sample's labels (for a dense layer `labels` names them).
 * Fills out->grad and returns the loss. neg_log_q (-log q) may be NULL. Both are
 * multiplied by the sample's weight. */
float slide_loss_gradient(const slide_network *net, slide_activations *out, const int32_t *labels, int64_t n_labels,
                          const float *neg_log_q, float weight);

/* log(1 + e^z) without overflow. */
float slide_softplus(float z);

#endif
