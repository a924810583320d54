/* train.c: all labels' rows, one thread a label, the largest problems first so that no thread is left with one at the end. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_thread_num() 0
#endif

#include "linear/linear.h"

/* Rows that one thread solved, one behind the other. */
typedef struct {
    int32_t *features;
    float *weights;
    int64_t n, capacity;
} shelf;

struct slide_linear_solution {
    shelf *shelves;
    int n_threads;
    int64_t n_labels;
    int64_t *at;       /* [L] where a label's row begins on its shelf */
    int32_t *shelf_of; /* [L] */
};

static int put(shelf *shelf, const slide_linear_scratch *s)
{
    int64_t needed = shelf->n + s->n_kept;
    if (needed > shelf->capacity) {
        int64_t capacity = needed + needed / 2 + 1024;
        int32_t *features = realloc(shelf->features, (size_t)capacity * sizeof *features);
        if (features) shelf->features = features;
        float *weights = realloc(shelf->weights, (size_t)capacity * sizeof *weights);
        if (weights) shelf->weights = weights;
        if (!features || !weights) return 0;
        shelf->capacity = capacity;
    }
    memcpy(shelf->features + shelf->n, s->kept, (size_t)s->n_kept * sizeof *s->kept);
    memcpy(shelf->weights + shelf->n, s->kept_weights, (size_t)s->n_kept * sizeof *s->kept_weights);
    shelf->n = needed;
    return 1;
}

/* Labels by the power of two of their number of rows, largest first. */
static int size_class(const slide_linear_data *d, int64_t l)
{
    int64_t n = d->positive_indptr[l + 1] - d->positive_indptr[l] + d->negative_indptr[l + 1] - d->negative_indptr[l];
    int bits = 0;
    for (; n > 0; n >>= 1) bits++;
    return 63 - bits;
}

static void largest_first(const slide_linear_data *d, int32_t *order)
{
    int64_t begin[65] = {0};
    for (int64_t l = 0; l < d->n_labels; l++) begin[size_class(d, l) + 1]++;
    for (int c = 0; c < 64; c++) begin[c + 1] += begin[c];
    for (int64_t l = 0; l < d->n_labels; l++) order[begin[size_class(d, l)]++] = (int32_t)l;
}

/* Solves one label; its row's length goes to indptr[l + 1]. Returns passes, -1 when out of memory. */
static int64_t solve_label(const slide_linear_data *d, const slide_linear_options *o, int64_t l, slide_linear_scratch *s,
                           slide_linear_solution *out, int64_t *indptr, float *bias)
{
    int thread = omp_get_thread_num();
    int64_t passes = slide_linear_solve(d, o, l, s, &bias[l]);
    out->at[l] = out->shelves[thread].n;
    out->shelf_of[l] = thread;
    indptr[l + 1] = s->n_kept;
    return passes >= 0 && put(&out->shelves[thread], s) ? passes : -1;
}

static int solve_all(const slide_linear_data *d, const slide_linear_options *o, const int32_t *order,
                     slide_linear_solution *out, int64_t *indptr, float *bias, int64_t *n_passes)
{
    int failed = 0;
    int64_t total = 0;
#pragma omp parallel num_threads(o->n_threads) reduction(| : failed) reduction(+ : total)
    {
        slide_linear_scratch s;
        failed = slide_linear_scratch_new(&s, d->n_features) != SLIDE_OK;
#pragma omp for schedule(dynamic, 16)
        for (int64_t k = 0; k < d->n_labels; k++) {
            if (failed) continue;
            int64_t passes = solve_label(d, o, order[k], &s, out, indptr, bias);
            failed = passes < 0;
            total += failed ? 0 : passes;
        }
        slide_linear_scratch_free(&s);
    }
    *n_passes = total;
    return !failed;
}

static slide_linear_solution *new_solution(int64_t n_labels, int n_threads)
{
    slide_linear_solution *out = calloc(1, sizeof *out);
    if (!out) return NULL;
    out->n_threads = n_threads, out->n_labels = n_labels;
    out->shelves = calloc((size_t)n_threads, sizeof *out->shelves);
    out->at = calloc((size_t)n_labels + 1, sizeof *out->at);
    out->shelf_of = calloc((size_t)n_labels + 1, sizeof *out->shelf_of);
    if (out->shelves && out->at && out->shelf_of) return out;
    slide_linear_free(out);
    return NULL;
}

slide_linear_solution *slide_linear_train(const slide_linear_data *data, const slide_linear_options *options,
                                          int64_t *indptr, float *bias, int64_t *n_passes)
{
    slide_linear_solution *out = new_solution(data->n_labels, options->n_threads);
    int32_t *order = malloc((size_t)(data->n_labels + 1) * sizeof *order);
    if (out && order) largest_first(data, order);
    indptr[0] = 0;
    if (!out || !order || !solve_all(data, options, order, out, indptr, bias, n_passes)) {
        slide_linear_free(out);
        out = NULL;
    }
    free(order);
    for (int64_t l = 0; out && l < data->n_labels; l++) indptr[l + 1] += indptr[l];
    return out;
}

void slide_linear_take(const slide_linear_solution *solution, const int64_t *indptr, int32_t *features, float *weights)
{
#pragma omp parallel for num_threads(solution->n_threads) schedule(static)
    for (int64_t l = 0; l < solution->n_labels; l++) {
        const shelf *shelf = &solution->shelves[solution->shelf_of[l]];
        size_t n = (size_t)(indptr[l + 1] - indptr[l]);
        if (!n) continue;
        memcpy(features + indptr[l], shelf->features + solution->at[l], n * sizeof *features);
        memcpy(weights + indptr[l], shelf->weights + solution->at[l], n * sizeof *weights);
    }
}

void slide_linear_free(slide_linear_solution *solution)
{
    if (!solution) return;
    for (int t = 0; solution->shelves && t < solution->n_threads; t++) {
        free(solution->shelves[t].features);
        free(solution->shelves[t].weights);
    }
    free(solution->shelves);
    free(solution->at);
    free(solution->shelf_of);
    free(solution);
}
