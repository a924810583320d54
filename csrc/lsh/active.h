/* active.h: which neurons of a sampled layer take part in a sample. */
#ifndef SLIDE_LSH_ACTIVE_H
#define SLIDE_LSH_ACTIVE_H

#include "core/rng.h"
#include "core/vector.h"
#include "kernels/kernels.h"
#include "lsh/counter.h"

/* What one thread needs to ask tables and to fill an active set; a network's largest sampled layer sizes it. */
typedef struct {
    slide_counter counter;
    int32_t *histogram;       /* neurons by collision count, four times */
    uint32_t *winners;        /* candidates with enough collisions */
    uint32_t *codes;          /* [L][probes] */
    float *projection;        /* slide_hash_scratch */
    float *query;             /* hashed vectors: dim coordinates, up to slide_hash_rows_most of them */
    float *neg_log_q;       /* -log q of each active neuron */
} slide_active_scratch;

/* Free it also after a failure. */
slide_status slide_active_scratch_new(slide_active_scratch *s, const slide_layer *layers, int n_layers,
                                      int64_t max_labels);
void slide_active_scratch_free(slide_active_scratch *s);

/* Whether every neuron takes part in every sample: few labels, or a wide active set. Then no table is asked. */
static inline int slide_active_is_all(const slide_layer *layer)
{
    return layer->n_active >= layer->n;
}

/* A training step in two halves, with the random numbers that layer `index` draws from in this step. The first hashes
 * what the tables are asked with, the input or a label's row, and remembers the cell of each label; returns 0 where no
 * table is asked. The second fills out->ids with labels (distinct first), what the tables return, and uniform negatives,
 * and s->neg_log_q with -log of the probability with which each came in; returns the number of distinct labels. */
slide_rng slide_active_rng(uint64_t seed, int index, uint64_t step);
int slide_active_ask(const slide_kernels *kernels, const slide_layer *layer, slide_active_scratch *s,
                     const slide_activations *input, const int32_t *labels, int64_t n_labels, slide_rng *rng);
int64_t slide_active_set(const slide_layer *layer, slide_active_scratch *s, const int32_t *labels, int64_t n_labels,
                         slide_rng *rng, slide_activations *out);

/* Behind the `sure` members of ids that came in with q = 1: neurons drawn until the set is full, each of the others with
 * the same chance; or everyone else. Fills neg_log_q, forgets the members, returns the size of the set. */
int64_t slide_active_negatives(const slide_layer *layer, slide_counter *counter, slide_rng *rng, int64_t sure, int32_t *ids,
                          float *neg_log_q);
int64_t slide_active_all(const slide_layer *layer, slide_counter *counter, int64_t n, int32_t *ids,
                              float *neg_log_q);

/* Up to n neurons that the tables return for s->codes, most wanted first. Returns how many were found. */
int64_t slide_active_top(const slide_layer *layer, slide_active_scratch *s, int64_t n, int32_t *ids);

/* s->codes of the query. */
void slide_active_hash(const slide_kernels *kernels, const slide_layer *layer, slide_active_scratch *s,
                       const slide_activations *input);

#endif
