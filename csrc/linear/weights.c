/* weights.c: a problem's weights: a row's margin under them, a row added to them, and what the multipliers stand for. */
#include <string.h>

#include "linear/linear.h"

/* Four sums side by side, so that an addition need not wait for the last one. */
float slide_linear_margin(const slide_linear_scratch *s, int64_t i)
{
    const int32_t *index = s->indices + s->begin[i];
    const float *value = s->values + s->begin[i];
    int64_t n = s->begin[i + 1] - s->begin[i], j = 0;
    float sum[4] = {s->w[s->n_known], 0, 0, 0};
    for (; j + 4 <= n; j += 4)
        for (int k = 0; k < 4; k++) sum[k] += value[j + k] * s->w[index[j + k]];
    for (; j < n; j++) sum[0] += value[j] * s->w[index[j]];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

void slide_linear_add_row(slide_linear_scratch *s, int64_t i, float factor)
{
    for (int64_t j = s->begin[i]; j < s->begin[i + 1]; j++) s->w[s->indices[j]] += factor * s->values[j];
    s->w[s->n_known] += factor;
}

void slide_linear_weights(slide_linear_scratch *s)
{
    memset(s->w, 0, (size_t)(s->n_known + 1) * sizeof *s->w);
    s->w[s->n_known] = SLIDE_LINEAR_BIAS;
    for (int64_t i = 0; i < s->n; i++)
        if (s->alpha[i] > 0) slide_linear_add_row(s, i, s->alpha[i] * s->sign[i]);
}
