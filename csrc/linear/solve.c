/* solve.c: one label's problem, gathered into cache and solved by dual coordinate descent.
 *
 * Hsieh, Chang, Lin, Keerthi & Sundararajan, "A dual coordinate descent method for large-scale linear SVM", ICML 2008,
 * algorithm 3 with the L2 loss: a row i has a multiplier alpha_i >= 0, w = sum of alpha_i y_i x_i, and one step solves for
 * one multiplier exactly. Sums are in one fixed order, in float32: their rounding is far under eps. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "linear/linear.h"

#define LEAST_STEP 1e-12f

slide_status slide_linear_scratch_new(slide_linear_scratch *s, int64_t n_features)
{
    memset(s, 0, sizeof *s);
    s->place = malloc((size_t)(n_features + 1) * sizeof *s->place);
    if (!s->place) return SLIDE_NO_MEMORY;
    for (int64_t f = 0; f < n_features; f++) s->place[f] = -1;
    return SLIDE_OK;
}

void slide_linear_scratch_free(slide_linear_scratch *s)
{
    void *all[] = {s->place, s->known, s->w,     s->indices, s->values, s->begin,        s->rows,
                   s->alpha, s->sign,  s->slack, s->active,  s->kept,   s->kept_weights, s->curvature};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    slide_linear_gram_free(&s->gram);
}

static int reserve_rows(slide_linear_scratch *s, int64_t n)
{
    if (n <= s->max_rows) return 1;
    s->max_rows = 0;
    int64_t m = n + n / 2;
    if (!slide_grow(&s->begin, m + 1, sizeof *s->begin) || !slide_grow(&s->rows, m, sizeof *s->rows) ||
        !slide_grow(&s->alpha, m, sizeof *s->alpha) || !slide_grow(&s->curvature, m, sizeof *s->curvature) ||
        !slide_grow(&s->slack, m, sizeof *s->slack) || !slide_grow(&s->sign, m, sizeof *s->sign) ||
        !slide_grow(&s->active, m, sizeof *s->active))
        return 0;
    s->max_rows = m;
    return 1;
}

static int reserve_values(slide_linear_scratch *s, int64_t n)
{
    if (n <= s->max_values) return 1;
    s->max_values = 0;
    int64_t m = n + n / 2;
    if (!slide_grow(&s->indices, m, sizeof *s->indices) || !slide_grow(&s->values, m, sizeof *s->values)) return 0;
    s->max_values = m;
    return 1;
}

static int reserve_known(slide_linear_scratch *s, int64_t n)
{
    if (n <= s->max_known) return 1;
    s->max_known = 0;
    int64_t m = n + n / 2;
    if (!slide_grow(&s->known, m, sizeof *s->known) || !slide_grow(&s->w, m + 1, sizeof *s->w) ||
        !slide_grow(&s->kept, m, sizeof *s->kept) || !slide_grow(&s->kept_weights, m, sizeof *s->kept_weights))
        return 0;
    s->max_known = m;
    return 1;
}

/* Takes rows in whose weight is not 0, with sign y. Slack is 1 / (2 C_i). Returns how many values they have. */
static int64_t list_rows(const slide_linear_data *d, const int32_t *rows, int64_t n, float y, float C,
                         slide_linear_scratch *s)
{
    int64_t values = 0;
    for (int64_t i = 0; i < n; i++) {
        float weight = d->row_weights ? C * d->row_weights[rows[i]] : C;
        if (!(weight > 0)) continue;
        s->rows[s->n] = rows[i];
        s->sign[s->n] = y;
        s->slack[s->n++] = 0.5f / weight;
        values += d->x_indptr[rows[i] + 1] - d->x_indptr[rows[i]];
    }
    return values;
}

/* Copies the rows' values, features numbered in order of first sight: the weights then fit the nearest cache. */
static void gather_rows(const slide_linear_data *d, slide_linear_scratch *s)
{
    int64_t at = 0;
    for (int64_t i = 0; i < s->n; i++) {
        float sqnorm = 1;
        s->begin[i] = at;
        for (int64_t p = d->x_indptr[s->rows[i]]; p < d->x_indptr[s->rows[i] + 1]; p++) {
            int32_t f = d->x_indices[p];
            if (s->place[f] < 0) {
                s->place[f] = (int32_t)s->n_known;
                s->known[s->n_known++] = f;
            }
            s->indices[at] = s->place[f];
            s->values[at++] = d->x_data[p];
            sqnorm += d->x_data[p] * d->x_data[p];
        }
        s->curvature[i] = sqnorm + s->slack[i];
    }
    s->begin[s->n] = at;
}

static int gather(const slide_linear_data *d, const slide_linear_options *o, int64_t l, slide_linear_scratch *s)
{
    int64_t p = d->positive_indptr[l], n_p = d->positive_indptr[l + 1] - p;
    int64_t q = d->negative_indptr[l], n_q = d->negative_indptr[l + 1] - q;
    s->n = s->n_known = 0;
    if (!reserve_rows(s, n_p + n_q + 1)) return 0;
    int64_t values = list_rows(d, d->positives + p, n_p, 1, o->C * o->positive_weight, s);
    s->n_positive = s->n;
    values += list_rows(d, d->negatives + q, n_q, -1, o->C * o->negative_weight, s);
    int64_t most = values < d->n_features ? values : d->n_features;
    if (!reserve_values(s, values + 1) || !reserve_known(s, most + 1)) return 0;
    gather_rows(d, s);
    return 1;
}

/* At the solution alpha_i = 2 C_i max(0, 1 - y_i w . x_i): multipliers for weights that are near it, without storing any. */
static void start(const slide_linear_data *d, int64_t l, slide_linear_scratch *s)
{
    memset(s->w, 0, (size_t)(s->n_known + 1) * sizeof *s->w);
    s->w[s->n_known] = SLIDE_LINEAR_BIAS;
    memset(s->alpha, 0, (size_t)s->n * sizeof *s->alpha);
    if (!d->warm) return;
    for (int64_t p = d->warm->indptr[l]; p < d->warm->indptr[l + 1]; p++)
        if (s->place[d->warm->features[p]] >= 0) s->w[s->place[d->warm->features[p]]] = d->warm->weights[p];
    s->w[s->n_known] = d->warm->bias[l];
    for (int64_t i = 0; i < s->n; i++) {
        float miss = 1 - s->sign[i] * slide_linear_margin(s, i);
        s->alpha[i] = miss > 0 ? miss / s->slack[i] : 0;
    }
    slide_linear_weights(s);
}

static void shuffle(int32_t *a, int64_t n, slide_rng *rng)
{
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = slide_rng_below(rng, (uint32_t)(i + 1));
        int32_t swap = a[i];
        a[i] = a[j], a[j] = swap;
    }
}

/* The largest and the least projected gradient of a pass. */
typedef struct {
    float most, least;
} spread;

/* One pass over the active rows. Rows at 0 whose gradient lies over all of the last pass leave the active set (shrinking,
 * section 3.3). Returns how many stay. */
static int64_t pass(slide_linear_scratch *s, int64_t n_active, float limit, spread *seen)
{
    *seen = (spread){-INFINITY, INFINITY};
    for (int64_t k = 0; k < n_active; k++) {
        int32_t i = s->active[k];
        float gradient = s->sign[i] * slide_linear_margin(s, i) - 1 + s->alpha[i] * s->slack[i], projected = gradient;
        if (s->alpha[i] == 0) {
            if (gradient > limit) {
                s->active[k--] = s->active[--n_active];
                s->active[n_active] = i;
                continue;
            }
            if (gradient > 0) projected = 0;
        }
        if (projected > seen->most) seen->most = projected;
        if (projected < seen->least) seen->least = projected;
        if (fabsf(projected) <= LEAST_STEP) continue;
        float old = s->alpha[i], next = old - gradient / s->curvature[i];
        s->alpha[i] = next > 0 ? next : 0;
        slide_linear_add_row(s, i, (s->alpha[i] - old) * s->sign[i]);
    }
    return n_active;
}

static int64_t descend(const slide_linear_options *o, uint64_t label, slide_linear_scratch *s)
{
    slide_rng rng = slide_rng_stream(o->seed, SLIDE_STREAM_SOLVER, label);
    int64_t n_active = s->n, passes = 0;
    float limit = INFINITY;
    for (int64_t i = 0; i < s->n; i++) s->active[i] = (int32_t)i;
    while (passes < o->max_passes && s->n) {
        spread seen;
        shuffle(s->active, n_active, &rng);
        n_active = pass(s, n_active, limit, &seen);
        passes++;
        if (n_active && seen.most - seen.least > o->eps) {
            limit = o->shrinks && seen.most > 0 ? seen.most : INFINITY;
            continue;
        }
        if (n_active == s->n) break;
        n_active = s->n, limit = INFINITY; /* solved for those that stayed: look at all again */
    }
    return passes;
}

/* The weights that stay, by ascending feature; ready for the next label. */
static int by_feature(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void keep_weights(const slide_linear_options *o, slide_linear_scratch *s)
{
    s->n_kept = 0;
    for (int64_t i = 0; i < s->n_known; i++)
        if (s->w[i] != 0 && fabsf(s->w[i]) >= o->prune) s->kept[s->n_kept++] = s->known[i];
    qsort(s->kept, (size_t)s->n_kept, sizeof *s->kept, by_feature);
    for (int64_t i = 0; i < s->n_kept; i++) s->kept_weights[i] = s->w[s->place[s->kept[i]]];
    for (int64_t i = 0; i < s->n_known; i++) s->place[s->known[i]] = -1;
}

int64_t slide_linear_solve(const slide_linear_data *data, const slide_linear_options *options, int64_t l,
                           slide_linear_scratch *s, float *bias)
{
    s->n_kept = 0;
    if (!gather(data, options, l, s)) return -1;
    start(data, l, s);
    int64_t passes = s->n <= SLIDE_GRAM_ROWS ? slide_linear_descend_gram(options, s)
                                             : descend(options, (uint64_t)(data->first_label + l), s);
    if (passes < 0) return -1;
    *bias = s->w[s->n_known];
    keep_weights(options, s);
    return passes;
}
