/* infer.c: read-only, re-entrant prediction: every call brings its own scratch, so several may run on one network.
 *
 * Exact: 32 samples a thread meet all rows in blocks of 8; a running top-k per sample keeps the score matrix from ever
 * existing. A few samples meet them one by one. Sampled: only the neurons that the tables return are scored. Where the
 * network has sparse rows to rank by (linear/), the best by logit are a shortlist, and the answer is the best of those. */
#include "net/infer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lsh/active.h"
#include "net/layer.h"
#include "net/scratch.h"

#define Q SLIDE_TILE_QUERIES
#define R SLIDE_TILE_ROWS
#define FEW 4 /* a call of no more samples takes one inner product each: a tile would score its empty lanes too */
#define SHORT 256 /* features that there is room for at least */
#define LABEL_BLOCK 2048 /* labels whose wide scores are held at a time: 256 KiB for Q samples */

/* A sample's best k so far, a heap: ids[0] is the one to beat. Ties go to the lower id. */
typedef struct {
    int32_t *ids;
    float *scores;
    int k;
} topk;

static int beats(float score, int32_t id, float other, int32_t other_id)
{
    return score > other || (score == other && (other_id < 0 || id < other_id));
}

/* Puts an entry where the worst was, among the first k, so that no entry is better than its children. */
static void topk_sift(topk *t, int k, int32_t id, float score)
{
    int i = 0;
    for (int child = 1; child < k; child = 2 * i + 1) {
        if (child + 1 < k && beats(t->scores[child], t->ids[child], t->scores[child + 1], t->ids[child + 1])) child++;
        if (!beats(score, id, t->scores[child], t->ids[child])) break;
        t->scores[i] = t->scores[child];
        t->ids[i] = t->ids[child];
        i = child;
    }
    t->scores[i] = score;
    t->ids[i] = id;
}

static void topk_offer(topk *t, int32_t id, float score)
{
    if (beats(score, id, t->scores[0], t->ids[0])) topk_sift(t, t->k, id, score);
}

static void topk_begin(topk *t)
{
    for (int i = 0; i < t->k; i++) {
        t->ids[i] = -1;
        t->scores[i] = -INFINITY;
    }
}

/* Best first: the worst goes behind all others, again and again. */
static void topk_finish(topk *t)
{
    for (int last = t->k - 1; last > 0; last--) {
        int32_t id = t->ids[last], worst = t->ids[0];
        float score = t->scores[last], least = t->scores[0];
        topk_sift(t, last, id, score);
        t->ids[last] = worst;
        t->scores[last] = least;
    }
}

/* One thread's own. lanes: Q, or FEW where there are no more samples. */
struct slide_predictor {
    slide_scratch scratch;
    float *queries;      /* [padded][Q], the samples' vectors one lane each; of few samples [n][padded] */
    float *tile;         /* [R][Q] */
    float *block;        /* [R][P]: rows that are fewer than a block, or not of floats */
    float *scores;       /* [LABEL_BLOCK][lanes] */
    int64_t *cursors;    /* [Q][max_features], where each sample's walk over its features' labels stands */
    int32_t *candidates;
    int32_t *shortlists; /* [Q][n_shortlist], of samples whose labels are ranked, with their logits */
    float *logits;
    float *z;            /* [n_shortlist] */
    float *dense;        /* [D] */
    int64_t n_shortlist;
    int64_t n_candidates; /* that there is room for */
    int lanes, k;
};

typedef slide_predictor predictor;

static int64_t n_labels(const slide_network *net)
{
    return net->n_layers ? net->layers[net->n_layers - 1].n : net->wide.n_labels;
}

void slide_predictor_free(const slide_network *net, predictor *p)
{
    if (!p) return;
    slide_scratch_free(net, &p->scratch);
    free(p->queries);
    free(p->tile);
    free(p->block);
    free(p->scores);
    free(p->cursors);
    free(p->candidates);
    free(p->shortlists);
    free(p->logits);
    free(p->z);
    free(p->dense);
    free(p);
}

/* Room to rank, at least k labels. */
static slide_status reserve_shortlists(const slide_network *net, predictor *p, int k)
{
    p->n_shortlist = net->rank.n > k ? net->rank.n : k;
    size_t n = (size_t)p->n_shortlist;
    p->shortlists = malloc(n * Q * sizeof(int32_t));
    p->logits = malloc(n * Q * sizeof(float));
    p->z = malloc(n * sizeof(float));
    p->dense = calloc((size_t)net->rank.rows.n_features + 1, sizeof(float));
    return p->shortlists && p->logits && p->z && p->dense ? SLIDE_OK : SLIDE_NO_MEMORY;
}

static slide_status predictor_fill(const slide_network *net, predictor *p, int64_t max_features, int64_t n_candidates)
{
    const slide_layer none = {.padded = SLIDE_LANES, .stride = SLIDE_LANES};
    const slide_layer *last = net->n_layers ? &net->layers[net->n_layers - 1] : &none;
    p->n_candidates = n_candidates;
    p->queries = aligned_alloc(64, (size_t)last->padded * Q * sizeof(float));
    p->tile = aligned_alloc(64, R * Q * sizeof(float));
    p->block = aligned_alloc(64, (size_t)(R * last->padded) * sizeof(float));
    p->scores = aligned_alloc(64, LABEL_BLOCK * Q * sizeof(float));
    p->cursors = malloc((size_t)(max_features + 1) * Q * sizeof(int64_t));
    p->candidates = malloc((size_t)(n_candidates + 1) * sizeof(int32_t));
    if (!p->queries || !p->tile || !p->block || !p->scores || !p->cursors || !p->candidates)
        return SLIDE_NO_MEMORY;
    return slide_scratch_new(net, &p->scratch, max_features, 1, 1, net->has_wide && n_candidates > 0);
}

/* k 0: no labels are ranked. */
static predictor *predictor_new(const slide_network *net, int64_t max_features, int64_t n_candidates, int k)
{
    predictor *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->k = k;
    if (!predictor_fill(net, p, max_features, n_candidates) && (!k || !reserve_shortlists(net, p, k))) return p;
    slide_predictor_free(net, p);
    return NULL;
}

/* The one that an earlier call left with the network, if it suits this call, as in shortlist.c: a call of one row would spend
 * most of its time on fresh memory. */
static predictor *predictor_take(slide_network *net, const slide_examples *ex, int64_t n_candidates, int k)
{
    int64_t max_features, max_labels;
    slide_largest(ex, &max_features, &max_labels);
    predictor *p = __atomic_exchange_n(&net->spare_predictor, NULL, __ATOMIC_ACQ_REL);
    if (!p || p->n_candidates != n_candidates || p->k != k || p->scratch.max_features < max_features) {
        slide_predictor_free(net, p);
        p = predictor_new(net, max_features > SHORT ? max_features : SHORT, n_candidates, k);
    }
    if (p) p->lanes = ex->n <= FEW ? FEW : Q;
    return p;
}

static void predictor_leave(slide_network *net, predictor *p)
{
    slide_predictor_free(net, __atomic_exchange_n(&net->spare_predictor, p, __ATOMIC_ACQ_REL));
}

/* The dense vector that enters layer `upto`: below it every neuron takes part. */
static const slide_activations *forward_dense(const slide_network *net, slide_scratch *s, const slide_examples *ex,
                                         int64_t row, int upto)
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
    for (int64_t r = 0; r < n_rows; r++) {
        float *out = p->block + r * padded;
        int64_t i = first + r;
        if (layer->qweights)
            net->kernels->expand_qweights(out, layer->scales[i], layer->qweights + i * padded, padded);
        else if (layer->is_bf16)
            net->kernels->expand_bf16(out, slide_bf16_row(layer, i), padded);
        else
            memcpy(out, slide_row(layer, i), (size_t)padded * sizeof(float));
    }
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

static void offer_block(predictor *p, int64_t first, int64_t last, int n, topk *best, float *threshold)
{
    for (int64_t l = first; l < last; l++) {
        const float *scores = p->scores + (l - first) * p->lanes;
        if (!any_beats(scores, threshold, p->lanes)) continue;
        for (int q = 0; q < n; q++) {
            topk_offer(&best[q], (int32_t)l, scores[q]);
            threshold[q] = best[q].scores[0];
        }
    }
}

static void load_queries(const slide_network *net, predictor *p, const slide_examples *ex, int64_t first, int n)
{
    if (net->n_layers) {
        const slide_layer *layer = &net->layers[net->n_layers - 1];
        memset(p->queries, 0, (size_t)layer->padded * Q * sizeof(float));
        for (int q = 0; q < n; q++) {
            const slide_activations *x = forward_dense(net, &p->scratch, ex, first + q, net->n_layers - 1);
            int64_t one = ex->n <= FEW ? layer->padded : 1, next = ex->n <= FEW ? 1 : Q;
            for (int64_t d = 0; d < layer->fan_in; d++) p->queries[q * one + d * next] = x->val[d];
        }
    }
    for (int q = 0; q < n && net->has_wide; q++)
        for (int64_t i = ex->x_indptr[first + q], j = 0; i < ex->x_indptr[first + q + 1]; i++, j++)
            p->cursors[q * (p->scratch.max_features + 1) + j] = net->wide.indptr[ex->x_indices[i]];
}

static void predict_exact(const slide_network *net, predictor *p, const slide_examples *ex, int64_t first, topk *best)
{
    int n = ex->n - first < Q ? (int)(ex->n - first) : Q;
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

/* Labels that only the sparse part puts on the positive side; those of the tables have been offered already. */
static void offer_nominated(const slide_network *net, slide_scratch *s, const slide_activations *x, topk *best)
{
    const slide_layer *last = slide_last_layer(net);
    int64_t n = slide_wide_margin_violators(net->kernels, &net->wide, &s->wide);
    for (int64_t i = 0; i < n; i++)
        topk_offer(best, s->wide.ids[i],
                   s->wide.gradient[i] / 2 - 1 + net->wide.deep_share * slide_logit(net, last, s->wide.ids[i], x->val));
}

static void predict_sampled(const slide_network *net, predictor *p, const slide_examples *ex, int64_t row,
                            int64_t n_candidates, topk *best)
{
    const slide_layer *layer = &net->layers[net->n_layers - 1];
    slide_scratch *s = &p->scratch;
    const slide_activations *x = forward_dense(net, s, ex, row, net->n_layers - 1);
    slide_active_hash(net->kernels, layer, &s->lsh, x);
    int64_t n = slide_active_top(layer, &s->lsh, n_candidates, p->candidates);
    if (net->has_wide) slide_wide_accumulate(&net->wide, s->features, s->feature_values, s->n_features, &s->wide);
    for (int64_t i = 0; i < n; i++) {
        int32_t l = p->candidates[i];
        if (i + 4 < n) slide_prefetch_weights(layer, p->candidates[i + 4]);
        float score = slide_logit(net, layer, l, x->val);
        if (net->has_wide) {
            score = net->wide.deep_share * score + s->wide.score[l] + net->wide.bias[l];
            s->wide.score[l] = -INFINITY;
            s->wide.touched[l / SLIDE_WIDE_BLOCK] = 1;
        }
        topk_offer(best, l, score);
    }
    if (net->has_wide) offer_nominated(net, s, x, best);
}

/* The best k of a shortlist by log odds. */
static void rank_sample(const slide_network *net, predictor *p, const slide_examples *ex, int64_t row, const topk *shortlist,
                        topk *best)
{
    int64_t begin = ex->x_indptr[row];
    slide_rank_scores(&net->rank, ex->x_indices + begin, ex->x_data + begin, ex->x_indptr[row + 1] - begin, shortlist->ids,
                      shortlist->k, p->dense, p->z, shortlist->scores);
    topk_begin(best);
    for (int j = 0; j < shortlist->k; j++)
        if (shortlist->ids[j] >= 0) topk_offer(best, shortlist->ids[j], shortlist->scores[j]);
    topk_finish(best);
}

static void predict_block(const slide_network *net, predictor *p, const slide_examples *ex, int64_t first, int k,
                          int64_t n_candidates, int32_t *ids, float *scores)
{
    topk best[Q];
    int n = ex->n - first < Q ? (int)(ex->n - first) : Q, m = (int)p->n_shortlist;
    for (int q = 0; q < n; q++) {
        best[q] = m ? (topk){p->shortlists + (int64_t)q * m, p->logits + (int64_t)q * m, m}
                    : (topk){ids + (first + q) * k, scores + (first + q) * k, k};
        topk_begin(&best[q]);
    }
    if (n_candidates == 0)
        predict_exact(net, p, ex, first, best);
    else
        for (int q = 0; q < n; q++) predict_sampled(net, p, ex, first + q, n_candidates, &best[q]);
    for (int q = 0; q < n; q++) {
        if (!m) topk_finish(&best[q]);
        if (m) rank_sample(net, p, ex, first + q, &best[q], &(topk){ids + (first + q) * k, scores + (first + q) * k, k});
    }
}

slide_status slide_predict(slide_network *net, const slide_examples *ex, int k, int64_t n_candidates, int ranks,
                           int32_t *ids, float *scores)
{
    int failed = 0;
#pragma omp parallel num_threads(net->n_threads) reduction(| : failed) if (ex->n > Q)
    {
        predictor *p = predictor_take(net, ex, n_candidates, ranks && net->rank.n ? k : 0);
        failed = !p;
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < ex->n; first += Q)
            if (!failed) predict_block(net, p, ex, first, k, n_candidates, ids, scores);
        predictor_leave(net, p);
    }
    return failed ? SLIDE_NO_MEMORY : SLIDE_OK;
}

slide_status slide_hidden(slide_network *net, const slide_examples *ex, int layer, float *out, int64_t out_stride)
{
    int failed = 0;
#pragma omp parallel num_threads(net->n_threads) reduction(| : failed) if (ex->n > Q)
    {
        predictor *p = predictor_take(net, ex, 0, 0);
        failed = !p;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < ex->n; i++)
            if (!failed) {
                const slide_activations *x = forward_dense(net, &p->scratch, ex, i, layer);
                memcpy(out + i * out_stride, x->val, (size_t)x->n * sizeof(float));
            }
        predictor_leave(net, p);
    }
    return failed ? SLIDE_NO_MEMORY : SLIDE_OK;
}
