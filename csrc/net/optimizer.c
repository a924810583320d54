/* optimizer.c: SGD, Adagrad (Duchi et al., JMLR 2011; one accumulator a weight or one a row), and lazy Adam (Kingma & Ba,
 * 2015), for a row whose gradient is a scalar times a vector. Only rows in the active set get here: a row that sleeps
 * keeps its moments and its decay, and Adam's bias correction follows the row's own count of updates, so the first
 * step of a row that wakes late has the size of any first step. Weight decay is decoupled (Loshchilov & Hutter, 2019)
 * and spares biases. */
#include "net/optimizer.h"

#include <math.h>
#include <string.h>

int slide_update_fits(const slide_optimizer *o, const slide_rank1 *factor, const float *g, int64_t n, float lr)
{
    float largest = slide_magnitude(g, n), square = largest * largest * (factor->sqnorm + 1);
    if (o->kind == SLIDE_SGD) square *= lr * lr;
    return lr <= SLIDE_LONGEST_STEP && lr * o->weight_decay <= 2 && square <= SLIDE_LARGEST_SQUARE; /* NaN is not */
}

int slide_optimizer_states(int kind)
{
    return kind == SLIDE_ADAM ? 2 : kind == SLIDE_ADAGRAD;
}

/* One coordinate, for biases and for factors that are sparse. */
SLIDE_RACY static void step_one(const slide_optimizer *o, float *w, float *s1, float *s2, float g, float lr,
                                const slide_adam_step *adam, float keep)
{
    if (o->kind == SLIDE_SGD) {
        *w = keep * *w - lr * g;
    } else if (o->kind == SLIDE_ADAGRAD) {
        *s1 += g * g;
        *w = keep * *w - lr * g / (sqrtf(*s1) + o->eps);
    } else {
        *s1 = adam->beta1 * *s1 + (1 - adam->beta1) * g;
        *s2 = adam->beta2 * *s2 + (1 - adam->beta2) * g * g;
        *w = keep * *w - adam->step * *s1 / (sqrtf(*s2 * adam->root) + adam->eps);
    }
}

static slide_adam_step adam_step(const slide_optimizer *o, float count, float lr, float keep)
{
    return (slide_adam_step){.beta1 = o->beta1,
                             .beta2 = o->beta2,
                             .step = lr / (1 - powf(o->beta1, count)),
                             .root = 1 / (1 - powf(o->beta2, count)),
                             .eps = o->eps,
                             .keep = keep};
}

/* What the random bits of a row's next update follow from: its number, and how many updates it has had. Never its
 * address: rows that lie elsewhere or further apart are rounded alike. A row counts for its cache lines when layers are
 * made, so that models written before go on with the same bits. The factors are primes of xxHash32 (Collet, 2012). */
SLIDE_RACY static uint32_t noise_seed(const slide_layer *layer, int64_t i)
{
    uint32_t count, place = (uint32_t)(i * (slide_pad(layer->padded / 2) + SLIDE_ROW_SCALARS) / SLIDE_LANES);
    float *counter = slide_row_scalars(layer, slide_row(layer, i)) + SLIDE_ROW_COUNT; /* Adam's: bf16 has no Adam */
    memcpy(&count, counter, sizeof count);
    count++;
    memcpy(counter, &count, sizeof count);
    return place * 0x27D4EB2Fu ^ count * 0x165667B1u;
}

SLIDE_RACY static void update_dense(const slide_network *net, const slide_layer *layer, int64_t i, const float *x,
                                    float *dx, float g, float lr, float scale, float keep,
                                    const slide_adam_step *adam)
{
    float *row = slide_row(layer, i);
    const slide_kernels *k = net->kernels;
    int64_t p = layer->padded;
    if (layer->is_bf16) {
        k->update_bf16(slide_bf16_row(layer, i), dx, x, g, scale, keep, noise_seed(layer, i), p);
        return;
    }
    switch (net->optimizer.kind) {
    case SLIDE_ADAGRAD: k->update_adagrad(row, row + p, dx, x, g, lr, net->optimizer.eps, keep, p); break;
    case SLIDE_ADAM: k->update_adam(row, row + p, row + 2 * p, dx, x, g, adam, p); break;
    default: k->update_scaled(row, dx, x, g, scale, keep, p);
    }
}

/* One weight, rounded as update_bf16 does. */
SLIDE_RACY static void round_to_bf16(float *row, int32_t j, float w, uint32_t seed)
{
    uint32_t bits;
    memcpy(&bits, &w, sizeof bits);
    ((uint16_t *)(void *)row)[j] = (uint16_t)((bits + slide_noise(seed, (uint32_t)j)) >> 16);
}

/* The layer below is sampled too: only the coordinates of its active neurons have a gradient. */
SLIDE_RACY static void update_sparse(const slide_network *net, const slide_layer *layer, int64_t row_index,
                                     const slide_activations *x, float *dx, float g, float lr, float scale, float keep,
                                     const slide_adam_step *adam)
{
    int64_t p = layer->padded;
    float *row = slide_row(layer, row_index);
    int by_row = net->n_states == 0;
    uint32_t seed = layer->is_bf16 ? noise_seed(layer, row_index) : 0;
    for (int64_t i = 0; i < x->n; i++) {
        int32_t j = x->ids[i];
        float w = slide_weight(layer, row, j);
        dx[i] += g * w;
        if (layer->is_bf16)
            round_to_bf16(row, j, keep * w + scale * x->val[i], seed);
        else if (by_row)
            row[j] = keep * row[j] + scale * x->val[i];
        else
            step_one(&net->optimizer, row + j, row + p + j, row + 2 * p + j, g * x->val[i], lr, adam, keep);
    }
}

SLIDE_RACY void slide_update_row(const slide_network *net, const slide_layer *layer, int64_t i,
                                 const slide_rank1 *factor, float *d_factor, float g, float lr)
{
    const slide_optimizer *o = &net->optimizer;
    float *scalars = slide_row_scalars(layer, slide_row(layer, i));
    int by_feature = layer->kind == SLIDE_SPARSE_INPUT, bias = !by_feature && layer->has_bias;
    int bias_row = by_feature && i == layer->fan_in;
    float keep = bias_row ? 1 : 1 - lr * o->weight_decay, scale = -lr * g;
    slide_adam_step adam = {0};
    if (o->kind == SLIDE_ADAGRAD_ROW) {
        float square = factor->sqnorm + (float)bias * factor->bias * factor->bias;
        scalars[SLIDE_ROW_ACC] += g * g * square / (float)(layer->width + bias);
        scale = -lr * g / (sqrtf(scalars[SLIDE_ROW_ACC]) + o->eps);
    } else if (o->kind == SLIDE_ADAM) {
        adam = adam_step(o, ++scalars[SLIDE_ROW_COUNT], lr, keep);
    }
    if (factor->vector->ids)
        update_sparse(net, layer, i, factor->vector, d_factor, g, lr, scale, keep, &adam);
    else
        update_dense(net, layer, i, factor->vector->val, d_factor, g, lr, scale, keep, &adam);
    if (!bias) return;
    if (net->n_states == 0)
        scalars[SLIDE_BIAS] += scale * factor->bias;
    else
        step_one(o, scalars + SLIDE_BIAS, scalars + SLIDE_BIAS_S1, scalars + SLIDE_BIAS_S2, g * factor->bias, lr, &adam, 1);
}

int slide_row_steps_possible(const slide_optimizer *o)
{
    return (o->kind == SLIDE_SGD || o->kind == SLIDE_ADAGRAD_ROW) && o->weight_decay == 0;
}

SLIDE_RACY void slide_row_steps(const slide_network *net, const slide_layer *layer, int64_t i, const float *g,
                                const float *sqnorm, int n, float lr, float *steps)
{
    float *sum = slide_row_scalars(layer, slide_row(layer, i)) + SLIDE_ROW_ACC;
    for (int q = 0; q < n; q++) {
        steps[q] = -lr * g[q];
        if (net->optimizer.kind != SLIDE_ADAGRAD_ROW || g[q] == 0 || sqnorm[q] == 0) continue; /* eps may be 0 */
        *sum += g[q] * g[q] * sqnorm[q] / (float)layer->width;
        steps[q] /= sqrtf(*sum) + net->optimizer.eps;
    }
}

SLIDE_RACY void slide_move_row(const slide_network *net, const slide_layer *layer, int64_t i, const float *move)
{
    net->kernels->axpy(slide_row(layer, i), 1, move, layer->padded);
}
