/* batch.h: samples that share one active set of the last layer, so that its rows are read once and move once for all of
 * them: the passes through it are matrix products. */
#ifndef SLIDE_NET_BATCH_H
#define SLIDE_NET_BATCH_H

#include "net/network.h"

#define SLIDE_BATCH_MOST SLIDE_TILE_QUERIES /* samples of a batch: one per lane */

/* Where the samples of a call stand, and which form a batch (batch_plan.h). */
typedef struct {
    const slide_examples *examples;
    const float *lr;
    int64_t first_step;
    int64_t *visit;      /* [n] positions in examples->order; samples of a batch are neighbours */
    uint32_t *cells;     /* [n] by position; NULL where no cells are asked */
} slide_batch_plan;

/* One step for the samples plan->visit[first .. first + n). Returns 0 where a loss is not finite or memory ends,
 * and changes nothing then. */
int slide_batch_train(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t first, int n);

/* Scratch for batches. */
slide_status slide_batch_new(const slide_network *net, slide_scratch *s);
void slide_batch_free(const slide_network *net, slide_scratch *s);

#endif
