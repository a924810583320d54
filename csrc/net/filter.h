/* filter.h: which labels can be among a sample's best k. Every label is scored by the approximation (approximation.h) and the
 * sparse part; a label whose score cannot reach the k-th best of those that are certain is out. Few are left to be scored
 * exactly, and the answer is the same to the bit. */
#ifndef SLIDE_NET_FILTER_H
#define SLIDE_NET_FILTER_H

#include "net/approximation.h"

/* One thread's own. */
typedef struct slide_filter slide_filter;

/* Whether so few labels are asked for that a filter saves work. */
int slide_filter_pays(const slide_network *net, int k);

slide_filter *slide_filter_new(const slide_network *net, int k, int64_t max_features);
void slide_filter_free(slide_filter *f);

/* Row `row` of examples is the q-th that is filtered, q < SLIDE_TILE_QUERIES; x [fan_in] of it enters the last layer. 0:
 * nothing can be said of it, as of a vector that is not finite. */
int slide_filter_begin(const slide_network *net, const slide_approximation *a, slide_filter *f, const slide_examples *ex,
                       int64_t row, int q, const float *x);

/* Meets all labels with the n rows that were begun. 0: they leave too many. */
int slide_filter_labels(const slide_network *net, const slide_approximation *a, slide_filter *f, const slide_examples *ex,
                        int n);

/* The labels that are left of the q-th; returns how many. */
int64_t slide_filter_left(const slide_filter *f, int q, const int32_t **labels);

#endif
