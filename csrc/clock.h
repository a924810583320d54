/* clock.h: what a thread's time goes into while it trains. Off unless asked for, and then a branch a phase. */
#ifndef SLIDE_CLOCK_H
#define SLIDE_CLOCK_H

#include <time.h>

#include "network.h"

static inline int64_t slide_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The thread begins to work on a sample or a batch: what was before is nobody's. */
static inline void slide_clock_start(const slide_network *net, slide_scratch *s)
{
    if (net->is_timed) s->clock = slide_now();
}

/* The time since the last call belongs to the phase. */
static inline void slide_clock_stop(const slide_network *net, slide_scratch *s, int phase)
{
    if (!net->is_timed) return;
    int64_t now = slide_now();
    s->stats.phase_ns[phase] += now - s->clock;
    s->clock = now;
}

#endif
