/* linear.h: sparse rows, one a label, that rank what the network's tables return ("retrieve and rank").
 *
 * A label's row is learned on its own positives and on the rows whose shortlist holds it wrongly (hard negatives: as
 * Slice, Jain et al., WSDM 2019, does for dense features). Each such problem is small and independent of all others, so
 * it is solved in cache by dual coordinate descent (Hsieh et al., ICML 2008), one thread a label, with the same bits for any
 * number of threads. Reading order: negatives.c, solve.c (one label), gram.c (the same where rows are few), weights.c
 * (what both share), train.c (all of them), score.c.
 *
 * The alphabet: N rows, D features, L labels, M labels of a shortlist. */
#ifndef SLIDE_LINEAR_LINEAR_H
#define SLIDE_LINEAR_LINEAR_H

#include "core/types.h"

/* Rows of labels as CSR: indptr [L + 1], features ascending within a row, in narrow instead where 16 bits hold them (not for
 * rows to start from). Compressed, weights is NULL, and a weight is a qweight times its label's scale. */
typedef struct {
    const int64_t *indptr;
    const int32_t *features;
    const float *weights;
    const float *bias;
    const int8_t *qweights;
    const float *scales;
    const uint16_t *narrow;
    int64_t n_labels, n_features;
} slide_linear_rows;

/* What is learned from: X as CSR, and for each of L labels its positive rows and its negative ones, ascending. */
typedef struct {
    const int64_t *x_indptr;
    const int32_t *x_indices;
    const float *x_data;
    int64_t n_rows, n_features;
    const int64_t *positive_indptr, *negative_indptr; /* [L + 1] */
    const int32_t *positives, *negatives;
    const float *row_weights;      /* [N], or NULL: all 1 */
    int64_t first_label, n_labels; /* these L labels are first_label, first_label + 1, ... of the model */
    const slide_linear_rows *warm; /* rows of these L labels to start from, or NULL */
} slide_linear_data;

/* min over w and bias: (|w|^2 + (bias + 1)^2) / 2 + sum over rows of C_i max(0, 1 - y_i (w . x_i + bias))^2, with
 * C_i = C * the weight of its class * that of its row. A bias is drawn to -1, the margin of "not this label": rows that
 * nothing speaks for then need no multiplier. */
typedef struct {
    float C, positive_weight, negative_weight;
    float eps;     /* a label is solved when its projected gradients lie within this of each other */
    float prune;   /* weights under this in absolute value are dropped, but for the bias */
    int32_t max_passes, shrinks; /* of problems of more than SLIDE_GRAM_ROWS rows: smaller ones are solved */
    uint64_t seed;
    int32_t n_threads;
} slide_linear_options;

/* negatives.c: for each label of [first_label, first_label + n_labels) the rows whose shortlist has it though it is none of
 * theirs. shortlists [n][m], -1 where empty. First with rows NULL: fills indptr [n_labels + 1]; then with room for them. */
typedef struct {
    const int32_t *shortlists;
    int64_t n, m;
    const int64_t *y_indptr;
    const int32_t *y_indices;      /* ascending within a row */
    int64_t first_label, n_labels;
    int32_t n_threads;
} slide_linear_shortlists;

slide_status slide_linear_negatives(const slide_linear_shortlists *lists, int64_t *indptr, int32_t *rows);

/* train.c: the rows of all labels. Fills indptr [L + 1] and bias [L]; the weights are held until they are taken. */
typedef struct slide_linear_solution slide_linear_solution;
slide_linear_solution *slide_linear_train(const slide_linear_data *data, const slide_linear_options *options,
                                          int64_t *indptr, float *bias, int64_t *n_passes);
void slide_linear_take(const slide_linear_solution *solution, const int64_t *indptr, int32_t *features, float *weights);
void slide_linear_free(slide_linear_solution *solution);

/* score.c: z [n][m] = w_l . x + bias_l for the labels ids [n][m] of each row; -infinity where an id is -1. */
slide_status slide_linear_scores(const slide_linear_rows *rows, const slide_examples *ex, const int32_t *ids, int64_t m,
                                 int n_threads, float *z);

/* The same for one row: dense is float [D] of zeros, and is so again afterwards. */
void slide_linear_score_row(const slide_linear_rows *rows, const int32_t *features, const float *values, int64_t n,
                            const int32_t *ids, int64_t m, float *dense, float *z);

/* rank.c: how a sample's shortlist is ranked: log odds that a label is one of its own,
 * curve(z) + logit_share * logit + sum_share * log sum over the shortlist of e^logit. The curve is straight between its
 * knots, which lie step apart from first on, and goes on as it ends. n: labels of a shortlist, 0 where nothing is ranked. */
typedef struct {
    slide_linear_rows rows;
    int64_t n;
    const float *curve;
    int32_t n_knots;
    float first, step, logit_share, sum_share;
} slide_rank;

/* scores [m]: logits on entry, log odds on return; z [m] is scratch, ids and dense are as for slide_linear_score_row. Places
 * with an id of -1 have -infinity before and after. */
void slide_rank_scores(const slide_rank *rank, const int32_t *features, const float *values, int64_t n, const int32_t *ids,
                       int64_t m, float *dense, float *z, float *scores);

/* gram.c: a problem of few rows by its columns, and the inner products of those rows that have moved. */
typedef struct {
    int64_t *begin;                /* [known + 1] of each feature's rows */
    int32_t *rows;
    float *values;
    float *products;               /* [rows][stride] y_i y_j (x_i . x_j + 1), where known */
    int8_t *known;                 /* [rows] */
    float *gradient;               /* [stride] y_i z_i - 1 */
    int32_t *free;                 /* rows whose multiplier is over 0 */
    double *system, *step;         /* [free][free] and [free]: where all their gradients are 0 */
    int64_t max_columns, max_values;
} slide_linear_gram;

/* solve.c: one thread's memory, and one label with it. */
typedef struct {
    int32_t *place;                /* [D] a feature's number in the problem, -1 for none */
    int32_t *known;                /* features of the problem in order of first sight */
    float *w;                      /* [known + 1], the bias last */
    int32_t *indices;              /* the problem's rows */
    float *values;
    int64_t *begin;                /* [rows + 1] */
    int32_t *rows;                 /* their numbers in X */
    float *alpha, *curvature, *slack, *sign;
    int32_t *active;
    int64_t max_known, max_values, max_rows, n_known, n, n_positive;
    slide_linear_gram gram;
    int32_t *kept;                 /* the solved row: features that stay, and their weights */
    float *kept_weights;
    int64_t n_kept;
} slide_linear_scratch;

slide_status slide_linear_scratch_new(slide_linear_scratch *s, int64_t n_features);
void slide_linear_scratch_free(slide_linear_scratch *s);

/* weights.c: w . x_i + bias; w += factor {x_i, 1}; w of the multipliers, the bias begun at SLIDE_LINEAR_BIAS. */
#define SLIDE_LINEAR_BIAS -1.0f
float slide_linear_margin(const slide_linear_scratch *s, int64_t i);
void slide_linear_add_row(slide_linear_scratch *s, int64_t i, float factor);
void slide_linear_weights(slide_linear_scratch *s);

#define SLIDE_GRAM_ROWS 128 /* at most, of a problem that is solved through its inner products */

/* Descends from s->alpha, with w of these on entry and on return. Returns the number of passes, -1 when out of memory. */
int64_t slide_linear_descend_gram(const slide_linear_options *options, slide_linear_scratch *s);
void slide_linear_gram_free(slide_linear_gram *gram);

/* Solves label l (0 to L - 1), leaves its row in s->kept. Returns the number of passes, -1 when out of memory. */
int64_t slide_linear_solve(const slide_linear_data *data, const slide_linear_options *options, int64_t l,
                           slide_linear_scratch *s, float *bias);

#endif
