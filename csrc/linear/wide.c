/* wide.c: training and scoring of the sparse linear part. Costs are those of the walk: about a
 * nanosecond a pair. */
#include "linear/wide.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/rows.h"
#include "core/vector.h"

/* From so many labels on, a training sample that meets fewer than one in LIST_UNDER of them in pairs lists those it meets.
 * Pairs of few features lie scattered over so many labels that nearly every block has one: to look at all blocks is to
 * look at all labels. With 10^6 labels and 25,000 pairs a sample a fit of two epochs took 0.44 of the processor time. Fewer
 * labels keep to blocks, which also meet labels that are over their margin by their bias alone: there, what is trained and
 * resumed stays the same to the bit. */
#define MANY_LABELS (1 << 17)
#define LIST_UNDER 16

void slide_wide_scratch_free(slide_wide_scratch *w, int64_t n_labels)
{
    slide_free(w->score, n_labels * (int64_t)sizeof(float));
    free(w->touched);
    free(w->met);
    free(w->ids);
    free(w->gradient);
    memset(w, 0, sizeof *w);
}

slide_status slide_wide_scratch_new(slide_wide_scratch *w, int64_t n_labels, int64_t max_labels)
{
    size_t n = (size_t)n_labels, active = n + (size_t)max_labels + 1;
    *w = (slide_wide_scratch){.score = slide_alloc((int64_t)(n * sizeof(float))),
                              .touched = calloc(n / SLIDE_WIDE_BLOCK + 1, 1),
                              .ids = malloc(active * sizeof(int32_t)),
                              .gradient = malloc(active * sizeof(float))};
    if (n_labels >= MANY_LABELS) w->met = malloc(n / LIST_UNDER * sizeof(int32_t));
    int whole = w->score && w->touched && w->ids && w->gradient && (w->met || n_labels < MANY_LABELS);
    return whole ? SLIDE_OK : SLIDE_NO_MEMORY;
}

/* A sample that meets at least a share 1 / MARK_ALL_FROM of the labels in pairs marks all blocks, others the blocks they
 * reach. Measured (walk and margin_violators, 60 features, 4,000 to 670,000 labels, AVX2, one thread): marking single
 * blocks takes 0.6 to 1.0 times as long as looking at all of them with one pair in 64 labels, 0.85 to 1.1 with one in 32,
 * 1.05 to 1.2 in 16, 1.2 to 1.35 in 8, 1.5 to 1.8 with one a label. So 32 would be the fastest; it is 8 because the
 * choice decides more than speed: a label that is over its margin by its bias alone is met only in a marked block, and
 * another value would train other models, and go on from a checkpoint to other bits. */
#define MARK_ALL_FROM 8

/* Pairs the walk will meet. */
static int64_t count_pairs(const slide_wide *wide, const int32_t *features, int64_t n)
{
    int64_t pairs = 0;
    for (int64_t i = 0; i < n; i++) pairs += wide->indptr[features[i] + 1] - wide->indptr[features[i]];
    return pairs;
}

/* Brings the first pairs of a feature on their way; the hardware follows a sequence once it has begun. */
static inline void prefetch_pairs(const slide_wide *wide, int32_t feature)
{
    int64_t begin = wide->indptr[feature];
    if (wide->qweights) {
        __builtin_prefetch(wide->qweights + begin, 0, 2);
        __builtin_prefetch(wide->narrow ? (const void *)(wide->narrow + begin) : wide->labels + begin, 0, 2);
        return;
    }
    for (int64_t i = begin; i < begin + 32; i += 16) {
        __builtin_prefetch(wide->labels + i, 0, 2);
        __builtin_prefetch(wide->weights + i, 1, 2);
    }
}

/* How the pairs are stored. */
enum { PLAIN, QUANTIZED, NARROW_QUANTIZED };

static int form_of(const slide_wide *wide)
{
    return !wide->qweights ? PLAIN : wide->narrow ? NARROW_QUANTIZED : QUANTIZED;
}

static inline int32_t label_at(const slide_wide *wide, int64_t p, int form)
{
    return form == NARROW_QUANTIZED ? wide->narrow[p] : wide->labels[p];
}

static inline float weight_at(const slide_wide *wide, int64_t p, int form)
{
    return form == PLAIN ? wide->weights[p] : wide->qweights[p];
}

/* What a feature of value x is multiplied by before its weights. */
static inline float factor_of(const slide_wide *wide, int32_t feature, float x, int form)
{
    return form == PLAIN ? x : x * wide->scales[feature];
}

SLIDE_RACY static inline __attribute__((always_inline)) void add_scores(const slide_wide *wide, int32_t feature, float x,
                                                                       int mark_each, slide_wide_scratch *w, int form)
{
    int64_t begin = wide->indptr[feature], end = wide->indptr[feature + 1];
    float factor = factor_of(wide, feature, x, form);
    for (int64_t p = begin; p < end; p++) w->score[label_at(wide, p, form)] += factor * weight_at(wide, p, form);
    for (int64_t p = begin; p < end && mark_each; p++) w->touched[label_at(wide, p, form) / SLIDE_WIDE_BLOCK] = 1;
}

SLIDE_RACY float slide_wide_accumulate(const slide_wide *wide, const int32_t *features, const float *values, int64_t n,
                                       slide_wide_scratch *w)
{
    int mark_each = count_pairs(wide, features, n) < wide->n_labels / MARK_ALL_FROM, form = form_of(wide);
    float sqnorm = 0;
    if (!mark_each) memset(w->touched, 1, (size_t)(wide->n_labels / SLIDE_WIDE_BLOCK + 1));
    for (int64_t i = 0; i < n; i++) {
        if (i + 1 < n) prefetch_pairs(wide, features[i + 1]);
        sqnorm += values[i] * values[i];
        if (form == PLAIN) add_scores(wide, features[i], values[i], mark_each, w, PLAIN);
        if (form == QUANTIZED) add_scores(wide, features[i], values[i], mark_each, w, QUANTIZED);
        if (form == NARROW_QUANTIZED) add_scores(wide, features[i], values[i], mark_each, w, NARROW_QUANTIZED);
    }
    return sqnorm;
}

/* Scores of so many labels lie beyond the caches near by, each in a line of its own: so many are asked for ahead. With 10^6
 * labels the walk that learns takes 0.7 of the time. */
#define AHEAD 24

static inline int32_t ahead_of(const int32_t *labels, int64_t i, int64_t end)
{
    return labels[i + AHEAD < end ? i + AHEAD : end - 1];
}

/* The same without marks: lists the labels that get a score in w->met. A score that comes back to exactly 0 is listed
 * again; there are never more than pairs. */
SLIDE_RACY static float accumulate_listed(const slide_wide *wide, const int32_t *features, const float *values, int64_t n,
                                          slide_wide_scratch *w, int64_t *n_met)
{
    float sqnorm = 0;
    int64_t met = 0;
    for (int64_t i = 0; i < n; i++) {
        float x = values[i];
        if (i + 1 < n) prefetch_pairs(wide, features[i + 1]);
        sqnorm += x * x;
        int64_t end = wide->indptr[features[i] + 1];
        for (int64_t p = wide->indptr[features[i]]; p < end; p++) {
            int32_t l = wide->labels[p];
            __builtin_prefetch(w->score + ahead_of(wide->labels, p, end), 1, 3);
            w->met[met] = l;
            met += w->score[l] == 0;
            w->score[l] += x * wide->weights[p];
        }
    }
    *n_met = met;
    return sqnorm;
}

/* slide_wide_margin_violators of the labels that are listed in w->met. */
SLIDE_RACY static int64_t listed_violators(const slide_wide *wide, slide_wide_scratch *w, int64_t n_met)
{
    int64_t n = 0;
    for (int64_t i = 0; i < n_met; i++) {
        int32_t l = w->met[i], next = ahead_of(w->met, i, n_met);
        __builtin_prefetch(w->score + next, 1, 3);
        __builtin_prefetch(wide->bias + next, 0, 3);
        float z = w->score[l] + wide->bias[l];
        w->score[l] = 0;
        if (z > -1) {
            w->ids[n] = l;
            w->gradient[n++] = 2 * (1 + z);
        }
    }
    return n;
}

/* The walk that learns: only pairs of labels with a gradient are written. */
static void update(const slide_kernels *kernels, const slide_wide *wide, const int32_t *features, const float *values,
                   int64_t n, const float *gradient, float step)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t begin = wide->indptr[features[i]], end = wide->indptr[features[i] + 1];
        if (i + 1 < n) prefetch_pairs(wide, features[i + 1]);
        kernels->step_pairs(wide->weights + begin, wide->labels + begin, end - begin, gradient, step * values[i]);
    }
}

int64_t slide_wide_margin_violators(const slide_kernels *kernels, const slide_wide *wide, slide_wide_scratch *w)
{
    int64_t n = 0;
    for (int64_t first = 0; first < wide->n_labels; first += SLIDE_WIDE_BLOCK) {
        if (!w->touched[first / SLIDE_WIDE_BLOCK]) continue;
        w->touched[first / SLIDE_WIDE_BLOCK] = 0;
        int64_t size = wide->n_labels - first < SLIDE_WIDE_BLOCK ? wide->n_labels - first : SLIDE_WIDE_BLOCK;
        n += kernels->margin_violators(w->score + first, wide->bias + first, size, (int32_t)first, w->ids + n, w->gradient + n);
    }
    return n;
}

/* Puts the sample's labels first in the active set; -infinity keeps margin_violators from taking them for others. */
SLIDE_RACY static int64_t take_labels(const slide_wide *wide, slide_wide_scratch *w, const int32_t *labels, int64_t n,
                                      double *loss)
{
    int64_t taken = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t l = labels[i];
        float miss = 1 - (w->score[l] + wide->bias[l]);
        if (miss > 0 && miss < INFINITY) {
            w->ids[taken] = l;
            w->gradient[taken++] = -2 * miss;
            *loss += miss * miss;
        }
        w->score[l] = -INFINITY;
        w->touched[l / SLIDE_WIDE_BLOCK] = 1;
    }
    return taken;
}

/* The step that does what `weight` steps one after the other would: each leaves 1 - a of what a label misses its margin by,
 * so their sum never overshoots, however large the weight is (as in Karampatziakis & Langford, UAI 2011, section 2). */
static float weighted_step(float step, float sqnorm, float bias_ratio, float weight)
{
    float a = 2 * step * (sqnorm + bias_ratio);
    if (weight == 1 || !(a > 0)) return step;
    if (a >= 1) return weight < 1 ? step * weight : step; /* a step that overshoots by itself */
    return step * -expm1f(weight * log1pf(-a)) / a;
}

SLIDE_RACY int slide_wide_train(const slide_kernels *kernels, const slide_wide *wide, slide_wide_scratch *scratch,
                                const slide_examples *ex, int64_t row, float lr, slide_train_stats *stats)
{
    slide_wide_scratch w = *scratch;
    const int32_t *features = ex->x_indices + ex->x_indptr[row];
    const float *values = ex->x_data + ex->x_indptr[row];
    int64_t n = ex->x_indptr[row + 1] - ex->x_indptr[row];
    const int32_t *own = ex->y_indices + ex->y_indptr[row];
    int64_t n_own = ex->y_indptr[row + 1] - ex->y_indptr[row], n_met = 0;
    int lists = w.met && count_pairs(wide, features, n) < wide->n_labels / LIST_UNDER;
    float sqnorm = lists ? accumulate_listed(wide, features, values, n, &w, &n_met)
                         : slide_wide_accumulate(wide, features, values, n, &w);
    double loss = 0;
    int64_t active = take_labels(wide, &w, own, n_own, &loss);
    float step = lr * wide->lr_ratio / (sqnorm > 1 ? sqnorm : 1); /* a long row must not overshoot */
    float weight = slide_weight_of(ex, row);
    step = weighted_step(step, sqnorm, wide->bias_ratio, weight);
    stats->wide_loss += loss * weight;
    w.ids += active, w.gradient += active;
    int64_t others = lists ? listed_violators(wide, &w, n_met) : slide_wide_margin_violators(kernels, wide, &w);
    w.ids -= active, w.gradient -= active;
    for (int64_t k = 0; k < n_own && lists; k++) { /* those that share no feature are not listed */
        w.score[own[k]] = 0;
        w.touched[own[k] / SLIDE_WIDE_BLOCK] = 0;
    }
    active += others;
    float longest = step * slide_magnitude(w.gradient, active);
    if (!(longest * longest * (sqnorm + 1) <= SLIDE_LARGEST_SQUARE)) return 0;
    stats->n_wide_active += active;
    for (int64_t k = 0; k < active; k++) {
        w.score[w.ids[k]] = w.gradient[k];
        wide->bias[w.ids[k]] -= step * wide->bias_ratio * w.gradient[k];
    }
    update(kernels, wide, features, values, n, w.score, step);
    for (int64_t k = 0; k < active; k++) w.score[w.ids[k]] = 0;
    return 1;
}

/* Adds a feature's pairs from p on, up to the label `last`; returns where it stopped. */
SLIDE_RACY static inline __attribute__((always_inline)) int64_t add_block(const slide_wide *wide, int32_t feature, float x,
                                                                         int64_t p, int64_t first, int64_t last,
                                                                         float *scores, int64_t stride, int form)
{
    int64_t end = wide->indptr[feature + 1];
    float factor = factor_of(wide, feature, x, form);
    for (; p < end && label_at(wide, p, form) < last; p++)
        scores[(label_at(wide, p, form) - first) * stride] += factor * weight_at(wide, p, form);
    return p;
}

SLIDE_RACY void slide_wide_scores(const slide_wide *wide, const int32_t *features, const float *values, int64_t n,
                                  int64_t first, int64_t last, int64_t *cursors, float *scores, int64_t stride)
{
    int form = form_of(wide);
    for (int64_t i = 0; i < n; i++) {
        int32_t f = features[i];
        float x = values[i];
        if (form == PLAIN) cursors[i] = add_block(wide, f, x, cursors[i], first, last, scores, stride, PLAIN);
        if (form == QUANTIZED) cursors[i] = add_block(wide, f, x, cursors[i], first, last, scores, stride, QUANTIZED);
        if (form == NARROW_QUANTIZED)
            cursors[i] = add_block(wide, f, x, cursors[i], first, last, scores, stride, NARROW_QUANTIZED);
    }
}

/* The first of a feature's pairs with this label or a higher one. */
SLIDE_RACY static int64_t first_from(const slide_wide *wide, int32_t feature, int32_t label, int form)
{
    int64_t low = wide->indptr[feature], high = wide->indptr[feature + 1];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (label_at(wide, middle, form) < label)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void slide_wide_score_label(const slide_wide *wide, const int32_t *features, const float *values, int64_t n, int32_t label,
                            float *score)
{
    int form = form_of(wide);
    for (int64_t i = 0; i < n; i++) {
        int64_t cursor = first_from(wide, features[i], label, form);
        slide_wide_scores(wide, features + i, values + i, 1, label, label + 1, &cursor, score, 1);
    }
}
