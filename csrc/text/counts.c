/* counts.c: many texts by several threads. A thread takes a run of texts and puts what it finds into the run's own memory; the
 * caller then knows how long the arrays are. */
#include <stdlib.h>
#include <string.h>

#include "core/omp.h"
#include "text/features.h"
#include "text/text.h"

#define FEW 16 /* texts for which memory of words is not worth the time to get it */

/* Puts a text's features behind the run's others. */
static int append(slide_text_run *run, const slide_text_reader *r)
{
    if (run->n + r->found.n > run->room) {
        int64_t room = 2 * (run->room + r->found.n);
        uint64_t *keys = realloc(run->keys, (size_t)room * sizeof(uint64_t));
        if (keys) run->keys = keys;
        float *counts = realloc(run->counts, (size_t)room * sizeof(float));
        if (counts) run->counts = counts;
        if (!keys || !counts) return 0;
        run->room = room;
    }
    for (int64_t i = 0; i < r->found.n; i++) {
        run->keys[run->n + i] = r->found.e[i].key;
        run->counts[run->n + i] = (float)r->found.e[i].count;
    }
    run->n += r->found.n;
    return 1;
}

slide_status slide_text_count(const slide_text_options *o, const slide_text *texts, int64_t n, int64_t run, int n_threads,
                              slide_text_run *runs, int64_t *lengths)
{
    int failed = 0;
#pragma omp parallel num_threads(n_threads) reduction(| : failed) if (n > run)
    {
        slide_text_reader *r = slide_text_reader_new(o, n > FEW);
        failed = !r;
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < n; first += run)
            for (int64_t i = first; i < n && i < first + run && !failed; i++) {
                failed = !slide_text_read(r, &texts[i]) || !append(&runs[first / run], r);
                lengths[i] = r->found.n;
            }
        slide_text_reader_free(r);
    }
    return failed ? SLIDE_NO_MEMORY : SLIDE_OK;
}

slide_status slide_text_count_one(slide_text_reader *r, const slide_text *text, slide_text_run *run)
{
    return slide_text_read(r, text) && append(run, r) ? SLIDE_OK : SLIDE_NO_MEMORY;
}

void slide_text_gather(const slide_text_run *runs, int64_t n_runs, int32_t *ids, uint64_t *codes, float *counts)
{
    for (int64_t i = 0, at = 0; i < n_runs; at += runs[i].n, i++) {
        if (!runs[i].n) continue;
        memcpy(counts + at, runs[i].counts, (size_t)runs[i].n * sizeof(float));
        if (codes) memcpy(codes + at, runs[i].keys, (size_t)runs[i].n * sizeof(uint64_t));
        for (int64_t j = 0; ids && j < runs[i].n; j++) ids[at + j] = (int32_t)runs[i].keys[j];
    }
}

void slide_text_free(slide_text_run *runs, int64_t n_runs)
{
    for (int64_t i = 0; i < n_runs; i++) {
        free(runs[i].keys);
        free(runs[i].counts);
    }
}
