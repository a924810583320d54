/* negatives.c: shortlists by row turned into negative rows by label. */
#include <stdlib.h>

#include "linear/linear.h"

#define MOST_CHUNKS 8 /* each has a counter for every label */

static int has_label(const slide_linear_shortlists *s, int64_t row, int32_t label)
{
    int64_t low = s->y_indptr[row], high = s->y_indptr[row + 1];
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (s->y_indices[middle] < label)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->y_indptr[row + 1] && s->y_indices[low] == label;
}

/* Calls for each wrong label of rows [first, last): counts it, or puts the row into its place. */
static void walk(const slide_linear_shortlists *s, int64_t first, int64_t last, int64_t *cursor, int32_t *rows)
{
    for (int64_t row = first; row < last; row++)
        for (int64_t j = 0; j < s->m; j++) {
            int32_t label = s->shortlists[row * s->m + j];
            int64_t l = label - s->first_label;
            if (label < 0 || l < 0 || l >= s->n_labels || has_label(s, row, label)) continue;
            if (rows) rows[cursor[l]] = (int32_t)row;
            cursor[l]++;
        }
}

/* From counts by chunk to where each chunk writes, label by label, so that rows ascend whatever the number of chunks. */
static void place_chunks(int64_t n_labels, int n_chunks, int64_t *cursors, int64_t *indptr)
{
    int64_t at = 0;
    for (int64_t l = 0; l < n_labels; l++) {
        indptr[l] = at;
        for (int c = 0; c < n_chunks; c++) {
            int64_t count = cursors[c * n_labels + l];
            cursors[c * n_labels + l] = at;
            at += count;
        }
    }
    indptr[n_labels] = at;
}

slide_status slide_linear_negatives(const slide_linear_shortlists *s, int64_t *indptr, int32_t *rows)
{
    int n_chunks = s->n_threads < MOST_CHUNKS ? s->n_threads : MOST_CHUNKS;
    int64_t *cursors = calloc((size_t)(n_chunks * s->n_labels) + 1, sizeof *cursors);
    if (!cursors) return SLIDE_NO_MEMORY;
#pragma omp parallel for num_threads(n_chunks) schedule(static, 1)
    for (int c = 0; c < n_chunks; c++)
        walk(s, s->n * c / n_chunks, s->n * (c + 1) / n_chunks, cursors + c * s->n_labels, NULL);
    place_chunks(s->n_labels, n_chunks, cursors, indptr);
#pragma omp parallel for num_threads(n_chunks) schedule(static, 1) if (rows)
    for (int c = 0; c < n_chunks; c++)
        if (rows) walk(s, s->n * c / n_chunks, s->n * (c + 1) / n_chunks, cursors + c * s->n_labels, rows);
    free(cursors);
    return SLIDE_OK;
}
