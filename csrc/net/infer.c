/* infer.c: read-only, re-entrant prediction: every call brings its own scratch, so several may run on one network.
 *
 * Exact: 32 samples a thread meet all rows in blocks of 8; a running top-k per sample keeps the score matrix from ever
 * existing. A few samples meet them one by one. Sampled: only the neurons that the tables return are scored. Where the
 * network has sparse rows to rank by (linear/), the best by logit are a shortlist, and the answer is the best of those. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lsh/active.h"
#include "net/layer.h"
#include "net/predictor.h"
#include "net/scratch.h"

#define Q SLIDE_TILE_QUERIES
#define R SLIDE_TILE_ROWS
#define FEW SLIDE_FEW
#define SHORT 256 /* features that there is room for at least */

typedef slide_predictor predictor;

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
    slide_filter_free(p->filter);
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
    p->scores = aligned_alloc(64, SLIDE_LABEL_BLOCK * Q * sizeof(float));
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

/* One that an earlier call left with the network, or NULL. */
static predictor *spare(slide_network *net)
{
    predictor *p = NULL;
    for (int i = 0; i < SLIDE_SPARES && !p; i++) p = __atomic_exchange_n(&net->spare_predictors[i], NULL, __ATOMIC_ACQ_REL);
    return p;
}

/* That, if it suits this call, as in shortlist.c: a call of one row would spend most of its time on fresh memory. */
static predictor *predictor_take(slide_network *net, const slide_examples *ex, int64_t n_candidates, int k)
{
    int64_t max_features, max_labels;
    slide_largest(ex, &max_features, &max_labels);
    predictor *p = spare(net);
    if (!p || p->n_candidates != n_candidates || p->k != k || p->scratch.max_features < max_features) {
        slide_predictor_free(net, p);
        p = predictor_new(net, max_features > SHORT ? max_features : SHORT, n_candidates, k);
    }
    if (p) p->lanes = ex->n <= FEW ? FEW : Q;
    return p;
}

static void predictor_leave(slide_network *net, predictor *p)
{
    for (int i = 0; i < SLIDE_SPARES && p; i++) p = __atomic_exchange_n(&net->spare_predictors[i], p, __ATOMIC_ACQ_REL);
    slide_predictor_free(net, p);
}

/* Labels that only the sparse part puts on the positive side; those of the tables have been offered already. */
static void offer_nominated(const slide_network *net, slide_scratch *s, const slide_activations *x, slide_topk *best)
{
    const slide_layer *last = slide_last_layer(net);
    int64_t n = slide_wide_margin_violators(net->kernels, &net->wide, &s->wide);
    for (int64_t i = 0; i < n; i++)
        slide_topk_offer(best, s->wide.ids[i],
                   s->wide.gradient[i] / 2 - 1 + net->wide.deep_share * slide_logit(net, last, s->wide.ids[i], x->val));
}

static void predict_sampled(const slide_network *net, predictor *p, const slide_examples *ex, int64_t row,
                            int64_t n_candidates, slide_topk *best)
{
    const slide_layer *layer = &net->layers[net->n_layers - 1];
    slide_scratch *s = &p->scratch;
    const slide_activations *x = slide_forward_dense(net, s, ex, row, net->n_layers - 1);
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
        slide_topk_offer(best, l, score);
    }
    if (net->has_wide) offer_nominated(net, s, x, best);
}

/* The best k of a shortlist by log odds. */
static void rank_sample(const slide_network *net, predictor *p, const slide_examples *ex, int64_t row, const slide_topk *shortlist,
                        slide_topk *best)
{
    int64_t begin = ex->x_indptr[row];
    slide_rank_scores(&net->rank, ex->x_indices + begin, ex->x_data + begin, ex->x_indptr[row + 1] - begin, shortlist->ids,
                      shortlist->k, p->dense, p->z, shortlist->scores);
    slide_topk_begin(best);
    for (int j = 0; j < shortlist->k; j++)
        if (shortlist->ids[j] >= 0) slide_topk_offer(best, shortlist->ids[j], shortlist->scores[j]);
    slide_topk_finish(best);
}

static void predict_block(const slide_network *net, const slide_approximation *a, predictor *p, const slide_examples *ex,
                          int64_t first, int n, int k, int64_t n_candidates, int32_t *ids, float *scores)
{
    slide_topk best[Q];
    int m = (int)p->n_shortlist;
    for (int q = 0; q < n; q++) {
        best[q] = m ? (slide_topk){p->shortlists + (int64_t)q * m, p->logits + (int64_t)q * m, m}
                    : (slide_topk){ids + (first + q) * k, scores + (first + q) * k, k};
        slide_topk_begin(&best[q]);
    }
    if (n_candidates == 0)
        slide_predict_exact(net, a, p, ex, first, n, best);
    else
        for (int q = 0; q < n; q++) predict_sampled(net, p, ex, first + q, n_candidates, &best[q]);
    for (int q = 0; q < n; q++) {
        if (!m) slide_topk_finish(&best[q]);
        if (m) rank_sample(net, p, ex, first + q, &best[q], &(slide_topk){ids + (first + q) * k, scores + (first + q) * k, k});
    }
}

/* Room to filter the labels for the best k of a sample. */
static void reserve_filter(const slide_network *net, predictor *p, int k)
{
    if (p->filter && p->filter_k == k) return;
    slide_filter_free(p->filter);
    p->filter = slide_filter_new(net, k, p->scratch.max_features); /* NULL: all weights are read */
    p->filter_k = k;
}

slide_status slide_predict(slide_network *net, const slide_examples *ex, int k, int64_t n_candidates, int ranks,
                           int32_t *ids, float *scores)
{
    int failed = 0, ranked = ranks && net->rank.n, kept = ranked && net->rank.n > k ? (int)net->rank.n : k;
    const slide_approximation *a =
        !n_candidates && slide_filter_pays(net, kept) ? slide_approximation_take(net, ex->n) : NULL;
#pragma omp parallel num_threads(net->n_threads) reduction(| : failed) if (ex->n > Q)
    {
        predictor *p = predictor_take(net, ex, n_candidates, ranked ? k : 0);
        failed = !p;
        if (p && a) reserve_filter(net, p, kept);
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < ex->n; first += Q)
            if (!failed)
                predict_block(net, a, p, ex, first, (int)(ex->n - first < Q ? ex->n - first : Q), k, n_candidates, ids, scores);
        predictor_leave(net, p);
    }
    slide_approximation_leave(net, a);
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
                const slide_activations *x = slide_forward_dense(net, &p->scratch, ex, i, layer);
                memcpy(out + i * out_stride, x->val, (size_t)x->n * sizeof(float));
            }
        predictor_leave(net, p);
    }
    return failed ? SLIDE_NO_MEMORY : SLIDE_OK;
}
