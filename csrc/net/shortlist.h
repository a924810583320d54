/* shortlist.h: the best labels of samples by way of leaves (lsh/leaves.h), by logit or ranked: called by Python. */
#ifndef SLIDE_NET_SHORTLIST_H
#define SLIDE_NET_SHORTLIST_H

#include "lsh/leaves.h"
#include "slide.h"

/* lsh/leaves.c for a network's last layer, on its threads. */
slide_status slide_leaf_codes(slide_network *net, const slide_leaves *leaves, const float *vectors, int64_t n,
                              int64_t stride, const int32_t *cells, int32_t *codes);
slide_status slide_fill_leaves(slide_network *net, const slide_leaves *leaves, const int64_t *indptr, const int32_t *ids,
                               int32_t *lists);

/* The k best labels of each row and their scores, best first, (-1, -inf) where there are fewer, of n_candidates from the
 * lists of its nearest leaves. They are logits; or, where the network has sparse rows to rank by and `ranks` is not 0,
 * the log odds of those that are best by logit. A sparse part (slide_wide) takes no part. Equal for any number of
 * threads, and for a row alone. */
slide_status slide_shortlist(slide_network *net, const slide_leaves *leaves, const slide_examples *ex, int k,
                             int64_t n_candidates, int ranks, int32_t *ids, float *scores);

/* marks[N] of the rows that such a call scores, for a last layer whose rows are not all in memory. */
slide_status slide_shortlist_rows(slide_network *net, const slide_leaves *leaves, const slide_examples *ex,
                                  int64_t n_candidates, uint8_t *marks);

/* What slide_shortlist left with a network: one thread's own memory. */
typedef struct slide_shortlister slide_shortlister;
void slide_shortlister_free(slide_shortlister *s);

#endif
