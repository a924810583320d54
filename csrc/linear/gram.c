/* gram.c: a label's problem in the space of its rows, where they are few.
 *
 * Where C is large, dual coordinate descent takes hundreds of passes. Here a step moves all gradients by one row of the
 * matrix of inner products instead of gathering and scattering weights; that row is made when its multiplier first moves,
 * which most never do. Every few passes Newton's step solves for the multipliers over 0 together, so that a problem is solved,
 * not only begun, whatever its C. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "linear/linear.h"

#define MOST_PASSES 300
#define EVERY 3     /* passes, from one step of Newton's method to the next */
#define WAITS 0.25f /* of the largest gradient of the last pass: smaller ones wait */

static int reserve(slide_linear_gram *g, int64_t n_columns, int64_t n_values)
{
    int64_t most = SLIDE_GRAM_ROWS;
    if (!g->step && !(slide_grow(&g->products, most * most, sizeof *g->products) &&
                      slide_grow(&g->system, most * most, sizeof *g->system) && slide_grow(&g->known, most, sizeof *g->known) &&
                      slide_grow(&g->gradient, most, sizeof *g->gradient) && slide_grow(&g->free, most, sizeof *g->free) &&
                      slide_grow(&g->step, most, sizeof *g->step)))
        return 0;
    if (n_columns > g->max_columns) {
        g->max_columns = 0;
        if (!slide_grow(&g->begin, n_columns + n_columns / 2 + 1, sizeof *g->begin)) return 0;
        g->max_columns = n_columns + n_columns / 2;
    }
    if (n_values > g->max_values) {
        g->max_values = 0;
        int64_t m = n_values + n_values / 2;
        if (!slide_grow(&g->rows, m, sizeof *g->rows) || !slide_grow(&g->values, m, sizeof *g->values)) return 0;
        g->max_values = m;
    }
    return 1;
}

void slide_linear_gram_free(slide_linear_gram *g)
{
    void *all[] = {g->begin, g->rows, g->values, g->products, g->known, g->gradient, g->free, g->system, g->step};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* The problem's values once more, by feature. */
static void turn(slide_linear_scratch *s)
{
    slide_linear_gram *g = &s->gram;
    int64_t n_values = s->begin[s->n];
    memset(g->begin, 0, (size_t)(s->n_known + 1) * sizeof *g->begin);
    for (int64_t p = 0; p < n_values; p++) g->begin[s->indices[p] + 1]++;
    for (int64_t f = 0; f < s->n_known; f++) g->begin[f + 1] += g->begin[f];
    for (int64_t i = 0; i < s->n; i++)
        for (int64_t p = s->begin[i]; p < s->begin[i + 1]; p++) {
            int64_t at = g->begin[s->indices[p]]++;
            g->rows[at] = (int32_t)i;
            g->values[at] = s->values[p];
        }
    for (int64_t f = s->n_known; f > 0; f--) g->begin[f] = g->begin[f - 1];
    g->begin[0] = 0;
}

/* Row i of the products. */
static const float *products_of(slide_linear_scratch *s, int64_t i, int64_t stride)
{
    slide_linear_gram *g = &s->gram;
    float *products = g->products + i * stride;
    if (g->known[i]) return products;
    for (int64_t j = 0; j < s->n; j++) products[j] = 1;
    for (int64_t j = s->n; j < stride; j++) products[j] = 0;
    for (int64_t p = s->begin[i]; p < s->begin[i + 1]; p++) {
        float value = s->values[p];
        for (int64_t q = g->begin[s->indices[p]]; q < g->begin[s->indices[p] + 1]; q++)
            products[g->rows[q]] += value * g->values[q];
    }
    for (int64_t j = 0; j < s->n; j++) products[j] *= s->sign[i] * s->sign[j];
    g->known[i] = 1;
    return products;
}

/* Moves the multiplier of row i to its optimum, the others' fixed. */
static void move(slide_linear_scratch *s, int64_t i, float gradient, int64_t stride)
{
    float old = s->alpha[i], next = old - gradient / s->curvature[i];
    s->alpha[i] = next > 0 ? next : 0;
    float step = s->alpha[i] - old, *all = s->gram.gradient;
    const float *products = products_of(s, i, stride);
    for (int64_t j = 0; j < stride; j++) all[j] += step * products[j];
}

/* One pass. Rows whose projected gradient is within the limit wait. Returns the largest that was seen. */
static float pass(slide_linear_scratch *s, float limit, int64_t stride)
{
    float most = 0;
    for (int64_t i = 0; i < s->n; i++) {
        float gradient = s->gram.gradient[i] + s->alpha[i] * s->slack[i];
        float away = s->alpha[i] > 0 ? fabsf(gradient) : -gradient;
        if (away > most) most = away;
        if (away > limit) move(s, i, gradient, stride);
    }
    return most;
}

/* Solves system . x = step by Cholesky's factors, in place: x is step then. The system's upper half is used. Returns 0 where
 * rounding leaves it no positive one. */
static int solve_system(double *system, double *step, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        double *row = system + k * n, root = sqrt(row[k]);
        if (!(root > 0)) return 0;
        for (int64_t j = k; j < n; j++) row[j] /= root;
        for (int64_t i = k + 1; i < n; i++)
            for (int64_t j = i; j < n; j++) system[i * n + j] -= row[i] * row[j];
    }
    for (int64_t k = 0; k < n; k++) {
        step[k] /= system[k * n + k];
        for (int64_t j = k + 1; j < n; j++) step[j] -= system[k * n + j] * step[k];
    }
    for (int64_t k = n - 1; k >= 0; k--) {
        for (int64_t j = k + 1; j < n; j++) step[k] -= system[k * n + j] * step[j];
        step[k] /= system[k * n + k];
    }
    return 1;
}

/* Newton's step for the multipliers over 0, as far as all stay so. */
static void move_free(slide_linear_scratch *s, int64_t stride)
{
    slide_linear_gram *g = &s->gram;
    int64_t n = 0;
    for (int64_t i = 0; i < s->n; i++)
        if (s->alpha[i] > 0) g->free[n++] = (int32_t)i;
    for (int64_t a = 0; a < n; a++) {
        int32_t i = g->free[a];
        const float *products = products_of(s, i, stride);
        for (int64_t b = a; b < n; b++) g->system[a * n + b] = products[g->free[b]];
        g->system[a * n + a] += s->slack[i];
        g->step[a] = -((double)g->gradient[i] + (double)s->alpha[i] * s->slack[i]);
    }
    if (!solve_system(g->system, g->step, n)) return;
    double share = 1;
    for (int64_t a = 0; a < n; a++)
        if (s->alpha[g->free[a]] + share * g->step[a] < 0) share = -s->alpha[g->free[a]] / g->step[a];
    for (int64_t a = 0; a < n; a++) {
        int32_t i = g->free[a];
        float old = s->alpha[i], next = (float)(old + share * g->step[a]);
        s->alpha[i] = next > 0 ? next : 0;
        float step = s->alpha[i] - old;
        const float *products = products_of(s, i, stride);
        for (int64_t j = 0; j < stride; j++) g->gradient[j] += step * products[j];
    }
}

int64_t slide_linear_descend_gram(const slide_linear_options *o, slide_linear_scratch *s)
{
    slide_linear_gram *g = &s->gram;
    int64_t stride = slide_pad(s->n), passes = 0;
    if (!reserve(g, s->n_known + 1, s->begin[s->n] + 1)) return -1;
    turn(s);
    memset(g->known, 0, (size_t)s->n);
    for (int64_t i = 0; i < s->n; i++) g->gradient[i] = s->sign[i] * slide_linear_margin(s, i) - 1;
    for (int64_t i = s->n; i < stride; i++) g->gradient[i] = 0;
    for (float most = 0; passes < MOST_PASSES && s->n; passes++) {
        most = pass(s, most * WAITS, stride);
        if (2 * most <= o->eps) break;
        if (passes % EVERY == EVERY - 1) move_free(s, stride);
    }
    slide_linear_weights(s);
    return passes;
}
