/* kernel_driver.c: loops over the leaves of kernels/kernels.h, so that a call from Python can be timed.
 *
 * Built by kernels.py into a throw-away library; no part of the engine. Visits rows in the order given: a handful of
 * rows measures the kernel in the nearest cache, a random order over a large table measures it with memory. */
#include <stddef.h>
#include <string.h>

#include "kernels/kernels.h"

#define AHEAD 4 /* rows fetched ahead, as the training loop does */

enum { DOT, AXPY, SGD, ADAGRAD, ADAM, EXP_SUM, PROJECT, TILE };

static void prefetch(const float *row, int64_t floats)
{
    for (int64_t j = 0; j < floats; j += 16) __builtin_prefetch(row + j);
}

/* Runs one kernel over rows[order[i]], i < visits; rows have `stride` floats, the first n are weights and the next n
 * and n again optimizer state. Returns a sum so that no call is thrown away, or NaN for an unknown instruction set. */
float drive(const char *isa, int what, float *rows, int64_t stride, const int32_t *order, int64_t visits, float *x,
            float *dx, int64_t n)
{
    const slide_kernels *k = slide_kernels_get(*isa ? isa : NULL);
    const slide_adam_step adam = {0.9f, 0.999f, 1e-6f, 1.0f, 1e-8f, 1.0f};
    float sum = 0;
    if (!k) return 0.0f / 0.0f;
    for (int64_t i = 0; i < visits; i++) {
        float *w = rows + order[i] * stride;
        if (i + AHEAD < visits) prefetch(rows + order[i + AHEAD] * stride, stride);
        switch (what) {
        case DOT: sum += k->dot(w, x, n); break;
        case AXPY: k->axpy(dx, 1e-6f, w, n); break;
        case SGD: k->update_scaled(w, dx, x, 1e-6f, 1e-6f, 1.0f, n); break;
        case ADAGRAD: k->update_adagrad(w, w + n, dx, x, 1e-6f, 1e-6f, 1e-8f, 1.0f, n); break;
        case ADAM: k->update_adam(w, w + n, w + 2 * n, dx, x, 1e-6f, &adam, n); break;
        case EXP_SUM: sum += k->exp_sum(dx, 1e-6f, n); break;
        case PROJECT: k->project(dx, rows, x, n); break;
        case TILE: k->tile(dx, SLIDE_TILE_QUERIES, rows + (order[i] & ~(int64_t)(SLIDE_TILE_ROWS - 1)) * stride, stride, 1, x,
                             SLIDE_TILE_QUERIES, n);
            break;
        }
    }
    return sum + dx[0];
}
