/* batch_plan.h: which samples of a call form a batch. */
#ifndef SLIDE_NET_BATCH_PLAN_H
#define SLIDE_NET_BATCH_PLAN_H

#include "net/batch.h"

/* Groups samples of like queries: neighbours in plan->visit are of the same or of neighbouring cells. Free it also after a
 * failure. shard may be NULL. The public calls are in slide.h. */
slide_status slide_batch_plan_fill(slide_network *net, const slide_examples *ex, int64_t first_step, const float *lr,
                                   int batch_size, const slide_shard *shard, slide_batch_plan *plan);
void slide_batch_plan_empty(slide_batch_plan *plan);

#endif
