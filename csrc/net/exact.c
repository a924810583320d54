/* exact.c: exact scores of all labels. Up to 32 samples meet all rows in blocks of 8; a running top-k per sample keeps the
 * score matrix from ever existing. A few samples meet them one by one. Where a filter says which labels can be among the
 * best, they alone are scored, in the same way. */
#include <math.h>
#include <string.h>

#include "net/layer.h"
#include "net/predictor.h"

#define Q SLIDE_TILE_QUERIES
#define R SLIDE_TILE_ROWS
#define FEW SLIDE_FEW
#define LABEL_BLOCK SLIDE_LABEL_BLOCK

typedef slide_predictor predictor;

static int64_t n_labels(const slide_network *net)
{
    return net->n_layers ? net->layers[net->n_layers - 1].n : net->wide.n_labels;
}

const slide_activations *slide_forward_dense(const slide_network *net, slide_scratch *s, const slide_examples *ex, int64_t row,
                                             int upto)
{
    slide_load_features(net, s, ex, row, 0, 0);
    slide_input_forward(net, s, &s->outputs[0]);
    for (int i = 1; i < upto; i++) slide_layer_forward(net, &net->layers[i], &s->outputs[i - 1], &s->outputs[i]);
    return &s->outputs[upto - 1];
}

static int any_beats(const float *scores, const float *threshold, int lanes)
{
    int any = 0;
    for (int q = 0; q < lanes; q++) any |= scores[q] >= threshold[q];
    return any;
}

static float bias_of(const slide_layer *layer, int64_t i)
{
    return layer->qweights ? layer->biases[i] : slide_row_scalars(layer, slide_row(layer, i))[SLIDE_BIAS];
}

static void load_row(const slide_network *net, const slide_layer *layer, int64_t i, float *out)
{
    if (layer->qweights)
        net->kernels->expand_qweights(out, layer->scales[i], layer->qweights + i * layer->padded, layer->padded);
    else if (layer->is_bf16)
        net->kernels->expand_bf16(out, slide_bf16_row(layer, i), layer->padded);
    else
        memcpy(out, slide_row(layer, i), (size_t)layer->padded * sizeof(float));
}

/* n_rows of a layer from `first` on, as the kernel takes them: whole blocks of floats, stride apart. */
static const float *block_of(const slide_network *net, predictor *p, const slide_layer *layer, int64_t first, int n_rows,
                             int64_t *stride)
{
    int64_t padded = *stride = layer->padded;
    if (n_rows == R && !layer->qweights && !layer->is_bf16 && !layer->slots) {
        *stride = layer->stride;
        return slide_row(layer, first);
    }
    memset(p->block, 0, (size_t)(R * padded) * sizeof(float));
    for (int64_t r = 0; r < n_rows; r++) load_row(net, layer, first + r, p->block + r * padded);
    return p->block;
}

/* scores[r][q] += share * logit for the labels in [first, last). */
static void add_deep(const slide_network *net, predictor *p, int64_t first, int64_t last, float share)
{
    const slide_layer *layer = &net->layers[net->n_layers - 1];
    for (int64_t row = first; row < last; row += R) {
        int n_rows = last - row < R ? (int)(last - row) : R;
        int64_t stride;
        const float *rows = block_of(net, p, layer, row, n_rows, &stride);
        net->kernels->tile(p->tile, Q, rows, stride, 1, p->queries, Q, layer->padded);
        for (int r = 0; r < n_rows; r++) {
            float *scores = p->scores + (row - first + r) * Q, bias = bias_of(layer, row + r);
            for (int q = 0; q < Q; q++) scores[q] += share * (p->tile[r * Q + q] + bias);
        }
    }
}

/* The same as add_deep, for few samples. */
static void add_deep_singly(const slide_network *net, predictor *p, int n, int64_t first, int64_t last, float share)
{
    const slide_layer *layer = slide_last_layer(net);
    for (int64_t row = first; row < last; row++)
        for (int q = 0; q < n; q++)
            p->scores[(row - first) * FEW + q] += share * slide_logit(net, layer, row, p->queries + q * layer->padded);
}

static void add_wide(const slide_network *net, predictor *p, const slide_examples *ex, int64_t first_row, int n,
                     int64_t first, int64_t last)
{
    for (int64_t l = first; l < last; l++)
        for (int q = 0; q < p->lanes; q++) p->scores[(l - first) * p->lanes + q] += net->wide.bias[l];
    for (int q = 0; q < n; q++) {
        int64_t begin = ex->x_indptr[first_row + q];
        slide_wide_scores(&net->wide, ex->x_indices + begin, ex->x_data + begin, ex->x_indptr[first_row + q + 1] - begin,
                          first, last, p->cursors + q * (p->scratch.max_features + 1), p->scores + q, p->lanes);
    }
}

static void offer_block(predictor *p, int64_t first, int64_t last, int n, slide_topk *best, float *threshold)
{
    for (int64_t l = first; l < last; l++) {
        const float *scores = p->scores + (l - first) * p->lanes;
        if (!any_beats(scores, threshold, p->lanes)) continue;
        for (int q = 0; q < n; q++) {
            slide_topk_offer(&best[q], (int32_t)l, scores[q]);
            threshold[q] = best[q].scores[0];
        }
    }
}

static void load_query(const slide_network *net, predictor *p, const float *x, int q, int few)
{
    const slide_layer *layer = slide_last_layer(net);
    int64_t one = few ? layer->padded : 1, next = few ? 1 : Q;
    for (int64_t d = 0; d < layer->padded; d++) p->queries[q * one + d * next] = d < layer->fan_in ? x[d] : 0;
}

static void load_queries(const slide_network *net, predictor *p, const slide_examples *ex, int64_t first, int n)
{
    if (net->n_layers) {
        const slide_layer *layer = &net->layers[net->n_layers - 1];
        memset(p->queries, 0, (size_t)layer->padded * Q * sizeof(float));
        for (int q = 0; q < n; q++) {
            const slide_activations *x = slide_forward_dense(net, &p->scratch, ex, first + q, net->n_layers - 1);
            load_query(net, p, x->val, q, ex->n <= FEW);
        }
    }
    for (int q = 0; q < n && net->has_wide; q++)
        for (int64_t i = ex->x_indptr[first + q], j = 0; i < ex->x_indptr[first + q + 1]; i++, j++)
            p->cursors[q * (p->scratch.max_features + 1) + j] = net->wide.indptr[ex->x_indices[i]];
}

/* Scores of n labels, at most R, as add_deep has them for the sample that is loaded as the q-th. */
static void score_left(const slide_network *net, predictor *p, const int32_t *labels, int n, int q, int few, float *scores)
{
    const slide_layer *layer = slide_last_layer(net);
    float share = net->has_wide ? net->wide.deep_share : 1;
    for (int r = 0; r < n && few; r++) scores[r] = share * slide_logit(net, layer, labels[r], p->queries + q * layer->padded);
    if (few) return;
    memset(p->block, 0, (size_t)(R * layer->padded) * sizeof(float));
    for (int r = 0; r < n; r++) load_row(net, layer, labels[r], p->block + r * layer->padded);
    net->kernels->tile(p->tile, Q, p->block, layer->padded, 1, p->queries, Q, layer->padded);
    for (int r = 0; r < n; r++) scores[r] = share * (p->tile[r * Q + q] + bias_of(layer, labels[r]));
}

/* predict_exact of the labels that a filter leaves; 0 where it does not tell. */
static int predict_filtered(const slide_network *net, const slide_approximation *a, predictor *p, const slide_examples *ex,
                            int64_t first, int n, slide_topk *best)
{
    for (int q = 0; q < n; q++) {
        const slide_activations *x = slide_forward_dense(net, &p->scratch, ex, first + q, net->n_layers - 1);
        if (!slide_filter_begin(net, a, p->filter, ex, first + q, q, x->val)) return 0;
        load_query(net, p, x->val, q, ex->n <= FEW);
    }
    if (!slide_filter_labels(net, a, p->filter, ex, n)) return 0;
    for (int q = 0; q < n; q++) {
        const int32_t *labels;
        int64_t left = slide_filter_left(p->filter, q, &labels), begin = ex->x_indptr[first + q];
        for (int64_t i = 0; i < left; i += R) {
            float scores[R];
            int some = left - i < R ? (int)(left - i) : R;
            score_left(net, p, labels + i, some, q, ex->n <= FEW, scores);
            for (int r = 0; r < some; r++) {
                if (net->has_wide) {
                    scores[r] += net->wide.bias[labels[i + r]];
                    slide_wide_score_label(&net->wide, ex->x_indices + begin, ex->x_data + begin,
                                           ex->x_indptr[first + q + 1] - begin, labels[i + r], &scores[r]);
                }
                slide_topk_offer(&best[q], labels[i + r], scores[r]);
            }
        }
    }
    return 1;
}

void slide_predict_exact(const slide_network *net, const slide_approximation *a, predictor *p, const slide_examples *ex,
                         int64_t first, int n, slide_topk *best)
{
    if (a && p->filter && predict_filtered(net, a, p, ex, first, n, best)) return;
    float threshold[Q];
    for (int q = 0; q < Q; q++) threshold[q] = q < n ? -INFINITY : INFINITY;
    load_queries(net, p, ex, first, n);
    for (int64_t l = 0; l < n_labels(net); l += LABEL_BLOCK) {
        int64_t last = l + LABEL_BLOCK < n_labels(net) ? l + LABEL_BLOCK : n_labels(net);
        memset(p->scores, 0, (size_t)((last - l) * p->lanes) * sizeof(float));
        float share = net->has_wide ? net->wide.deep_share : 1;
        if (net->n_layers && ex->n <= FEW) add_deep_singly(net, p, n, l, last, share);
        if (net->n_layers && ex->n > FEW) add_deep(net, p, l, last, share);
        if (net->has_wide) add_wide(net, p, ex, first, n, l, last);
        offer_block(p, l, last, n, best, threshold);
    }
}
