/* rebuild.c: fills a sampled layer's tables from its rows. Chunks of neurons are hashed by all threads, then each table
 * is filled by one thread in the order of the neurons: the result does not depend on the number of threads, and no
 * more than one chunk of codes is ever held. */
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_thread_num() 0
#endif

#include "cells.h"
#include "hash.h"
#include "tables.h"
#include "transform.h"

#define CHUNK 8192

/* Neurons are visited from a random start, so that FIFO buckets do not favour high ids for ever. */
static int64_t visit(int64_t i, int64_t start, int64_t n)
{
    int64_t j = i + start;
    return j < n ? j : j - n;
}

slide_status slide_rebuild(slide_network *net, int index, uint64_t generation, int refresh)
{
    const slide_layer *layer = &net->layers[index];
    const slide_lsh *lsh = &layer->lsh;
    if (lsh->kind == SLIDE_QUERY_CELLS) return slide_cells_fill(net, layer, refresh && lsh->homes);
    uint32_t *codes = malloc(sizeof *codes * CHUNK * (size_t)lsh->L);
    slide_rng *rngs = malloc(sizeof *rngs * (size_t)lsh->L);
    if (!codes || !rngs) {
        free(codes);
        free(rngs);
        return SLIDE_NO_MEMORY;
    }
    slide_rng order = slide_rng_stream(net->seed, SLIDE_STREAM_ORDER, generation);
    int64_t start = slide_rng_below(&order, (uint32_t)layer->n);
    int64_t table_size = (int64_t)lsh->bucket_stride << lsh->table_bits;
    for (int t = 0; t < lsh->L; t++)
        rngs[t] = slide_rng_stream(net->seed, SLIDE_STREAM_BUCKET, generation * (uint64_t)lsh->L + (uint64_t)t);
#pragma omp parallel num_threads(net->n_threads)
    {
        slide_scratch *s = &net->scratch[omp_get_thread_num()];
#pragma omp for schedule(static)
        for (int t = 0; t < lsh->L; t++)
            for (int64_t b = 0; b < (int64_t)1 << lsh->table_bits; b++)
                lsh->slots[t * table_size + b * lsh->bucket_stride] = 0;
        for (int64_t first = 0; first < layer->n; first += CHUNK) {
            int64_t m = layer->n - first < CHUNK ? layer->n - first : CHUNK;
#pragma omp for schedule(static)
            for (int64_t i = 0; i < m; i += SLIDE_PROJECT_ROWS) {
                int n = m - i < SLIDE_PROJECT_ROWS ? (int)(m - i) : SLIDE_PROJECT_ROWS;
                int64_t stride = slide_pad(lsh->dim);
                for (int r = 0; r < n; r++)
                    slide_hashed_neuron(layer, visit(first + i + r, start, layer->n), s->query + r * stride);
                slide_hash_rows(net->kernels, lsh, s->query, stride, n, s->projection, codes + i * lsh->L);
            }
#pragma omp for schedule(static)
            for (int t = 0; t < lsh->L; t++)
                for (int64_t i = 0; i < m; i++)
                    slide_bucket_insert(lsh, slide_bucket(lsh, t, codes[i * lsh->L + t]),
                                        (int32_t)visit(first + i, start, layer->n), &rngs[t]);
        }
    }
    free(codes);
    free(rngs);
    return SLIDE_OK;
}

slide_status slide_hash_codes(slide_network *net, int index, const float *vectors, int64_t n, int64_t stride,
                              uint32_t *codes)
{
    const slide_lsh *lsh = &net->layers[index].lsh;
#pragma omp parallel for num_threads(net->n_threads) schedule(static)
    for (int64_t i = 0; i < n; i += SLIDE_PROJECT_ROWS)
        slide_hash_rows(net->kernels, lsh, vectors + i * stride, stride,
                        n - i < SLIDE_PROJECT_ROWS ? (int)(n - i) : SLIDE_PROJECT_ROWS,
                        net->scratch[omp_get_thread_num()].projection, codes + i * lsh->L);
    return SLIDE_OK;
}
