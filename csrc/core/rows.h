/* rows.h: reads where a layer keeps its weights and the scalars behind them (slide_layer in types.h), and what an example's
 * row counts. */
#ifndef SLIDE_CORE_ROWS_H
#define SLIDE_CORE_ROWS_H

#include <string.h>

#include "core/types.h"

static inline float *slide_row(const slide_layer *layer, int64_t i)
{
    return layer->rows + (layer->slots ? layer->slots[i] : i) * layer->stride;
}

static inline float *slide_row_scalars(const slide_layer *layer, float *row)
{
    return row + layer->stride - SLIDE_ROW_SCALARS;
}

static inline uint16_t *slide_bf16_row(const slide_layer *layer, int64_t i)
{
    return (uint16_t *)(void *)slide_row(layer, i);
}

static inline float slide_from_bf16(uint16_t bf16)
{
    uint32_t bits = (uint32_t)bf16 << 16;
    float w;
    memcpy(&w, &bits, sizeof w);
    return w;
}

/* One weight of a row that is not compressed. */
SLIDE_RACY static inline float slide_weight(const slide_layer *layer, const float *row, int64_t d)
{
    return layer->is_bf16 ? slide_from_bf16(((const uint16_t *)(const void *)row)[d]) : row[d];
}

/* How many times the loss of an example's row counts. */
static inline float slide_weight_of(const slide_examples *ex, int64_t row)
{
    return ex->weights ? ex->weights[row] : 1;
}

/* Brings the first lines of a row on their way; the hardware follows a sequence once it has begun. */
static inline void slide_prefetch_row(const float *row, int64_t floats)
{
    for (int64_t i = 0; i < floats; i += 16) __builtin_prefetch(row + i, 1, 2);
}

/* The same for the weights of a neuron or feature, compressed or not. */
static inline void slide_prefetch_weights(const slide_layer *layer, int64_t i)
{
    if (!layer->qweights) {
        slide_prefetch_row(slide_row(layer, i), layer->stride);
        return;
    }
    for (int64_t d = 0; d < layer->padded; d += 64) __builtin_prefetch(layer->qweights + i * layer->padded + d, 0, 2);
}

#endif
