/* wta.c: winner-take-all codes: ranks of coordinates alone count. */
#include "lsh/densify.h"
#include "lsh/families.h"

/* Winner-take-all (Yagnik et al., ICCV 2011): which of a window of coordinates is the largest. */
void slide_wta(const slide_lsh *lsh, const float *x, uint32_t *codes)
{
    const int32_t *window = lsh->positions;
    for (int t = 0; t < lsh->L; t++) {
        uint32_t code = 0;
        for (int k = 0; k < lsh->K; k++, window += lsh->window) {
            int best = 0;
            for (int j = 1; j < lsh->window; j++)
                if (x[window[j]] > x[window[best]]) best = j;
            code = code << lsh->log2_window | (uint32_t)best;
        }
        codes[t] = code;
    }
}

/* Puts some coordinates into their bins of every permutation; the first of equals by place wins, in whatever order they
 * come. */
static void compete(const slide_lsh *lsh, const int32_t *ids, const float *x, int64_t n, int32_t *winners,
                    float *values)
{
    int bins = lsh->K * lsh->L, whole = lsh->dim / lsh->window;
    for (int p = 0; p < lsh->permutations; p++) {
        const int32_t *place = lsh->positions + (int64_t)p * lsh->dim;
        for (int64_t i = 0; i < n; i++) {
            if (x[i] == 0) continue;
            int32_t at = place[ids ? ids[i] : i], offset = at & (lsh->window - 1);
            int in_permutation = at >> lsh->log2_window, bin = p * whole + in_permutation;
            if (in_permutation >= whole || bin >= bins) continue;
            if (winners[bin] == SLIDE_EMPTY || x[i] > values[bin] || (x[i] == values[bin] && offset < winners[bin])) {
                winners[bin] = offset;
                values[bin] = x[i];
            }
        }
    }
}

/* Densified WTA (Chen & Shrivastava, UAI 2018): each non-zero coordinate falls into one bin a permutation; absent
 * coordinates do not compete, and empty bins borrow. */
void slide_dwta(const slide_lsh *lsh, const int32_t *ids, const float *x, int64_t n, int with_one, float *scratch,
                uint32_t *codes)
{
    int32_t *winners = (int32_t *)scratch, last = lsh->dim - 1;
    float *values = scratch + slide_projection_size(lsh), one = 1;
    for (int b = 0; b < lsh->K * lsh->L; b++) winners[b] = SLIDE_EMPTY;
    compete(lsh, ids, x, n, winners, values);
    if (with_one) compete(lsh, &last, &one, 1, winners, values);
    slide_densified_codes(lsh, winners, lsh->log2_window, codes);
}
