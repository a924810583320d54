/* active.h: which neurons of a sampled layer take part in a sample. */
#ifndef SLIDE_ACTIVE_H
#define SLIDE_ACTIVE_H

#include "network.h"

/* Whether every neuron takes part in every sample: few labels, or a wide active set. Then no table is asked. */
static inline int slide_all_active(const slide_layer *layer)
{
    return layer->n_active >= layer->n;
}

/* The active set of a layer in a training step with this input: fills out->ids with labels (distinct first), what the
 * tables return, and a uniform tail; corrections gets -log of the probability with which each came in. Returns the
 * number of distinct labels at the front. */
int64_t slide_active_set(const slide_network *net, int index, slide_scratch *s, const slide_vector *input,
                         const int32_t *labels, int64_t n_labels, uint64_t step, slide_vector *out);

/* Behind the `sure` members of ids that came in with q = 1: neurons drawn until the set is full, each of the others with
 * the same chance; or everyone else. Fills corrections, forgets the members, returns the size of the set. */
int64_t slide_active_tail(const slide_layer *layer, slide_counter *counter, slide_rng *rng, int64_t sure, int32_t *ids,
                          float *corrections);
int64_t slide_active_everyone(const slide_layer *layer, slide_counter *counter, int64_t n, int32_t *ids,
                              float *corrections);

/* Up to n neurons that the tables return for s->codes, most wanted first. Returns how many were found. */
int64_t slide_active_top(const slide_layer *layer, slide_scratch *s, int64_t n, int32_t *ids);

/* s->codes of the query in s->query. */
void slide_active_hash(const slide_network *net, const slide_layer *layer, slide_scratch *s, const slide_vector *input);

int64_t slide_most_candidates(const slide_layer *layer);
int64_t slide_counter_size(const slide_layer *layer, int64_t max_labels);

#endif
