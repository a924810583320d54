/* slide.h: the public face of the C core: all that Python calls but the parser, which is parse/xmc.h, features
 * of texts (text/text.h), sparse rows (linear/linear.h), leaves (net/shortlist.h) and rows in files (store/rows.h).
 *
 * The core trains and serves LSH-sampled networks (SLIDE: Chen et al., MLSys 2020, arXiv 1903.03129). It never
 * prints, never exits, and holds no global mutable state: memory for parameters and tables belongs to the caller,
 * random numbers and scratch belong to a network and a thread. The caller checks arguments, the core trusts them.
 *
 * The rooms, each of which includes only those under it (tests/lint/c_floors.py):
 *   net/                train, predict: samples, threads, one step of the paper
 *   lsh/    linear/     active sets from hash tables; the sparse linear part
 *   kernels/            loops over a row or a few, one set for each instruction set
 *   core/               types, rows, vectors, memory, random numbers, clock
 *   text/               features of texts, over core alone
 *   parse/  store/      the text format, and rows in a file: each apart from all
 *
 * Reading order: core/types.h, net/train.c (one step is the paper), lsh/active.c, lsh/transform.c, lsh/hash.c, lsh/tables.h,
 * lsh/rebuild.c, net/layer.c, net/optimizer.c, net/infer.c, net/exact.c, net/filter.h.
 *
 * The alphabet, used in every file:
 *   N neurons of a layer      D input dimension     H width of a hidden vector     A active neurons of a sample
 *   B samples of a call       K hashes per table    L tables                       P width padded to 16 floats
 */
#ifndef SLIDE_H
#define SLIDE_H

#include "core/memory.h"
#include "core/omp.h"
#include "core/types.h"
#include "kernels/kernels.h"

typedef struct slide_network slide_network;
typedef struct slide_batch_plan slide_batch_plan; /* net/batch.h */

/* What a process that holds a part of the labels is told of the samples of a plan, by their position in ex->order, and what
 * it answers: net/shard.c. */
typedef struct {
    const float *hidden;      /* [n][stride] the vectors that enter the last layer, stride its padded width */
    const uint32_t *cells;    /* [n] of query cells, where the last layer has some */
    const int32_t *n_labels;  /* [n] labels of the sample, its own and the others' */
    const float *others;      /* [n] log of the sum of the others' exponentials, -infinity for none; softmax only */
    float share;              /* of the log of the whole sum that counts here, so that the parts' losses add up */
    float *log_sum;           /* [n] gets the same of its own active labels, as they were before their step */
    float *d_hidden;          /* [n][stride] gets its part of the gradients of hidden */
} slide_shard;

/* net/network.c: copies the descriptions, never the arrays. n_layers may be 0 if there is a wide part, wide may be NULL.
 * isa NULL picks the best. NULL when out of memory. */
slide_network *slide_network_new(const slide_layer *layers, int n_layers, const slide_wide *wide,
                                 const slide_optimizer *optimizer, int loss, uint64_t seed, int n_threads,
                                 const char *isa);
void slide_network_free(slide_network *net);
const char *slide_network_isa(const slide_network *net);
/* Weights of the output layer may be written to at any time from now on: nothing is derived from them that could go stale. */
void slide_network_handed_out(slide_network *net);
void slide_network_time(slide_network *net, int on); /* whether slide_train says what its time went into */

/* net/train.c: visits ex->order once; sample i is step first_step + i and learns with lr[i]. Where batch_size is over 1
 * and the last layer allows it (slide_batch_possible), that many samples (32 at most) with like queries share an active
 * set and one step. */
int slide_batch_possible(const slide_network *net); /* net/batch_plan.c */
slide_status slide_train(slide_network *net, const slide_examples *ex, int64_t first_step, const float *lr,
                         int batch_size, slide_train_stats *stats);

#define SLIDE_ROW_DRAWN 1  /* a uniform negative, which is likely to be none again for long */
#define SLIDE_ROW_CHOSEN 2 /* a label, or listed */

/* net/batch_plan.c, net/train.c: slide_train in parts, where batches are possible, for a last layer whose rows are not all in
 * memory (slide_layer.slots). A plan puts the samples into batches; batches first .. first + n need the rows that are then
 * marked in marks [N], and train once those have slots. All batches in order, whatever the parts, are one slide_train. What
 * ex, lr and shard point to must outlive the plan. shard NULL: the last layer has all labels. NULL where memory ends. */
slide_batch_plan *slide_batch_plan_new(slide_network *net, const slide_examples *ex, int64_t first_step, const float *lr,
                                       int batch_size, const slide_shard *shard);
void slide_batch_plan_free(slide_batch_plan *plan);
int64_t slide_batch_plan_size(const slide_batch_plan *plan);
slide_status slide_batch_plan_rows(slide_network *net, const slide_batch_plan *plan, int64_t first, int64_t n,
                                   uint8_t *marks);
/* Before there is a plan, since weights are still to change: marks the labels of the samples, and nearly all that is drawn. */
void slide_batch_rows_ahead(const slide_network *net, const slide_examples *ex, int64_t first_step, int batch_size,
                            uint8_t *marks);
slide_status slide_batch_plan_train(slide_network *net, const slide_batch_plan *plan, int64_t first, int64_t n,
                                    slide_train_stats *stats);

/* net/shard.c: the three parts of a step of processes that share the rows of a network of two layers, a sparse input and a
 * sampled one with query cells or without tables. Each has some features and some labels; x_indices and y_indices of its
 * examples are those, counted from 0. (1) Of every sample, in the order of ex->order, the sum of the rows of its features
 * here, to out [n][stride]; the caller adds those of all processes up, and applies the activation. (2) slide_shard_log_sums
 * says what others need to know of a plan, slide_batch_plan_train makes the step of the labels. (3) A step of the rows of
 * features, with the gradients of the sums, d [n][stride]. */
slide_status slide_shard_sums(slide_network *net, const slide_examples *ex, int64_t first_step, float *out, int64_t stride);
slide_status slide_shard_log_sums(slide_network *net, const slide_batch_plan *plan, slide_train_stats *stats);
slide_status slide_shard_step(slide_network *net, const slide_examples *ex, int64_t first_step, const float *lr, float *d,
                              int64_t stride, slide_train_stats *stats);

/* net/network.c, by lsh/rebuild.c: empties and refills the tables of a sampled layer from its current rows. generation
 * varies the order. refresh: query cells with a label_cell look only at neurons that can have risen since their lists
 * were filled. Where codes are remembered, only rows that have changed since are hashed. */
slide_status slide_rebuild(slide_network *net, int layer, uint64_t generation, int refresh);

/* The same for a layer of query cells whose rows come in parts (lsh/filling.h), for some blocks of 64 cells at a time. */
typedef struct slide_filling slide_filling;
slide_filling *slide_rebuild_begin(slide_network *net, int layer, int refresh, int64_t first_block, int64_t n_blocks);
void slide_rebuild_offer(slide_network *net, int layer, slide_filling *f, float *rows, int64_t first, int64_t n);
void slide_rebuild_end(slide_network *net, int layer, slide_filling *f);

/* net/infer.c: best k ids and scores of each row, best first, (-1, -inf) where there are fewer.
 * n_candidates 0: exact over all neurons; else the best among that many neurons which the tables return. ranks: by the
 * network's sparse rows, where it has some, instead of its own scores. net/shortlist.h: the same by way of leaves. */
slide_status slide_predict(slide_network *net, const slide_examples *ex, int k, int64_t n_candidates, int ranks,
                           int32_t *ids, float *scores);

/* net/infer.c: the vectors that enter a layer, one row of width fan_in padded to 16 floats per example. */
slide_status slide_hidden(slide_network *net, const slide_examples *ex, int layer, float *out, int64_t out_stride);

/* net/inspect.c, for reports and tests: codes uint32 [n][L] of n vectors [n][stride], dim coordinates each. */
slide_status slide_hash_codes(slide_network *net, int layer, const float *vectors, int64_t n, int64_t stride,
                              uint32_t *codes);
/* net/inspect.c: ids the tables return for n queries, most wanted first, -1 padded; [n][n_candidates]. */
slide_status slide_retrieve(slide_network *net, int layer, const float *queries, int64_t n, int64_t stride,
                            int64_t n_candidates, int32_t *ids);
/* net/inspect.c: the active set that a training step would choose for one query and the labels of the one example; ids
 * and neg_log_q need n_active + n_random + labels places. Returns its size, -1 when out of memory. */
int64_t slide_active_inspect(slide_network *net, int layer, const float *query, const slide_examples *example,
                             uint64_t step, int32_t *ids, float *neg_log_q);

#endif
