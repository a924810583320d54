/* tables.h: L hash tables of contiguous buckets, {number ever inserted, ids...} each. */
#ifndef SLIDE_LSH_TABLES_H
#define SLIDE_LSH_TABLES_H

#include "core/rng.h"
#include "core/types.h"

/* Reaches every bucket: the code itself where it fits, else its top bits after a multiplication (Fibonacci hashing,
 * Knuth, TAOCP 6.4). */
static inline int64_t slide_bucket_index(const slide_lsh *lsh, int table, uint32_t code)
{
    uint64_t index = code;
    if (lsh->code_bits > lsh->table_bits) index = (code * 0x9E3779B97F4A7C15u) >> (64 - lsh->table_bits);
    return ((int64_t)table << lsh->table_bits) + (int64_t)index;
}

static inline int32_t *slide_bucket(const slide_lsh *lsh, int table, uint32_t code)
{
    return lsh->buckets + slide_bucket_index(lsh, table, code) * lsh->bucket_stride;
}

static inline int32_t slide_bucket_size(const slide_lsh *lsh, const int32_t *bucket)
{
    return bucket[0] < lsh->capacity ? bucket[0] : lsh->capacity;
}

/* A full bucket forgets its oldest entry (FIFO), or keeps a uniform sample of all it was offered (reservoir: Vitter,
 * TOMS 1985, algorithm R). */
static inline void slide_bucket_insert(const slide_lsh *lsh, int32_t *bucket, int32_t id, slide_rng *rng)
{
    int32_t seen = bucket[0]++, place = seen;
    if (seen >= lsh->capacity) {
        if (lsh->policy == SLIDE_FIFO)
            place = seen % lsh->capacity;
        else
            place = (int32_t)slide_rng_below(rng, (uint32_t)seen + 1);
    }
    if (place < lsh->capacity) bucket[1 + place] = id;
}

#endif
