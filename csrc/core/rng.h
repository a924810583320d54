/* rng.h: counter-based random numbers (SplitMix64: Steele, Lea & Flood, OOPSLA 2014).
 *
 * A stream is named by (seed, purpose, counter), so that what a sample draws depends on its step, never on the
 * thread that runs it. The reference back end repeats these integers exactly. */
#ifndef SLIDE_CORE_RNG_H
#define SLIDE_CORE_RNG_H

#include <stdint.h>

typedef struct {
    uint64_t state;
} slide_rng;

/* What numbers are drawn for; the multipliers below are SplitMix64's. */
enum {
    SLIDE_STREAM_DROPOUT = 1,
    SLIDE_STREAM_NEGATIVES = 2,
    SLIDE_STREAM_BUCKET = 3,
    SLIDE_STREAM_ORDER = 4,
    SLIDE_STREAM_BATCH = 5,
    SLIDE_STREAM_SOLVER = 6
};

static inline uint64_t slide_mix64(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline slide_rng slide_rng_stream(uint64_t seed, uint64_t purpose, uint64_t counter)
{
    return (slide_rng){slide_mix64(seed + 0x9E3779B97F4A7C15u * purpose) ^ slide_mix64(counter)};
}

static inline uint64_t slide_rng_next(slide_rng *r)
{
    r->state += 0x9E3779B97F4A7C15u;
    return slide_mix64(r->state);
}

/* Uniform in [0, n), n < 2^32 (multiply-shift: Lemire, TOMACS 2019; its bias of n / 2^32 is accepted). */
static inline uint32_t slide_rng_below(slide_rng *r, uint32_t n)
{
    return (uint32_t)(((slide_rng_next(r) >> 32) * n) >> 32);
}

/* Uniform in [0, 1) with 24 bits. */
static inline float slide_rng_float(slide_rng *r)
{
    return (float)(slide_rng_next(r) >> 40) * 0x1p-24f;
}

#endif
