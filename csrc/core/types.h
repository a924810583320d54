/* types.h: the values that a network is described by: statuses, kinds, layers, hash families, examples. No functions.
 *
 * Everything in csrc/ stands on this file. The letters (N, D, H, A, B, K, L, P) are those of slide.h; where the rows of a
 * layer lie is read with rows.h. */
#ifndef SLIDE_CORE_TYPES_H
#define SLIDE_CORE_TYPES_H

#include <stdint.h>

/* HOGWILD's races are intended in functions with this mark and nowhere else; a thread sanitizer still finds all others. */
#define SLIDE_RACY __attribute__((no_sanitize("thread")))

#define SLIDE_LANES 16       /* every row and scratch vector is padded with zeros to a multiple of this */
#define SLIDE_ROW_SCALARS 16 /* floats behind a row's weights and states: one cache line of scalars */
#define SLIDE_HADAMARD_ROUNDS 3 /* as Andoni et al. (NIPS 2015) find enough */
#define SLIDE_OFFSET_STEPS (1 << 24) /* a fraction of a cell in the 24 digits of a float */
#define SLIDE_MAX_TABLES 1022 /* collision counts have 10 bits, of which 1023 means "a member": lsh/counter.h */

/* Where the scalars of a row live, in floats behind its last state (one cache line with the row). */
enum { SLIDE_BIAS, SLIDE_BIAS_S1, SLIDE_BIAS_S2, SLIDE_ROW_ACC, SLIDE_ROW_COUNT };

typedef enum { SLIDE_OK, SLIDE_NO_MEMORY, SLIDE_NOT_FINITE } slide_status;
typedef enum { SLIDE_SPARSE_INPUT, SLIDE_DENSE, SLIDE_SAMPLED, SLIDE_DENSE_INPUT } slide_layer_kind;
typedef enum { SLIDE_IDENTITY, SLIDE_RELU, SLIDE_TANH } slide_activation;
typedef enum { SLIDE_SOFTMAX, SLIDE_BINARY } slide_loss;
typedef enum { SLIDE_SGD, SLIDE_ADAGRAD_ROW, SLIDE_ADAGRAD, SLIDE_ADAM } slide_optimizer_kind;
typedef enum {
    SLIDE_SIMHASH,
    SLIDE_WTA,
    SLIDE_DWTA,
    SLIDE_MINHASH,
    SLIDE_SIMHASH_GAUSSIAN,
    SLIDE_SIMHASH_SPARSE,
    SLIDE_SIMHASH_HADAMARD,
    SLIDE_CUSTOM,
    SLIDE_QUERY_CELLS,
    SLIDE_EUCLIDEAN
} slide_hash_kind;
typedef enum {
    SLIDE_AS_IT_IS,
    SLIDE_NORM_AUGMENTED,
    SLIDE_NORM_RANGING = SLIDE_NORM_AUGMENTED, /* with several norms */
    SLIDE_SIGN_ALSH,
    SLIDE_L2_ALSH
} slide_transform;
typedef enum { SLIDE_FIFO, SLIDE_RESERVOIR, SLIDE_BEST } slide_bucket_policy; /* BEST: of query cells, which sort */
typedef enum { SLIDE_BY_COUNT, SLIDE_VANILLA, SLIDE_THRESHOLD } slide_selection;

/* Codes uint32 [n][L] of n vectors that lie stride floats apart: a family from outside. Called by all threads. */
typedef void (*slide_custom_hash)(void *context, const float *x, int64_t n, int64_t stride, uint32_t *codes);

/* One hash family with its L tables. A neuron is {weights, bias}, a query {x, 1}, of fan_in + 1 coordinates; what is
 * hashed is made from them by transform.c and has dim coordinates.
 *   SimHash    directions: float [blocks][dim][64], +1 or -1, 64 directions a block, K * L of them in use
 *   Gaussian   the same, integers of -127 to 127
 *   Sparse     positions:  int32 [K * L][window], coordinates to add, or ~coordinate to subtract
 *   Hadamard   directions: float [blocks][SLIDE_HADAMARD_ROUNDS][window], +1 or -1; window = 2^log2_window >= dim
 *   WTA        positions:  int32 [K * L][window], coordinates that compete
 *   DWTA       positions:  int32 [permutations][dim], where each coordinate lands; bin = position / window
 *   MinHash    positions:  int32 [2 dim][permutations], random 31-bit ranks of the elements; window = largest set
 *   Euclidean  directions as Gaussian; positions: int32 [K * L], offsets in SLIDE_OFFSET_STEPS to a cell of the given width;
 *              window = cells that are told apart
 *   Custom     hash, context
 *   cells      directions: float [blocks][dim][64], 2^K centres c of query cells, last coordinate -|c|^2 / 2 (query_cells.h); L is
 *              1 and a bucket lists the neurons that score highest at its centre, best first
 * frame: float [2 (fan_in + 1)] or NULL: {centre of the weights, of the biases, centre of the queries, scale f of the
 *   bias}. A neuron w, b becomes {w - centre, (b - its centre + (w - centre) . query centre) / f}, a query x becomes
 *   {x - query centre, f}: their inner product differs from w . x + b by a constant for each query, so the ranking is
 *   kept while the angles, which SimHash sees, spread out (recall of the exact top 10 rises by half and more).
 * transform: what is appended so that angles (L2-ALSH: distances) see norms; norms: float [n_norms], ascending, of groups of neurons.
 * buckets: int32 [L][2^table_bits][bucket_stride]; a bucket is {number ever inserted, ids...}. */
typedef struct {
    int32_t kind, K, L, window, log2_window;
    int32_t dim, permutations, code_bits;
    const float *directions;
    const int32_t *positions;
    const float *frame;
    int32_t transform, n_norms;
    const float *norms;
    double width;            /* Euclidean: of a cell, in units of the vectors */
    slide_custom_hash hash;
    void *context;
    int32_t table_bits, capacity, bucket_stride, policy;
    int32_t probes;          /* buckets of a table that a query looks into; cells: how many it takes candidates from */
    int32_t selection, min_count; /* which neurons of those buckets are taken: active.c; not for cells */
    int32_t *buckets;
    int32_t *label_cell;     /* cells: [n] the cell of the sample whose label a neuron last was, -1 for none; or NULL */
    uint32_t *codes;         /* [n][L] of the rows as they were last hashed, or NULL: not remembered; not for cells */
    uint64_t *row_digests;   /* [n] of those rows (rebuild.c), 0: hash it whatever it is */
} slide_lsh;

/* A layer: rows [n_rows][stride] of {weights[P], states[P] x n_states, scalars[SLIDE_ROW_SCALARS]}; stride counts floats.
 * SPARSE_INPUT stores one row per feature (n_rows = D, + 1 for the bias row, width = n); DENSE_INPUT, whose output is the
 * sample itself (n = D), stores none; the others one per neuron. */
typedef struct {
    int32_t kind, activation;
    int64_t n, fan_in;
    float *rows;
    int64_t n_rows, width, padded, stride;
    int32_t has_bias;        /* SPARSE_INPUT: row D is an always-on feature; others: the bias among the scalars is trained */
    float dropout;           /* inputs only: chance that a feature is left out of a training sample */
    int64_t n_active, n_random; /* SAMPLED only: size of the active set, and its share drawn uniformly */
    int32_t asks_label;      /* SAMPLED, last layer: training asks the tables with a label's row, not with the input */
    slide_lsh lsh;
    /* A compressed layer, which only predicts: rows is NULL, weights are qweights [n_rows][P] times their row's
     * scale. */
    const int8_t *qweights;
    const float *scales, *biases;
    int32_t is_bf16;         /* weights are bfloat16 in half the room, without states; the last scalar counts updates */
    const int32_t *slots;    /* [n] of a layer whose rows are not all in memory: where each lies in rows, -1 for those that
                              * are not there; or NULL, and row i lies at i. Rows get slots
                              * before they are trained or scored: slide_batch_plan_rows says which */
} slide_layer;

typedef struct {
    int32_t kind;
    float beta1, beta2, eps, weight_decay;
} slide_optimizer;

/* The sparse linear part (wide.c): CSR by feature of the labels it met in training; weights and bias are learned.
 * A label's score is deep_share * logit + wide score. Its step is the schedule's times lr_ratio.
 * Compressed, it only predicts: weights is NULL, a weight is a qweight times its feature's scale, and where there are no
 * more than 2^16 labels narrow holds them instead. */
typedef struct {
    const int64_t *indptr;   /* [n_features + 1] */
    const int32_t *labels;   /* ascending within a feature */
    float *weights, *bias;
    const uint16_t *narrow;
    const int8_t *qweights;
    const float *scales;     /* [n_features] */
    int64_t n_labels;
    float lr_ratio, bias_ratio, deep_share;
} slide_wide;

/* CSR examples; order[i] is the row of the i-th sample to visit. A row's loss counts weights[row] times, or once where
 * weights is NULL. */
typedef struct {
    const int64_t *x_indptr, *y_indptr;
    const int32_t *x_indices, *y_indices;
    const float *x_data;
    const int64_t *order;
    int64_t n;
    const float *weights;
} slide_examples;

/* What threads spend their time on while they train (clock.h); the last layer's backward pass and its update are one walk
 * for samples that have an active set of their own, counted as UPDATE. */
enum {
    SLIDE_PHASE_INPUT,    /* gathering the rows of the sample's features, and layers up to the last */
    SLIDE_PHASE_HASH,     /* of what enters a sampled layer */
    SLIDE_PHASE_RETRIEVE, /* active sets */
    SLIDE_PHASE_FORWARD,  /* the last layer's logits */
    SLIDE_PHASE_LOSS,
    SLIDE_PHASE_BACKWARD, /* gradients of what enters the last layer */
    SLIDE_PHASE_UPDATE,   /* the last layer's rows */
    SLIDE_PHASE_BELOW,    /* backward pass and updates of the layers below */
    SLIDE_PHASE_SPARSE,   /* the sparse linear part, all of it */
    SLIDE_PHASES
};

/* What a call of slide_train did. */
typedef struct {
    double loss;             /* summed over samples with a loss */
    int64_t n_loss;
    int64_t n_active;        /* summed size of the output layer's active sets */
    double wide_loss;        /* of the sparse linear part, and its summed active sets */
    int64_t n_wide_active;
    int32_t no_memory;       /* training stopped for want of scratch memory */
    int64_t bad_step, bad_layer; /* where a NaN or infinity was met; -1 if nowhere. Layer n_layers: the wide part */
    int64_t phase_ns[SLIDE_PHASES]; /* summed over threads; 0 unless slide_network_time was asked for */
    int64_t bad_update;      /* 1: not in the layer's output, but its update would have left float32, and was not made */
} slide_train_stats;

#endif
