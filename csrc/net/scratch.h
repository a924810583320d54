/* scratch.h: makes and frees what one thread owns (slide_scratch in network.h). */
#ifndef SLIDE_NET_SCRATCH_H
#define SLIDE_NET_SCRATCH_H

#include "net/network.h"

/* Scratch for samples of up to that many features and labels. dense: every neuron of hidden layers takes part, and the
 * last layer has no output of its own (prediction). wide: with scores for every label. Free it also after a failure. */
slide_status slide_scratch_new(const slide_network *net, slide_scratch *s, int64_t max_features, int64_t max_labels,
                               int dense, int wide);
void slide_scratch_free(const slide_network *net, slide_scratch *s);

/* Grows the training scratch of every thread to samples of that many features and labels, or to the largest of these, with
 * room for batches if asked. */
slide_status slide_reserve(slide_network *net, int64_t max_features, int64_t max_labels);
slide_status slide_reserve_for(slide_network *net, const slide_examples *ex, int batches);
void slide_largest(const slide_examples *ex, int64_t *max_features, int64_t *max_labels);

#endif
