/* transform.c: what is hashed of neurons and of queries (slide.h, slide_lsh): the frame first, then coordinates that
 * turn inner products into angles or distances. Sums are of exact products, in double and in order, and results are rounded to
 * float before they meet another operation: equal bits on every machine. */
#include "lsh/transform.h"

#include <math.h>
#include <string.h>

#include "core/rows.h"

static void centre_neuron(const float *frame, int64_t n, float *out)
{
    const float *query_centre = frame + n + 1;
    double last = (double)out[n] - frame[n];
    for (int64_t d = 0; d < n; d++) {
        out[d] -= frame[d];
        last += (double)out[d] * query_centre[d];
    }
    out[n] = (float)(last / query_centre[n]);
}

static void centre_query(const float *frame, int64_t n, float *out)
{
    const float *query_centre = frame + n + 1;
    for (int64_t d = 0; d < n; d++) out[d] -= query_centre[d];
    out[n] = query_centre[n];
}

static double square_norm(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t d = 0; d < n; d++) sum += (double)x[d] * x[d];
    return sum;
}

/* Simple-LSH (Neyshabur & Srebro, ICML 2015): all neurons get the length of the longest, so that the angle with a
 * query follows the inner product. With several norms: the longest of neurons of about this length (norm-ranging: Yan
 * et al., NeurIPS 2018). */
static void augment(const slide_lsh *lsh, int64_t n, float *out)
{
    double square = square_norm(out, n);
    int group = 0;
    while (group < lsh->n_norms - 1 && square > (double)lsh->norms[group] * lsh->norms[group]) group++;
    double missing = (double)lsh->norms[group] * lsh->norms[group] - square;
    out[n] = missing > 0 ? (float)sqrt(missing) : 0;
}

/* Sign-ALSH (Shrivastava & Li, UAI 2015), with their choice of m = 2 terms; norms[0] is the longest over 0.75. */
static void sign_alsh(const slide_lsh *lsh, int64_t n, float *out)
{
    for (int64_t d = 0; d < n; d++) out[d] /= lsh->norms[0];
    float square = (float)square_norm(out, n), fourth = (float)((double)square * square);
    out[n] = 0.5f - square;
    out[n + 1] = 0.5f - fourth;
}

/* L2-ALSH (Shrivastava & Li, NIPS 2014) with their m = 3 terms |w|^2, |w|^4, |w|^8; norms[0] is the longest over 0.83. The
 * squared distance to a query is then 1 + m / 4 - 2 q . w + |w|^16. Neurons that outgrew the norm since it was taken
 * count as of length 1, or |w|^16 would send those that matter most away. */
static void l2_alsh_neuron(const slide_lsh *lsh, int64_t n, float *out)
{
    for (int64_t d = 0; d < n; d++) out[d] /= lsh->norms[0];
    float power = (float)square_norm(out, n);
    if (power > 1) power = 1;
    for (int term = 0; term < SLIDE_L2_ALSH_TERMS; term++) {
        out[n + term] = power;
        power = (float)((double)power * power);
    }
}

/* A query of length 1, with 1/2 for each term. */
static void l2_alsh_query(int64_t n, float *out)
{
    float length = (float)sqrt(square_norm(out, n));
    for (int64_t d = 0; d < n && length > 0; d++) out[d] /= length;
    for (int term = 0; term < SLIDE_L2_ALSH_TERMS; term++) out[n + term] = 0.5f;
}

/* Training may ask with a row that another thread is moving. */
SLIDE_RACY void slide_hashed_neuron(const slide_layer *layer, int64_t neuron, float *out)
{
    const slide_lsh *lsh = &layer->lsh;
    float *row = slide_row(layer, neuron);
    int64_t n = layer->fan_in;
    for (int64_t d = 0; d < n; d++) out[d] = slide_weight(layer, row, d);
    out[n] = slide_row_scalars(layer, row)[SLIDE_BIAS];
    if (lsh->frame) centre_neuron(lsh->frame, n, out);
    if (lsh->transform == SLIDE_NORM_AUGMENTED) augment(lsh, n + 1, out);
    if (lsh->transform == SLIDE_SIGN_ALSH) sign_alsh(lsh, n + 1, out);
    if (lsh->transform == SLIDE_L2_ALSH) l2_alsh_neuron(lsh, n + 1, out);
}

void slide_hashed_query(const slide_layer *layer, const slide_activations *input, float *out)
{
    const slide_lsh *lsh = &layer->lsh;
    int64_t n = layer->fan_in;
    memset(out, 0, (size_t)lsh->dim * sizeof(float)); /* what other transforms append to a query is 0 */
    if (input->ids)
        for (int64_t i = 0; i < input->n; i++) out[input->ids[i]] = input->val[i];
    else
        memcpy(out, input->val, (size_t)n * sizeof(float));
    out[n] = 1;
    if (lsh->frame) centre_query(lsh->frame, n, out);
    if (lsh->transform == SLIDE_L2_ALSH) l2_alsh_query(n + 1, out);
}
