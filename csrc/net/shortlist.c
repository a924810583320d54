/* shortlist.c: the best labels of samples by way of leaves, by logit or ranked. Read-only and re-entrant, as infer.c.
 *
 * Rows of a call are visited in the order of their nearest leaf: neighbours score much the same labels, whose weights are
 * then in cache. */
#include "net/shortlist.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lsh/select.h"
#include "net/layer.h"

#define FEW 32  /* rows that one thread takes alone */
#define AHEAD 8 /* labels whose weights are on their way while one is scored */

slide_status slide_leaf_codes(slide_network *net, const slide_leaves *leaves, const float *vectors, int64_t n,
                              int64_t stride, const int32_t *cells, int32_t *codes)
{
    return slide_leaves_codes(net->kernels, leaves, vectors, n, stride, cells, net->n_threads, codes);
}

slide_status slide_fill_leaves(slide_network *net, const slide_leaves *leaves, const int64_t *indptr, const int32_t *ids,
                               int32_t *lists)
{
    return slide_leaves_fill(net->kernels, leaves, slide_last_layer(net), indptr, ids, net->n_threads, lists);
}

/* One thread's own. m: labels of a shortlist, of which k are wanted. */
struct slide_shortlister {
    slide_candidates candidates;
    uint64_t *items;      /* candidates with their scores */
    int64_t n_candidates; /* that there is room for */
    int64_t k, m;
    int32_t *ids;         /* [m] a shortlist that is to be ranked, */
    float *scores, *z;    /* with its scores */
    float *dense;         /* [D] */
};

static int64_t ranked_labels(const slide_network *net, int k, int ranks)
{
    return ranks && net->rank.n > k ? net->rank.n : k;
}

void slide_shortlister_free(slide_shortlister *s)
{
    if (!s) return;
    slide_candidates_free(&s->candidates);
    free(s->items);
    free(s->ids);
    free(s->scores);
    free(s->z);
    free(s->dense);
    free(s);
}

static slide_shortlister *shortlister_new(const slide_network *net, int64_t n_candidates, int k, int ranks)
{
    slide_shortlister *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->n_candidates = n_candidates;
    s->k = k;
    s->m = ranked_labels(net, k, ranks);
    s->items = malloc((size_t)(n_candidates + 1) * sizeof *s->items);
    int ok = slide_candidates_new(&s->candidates, n_candidates) == SLIDE_OK && s->items;
    if (ok && ranks) {
        s->ids = malloc((size_t)s->m * sizeof *s->ids);
        s->scores = malloc((size_t)s->m * sizeof *s->scores);
        s->z = malloc((size_t)s->m * sizeof *s->z);
        s->dense = calloc((size_t)net->rank.rows.n_features + 1, sizeof *s->dense);
        ok = s->ids && s->scores && s->z && s->dense;
    }
    if (ok) return s;
    slide_shortlister_free(s);
    return NULL;
}

/* The one that an earlier call left with the network, if it suits this call. A call of one row would spend a tenth of its
 * time on memory of its own. Calls side by side never get the same one; what ranks a network is not changed while it
 * predicts. */
static slide_shortlister *shortlister_take(slide_network *net, int64_t n_candidates, int k, int ranks)
{
    slide_shortlister *s = __atomic_exchange_n(&net->spare, NULL, __ATOMIC_ACQ_REL);
    if (s && s->n_candidates == n_candidates && s->k == k && s->m == ranked_labels(net, k, ranks) && !s->dense == !ranks)
        return s;
    slide_shortlister_free(s);
    return shortlister_new(net, n_candidates, k, ranks);
}

static void shortlister_leave(slide_network *net, slide_shortlister *s)
{
    slide_shortlister_free(__atomic_exchange_n(&net->spare, s, __ATOMIC_ACQ_REL));
}

/* The best k of n items, best first, (-1, -inf) where there are fewer. */
static void write_best(uint64_t *items, int64_t n, int64_t k, int32_t *ids, float *scores)
{
    int64_t found = n < k ? n : k;
    if (found) slide_select_best(items, n, found);
    slide_sort_packed(items, found);
    for (int64_t i = 0; i < k; i++) {
        ids[i] = i < found ? (int32_t)items[i] : -1;
        scores[i] = i < found ? slide_packed_score(items[i]) : -INFINITY;
    }
}

/* Packs the candidates with their logits. */
static void score_candidates(const slide_network *net, slide_shortlister *s, const float *x, int64_t n)
{
    const slide_layer *layer = slide_last_layer(net);
    const int32_t *ids = s->candidates.ids;
    for (int64_t i = 0; i < n; i++) {
        if (i + AHEAD < n) slide_prefetch_weights(layer, ids[i + AHEAD]);
        s->items[i] = slide_pack(slide_logit(net, layer, ids[i], x), ids[i]);
    }
}

/* The best k of the shortlist by log odds. */
static void rank_row(const slide_network *net, slide_shortlister *s, const slide_examples *ex, int64_t row, int32_t *ids,
                     float *scores)
{
    int64_t begin = ex->x_indptr[row], n = 0;
    slide_rank_scores(&net->rank, ex->x_indices + begin, ex->x_data + begin, ex->x_indptr[row + 1] - begin, s->ids, s->m,
                      s->dense, s->z, s->scores);
    for (; n < s->m && s->ids[n] >= 0; n++) s->items[n] = slide_pack(s->scores[n], s->ids[n]);
    write_best(s->items, n, s->k, ids, scores);
}

static slide_status answer_all(slide_network *net, const slide_leaves *leaves, const slide_examples *ex, const float *x,
                               const int32_t *near, const int64_t *visit, int k, int64_t n_candidates, int ranks,
                               int32_t *ids, float *scores)
{
    int64_t padded = slide_last_layer(net)->padded;
    int failed = 0, n_leaves = slide_leaves_for(leaves, n_candidates);
#pragma omp parallel num_threads(net->n_threads) reduction(| : failed) if (ex->n > FEW)
    {
        slide_shortlister *s = shortlister_take(net, n_candidates, k, ranks);
        failed = !s;
#pragma omp for schedule(dynamic, 64)
        for (int64_t v = 0; v < ex->n; v++) {
            if (failed) continue;
            int64_t i = visit[v];
            int64_t n = slide_leaves_take(leaves, &s->candidates, near + i * n_leaves, n_leaves, n_candidates);
            score_candidates(net, s, x + i * padded, n);
            write_best(s->items, n, s->m, ranks ? s->ids : ids + i * k, ranks ? s->scores : scores + i * k);
            if (ranks) rank_row(net, s, ex, i, ids + i * k, scores + i * k);
        }
        shortlister_leave(net, s);
    }
    return failed ? SLIDE_NO_MEMORY : SLIDE_OK;
}

/* The samples of a call, and which leaves they fall into. */
typedef struct {
    float *x;       /* [n][P] the vectors that enter the last layer */
    int32_t *near;  /* [n][n_leaves] */
    int64_t *visit; /* [n] */
} queries;

static void queries_free(queries *q)
{
    free(q->x);
    free(q->near);
    free(q->visit);
}

/* Free it also after a failure. */
static slide_status queries_find(slide_network *net, const slide_leaves *leaves, const slide_examples *ex,
                                 int64_t n_candidates, queries *q)
{
    int64_t padded = slide_last_layer(net)->padded;
    int n_leaves = slide_leaves_for(leaves, n_candidates);
    q->x = slide_floats(ex->n * padded);
    q->near = malloc((size_t)(ex->n * n_leaves + 1) * sizeof *q->near);
    q->visit = malloc((size_t)(ex->n + 1) * sizeof *q->visit);
    if (!q->x || !q->near || !q->visit) return SLIDE_NO_MEMORY;
    memset(q->x, 0, (size_t)(ex->n * padded) * sizeof *q->x);
    slide_status status = slide_hidden(net, ex, net->n_layers - 1, q->x, padded);
    if (!status) status = slide_leaves_find(net->kernels, leaves, q->x, ex->n, padded, n_leaves, net->n_threads, q->near);
    if (!status) status = slide_leaves_order(leaves, q->near, n_leaves, ex->n, q->visit);
    return status;
}

slide_status slide_shortlist(slide_network *net, const slide_leaves *leaves, const slide_examples *ex, int k,
                             int64_t n_candidates, int ranks, int32_t *ids, float *scores)
{
    queries q;
    slide_status status = queries_find(net, leaves, ex, n_candidates, &q);
    if (!status)
        status = answer_all(net, leaves, ex, q.x, q.near, q.visit, k, n_candidates, ranks && net->rank.n, ids, scores);
    queries_free(&q);
    return status;
}

slide_status slide_shortlist_rows(slide_network *net, const slide_leaves *leaves, const slide_examples *ex,
                                  int64_t n_candidates, uint8_t *marks)
{
    queries q;
    slide_candidates c = {0};
    int n_leaves = slide_leaves_for(leaves, n_candidates);
    slide_status status = queries_find(net, leaves, ex, n_candidates, &q);
    if (!status) status = slide_candidates_new(&c, n_candidates);
    for (int64_t i = 0; i < ex->n && !status; i++) {
        int64_t n = slide_leaves_take(leaves, &c, q.near + i * n_leaves, n_leaves, n_candidates);
        for (int64_t j = 0; j < n; j++) marks[c.ids[j]] = 1;
    }
    slide_candidates_free(&c);
    queries_free(&q);
    return status;
}
