/* batch_below.h: what the samples of a batch do below the last layer: one after the other, and where their rows are dense
 * the input layer for all of them at once. */
#ifndef SLIDE_NET_BATCH_BELOW_H
#define SLIDE_NET_BATCH_BELOW_H

#include "net/batch.h"

/* Outputs of the layers below the last for the q-th sample of a batch. */
static inline slide_activations *slide_batch_outputs(const slide_network *net, const slide_batch *b, int q)
{
    return b->outputs + (int64_t)q * (net->n_layers - 1);
}

/* Fills them for the samples plan->visit[first .. first + n). */
void slide_batch_forward(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t first, int n);

/* The way back of the same samples, whose gradients stand in d_queries_t, with the updates of those layers. Returns the
 * layer whose update would leave float32, and in *q the sample; -1 if all were made. */
int slide_batch_backward(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t first, int n,
                         float lr, int *q);

#endif
