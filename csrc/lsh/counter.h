/* counter.h: counts collisions and remembers the members of an active set, without clearing anything per sample.
 *
 * Two forms with one behaviour. Direct: two bytes a neuron, for layers up to SLIDE_DIRECT_LIMIT neurons, whose counts
 * stay in cache; what a sample touched is zeroed behind it. Hashed: open addressing sized by the active set, for any
 * layer; one word holds id, stamp and count, and a new stamp empties it. Candidates are kept in order of first sight:
 * ids in the direct form, places of entries in the hashed one. */
#ifndef SLIDE_LSH_COUNTER_H
#define SLIDE_LSH_COUNTER_H

#include <string.h>

#include "core/types.h"

#define SLIDE_DIRECT_LIMIT ((int64_t)1 << 18) /* neurons: 512 KiB of counts, which a second-level cache holds */
#define SLIDE_COUNT_BITS 10 /* with the stamp and 32 bits of id they fill a word */
#define SLIDE_STAMP_BITS 22
#define SLIDE_COUNT_MASK (((uint64_t)1 << SLIDE_COUNT_BITS) - 1)
#define SLIDE_STAMP_MASK (((uint64_t)1 << SLIDE_STAMP_BITS) - 1)
#define SLIDE_MEMBER (SLIDE_MAX_TABLES + 1) /* the count of a neuron that is in the active set */
_Static_assert(SLIDE_MEMBER == SLIDE_COUNT_MASK, "a member's count has all bits, or setting them would not make one");

typedef struct {
    uint16_t *direct;         /* [n_direct] */
    int64_t n_direct;
    uint64_t *entries;        /* [mask + 1] */
    uint64_t mask, stamp;
    int is_direct;
    uint32_t *candidates;     /* in order of first sight */
    int64_t n_candidates;
} slide_counter;

/* Begins a sample of a layer of n neurons. */
static inline void slide_counter_begin(slide_counter *c, int64_t n)
{
    c->is_direct = n <= c->n_direct;
    c->n_candidates = 0;
    if (c->is_direct || ++c->stamp <= SLIDE_STAMP_MASK) return;
    memset(c->entries, 0, (size_t)(c->mask + 1) * sizeof *c->entries); /* once in four million samples */
    c->stamp = 1;
}

/* Place of the id's entry; a fresh entry has count 0. Half of the table stays free, so a walk is short. */
static inline uint64_t *slide_counter_entry(const slide_counter *c, int32_t id)
{
    uint64_t key = (uint64_t)(uint32_t)id << SLIDE_STAMP_BITS | c->stamp;
    for (uint64_t at = ((uint32_t)id * (uint64_t)0x9E3779B97F4A7C15u) >> 20;; at++) {
        uint64_t *entry = &c->entries[at & c->mask];
        if (*entry >> SLIDE_COUNT_BITS == key) return entry;
        if (((*entry >> SLIDE_COUNT_BITS) & SLIDE_STAMP_MASK) == c->stamp) continue;
        *entry = key << SLIDE_COUNT_BITS;
        return entry;
    }
}

/* Makes a neuron a member. Returns 0 if it was one. */
static inline int slide_counter_join(slide_counter *c, int32_t id)
{
    if (c->is_direct) {
        int is_new = c->direct[id] != SLIDE_MEMBER;
        c->direct[id] = SLIDE_MEMBER;
        return is_new;
    }
    uint64_t *entry = slide_counter_entry(c, id);
    if ((*entry & SLIDE_COUNT_MASK) == SLIDE_MEMBER) return 0;
    *entry |= SLIDE_MEMBER;
    return 1;
}

/* Counts one more collision for each neuron of a bucket; members are left alone. */
static inline void slide_counter_add(slide_counter *c, const int32_t *ids, int32_t n)
{
    uint32_t *candidates = c->candidates;
    int64_t m = c->n_candidates;
    if (c->is_direct) {
        for (int32_t i = 0; i < n; i++) {
            uint16_t *count = &c->direct[ids[i]];
            candidates[m] = (uint32_t)ids[i]; /* overwritten unless this is the first sight */
            m += *count == 0;
            *count = (uint16_t)(*count + (*count != SLIDE_MEMBER));
        }
    } else {
        for (int32_t i = 0; i < n; i++) {
            uint64_t *entry = slide_counter_entry(c, ids[i]), count = *entry & SLIDE_COUNT_MASK;
            candidates[m] = (uint32_t)(entry - c->entries);
            m += count == 0;
            *entry += count != SLIDE_MEMBER;
        }
    }
    c->n_candidates = m;
}

static inline int32_t slide_counter_count(const slide_counter *c, uint32_t candidate)
{
    return c->is_direct ? c->direct[candidate] : (int32_t)(c->entries[candidate] & SLIDE_COUNT_MASK);
}

/* Makes a candidate a member and returns its id. */
static inline int32_t slide_counter_take(const slide_counter *c, uint32_t candidate)
{
    if (c->is_direct) {
        c->direct[candidate] = SLIDE_MEMBER;
        return (int32_t)candidate;
    }
    c->entries[candidate] |= SLIDE_MEMBER;
    return (int32_t)(c->entries[candidate] >> (SLIDE_COUNT_BITS + SLIDE_STAMP_BITS));
}

/* Forgets the candidates and these members. */
static inline void slide_counter_end(slide_counter *c, const int32_t *members, int64_t n)
{
    if (!c->is_direct) return;
    for (int64_t i = 0; i < c->n_candidates; i++) c->direct[c->candidates[i]] = 0;
    for (int64_t i = 0; i < n; i++) c->direct[members[i]] = 0;
}

#endif
