/* wide.h: the sparse linear part: one weight for each (feature, label) pair that met in a training row.
 *
 * A narrow hidden layer cannot remember single pairs; this part does, and is added to the network's logits (wide and
 * deep: Cheng et al., DLRS 2016). Weights are stored by feature, as an inverted index, so that one walk over a sample's
 * features scores every label that shares a feature with it: the active set needs no hashing, it is exact. */
#ifndef SLIDE_LINEAR_WIDE_H
#define SLIDE_LINEAR_WIDE_H

#include "kernels/kernels.h"

#define SLIDE_WIDE_BLOCK 64 /* labels that share a "touched" byte: four cache lines of scores */

/* What the sparse linear part needs: a score, then a gradient, for every label; both are zero between samples. */
typedef struct {
    float *score;
    uint8_t *touched;         /* blocks of labels with a score */
    int32_t *met;             /* labels with a score, where there are so many that blocks are no help; else NULL */
    int32_t *ids;             /* active labels and their gradients */
    float *gradient;
} slide_wide_scratch;

/* Free it also after a failure. max_labels: of a sample. */
slide_status slide_wide_scratch_new(slide_wide_scratch *w, int64_t n_labels, int64_t max_labels);
void slide_wide_scratch_free(slide_wide_scratch *w, int64_t n_labels);

/* One sample by squared hinge (as DiSMEC: Babbar & Schoelkopf, WSDM 2017): its labels should score over 1, all others
 * under -1. The active set is every label on the wrong side; the rest have no gradient, so nothing is approximated
 * but that labels without a common feature are left alone.
 * Changes nothing and returns 0 where the updates would leave float32. */
int slide_wide_train(const slide_kernels *kernels, const slide_wide *wide, slide_wide_scratch *w,
                     const slide_examples *ex, int64_t row, float lr, slide_train_stats *stats);

/* The walk that scores: w->score[l] += x . weights[., l] for all labels that share a feature; marks their blocks.
 * Returns the squared norm of the sample. */
float slide_wide_accumulate(const slide_wide *wide, const int32_t *features, const float *values, int64_t n,
                            slide_wide_scratch *w);

/* Lists in w->ids the labels with score + bias z over -1, in w->gradient their 2 (1 + z), and zeroes all scores. A score of
 * -infinity keeps a label out. Returns how many. */
int64_t slide_wide_margin_violators(const slide_kernels *kernels, const slide_wide *wide, slide_wide_scratch *w);

/* scores[(l - first) * stride] += the sample's wide score for labels l in [first, last). cursors[i] is where feature
 * i's labels from `first` on begin; it is moved to `last`. */
void slide_wide_scores(const slide_wide *wide, const int32_t *features, const float *values, int64_t n, int64_t first,
                       int64_t last, int64_t *cursors, float *scores, int64_t stride);

/* The same for one label, to the same bits. */
void slide_wide_score_label(const slide_wide *wide, const int32_t *features, const float *values, int64_t n, int32_t label,
                            float *score);

#endif
