/* network.h: what is shared by all threads (slide_network) and what one thread owns (slide_scratch), kept apart by type.
 *
 * The only memory that threads write together is the layers' rows, and only optimizer.c writes them. */
#ifndef SLIDE_NETWORK_H
#define SLIDE_NETWORK_H

#include <string.h>

#include "kernels.h"
#include "linear/linear.h"
#include "rng.h"
#include "slide.h"

/* Output of a layer for one sample: n values; ids NULL means all neurons in order, else the active ones. */
typedef struct {
    int64_t n, capacity;
    int32_t *ids;
    float *val, *grad;
} slide_vector;

/* Collision counts and members of the active set: counter.h. */
typedef struct {
    uint16_t *direct;         /* [n_direct] */
    int64_t n_direct;
    uint64_t *entries;        /* [mask + 1] */
    uint64_t mask, stamp;
    int is_direct;
    uint32_t *candidates;     /* in order of first sight */
    int64_t n_candidates;
} slide_counter;

#define SLIDE_MOST_PROBES 8 /* buckets of a table that one query looks into */
#define SLIDE_DIRECT_LIMIT ((int64_t)1 << 18)
#define SLIDE_HISTOGRAMS 4 /* used in turn: most counts are equal, and adding to a number waits for the last addition */

/* What the sparse linear part needs: a score, then a gradient, for every label; both are zero between samples. */
typedef struct {
    float *score;
    uint8_t *touched;         /* blocks of labels with a score */
    int32_t *ids;             /* active labels and their gradients */
    float *gradient;
} slide_wide_scratch;

/* What samples that share an active set need: batch.h. Q lanes, one a sample; P the last layer's padded width. */
typedef struct {
    slide_vector *outputs;    /* [Q][layers below the last] */
    float *queries;           /* [Q][P up to whole tiles] the vectors that enter the last layer, */
    float *queries_t;         /* [P][Q] the same by coordinate, */
    float *d_queries_t;       /* [P][Q] and their gradients */
    float *rows;              /* [A][P] copies of the active rows */
    float *logits;            /* [A][Q], then their gradients */
    float *gradient;          /* [SLIDE_TILE_ROWS][P] of some rows */
    float *corrections;       /* [A] -log q, then with the bias */
    int32_t *ids;             /* [A] the active set, labels first */
    int64_t n, slots, max_labels;
    int32_t *place_of;        /* [slots] hash table from a label to its place in ids; -1 where free */
    int32_t *places;          /* places of the samples' labels, one sample behind the other */
    int32_t first_place[SLIDE_TILE_QUERIES + 1];
} slide_batch;

/* Aligned so that no two threads' scratch shares a cache line, nor the pair of lines that is fetched together. */
typedef struct {
    _Alignas(128) slide_counter counter;
    int32_t *histogram;       /* neurons by collision count, four times */
    uint32_t *winners;        /* candidates with enough collisions */
    uint32_t *codes;          /* [L][probes] */
    float *projection;        /* slide_hash_scratch */
    float *query;             /* hashed vectors: dim coordinates, up to SLIDE_PROJECT_ROWS of them */
    float *corrections;       /* -log q of each active neuron, output layer */
    slide_vector *outputs;    /* one per layer */
    int32_t *features;        /* the sample after dropout */
    float *feature_values;
    int64_t n_features, max_features, max_labels;
    slide_wide_scratch wide;
    slide_batch batch;        /* empty unless the network trains in batches */
    slide_train_stats stats;
    int64_t clock;            /* when the present phase began: clock.h */
} slide_scratch;

struct slide_network {
    const slide_kernels *kernels;
    slide_layer *layers;
    int n_layers;
    slide_wide wide;
    int has_wide;
    slide_rank rank;          /* n is 0 where nothing ranks the network's labels */
    slide_optimizer optimizer;
    int n_states;             /* weight-sized optimizer states behind a row's weights */
    int loss, n_threads;
    int trains_batches;       /* scratch for batches is held */
    int is_timed;             /* threads take down what their time goes into */
    uint64_t seed;
    slide_scratch *scratch;   /* one per thread */
};

static inline int64_t slide_pad(int64_t n)
{
    return (n + SLIDE_LANES - 1) / SLIDE_LANES * SLIDE_LANES;
}

static inline const slide_layer *slide_last_layer(const slide_network *net)
{
    return &net->layers[net->n_layers - 1];
}

static inline float *slide_row(const slide_layer *layer, int64_t i)
{
    return layer->rows + i * layer->stride;
}

static inline float *slide_tail(const slide_layer *layer, float *row)
{
    return row + layer->stride - SLIDE_TAIL;
}

static inline uint16_t *slide_half_row(const slide_layer *layer, int64_t i)
{
    return (uint16_t *)(void *)slide_row(layer, i);
}

static inline float slide_from_half(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float w;
    memcpy(&w, &bits, sizeof w);
    return w;
}

/* One weight of a row that is not compressed. */
SLIDE_RACY static inline float slide_weight(const slide_layer *layer, const float *row, int64_t d)
{
    return layer->is_half ? slide_from_half(((const uint16_t *)(const void *)row)[d]) : row[d];
}

/* Brings the first lines of a row on their way; the hardware follows a sequence once it has begun. */
static inline void slide_prefetch_row(const float *row, int64_t floats)
{
    for (int64_t i = 0; i < floats; i += 16) __builtin_prefetch(row + i, 1, 2);
}

/* The same for the weights of a neuron or feature, compressed or not. */
static inline void slide_prefetch_weights(const slide_layer *layer, int64_t i)
{
    if (!layer->codes) {
        slide_prefetch_row(slide_row(layer, i), layer->stride);
        return;
    }
    for (int64_t d = 0; d < layer->padded; d += 64) __builtin_prefetch(layer->codes + i * layer->padded + d, 0, 2);
}

slide_status slide_vector_new(slide_vector *v, int64_t capacity, int sparse, int64_t n);
void slide_vector_free(slide_vector *v);

/* Scratch for samples of up to that many features and labels. dense: every neuron of hidden layers takes part, and the
 * last layer has no output of its own (prediction). wide: with scores for every label. Free it also after a failure. */
slide_status slide_scratch_new(const slide_network *net, slide_scratch *s, int64_t max_features, int64_t max_labels,
                               int dense, int wide);
void slide_scratch_free(const slide_network *net, slide_scratch *s);

/* Grows the training scratch of every thread to the largest of these samples, with room for batches if asked. */
slide_status slide_reserve_for(slide_network *net, const slide_examples *ex, int batches);
void slide_largest(const slide_examples *ex, int64_t *max_features, int64_t *max_labels);

#endif
