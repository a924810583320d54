/* rank.c: a shortlist's logits and the scores of its sparse rows, put together as log odds. */
#include <math.h>

#include "linear/linear.h"

static float curve_at(const slide_rank *rank, float z)
{
    float place = (z - rank->first) / rank->step;
    int32_t last = rank->n_knots - 2;
    int32_t i = place > 0 ? place < (float)last ? (int32_t)place : last : 0;
    return rank->curve[i] + (place - (float)i) * (rank->curve[i + 1] - rank->curve[i]);
}

/* log sum e^logit over the places in use; 0 where there is none. */
static float log_sum(const int32_t *ids, const float *logits, int64_t m)
{
    float most = -INFINITY;
    double sum = 0;
    for (int64_t j = 0; j < m; j++)
        if (ids[j] >= 0 && logits[j] > most) most = logits[j];
    for (int64_t j = 0; j < m; j++)
        if (ids[j] >= 0) sum += exp((double)logits[j] - (double)most);
    return sum > 0 ? most + (float)log(sum) : 0;
}

void slide_rank_scores(const slide_rank *rank, const int32_t *features, const float *values, int64_t n, const int32_t *ids,
                       int64_t m, float *dense, float *z, float *scores)
{
    slide_linear_score_row(&rank->rows, features, values, n, ids, m, dense, z);
    float shift = rank->sum_share ? rank->sum_share * log_sum(ids, scores, m) : 0;
    for (int64_t j = 0; j < m; j++)
        if (ids[j] >= 0) scores[j] = curve_at(rank, z[j]) + rank->logit_share * scores[j] + shift;
}
