/* score.c: sparse rows of a shortlist's labels against one sample, spread out into a dense vector of the thread. */
#include <math.h>
#include <stdlib.h>

#include "linear/linear.h"

#define AHEAD 2 /* labels whose rows are on their way while one is summed up */

static void prefetch_row(const slide_linear_rows *rows, int32_t label)
{
    if (label < 0) return;
    int64_t begin = rows->indptr[label], end = rows->indptr[label + 1];
    for (int64_t p = begin; p < end && p < begin + 128; p += 16) {
        if (rows->features) __builtin_prefetch(rows->features + p, 0, 2);
        if (rows->weights) __builtin_prefetch(rows->weights + p, 0, 2);
    }
    for (int64_t p = begin; rows->narrow && p < end && p < begin + 128; p += 32) __builtin_prefetch(rows->narrow + p, 0, 2);
    for (int64_t p = begin; rows->qweights && p < end && p < begin + 128; p += 64) __builtin_prefetch(rows->qweights + p, 0, 2);
}

/* How the rows are stored. */
enum { FLOATS, NARROW_FLOATS, QWEIGHTS, NARROW_QWEIGHTS };

static inline __attribute__((always_inline)) float term(const slide_linear_rows *rows, int64_t p, const float *dense, int form)
{
    int32_t feature = form == NARROW_FLOATS || form == NARROW_QWEIGHTS ? rows->narrow[p] : rows->features[p];
    return dense[feature] * (form == FLOATS || form == NARROW_FLOATS ? rows->weights[p] : (float)rows->qweights[p]);
}

static inline __attribute__((always_inline)) float sum_row(const slide_linear_rows *rows, int64_t begin, int64_t end,
                                                          const float *dense, int form)
{
    float sum[4] = {0, 0, 0, 0};
    int64_t p = begin;
    for (; p + 4 <= end; p += 4)
        for (int k = 0; k < 4; k++) sum[k] += term(rows, p + k, dense, form);
    for (; p < end; p++) sum[0] += term(rows, p, dense, form);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static float score(const slide_linear_rows *rows, int32_t label, const float *dense)
{
    int64_t begin = rows->indptr[label], end = rows->indptr[label + 1];
    float sum = rows->scales ? rows->narrow ? sum_row(rows, begin, end, dense, NARROW_QWEIGHTS)
                                            : sum_row(rows, begin, end, dense, QWEIGHTS)
                : rows->narrow ? sum_row(rows, begin, end, dense, NARROW_FLOATS)
                               : sum_row(rows, begin, end, dense, FLOATS);
    return (rows->scales ? rows->scales[label] * sum : sum) + rows->bias[label];
}

void slide_linear_score_row(const slide_linear_rows *rows, const int32_t *features, const float *values, int64_t n,
                            const int32_t *ids, int64_t m, float *dense, float *z)
{
    for (int64_t i = 0; i < n; i++) dense[features[i]] = values[i];
    for (int64_t j = 0; j < m; j++) {
        if (j + AHEAD < m) prefetch_row(rows, ids[j + AHEAD]);
        z[j] = ids[j] < 0 ? -INFINITY : score(rows, ids[j], dense);
    }
    for (int64_t i = 0; i < n; i++) dense[features[i]] = 0;
}

slide_status slide_linear_scores(const slide_linear_rows *rows, const slide_examples *ex, const int32_t *ids, int64_t m,
                                 int n_threads, float *z)
{
    int failed = 0;
#pragma omp parallel num_threads(n_threads) reduction(| : failed)
    {
        float *dense = calloc((size_t)rows->n_features + 1, sizeof *dense);
        failed = !dense;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < ex->n; i++) {
            int64_t begin = ex->x_indptr[i], n = ex->x_indptr[i + 1] - begin;
            if (!failed)
                slide_linear_score_row(rows, ex->x_indices + begin, ex->x_data + begin, n, ids + i * m, m, dense, z + i * m);
        }
        free(dense);
    }
    return failed ? SLIDE_NO_MEMORY : SLIDE_OK;
}
