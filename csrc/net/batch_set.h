/* batch_set.h: the active set that the samples of a batch share. It follows from the plan, the tables and the step, and from
 * no weights: it can be known before a step is made. */
#ifndef SLIDE_NET_BATCH_SET_H
#define SLIDE_NET_BATCH_SET_H

#include "net/batch.h"

/* Room for the set of samples with so many labels in all. */
slide_status slide_batch_set_reserve(const slide_layer *layer, slide_batch *b, int64_t labels);
void slide_batch_set_free(slide_batch *b);

/* Chooses the set of the samples plan->visit[first .. first + n): s->batch.ids, neg_log_q and the places of labels. */
slide_status slide_batch_choose(const slide_network *net, slide_scratch *s, const slide_batch_plan *plan, int64_t first,
                                int n);

/* What the batch that begins at plan->visit[first] draws its uniform negatives from. */
slide_rng slide_batch_rng(const slide_network *net, int64_t first_step, int64_t first);

#endif
