/* active.c: builds active sets: labels, then what the tables return, then uniform negatives.
 *
 * Three rules say what the tables return (SLIDE's sampling strategies): the neurons with most collisions; "vanilla",
 * all in the buckets of one random table after the other until there are enough; "threshold", those with min_count
 * collisions. Whatever the rule, negatives are uniform over what it left, so that labels and retrieved neurons with
 * q = 1 and negatives with q = their share of the rest make the sum over the set an unbiased estimate of that over all. */
#include "lsh/active.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "lsh/hash.h"
#include "lsh/query_cells.h"
#include "lsh/tables.h"
#include "lsh/transform.h"

#define HISTOGRAMS 4 /* used in turn: most counts are equal, and adding to a number waits for the last addition */

static int64_t most_candidates(const slide_layer *layer)
{
    const slide_lsh *lsh = &layer->lsh;
    int64_t buckets = lsh->kind == SLIDE_QUERY_CELLS ? SLIDE_CELL_PROBES : (int64_t)lsh->L * lsh->probes;
    return buckets * lsh->capacity < layer->n ? buckets * lsh->capacity : layer->n;
}

/* Entries of the hashed form: half stay free, and 8 KiB at least, which no sample is too small for. */
static int64_t counter_size(const slide_layer *layer, int64_t max_labels)
{
    int64_t most = layer->n_active + max_labels + most_candidates(layer);
    int64_t size = 1024;
    while (size < 2 * most) size *= 2;
    return size;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

slide_status slide_active_scratch_new(slide_active_scratch *s, const slide_layer *layers, int n_layers,
                                      int64_t max_labels)
{
    int64_t direct = 1, hashed = 1, candidates = 1, tables = 1, buckets = 1, projection = 1, query = 1, active = 1;
    for (int i = 1; i < n_layers; i++) {
        const slide_layer *layer = &layers[i];
        if (layer->kind != SLIDE_SAMPLED) continue;
        if (layer->n <= SLIDE_DIRECT_LIMIT)
            direct = max64(direct, layer->n);
        else
            hashed = max64(hashed, counter_size(layer, max_labels));
        candidates = max64(candidates, most_candidates(layer));
        tables = max64(tables, layer->lsh.L);
        buckets = max64(buckets, (int64_t)layer->lsh.L * layer->lsh.probes);
        projection = max64(projection, slide_hash_scratch(&layer->lsh));
        query = max64(query, slide_hash_rows_most(&layer->lsh) * slide_pad(max64(layer->lsh.dim, layer->fan_in + 1)));
        active = max64(active, layer->n_active + layer->n_random + max_labels);
    }
    s->counter = (slide_counter){.direct = calloc((size_t)direct, sizeof(uint16_t)),
                                 .n_direct = direct,
                                 .entries = calloc((size_t)hashed, sizeof(uint64_t)),
                                 .mask = (uint64_t)hashed - 1,
                                 .candidates = malloc((size_t)(candidates + 1) * sizeof(uint32_t))};
    s->histogram = malloc((size_t)(HISTOGRAMS * (tables + 1)) * sizeof(int32_t));
    s->winners = malloc((size_t)(candidates + 1) * sizeof(uint32_t));
    s->codes = malloc((size_t)buckets * sizeof(uint32_t));
    s->projection = slide_floats(projection);
    s->query = slide_floats(query);
    s->neg_log_q = slide_floats(active);
    int ok = s->counter.direct && s->counter.entries && s->counter.candidates && s->histogram && s->winners && s->codes &&
             s->projection && s->query && s->neg_log_q;
    return ok ? SLIDE_OK : SLIDE_NO_MEMORY;
}

void slide_active_scratch_free(slide_active_scratch *s)
{
    free(s->counter.direct);
    free(s->counter.entries);
    free(s->counter.candidates);
    free(s->histogram);
    free(s->winners);
    free(s->codes);
    free(s->projection);
    free(s->query);
    free(s->neg_log_q);
    memset(s, 0, sizeof *s);
}

static const int32_t *probed_bucket(const slide_lsh *lsh, const slide_active_scratch *s, int t, int p)
{
    return slide_bucket(lsh, t, s->codes[(int64_t)t * lsh->probes + p]);
}

/* Whether an earlier probe of the table led to the same bucket, as several codes may. */
static int is_repeated(const slide_lsh *lsh, const slide_active_scratch *s, int t, int p)
{
    int repeated = 0;
    for (int q = 0; q < p; q++) repeated |= probed_bucket(lsh, s, t, q) == probed_bucket(lsh, s, t, p);
    return repeated;
}

/* Counts in how many tables each neuron is in a bucket that the query looks into. */
static void count_collisions(const slide_layer *layer, slide_active_scratch *s)
{
    const slide_lsh *lsh = &layer->lsh;
    for (int t = 0; t < lsh->L; t++)
        for (int p = 0; p < lsh->probes; p++) {
            if (t + 4 < lsh->L) {
                const int32_t *ahead = probed_bucket(lsh, s, t + 4, p);
                for (int i = 0; i < lsh->bucket_stride; i += 16) __builtin_prefetch(ahead + i);
            }
            const int32_t *bucket = probed_bucket(lsh, s, t, p);
            if (!is_repeated(lsh, s, t, p)) slide_counter_add(&s->counter, bucket + 1, slide_bucket_size(lsh, bucket));
        }
}

/* Fills start[count] with how many candidates have more collisions, for all counts from 1 to L. */
static void count_counts(slide_counter c, int L, int32_t *start)
{
    int32_t above = 0;
    memset(start, 0, (size_t)(HISTOGRAMS * (L + 1)) * sizeof *start);
    for (int64_t i = 0; i < c.n_candidates; i++)
        start[(i % HISTOGRAMS) * (L + 1) + slide_counter_count(&c, c.candidates[i])]++;
    for (int n = L; n > 0; n--) {
        int32_t here = 0;
        for (int h = 0; h < HISTOGRAMS; h++) here += start[h * (L + 1) + n];
        start[n] = above;
        above += here;
    }
}

/* Counting sort of those that can win: writes the `wanted` candidates with most collisions, most first, ties in order
 * of first sight, and makes them members. Returns how many were written. */
static int64_t take_colliding(const slide_layer *layer, slide_active_scratch *s, int64_t wanted, int32_t *ids)
{
    count_collisions(layer, s);
    const slide_counter c = s->counter; /* a copy: stores below cannot touch it, so it stays in registers */
    uint32_t *winners = s->winners;
    int32_t *start = s->histogram, least = 1;
    int64_t n = 0;
    count_counts(c, layer->lsh.L, start);
    while (least < layer->lsh.L && start[least] >= wanted) least++;
    for (int64_t i = 0; i < c.n_candidates; i++) {
        winners[n] = c.candidates[i]; /* overwritten unless it can win */
        n += slide_counter_count(&c, c.candidates[i]) >= least;
    }
    for (int64_t i = 0; i < n; i++) {
        int32_t rank = start[slide_counter_count(&c, winners[i])]++;
        if (rank < wanted) ids[rank] = slide_counter_take(&c, winners[i]);
    }
    return c.n_candidates < wanted ? c.n_candidates : wanted;
}

/* The first `wanted` neurons with min_count collisions, in order of first sight. */
static int64_t take_above_threshold(const slide_layer *layer, slide_active_scratch *s, int64_t wanted, int32_t *ids)
{
    int64_t n = 0;
    count_collisions(layer, s);
    const slide_counter c = s->counter;
    for (int64_t i = 0; i < c.n_candidates && n < wanted; i++)
        if (slide_counter_count(&c, c.candidates[i]) >= layer->lsh.min_count)
            ids[n++] = slide_counter_take(&c, c.candidates[i]);
    return n;
}

/* Up to `wanted` neurons that are no members yet, from the buckets of table t. */
static int64_t take_from_table(const slide_lsh *lsh, slide_active_scratch *s, int t, int64_t wanted, int32_t *ids)
{
    int64_t n = 0;
    for (int p = 0; p < lsh->probes; p++) {
        const int32_t *bucket = probed_bucket(lsh, s, t, p);
        int32_t size = slide_bucket_size(lsh, bucket);
        for (int32_t i = 1; i <= size && n < wanted; i++)
            if (slide_counter_join(&s->counter, bucket[i])) ids[n++] = bucket[i];
    }
    return n;
}

/* Tables in random order, until `wanted` neurons are in. */
static int64_t take_vanilla(const slide_layer *layer, slide_active_scratch *s, int64_t wanted, slide_rng *rng, int32_t *ids)
{
    const slide_lsh *lsh = &layer->lsh;
    int32_t *order = s->histogram; /* nothing is counted */
    int64_t n = 0;
    for (int t = 0; t < lsh->L; t++) order[t] = t;
    for (int i = 0; i < lsh->L && n < wanted; i++) {
        int j = i + (int)slide_rng_below(rng, (uint32_t)(lsh->L - i));
        int32_t t = order[j];
        order[j] = order[i];
        n += take_from_table(lsh, s, t, wanted - n, ids + n);
    }
    return n;
}

/* What the tables return for the query last hashed, most wanted first. */
static int64_t take_retrieved(const slide_layer *layer, slide_active_scratch *s, int64_t wanted, slide_rng *rng, int32_t *ids)
{
    const slide_lsh *lsh = &layer->lsh;
    if (wanted <= 0) return 0;
    if (lsh->kind == SLIDE_QUERY_CELLS) return slide_cells_take_nearest(lsh, &s->counter, s->projection, wanted, ids);
    if (lsh->selection == SLIDE_VANILLA) return take_vanilla(layer, s, wanted, rng, ids);
    if (lsh->selection == SLIDE_THRESHOLD) return take_above_threshold(layer, s, wanted, ids);
    return take_colliding(layer, s, wanted, ids);
}

int64_t slide_active_negatives(const slide_layer *layer, slide_counter *counter, slide_rng *rng, int64_t sure, int32_t *ids,
                          float *neg_log_q)
{
    int64_t negatives = layer->n_active - sure;
    if (negatives < layer->n_random) negatives = layer->n_random; /* though labels leave no room for them */
    if (negatives > layer->n - sure) negatives = layer->n - sure;
    for (int64_t n = sure; n < sure + negatives;) {
        ids[n] = (int32_t)slide_rng_below(rng, (uint32_t)layer->n);
        n += slide_counter_join(counter, ids[n]);
    }
    slide_counter_end(counter, ids, sure + negatives);
    float of_negatives = negatives > 0 ? logf((float)(layer->n - sure) / (float)negatives) : 0;
    for (int64_t i = 0; i < sure + negatives; i++) neg_log_q[i] = i < sure ? 0 : of_negatives;
    return sure + negatives;
}

int64_t slide_active_all(const slide_layer *layer, slide_counter *counter, int64_t n, int32_t *ids,
                              float *neg_log_q)
{
    for (int32_t id = 0; id < layer->n; id++)
        if (slide_counter_join(counter, id)) ids[n++] = id;
    slide_counter_end(counter, ids, n);
    memset(neg_log_q, 0, (size_t)n * sizeof *neg_log_q);
    return n;
}

int64_t slide_active_set(const slide_layer *layer, slide_active_scratch *s, const int32_t *labels, int64_t n_labels,
                         slide_rng *rng, slide_activations *out)
{
    slide_counter_begin(&s->counter, layer->n);
    out->n = 0;
    for (int64_t i = 0; i < n_labels; i++)
        if (slide_counter_join(&s->counter, labels[i])) out->ids[out->n++] = labels[i];
    int64_t distinct = out->n, room = layer->n_active - distinct;
    if (slide_active_is_all(layer)) {
        out->n = slide_active_all(layer, &s->counter, distinct, out->ids, s->neg_log_q);
        return distinct;
    }
    if (layer->lsh.L) out->n += take_retrieved(layer, s, room - layer->n_random, rng, out->ids + distinct);
    out->n = slide_active_negatives(layer, &s->counter, rng, out->n, out->ids, s->neg_log_q);
    return distinct;
}

int64_t slide_active_top(const slide_layer *layer, slide_active_scratch *s, int64_t wanted, int32_t *ids)
{
    slide_rng rng = slide_rng_stream(0, SLIDE_STREAM_NEGATIVES, 0); /* vanilla: one order of the tables for all */
    slide_counter_begin(&s->counter, layer->n);
    int64_t n = take_retrieved(layer, s, wanted, &rng, ids);
    slide_counter_end(&s->counter, ids, n);
    return n;
}

void slide_active_hash(const slide_kernels *kernels, const slide_layer *layer, slide_active_scratch *s,
                       const slide_activations *input)
{
    const slide_lsh *lsh = &layer->lsh;
    if (input->ids && slide_hash_takes_sparse(lsh)) {
        slide_hash_sparse(lsh, input->ids, input->val, input->n, s->projection, s->codes);
        return;
    }
    slide_hashed_query(layer, input, s->query);
    slide_hash(kernels, lsh, s->query, s->projection, s->codes);
    slide_hash_probes(lsh, s->projection, s->codes);
}

/* s->codes of a neuron, so that the tables return those that are like it. */
static void hash_label(const slide_kernels *kernels, const slide_layer *layer, slide_active_scratch *s, int32_t label)
{
    slide_hashed_neuron(layer, label, s->query);
    slide_hash(kernels, &layer->lsh, s->query, s->projection, s->codes);
    slide_hash_probes(&layer->lsh, s->projection, s->codes);
}

/* The query's cell becomes that of its labels. Threads may record the same label: either cell will do. */
static void record_label_cell(const slide_lsh *lsh, const slide_active_scratch *s, const int32_t *labels,
                          int64_t n_labels)
{
    for (int64_t i = 0; lsh->label_cell && i < n_labels; i++)
        __atomic_store_n(&lsh->label_cell[labels[i]], (int32_t)s->codes[0], __ATOMIC_RELAXED);
}

slide_rng slide_active_rng(uint64_t seed, int index, uint64_t step)
{
    return slide_rng_stream(seed, SLIDE_STREAM_NEGATIVES + 16 * (uint64_t)index, step);
}

int slide_active_ask(const slide_kernels *kernels, const slide_layer *layer, slide_active_scratch *s,
                     const slide_activations *input, const int32_t *labels, int64_t n_labels, slide_rng *rng)
{
    if (!layer->lsh.L || slide_active_is_all(layer)) return 0;
    if (layer->asks_label && n_labels)
        hash_label(kernels, layer, s, labels[slide_rng_below(rng, (uint32_t)n_labels)]);
    else
        slide_active_hash(kernels, layer, s, input);
    record_label_cell(&layer->lsh, s, labels, n_labels);
    return 1;
}
