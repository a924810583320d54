/* filter.c: bounds of every label's score, and what they leave of the labels.
 *
 * With x what enters the last layer, c its form of 7 bits, and w a row whose form of 8 bits, v, misses it by e:
 * w . x = v . c + v . (x - c) + e . x, and by the Cauchy-Schwarz inequality the last two are at most |v| |x - c| + |e| |x|.
 * What float32 loses on the way is bounded as for any sum. */
#include "net/filter.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "net/layer.h"
#include "net/topk.h"

#define BLOCK 2048 /* labels that are scored at a time: their scores stay in the cache of the first level */
#define STEP 256   /* of them that are looked at together */
#define MIDDLE (SLIDE_LARGEST_CODE / 2) /* the code of 0 */
#define FEWER 16   /* a filter pays where k is one in so many labels or fewer */
#define AHEAD 4    /* labels whose rows are on their way while one is scored */
#define UP 1.000001f /* a bound is rounded up */
#define SAFE 4     /* sums that are compared are two or three, each with a loss of its own; FLT_EPSILON is two roundings */

/* A row: what its bounds are made of, and the labels that are not out yet. */
typedef struct {
    int64_t first, n_features; /* of its features in the examples */
    uint8_t *codes;     /* [padded] of x, over MIDDLE */
    float *x;           /* [padded] */
    float scale;        /* of codes */
    float length, lost; /* of x, and of what codes lose of it, times the share of the logit */
    float slack;        /* of every label: what float32 may lose */
    int64_t *cursors;   /* [max_features] */
    slide_topk certain; /* the k best lower bounds */
    int32_t *ids;       /* [capacity], with their scores and how far these may be off */
    float *scores, *radii;
    int64_t n;
} filtered;

struct slide_filter {
    filtered rows[SLIDE_TILE_QUERIES];
    int32_t *dots;      /* [BLOCK] */
    float *scores;      /* [BLOCK] */
    int32_t *found;     /* [STEP + 1] */
    int64_t capacity;
};

int slide_filter_pays(const slide_network *net, int k)
{
    return net->n_layers && (int64_t)k * FEWER <= slide_last_layer(net)->n;
}

static void row_free(filtered *r)
{
    free(r->codes);
    free(r->x);
    free(r->cursors);
    free(r->certain.ids);
    free(r->certain.scores);
    free(r->ids);
    free(r->scores);
    free(r->radii);
}

void slide_filter_free(slide_filter *f)
{
    if (!f) return;
    for (int q = 0; q < SLIDE_TILE_QUERIES; q++) row_free(&f->rows[q]);
    free(f->dots);
    free(f->found);
    free(f->scores);
    free(f);
}

static int row_new(filtered *r, size_t padded, size_t k, size_t max_features, size_t capacity)
{
    r->codes = aligned_alloc(64, (padded + 63) / 64 * 64);
    r->x = aligned_alloc(64, padded * sizeof(float));
    r->cursors = malloc((max_features + 1) * sizeof(int64_t));
    r->certain = (slide_topk){malloc(k * sizeof(int32_t)), malloc(k * sizeof(float)), (int)k};
    r->ids = malloc(capacity * sizeof(int32_t));
    r->scores = malloc(capacity * sizeof(float));
    r->radii = malloc(capacity * sizeof(float));
    return r->codes && r->x && r->cursors && r->certain.ids && r->certain.scores && r->ids && r->scores && r->radii;
}

slide_filter *slide_filter_new(const slide_network *net, int k, int64_t max_features)
{
    slide_filter *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    size_t padded = (size_t)slide_last_layer(net)->padded, capacity = 16 * (size_t)k + 1024;
    f->capacity = (int64_t)capacity;
    f->dots = aligned_alloc(64, BLOCK * sizeof(int32_t));
    f->scores = aligned_alloc(64, BLOCK * sizeof(float));
    f->found = malloc((STEP + 1) * sizeof(int32_t));
    int whole = f->dots && f->scores && f->found;
    for (int q = 0; q < SLIDE_TILE_QUERIES && whole; q++)
        whole = row_new(&f->rows[q], padded, (size_t)k, (size_t)max_features, capacity);
    if (whole) return f;
    slide_filter_free(f);
    return NULL;
}

static float share_of(const slide_network *net)
{
    return net->has_wide ? net->wide.deep_share : 1;
}

/* What float32 may lose of a score's terms, however they are added up. */
static float lost_digits(const slide_network *net, const slide_approximation *a, const filtered *r, const slide_examples *ex)
{
    double values = 0;
    for (int64_t i = r->first; i < r->first + r->n_features && net->has_wide; i++) values += fabsf(ex->x_data[i]);
    float share = fabsf(share_of(net)), terms = (float)(slide_last_layer(net)->padded + r->n_features + 64);
    float sum = a->longest * r->length + (1 + share) * a->largest_bias + (float)values * a->largest_pair;
    return SAFE * terms * FLT_EPSILON * sum;
}

int slide_filter_begin(const slide_network *net, const slide_approximation *a, slide_filter *f, const slide_examples *ex,
                       int64_t row, int q, const float *x)
{
    filtered *r = &f->rows[q];
    int64_t padded = slide_last_layer(net)->padded;
    int64_t width = slide_last_layer(net)->fan_in;
    float most = slide_magnitude(x, width), share = fabsf(share_of(net)), up = isfinite(MIDDLE / most) ? MIDDLE / most : 0;
    double square = 0, lost = 0;
    if (!isfinite(most)) return 0;
    memset(r->x, 0, (size_t)padded * sizeof(float));
    memcpy(r->x, x, (size_t)width * sizeof(float));
    r->scale = most / MIDDLE;
    for (int64_t d = 0; d < padded; d++) {
        int code = (int)lrintf(fmaxf(-MIDDLE, fminf(MIDDLE, r->x[d] * up)));
        double rest = (double)r->x[d] - (double)r->scale * code;
        r->codes[d] = (uint8_t)(code + MIDDLE);
        square += (double)r->x[d] * r->x[d];
        lost += rest * rest;
    }
    r->first = ex->x_indptr[row];
    r->n_features = ex->x_indptr[row + 1] - r->first;
    for (int64_t i = 0; i < r->n_features && net->has_wide; i++)
        r->cursors[i] = net->wide.indptr[ex->x_indices[r->first + i]];
    r->length = UP * share * (float)sqrt(square);
    r->lost = UP * share * (float)sqrt(lost);
    r->slack = lost_digits(net, a, r, ex);
    r->n = 0;
    slide_topk_begin(&r->certain);
    return isfinite(r->slack);
}

/* Scores by the approximation of the labels from `first` on. */
static void score_labels(const slide_network *net, const slide_approximation *a, slide_filter *f, const filtered *r,
                         const slide_examples *ex, int64_t first, int64_t n)
{
    int64_t padded = slide_last_layer(net)->padded;
    net->kernels->dots_qweights(f->dots, a->qweights + first * padded, n, padded, r->codes);
    net->kernels->scale_dots(f->scores, f->dots, a->sums + first, a->scales + first, a->biases + first, r->scale, share_of(net),
                             n);
    if (!net->has_wide) return;
    for (int64_t l = 0; l < n; l++) f->scores[l] += net->wide.bias[first + l];
    slide_wide_scores(&net->wide, ex->x_indices + r->first, ex->x_data + r->first, r->n_features, first, first + n, r->cursors,
                      f->scores, 1);
}

/* Leaves those that can reach the k-th best. */
static void drop(filtered *r)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < r->n; i++) {
        r->ids[kept] = r->ids[i];
        r->scores[kept] = r->scores[i];
        r->radii[kept] = r->radii[i];
        kept += r->scores[i] + r->radii[i] >= r->certain.scores[0];
    }
    r->n = kept;
}

static int put(filtered *r, int64_t capacity, int32_t label, float score, float radius)
{
    if (r->n == capacity) drop(r);
    if (r->n == capacity) return 0;
    r->ids[r->n] = label;
    r->scores[r->n] = score;
    r->radii[r->n++] = radius;
    slide_topk_offer(&r->certain, label, score - radius);
    return 1;
}

/* Takes the labels from `first` on that can reach the k-th best so far. 0: there is no room for them. */
static int take(const slide_network *net, const slide_approximation *a, const slide_filter *f, filtered *r, int64_t first,
                int64_t n)
{
    const float *errors = a->errors + first, *lengths = a->lengths + first;
    for (int64_t i = 0; i < n; i += STEP) {
        float least = r->certain.scores[0] - r->slack;
        int64_t found = net->kernels->reaching(f->found, f->scores + i, errors + i, lengths + i, r->length, r->lost, least,
                                               i + STEP < n ? STEP : n - i);
        for (int64_t j = 0; j < found; j++) {
            int64_t l = i + f->found[j];
            float radius = r->length * errors[l] + r->lost * lengths[l] + r->slack;
            int reaches = f->scores[l] + radius >= r->certain.scores[0];
            if (reaches && !put(r, f->capacity, (int32_t)(first + l), f->scores[l], radius)) return 0;
        }
    }
    return 1;
}

/* The logits of those that are left, in float32: bounds close up, and hardly more than k remain. */
static void sharpen(const slide_network *net, const slide_approximation *a, filtered *r)
{
    const slide_layer *layer = slide_last_layer(net);
    float share = share_of(net);
    drop(r);
    slide_topk_begin(&r->certain);
    for (int64_t i = 0; i < r->n; i++) {
        int32_t l = r->ids[i], dot;
        if (i + AHEAD < r->n) slide_prefetch_weights(layer, r->ids[i + AHEAD]);
        net->kernels->dots_qweights(&dot, a->qweights + l * layer->padded, 1, layer->padded, r->codes);
        float approximate;
        net->kernels->scale_dots(&approximate, &dot, a->sums + l, a->scales + l, a->biases + l, r->scale, share, 1);
        r->scores[i] += share * slide_logit(net, layer, l, r->x) - approximate;
        r->radii[i] = r->slack;
        slide_topk_offer(&r->certain, l, r->scores[i] - r->slack);
    }
    drop(r);
}

int slide_filter_labels(const slide_network *net, const slide_approximation *a, slide_filter *f, const slide_examples *ex,
                        int n)
{
    int64_t n_labels = slide_last_layer(net)->n;
    for (int64_t first = 0; first < n_labels; first += BLOCK) {
        int64_t some = first + BLOCK < n_labels ? BLOCK : n_labels - first;
        for (int q = 0; q < n; q++) {
            score_labels(net, a, f, &f->rows[q], ex, first, some);
            if (!take(net, a, f, &f->rows[q], first, some)) return 0;
        }
    }
    for (int q = 0; q < n; q++) sharpen(net, a, &f->rows[q]);
    return 1;
}

int64_t slide_filter_left(const slide_filter *f, int q, const int32_t **labels)
{
    *labels = f->rows[q].ids;
    return f->rows[q].n;
}
