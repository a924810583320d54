/* network.h: what is shared by all threads (slide_network) and what one thread owns (slide_scratch), kept apart by type.
 *
 * The only memory that threads write together is the layers' rows, and only optimizer.c writes them. */
#ifndef SLIDE_NET_NETWORK_H
#define SLIDE_NET_NETWORK_H

#include "core/clock.h"
#include "core/rng.h"
#include "core/rows.h"
#include "core/vector.h"
#include "kernels/kernels.h"
#include "linear/linear.h"
#include "linear/wide.h"
#include "lsh/active.h"
#include "slide.h"

/* What samples that share an active set need: batch.h. Q lanes, one a sample; P the last layer's padded width. */
typedef struct {
    slide_activations *outputs;    /* [Q][layers below the last] */
    float *queries;           /* [Q][P up to whole tiles] the vectors that enter the last layer, */
    float *queries_t;         /* [P][Q] the same by coordinate, */
    float *d_queries_t;       /* [P][Q] and their gradients */
    float *rows;              /* [A][P] copies of the active rows */
    float *logits;            /* [A][Q], then their gradients */
    float *gradient;          /* [SLIDE_TILE_ROWS][P] of some rows */
    int is_dense;             /* the rows of this batch are: batch_below.c has them, H the first layer's width in tiles, as */
    float *inputs;            /* [D + 1][Q] by feature; NULL until such rows come. In the same block: */
    float *columns;           /* [D + 1][SLIDE_TILE_ROWS] of the first layer's weights, */
    float *deltas;            /* [Q][H] gradients of what that layer puts out */
    float *moves;             /* [SLIDE_TILE_ROWS][H] of some of its rows */
    float *neg_log_q;       /* [A] -log q, then with the bias */
    int32_t *ids;             /* [A] the active set, labels first */
    int64_t n, slots, max_labels;
    int32_t *place_of;        /* [slots] hash table from a label to its place in ids; -1 where free */
    int32_t *places;          /* places of the samples' labels, one sample behind the other */
    int32_t first_place[SLIDE_TILE_QUERIES + 1];
} slide_batch;

/* Aligned so that no two threads' scratch shares a cache line, nor the pair of lines that is fetched together. */
typedef struct {
    _Alignas(128) slide_active_scratch lsh;
    slide_activations *outputs;    /* one per layer */
    int32_t *features;        /* the sample after dropout */
    float *feature_values;
    int64_t n_features, max_features, max_labels;
    slide_wide_scratch wide;
    slide_batch batch;        /* empty unless the network trains in batches */
    slide_train_stats stats;
    slide_clock clock;        /* what the time goes into */
} slide_scratch;

#define SLIDE_SPARES 4

typedef struct slide_approximation slide_approximation;

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
    struct slide_predictor *spare_predictors[SLIDE_SPARES]; /* left by calls of slide_predict for the next (infer.c), or NULL */
    slide_approximation *approximation; /* of the output layer (approximation.h), or NULL */
    int64_t version, rows_asked; /* counts changes of the weights; rows that exact labels were asked for since */
    int may_be_written;       /* by whoever holds the arrays: nothing is derived from them */
    char lock;                /* of the approximation and its readers */
    struct slide_shortlister *spare; /* left by one call of slide_shortlist for the next (shortlist.c), or NULL */
};

static inline const slide_layer *slide_last_layer(const slide_network *net)
{
    return &net->layers[net->n_layers - 1];
}

/* Around a call that trains: threads' counts and clocks to 0, and their sums. net/train.c */
void slide_train_begin(slide_network *net);
slide_status slide_train_end(slide_network *net, slide_train_stats *stats);

/* From now on slide_predict ranks by it; NULL: by the network's scores again. Not while anyone predicts. */
void slide_network_rank(slide_network *net, const slide_rank *rank);

#endif
