/* inspect.c: what a network's tables hold and what its active sets would be: for reports and tests. On the scratch of
 * training threads, so never beside training. */
#include <string.h>

#include "core/omp.h"
#include "lsh/hash.h"
#include "net/scratch.h"

slide_status slide_hash_codes(slide_network *net, int index, const float *vectors, int64_t n, int64_t stride,
                              uint32_t *codes)
{
    const slide_lsh *lsh = &net->layers[index].lsh;
    int most = slide_hash_rows_most(lsh);
#pragma omp parallel for num_threads(net->n_threads) schedule(static)
    for (int64_t i = 0; i < n; i += most)
        slide_hash_rows(net->kernels, lsh, vectors + i * stride, stride, n - i < most ? (int)(n - i) : most,
                        net->scratch[slide_thread()].lsh.projection, codes + i * lsh->L);
    return SLIDE_OK;
}

slide_status slide_retrieve(slide_network *net, int index, const float *queries, int64_t n, int64_t stride,
                            int64_t n_candidates, int32_t *ids)
{
    const slide_layer *layer = &net->layers[index];
    slide_scratch *s = net->scratch;
    for (int64_t i = 0; i < n; i++) {
        slide_activations input = {.n = layer->fan_in, .val = (float *)(queries + i * stride)};
        int32_t *row = ids + i * n_candidates;
        slide_active_hash(net->kernels, layer, &s->lsh, &input);
        int64_t found = slide_active_top(layer, &s->lsh, n_candidates, row);
        for (int64_t j = found; j < n_candidates; j++) row[j] = -1;
    }
    return SLIDE_OK;
}

int64_t slide_active_inspect(slide_network *net, int index, const float *query, const slide_examples *example,
                             uint64_t step, int32_t *ids, float *neg_log_q)
{
    if (slide_reserve_for(net, example, 0)) return -1;
    const slide_layer *layer = &net->layers[index];
    slide_scratch *s = net->scratch;
    slide_activations input = {.n = layer->fan_in, .val = (float *)query}, out = {.ids = ids};
    int64_t n_labels = example->y_indptr[1] - example->y_indptr[0];
    const int32_t *labels = example->y_indices + example->y_indptr[0];
    slide_rng rng = slide_active_rng(net->seed, index, step);
    slide_active_ask(net->kernels, layer, &s->lsh, &input, labels, n_labels, &rng);
    slide_active_set(layer, &s->lsh, labels, n_labels, &rng, &out);
    memcpy(neg_log_q, s->lsh.neg_log_q, (size_t)out.n * sizeof *neg_log_q);
    return out.n;
}
