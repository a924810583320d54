/* rebuild.c: fills a sampled layer's tables from its rows. Chunks of neurons are hashed by all threads, then each table
 * is filled by one thread in the order of the neurons: the result does not depend on the number of threads, and no
 * more than one chunk of codes is ever held. Unless codes are remembered: then only rows that have changed since they
 * were hashed are hashed again, and tables come out equal to the bit. */
#include "lsh/rebuild.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/omp.h"
#include "core/rng.h"
#include "core/rows.h"
#include "lsh/hash.h"
#include "lsh/query_cells.h"
#include "lsh/tables.h"
#include "lsh/transform.h"

#define CHUNK 8192 /* neurons whose codes are held at a time: 1.6 MiB with 50 tables */

/* A thread's scratch: SLIDE_PROJECT_ROWS vectors to hash, and what hashing them takes. */
typedef struct {
    float *query, *projection;
} scratch;

static int64_t vector_floats(const slide_lsh *lsh)
{
    return SLIDE_PROJECT_ROWS * slide_pad(lsh->dim);
}

/* The calling thread's part of what was allocated for all; parts are whole cache lines, and pairs of them. */
static int64_t scratch_floats(const slide_lsh *lsh)
{
    return (vector_floats(lsh) + slide_hash_scratch(lsh) + 31) / 32 * 32;
}

static scratch mine(const slide_lsh *lsh, float *all)
{
    float *begin = all + slide_thread() * scratch_floats(lsh);
    return (scratch){begin, begin + vector_floats(lsh)};
}

/* Neurons are visited from a random start, so that FIFO buckets do not favour high ids for ever. */
static int64_t visit(int64_t i, int64_t start, int64_t n)
{
    int64_t j = i + start;
    return j < n ? j : j - n;
}

/* Codes [m][L] of the m neurons to visit from the first on, dealt out to the threads of the team. */
static void hash_chunk(const slide_kernels *kernels, const slide_layer *layer, scratch s, int64_t first, int64_t m,
                       int64_t start, uint32_t *codes)
{
    int64_t stride = slide_pad(layer->lsh.dim);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < m; i += SLIDE_PROJECT_ROWS) {
        int n = m - i < SLIDE_PROJECT_ROWS ? (int)(m - i) : SLIDE_PROJECT_ROWS;
        for (int r = 0; r < n; r++)
            slide_hashed_neuron(layer, visit(first + i + r, start, layer->n), s.query + r * stride);
        slide_hash_rows(kernels, &layer->lsh, s.query, stride, n, s.projection, codes + i * layer->lsh.L);
    }
}

/* 64 bits that differ for rows that differ, but for one pair in 2^64; four chains, since each waits for itself. */
SLIDE_RACY static uint64_t row_digest(const slide_layer *layer, const float *row, float bias)
{
    uint64_t h[4] = {1, 2, 3, 4}, words[4] = {0};
    int64_t n = layer->is_bf16 ? slide_pad(layer->padded / 2) : layer->padded; /* floats that hold the weights */
    memcpy(words, &bias, sizeof bias);
    for (int64_t d = 0; d <= n; d += 8) {
        for (int i = 0; i < 4; i++) {
            h[i] = (h[i] ^ words[i]) * 0x9E3779B97F4A7C15u;
            h[i] ^= h[i] >> 32;
        }
        if (d < n) memcpy(words, row + d, sizeof words);
    }
    return slide_mix64(h[0] + slide_mix64(h[1] + slide_mix64(h[2] + slide_mix64(h[3]))));
}

/* Digests are taken before rows are read: a row that moves in between will be found changed the next time. */
SLIDE_RACY static int has_changed(const slide_layer *layer, int64_t neuron)
{
    float *row = slide_row(layer, neuron);
    uint64_t digest = row_digest(layer, row, slide_row_scalars(layer, row)[SLIDE_BIAS]);
    if (digest == layer->lsh.row_digests[neuron]) return 0;
    layer->lsh.row_digests[neuron] = digest;
    return 1;
}

/* Hashes n neurons, whose numbers are in ids, to where their codes are remembered. */
static void hash_again(const slide_kernels *kernels, const slide_layer *layer, scratch s, const int64_t *ids, int n,
                       uint32_t *codes)
{
    const slide_lsh *lsh = &layer->lsh;
    int64_t stride = slide_pad(lsh->dim);
    for (int r = 0; r < n; r++) slide_hashed_neuron(layer, ids[r], s.query + r * stride);
    slide_hash_rows(kernels, lsh, s.query, stride, n, s.projection, codes);
    for (int r = 0; r < n; r++)
        memcpy(lsh->codes + ids[r] * lsh->L, codes + (int64_t)r * lsh->L, (size_t)lsh->L * sizeof *codes);
}

/* Brings remembered codes up to date, dealt out to the threads of the team; codes is scratch for a chunk. */
static void hash_changed(const slide_kernels *kernels, const slide_layer *layer, scratch s, uint32_t *codes)
{
    int64_t ids[SLIDE_PROJECT_ROWS];
    int n = 0;
    codes += (int64_t)slide_thread() * SLIDE_PROJECT_ROWS * layer->lsh.L;
#pragma omp for schedule(static) nowait
    for (int64_t j = 0; j < layer->n; j++) {
        if (!has_changed(layer, j)) continue;
        ids[n++] = j;
        if (n < SLIDE_PROJECT_ROWS) continue;
        hash_again(kernels, layer, s, ids, n, codes);
        n = 0;
    }
    if (n) hash_again(kernels, layer, s, ids, n, codes);
#pragma omp barrier
}

/* Inserts m neurons into every table; a chunk's codes begin at codes, remembered ones are found by the neuron. */
static void insert_chunk(const slide_layer *layer, int64_t first, int64_t m, int64_t start, const uint32_t *codes,
                         slide_rng *rngs)
{
    const slide_lsh *lsh = &layer->lsh;
#pragma omp for schedule(static)
    for (int t = 0; t < lsh->L; t++)
        for (int64_t i = 0; i < m; i++) {
            int64_t neuron = visit(first + i, start, layer->n);
            uint32_t code = lsh->codes ? lsh->codes[neuron * lsh->L + t] : codes[i * lsh->L + t];
            slide_bucket_insert(lsh, slide_bucket(lsh, t, code), (int32_t)neuron, &rngs[t]);
        }
}

slide_status slide_tables_rebuild(const slide_kernels *kernels, const slide_layer *layer, uint64_t seed,
                                  uint64_t generation, int refresh, int n_threads)
{
    const slide_lsh *lsh = &layer->lsh;
    if (lsh->kind == SLIDE_QUERY_CELLS) return slide_cells_fill(kernels, layer, refresh && lsh->label_cell, n_threads);
    int64_t chunk = CHUNK > n_threads * SLIDE_PROJECT_ROWS ? CHUNK : n_threads * SLIDE_PROJECT_ROWS;
    uint32_t *codes = malloc(sizeof *codes * (size_t)chunk * (size_t)lsh->L);
    slide_rng *rngs = malloc(sizeof *rngs * (size_t)lsh->L);
    float *all = slide_floats(n_threads * scratch_floats(lsh));
    if (!codes || !rngs || !all) {
        free(all);
        free(codes);
        free(rngs);
        return SLIDE_NO_MEMORY;
    }
    slide_rng order = slide_rng_stream(seed, SLIDE_STREAM_ORDER, generation);
    int64_t start = slide_rng_below(&order, (uint32_t)layer->n);
    int64_t table_size = (int64_t)lsh->bucket_stride << lsh->table_bits;
    for (int t = 0; t < lsh->L; t++)
        rngs[t] = slide_rng_stream(seed, SLIDE_STREAM_BUCKET, generation * (uint64_t)lsh->L + (uint64_t)t);
#pragma omp parallel num_threads(n_threads)
    {
        scratch s = mine(lsh, all);
#pragma omp for schedule(static)
        for (int t = 0; t < lsh->L; t++)
            for (int64_t b = 0; b < (int64_t)1 << lsh->table_bits; b++)
                lsh->buckets[t * table_size + b * lsh->bucket_stride] = 0;
        if (lsh->codes) hash_changed(kernels, layer, s, codes);
        for (int64_t first = 0; first < layer->n; first += chunk) {
            int64_t m = layer->n - first < chunk ? layer->n - first : chunk;
            if (!lsh->codes) hash_chunk(kernels, layer, s, first, m, start, codes);
            insert_chunk(layer, first, m, start, codes, rngs);
        }
    }
    free(all);
    free(codes);
    free(rngs);
    return SLIDE_OK;
}
