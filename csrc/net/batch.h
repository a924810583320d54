/* batch.h: samples that share one active set of the last layer, so that its rows are read once and move once for all of
 * them: the passes through it are matrix products. */
#ifndef SLIDE_NET_BATCH_H
#define SLIDE_NET_BATCH_H

#include "net/network.h"

#define SLIDE_BATCH_MOST SLIDE_TILE_QUERIES /* samples of a batch: one per lane */

/* Where the samples of a call stand, which form a batch, and when each batch has its turn (batch_plan.h). */
struct slide_batch_plan {
    slide_examples examples;
    const slide_shard *shard; /* where the last layer has a part of the labels (shard.c); NULL: it has all */
    const float *lr;
    int64_t first_step;
    int64_t *visit;      /* [n] positions in examples.order; samples of a batch are neighbours */
    uint32_t *cells;     /* [n] by position; NULL where no cells are asked */
    int64_t n_batches;
    int64_t *order;      /* [n_batches] */
    int batch_size;      /* of all but the last in visit */
};

/* The samples of the i-th batch to train: visit[first .. first + n). Returns n. */
static inline int slide_batch_samples(const slide_batch_plan *plan, int64_t i, int64_t *first)
{
    *first = plan->order[i] * plan->batch_size;
    int64_t left = plan->examples.n - *first;
    return left < plan->batch_size ? (int)left : plan->batch_size;
}

/* One step for the samples plan->visit[first .. first + n). Returns 0 where a loss is not finite or memory ends,
 * and changes nothing then. */
int slide_batch_train(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t first, int n);

/* The first half of such a step for a shard: log_sum of these samples, and nothing changes. */
int slide_batch_log_sums(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t first, int n);

/* Scratch for batches. */
slide_status slide_batch_new(const slide_network *net, slide_scratch *s);
void slide_batch_free(const slide_network *net, slide_scratch *s);

#endif
