/* clock.h: what a thread's time goes into while it trains. Off unless asked for, and then a branch a phase. */
#ifndef SLIDE_CORE_CLOCK_H
#define SLIDE_CORE_CLOCK_H

#include <time.h>

#include "core/types.h"

typedef struct {
    int is_on;
    int64_t since; /* when the present phase began */
    int64_t phase_ns[SLIDE_PHASES];
} slide_clock;

static inline int64_t slide_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The thread begins to work on a sample or a batch: what was before is nobody's. */
static inline void slide_clock_start(slide_clock *clock)
{
    if (clock->is_on) clock->since = slide_now();
}

/* The time since the last call belongs to the phase. */
static inline void slide_clock_stop(slide_clock *clock, int phase)
{
    if (!clock->is_on) return;
    int64_t now = slide_now();
    clock->phase_ns[phase] += now - clock->since;
    clock->since = now;
}

#endif
