/* approximation.c: makes an approximation of the output layer, and lends it to calls that may run at once. */
#include "net/approximation.h"

#include <math.h>
#include <stdlib.h>

#include "core/rows.h"

/* Rows that are asked for before one is made: it costs about as much as so many exact predictions, so whoever trains
 * after each prediction loses at most as much again. */
#define PAYS_FROM 8
#define UP 1.000001f /* a bound is rounded up */

static void lock(slide_network *net)
{
    while (__atomic_test_and_set(&net->lock, __ATOMIC_ACQUIRE)) {} /* for a few instructions */
}

static void unlock(slide_network *net)
{
    __atomic_clear(&net->lock, __ATOMIC_RELEASE);
}

void slide_approximation_free(slide_approximation *a)
{
    if (!a) return;
    free(a->own_qweights);
    free(a->own_scales);
    free(a->errors);
    free(a->lengths);
    free(a->biases);
    free(a->sums);
    free(a);
}

/* Rounds a row. */
SLIDE_RACY static void round_row(const slide_layer *layer, const float *row, int8_t *q, float *scale, float *error)
{
    float most = 0;
    double lost = 0;
    for (int64_t d = 0; d < layer->padded; d++) most = fmaxf(most, fabsf(slide_weight(layer, row, d)));
    *scale = most / 127;
    float up = isfinite(127 / most) ? 127 / most : 0;
    for (int64_t d = 0; d < layer->padded; d++) {
        float w = slide_weight(layer, row, d);
        q[d] = (int8_t)lrintf(fmaxf(-127, fminf(127, w * up)));
        double rest = (double)w - (double)*scale * q[d];
        lost += rest * rest;
    }
    *error = UP * (float)sqrt(lost);
}

static void measure_row(slide_approximation *a, int64_t i, int64_t padded)
{
    const int8_t *q = a->qweights + i * padded;
    int64_t square = 0;
    a->sums[i] = 0;
    for (int64_t d = 0; d < padded; d++) {
        a->sums[i] += q[d];
        square += q[d] * q[d];
    }
    a->lengths[i] = UP * fabsf(a->scales[i]) * (float)sqrt((double)square);
    a->longest = fmaxf(a->longest, a->lengths[i] + a->errors[i]);
}

SLIDE_RACY static float largest_pair(const slide_wide *wide, int64_t n_features)
{
    float most = 0;
    int64_t n = wide->indptr[n_features];
    if (!wide->qweights)
        for (int64_t p = 0; p < n; p++) most = fmaxf(most, fabsf(wide->weights[p]));
    else
        for (int64_t f = 0; f < n_features; f++) most = fmaxf(most, 127 * fabsf(wide->scales[f]));
    return most;
}

/* Whether all of it is finite. */
SLIDE_RACY static int fill(slide_approximation *a, const slide_network *net, const slide_layer *layer)
{
    float sum = 0; /* NaN or infinite as soon as one of its terms is */
    for (int64_t i = 0; i < layer->n; i++) {
        a->errors[i] = 0;
        if (layer->qweights) {
            a->biases[i] = layer->biases[i];
        } else {
            float *row = slide_row(layer, i);
            round_row(layer, row, a->own_qweights + i * layer->padded, a->own_scales + i, a->errors + i);
            a->biases[i] = slide_row_scalars(layer, row)[SLIDE_BIAS];
        }
        measure_row(a, i, layer->padded);
        a->largest_bias = fmaxf(a->largest_bias, fabsf(a->biases[i]));
        sum += 0 * (a->lengths[i] + a->biases[i] + a->errors[i]);
    }
    if (net->has_wide) {
        float most = 0;
        for (int64_t l = 0; l < layer->n; l++) {
            most = fmaxf(most, fabsf(net->wide.bias[l]));
            sum += 0 * net->wide.bias[l];
        }
        a->largest_bias += most;
        const slide_layer *input = &net->layers[0];
        a->largest_pair = largest_pair(&net->wide, input->kind == SLIDE_DENSE_INPUT ? input->n : input->fan_in);
    }
    return sum == 0 && a->longest < INFINITY && a->largest_pair < INFINITY;
}

static slide_approximation *made(const slide_network *net, int64_t version)
{
    const slide_layer *layer = slide_last_layer(net);
    slide_approximation *a = calloc(1, sizeof *a);
    if (!a) return NULL;
    size_t n = (size_t)layer->n;
    a->version = version;
    a->errors = malloc(n * sizeof(float));
    a->lengths = malloc(n * sizeof(float));
    a->biases = malloc(n * sizeof(float));
    a->sums = malloc(n * sizeof(int32_t));
    if (!layer->qweights) {
        a->own_qweights = aligned_alloc(64, (n * (size_t)layer->padded + 63) / 64 * 64);
        a->own_scales = malloc(n * sizeof(float));
    }
    int whole = layer->qweights || (a->own_qweights && a->own_scales);
    if (!whole || !a->errors || !a->lengths || !a->biases || !a->sums) {
        slide_approximation_free(a);
        return NULL;
    }
    a->qweights = layer->qweights ? layer->qweights : a->own_qweights;
    a->scales = layer->qweights ? layer->scales : a->own_scales;
    a->is_usable = fill(a, net, layer);
    return a;
}

static int is_possible(const slide_network *net)
{
    if (!net->n_layers || net->may_be_written) return 0;
    const slide_layer *layer = slide_last_layer(net);
    return layer->n >= SLIDE_APPROXIMATION_LABELS && !layer->slots;
}

/* Puts a new one in the place of the old, which its last reader frees. */
static void replace(slide_network *net, slide_approximation *a)
{
    lock(net);
    slide_approximation *old = net->approximation;
    net->approximation = a;
    a->is_current = 1;
    int free_it = 0;
    if (old) {
        old->is_current = 0;
        free_it = !old->readers;
    }
    unlock(net);
    if (free_it) slide_approximation_free(old);
}

static const slide_approximation *taken(slide_network *net, int64_t version)
{
    lock(net);
    slide_approximation *a = net->approximation;
    if (a && a->version != version) a = NULL;
    if (a) a->readers++;
    unlock(net);
    return a;
}

const slide_approximation *slide_approximation_take(slide_network *net, int64_t rows)
{
    if (!is_possible(net)) return NULL;
    int64_t version = __atomic_load_n(&net->version, __ATOMIC_ACQUIRE);
    const slide_approximation *a = taken(net, version);
    if (!a && __atomic_add_fetch(&net->rows_asked, rows, __ATOMIC_RELAXED) >= PAYS_FROM) {
        slide_approximation *new = made(net, version);
        if (new) replace(net, new);
        a = taken(net, version);
    }
    if (a && !a->is_usable) {
        slide_approximation_leave(net, a);
        return NULL;
    }
    return a;
}

void slide_approximation_leave(slide_network *net, const slide_approximation *taken_one)
{
    if (!taken_one) return;
    slide_approximation *a = (slide_approximation *)taken_one;
    lock(net);
    int free_it = !--a->readers && !a->is_current;
    unlock(net);
    if (free_it) slide_approximation_free(a);
}

void slide_approximation_stale(slide_network *net)
{
    __atomic_add_fetch(&net->version, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&net->rows_asked, 0, __ATOMIC_RELAXED);
}
