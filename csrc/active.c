/* active.c: builds active sets: labels, then what the tables return ranked by collision count, then a uniform tail.
 *
 * Collisions are counted in a small open-addressing table that stays in cache: one word holds id, stamp and count.
 * A new stamp empties it, so no sample pays for clearing. */
#include "active.h"

#include <math.h>
#include <string.h>

#include "hash.h"
#include "tables.h"

#define COUNT_BITS 10
#define STAMP_BITS 22
#define MEMBER ((uint64_t)SLIDE_MAX_TABLES + 1) /* the count of a neuron that is already in the active set */
#define COUNT_MASK (((uint64_t)1 << COUNT_BITS) - 1)

static uint64_t key_of(const slide_counter *c, int32_t id)
{
    return (uint64_t)(uint32_t)id << STAMP_BITS | c->stamp;
}

/* Place of the id's entry; a fresh entry has count 0. Half of the table stays free, so a walk is short. */
static uint64_t *counter_find(const slide_counter *c, int32_t id)
{
    uint64_t key = key_of(c, id), at = ((uint32_t)id * (uint64_t)0x9E3779B97F4A7C15u) >> 20;
    for (;; at++) {
        uint64_t *entry = &c->entries[at & c->mask];
        if (*entry >> COUNT_BITS == key) return entry;
        if (((*entry >> COUNT_BITS) & (((uint64_t)1 << STAMP_BITS) - 1)) != c->stamp) {
            *entry = key << COUNT_BITS;
            return entry;
        }
    }
}

static void counter_clear(slide_counter *c)
{
    if (++c->stamp >> STAMP_BITS) { /* once in four million samples */
        memset(c->entries, 0, (size_t)(c->mask + 1) * sizeof *c->entries);
        c->stamp = 1;
    }
}

static int32_t entry_id(uint64_t entry)
{
    return (int32_t)(entry >> (COUNT_BITS + STAMP_BITS));
}

int64_t slide_counter_size(const slide_layer *layer, int64_t max_labels)
{
    int64_t most = layer->n_active + max_labels + (int64_t)layer->lsh.L * layer->lsh.capacity;
    int64_t size = 1024;
    while (size < 2 * most) size *= 2;
    return size;
}

/* Returns 1 if the neuron was not a member before. */
static int join(slide_scratch *s, int32_t id)
{
    uint64_t *entry = counter_find(&s->counter, id);
    if ((*entry & COUNT_MASK) == MEMBER) return 0;
    *entry |= MEMBER;
    return 1;
}

/* Counts how often each neuron shares a bucket with the query; members are left alone. */
static int64_t count_collisions(const slide_layer *layer, slide_scratch *s)
{
    const slide_lsh *lsh = &layer->lsh;
    int64_t n = 0;
    for (int t = 0; t < lsh->L; t++) {
        const int32_t *bucket = slide_bucket(lsh, t, s->codes[t]);
        if (t + 4 < lsh->L) {
            const int32_t *ahead = slide_bucket(lsh, t + 4, s->codes[t + 4]);
            for (int i = 0; i < lsh->bucket_stride; i += 16) __builtin_prefetch(ahead + i);
        }
        int32_t size = slide_bucket_size(lsh, bucket);
        for (int32_t i = 1; i <= size; i++) {
            uint64_t *entry = counter_find(&s->counter, bucket[i]);
            uint64_t count = *entry & COUNT_MASK;
            if (count == MEMBER) continue;
            if (count == 0) s->candidates[n++] = (uint32_t)(entry - s->counter.entries);
            ++*entry;
        }
    }
    return n;
}

/* Counting sort: writes the `wanted` candidates with most collisions, most first, ties in order of first sight, and
 * makes them members. Returns how many were written. */
static int64_t take_colliding(const slide_layer *layer, slide_scratch *s, int64_t wanted, int32_t *ids)
{
    if (wanted <= 0) return 0;
    int64_t n = count_collisions(layer, s);
    int32_t *start = s->histogram, above = 0;
    memset(start, 0, (size_t)(layer->lsh.L + 1) * sizeof *start);
    for (int64_t i = 0; i < n; i++) start[s->counter.entries[s->candidates[i]] & COUNT_MASK]++;
    for (int c = layer->lsh.L; c > 0; c--) {
        int32_t here = start[c];
        start[c] = above;
        above += here;
    }
    for (int64_t i = 0; i < n; i++) {
        uint64_t *entry = &s->counter.entries[s->candidates[i]];
        int32_t rank = start[*entry & COUNT_MASK]++;
        if (rank >= wanted) continue;
        ids[rank] = entry_id(*entry);
        *entry |= MEMBER;
    }
    return n < wanted ? n : wanted;
}

/* Draws until `wanted` neurons outside the set are in: each of them has the same chance. */
static void take_uniform(const slide_layer *layer, slide_scratch *s, int64_t wanted, slide_rng *rng, slide_vector *out)
{
    while (wanted > 0) {
        int32_t id = (int32_t)slide_rng_below(rng, (uint32_t)layer->n);
        if (!join(s, id)) continue;
        out->ids[out->n++] = id;
        wanted--;
    }
}

int64_t slide_active_set(const slide_layer *layer, slide_scratch *s, const int32_t *labels, int64_t n_labels,
                         slide_rng *rng, slide_vector *out)
{
    counter_clear(&s->counter);
    out->n = 0;
    for (int64_t i = 0; i < n_labels; i++)
        if (join(s, labels[i])) out->ids[out->n++] = labels[i];
    int64_t distinct = out->n, room = layer->n_active - distinct;
    if (layer->lsh.L) out->n += take_colliding(layer, s, room - layer->n_random, out->ids + distinct);
    int64_t sure = out->n, tail = layer->n_active - sure;
    if (tail < layer->n_random) tail = layer->n_random; /* more labels than room: the tail is kept all the same */
    if (tail > layer->n - sure) tail = layer->n - sure;
    take_uniform(layer, s, tail, rng, out);
    float correction = tail > 0 ? logf((float)(layer->n - sure) / (float)tail) : 0;
    for (int64_t i = 0; i < out->n; i++) s->corrections[i] = i < sure ? 0 : correction;
    return distinct;
}

int64_t slide_active_top(const slide_layer *layer, slide_scratch *s, int64_t wanted, int32_t *ids)
{
    counter_clear(&s->counter);
    return take_colliding(layer, s, wanted, ids);
}

void slide_active_hash(const slide_network *net, const slide_layer *layer, slide_scratch *s, const slide_vector *input)
{
    if (input->ids) {
        memset(s->query, 0, (size_t)layer->fan_in * sizeof(float));
        for (int64_t i = 0; i < input->n; i++) s->query[input->ids[i]] = input->val[i];
    } else {
        memcpy(s->query, input->val, (size_t)layer->fan_in * sizeof(float));
    }
    s->query[layer->fan_in] = 1;
    if (layer->lsh.frame) {
        const float *query_centre = layer->lsh.frame + layer->lsh.dim;
        for (int64_t d = 0; d < layer->fan_in; d++) s->query[d] -= query_centre[d];
        s->query[layer->fan_in] = query_centre[layer->fan_in];
    }
    slide_hash(net->kernels, &layer->lsh, s->query, s->projection, s->codes);
}

slide_status slide_retrieve(slide_network *net, int index, const float *queries, int64_t n, int64_t stride,
                            int64_t n_candidates, int32_t *ids)
{
    const slide_layer *layer = &net->layers[index];
    slide_scratch *s = net->scratch;
    for (int64_t i = 0; i < n; i++) {
        slide_vector input = {.n = layer->fan_in, .val = (float *)(queries + i * stride)};
        int32_t *row = ids + i * n_candidates;
        slide_active_hash(net, layer, s, &input);
        int64_t found = slide_active_top(layer, s, n_candidates, row);
        for (int64_t j = found; j < n_candidates; j++) row[j] = -1;
    }
    return SLIDE_OK;
}
