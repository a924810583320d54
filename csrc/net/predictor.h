/* predictor.h: what one thread of a prediction works in, and the exact scores of all labels (exact.c). */
#ifndef SLIDE_NET_PREDICTOR_H
#define SLIDE_NET_PREDICTOR_H

#include "net/filter.h"
#include "net/infer.h"
#include "net/topk.h"

#define SLIDE_FEW 4 /* a call of no more samples takes one inner product each: a tile would score its empty lanes too */
#define SLIDE_LABEL_BLOCK 2048 /* labels whose scores are held at a time: 256 KiB for Q samples */

/* lanes: Q = SLIDE_TILE_QUERIES, or SLIDE_FEW where there are no more samples; R = SLIDE_TILE_ROWS. */
struct slide_predictor {
    slide_scratch scratch;
    float *queries;      /* [padded][Q], the samples' vectors one lane each; of few samples [n][padded] */
    float *tile;         /* [R][Q] */
    float *block;        /* [R][P]: rows that are fewer than a block, or not of floats */
    float *scores;       /* [SLIDE_LABEL_BLOCK][lanes] */
    int64_t *cursors;    /* [Q][max_features], where each sample's walk over its features' labels stands */
    int32_t *candidates;
    int32_t *shortlists; /* [Q][n_shortlist], of samples whose labels are ranked, with their logits */
    float *logits;
    float *z;            /* [n_shortlist] */
    float *dense;        /* [D] */
    slide_filter *filter; /* for the best filter_k of a sample, or NULL */
    int filter_k;
    int64_t n_shortlist;
    int64_t n_candidates; /* that there is room for */
    int lanes, k;
};

/* The dense vector that enters layer `upto`: below it every neuron takes part. */
const slide_activations *slide_forward_dense(const slide_network *net, slide_scratch *s, const slide_examples *ex, int64_t row,
                                             int upto);

/* Offers the labels of up to Q samples from `first` on, with their exact scores, to their best. With an approximation (or
 * NULL), and p->filter, those that can be among them; the result is the same to the bit. */
void slide_predict_exact(const slide_network *net, const slide_approximation *a, slide_predictor *p, const slide_examples *ex,
                         int64_t first, int n, slide_topk *best);

#endif
