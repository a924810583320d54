/* network.c: makes and frees a network's descriptions and its threads' scratch. Nothing here runs while training does. */
#include "network.h"

#include <stdlib.h>
#include <string.h>

#include "active.h"
#include "batch.h"
#include "hash.h"
#include "optimizer.h"
#include "wide.h"

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void slide_vector_free(slide_vector *v)
{
    free(v->ids);
    slide_free(v->val, v->capacity * (int64_t)sizeof(float));
    slide_free(v->grad, v->capacity * (int64_t)sizeof(float));
    memset(v, 0, sizeof *v);
}

slide_status slide_vector_new(slide_vector *v, int64_t capacity, int sparse, int64_t n)
{
    capacity = slide_pad(capacity);
    v->n = n;
    v->capacity = capacity;
    v->val = slide_alloc(capacity * (int64_t)sizeof(float));
    v->grad = slide_alloc(capacity * (int64_t)sizeof(float));
    v->ids = sparse ? malloc((size_t)capacity * sizeof(int32_t)) : NULL;
    return v->val && v->grad && (v->ids || !sparse) ? SLIDE_OK : SLIDE_NO_MEMORY;
}

void slide_scratch_free(const slide_network *net, slide_scratch *s)
{
    free(s->counter.direct);
    free(s->counter.entries);
    free(s->counter.candidates);
    free(s->histogram);
    free(s->winners);
    free(s->codes);
    free(s->projection);
    free(s->query);
    free(s->corrections);
    slide_free(s->wide.score, net->wide.n_labels * (int64_t)sizeof(float));
    free(s->wide.touched);
    free(s->wide.ids);
    free(s->wide.gradient);
    slide_batch_free(net, s);
    free(s->features);
    free(s->feature_values);
    for (int i = 0; s->outputs && i < net->n_layers; i++) slide_vector_free(&s->outputs[i]);
    free(s->outputs);
    memset(s, 0, sizeof *s);
}

static void *aligned_floats(int64_t n)
{
    return aligned_alloc(64, (size_t)slide_pad(max64(n, 1)) * sizeof(float));
}

/* What hashing and counting need, the largest over the sampled layers. */
static slide_status new_tools(const slide_network *net, slide_scratch *s)
{
    int64_t direct = 1, hashed = 1, candidates = 1, tables = 1, buckets = 1, projection = 1, query = 1, active = 1;
    for (int i = 1; i < net->n_layers; i++) {
        const slide_layer *layer = &net->layers[i];
        if (layer->kind != SLIDE_SAMPLED) continue;
        if (layer->n <= SLIDE_DIRECT_LIMIT)
            direct = max64(direct, layer->n);
        else
            hashed = max64(hashed, slide_counter_size(layer, s->max_labels));
        candidates = max64(candidates, slide_most_candidates(layer));
        tables = max64(tables, layer->lsh.L);
        buckets = max64(buckets, (int64_t)layer->lsh.L * layer->lsh.probes);
        projection = max64(projection, slide_hash_scratch(&layer->lsh));
        query = max64(query, SLIDE_PROJECT_ROWS * slide_pad(max64(layer->lsh.dim, layer->fan_in + 1)));
        active = max64(active, layer->n_active + layer->n_random + s->max_labels);
    }
    s->counter = (slide_counter){.direct = calloc((size_t)direct, sizeof(uint16_t)),
                                 .n_direct = direct,
                                 .entries = calloc((size_t)hashed, sizeof(uint64_t)),
                                 .mask = (uint64_t)hashed - 1,
                                 .candidates = malloc((size_t)(candidates + 1) * sizeof(uint32_t))};
    s->histogram = malloc((size_t)(SLIDE_HISTOGRAMS * (tables + 1)) * sizeof(int32_t));
    s->winners = malloc((size_t)(candidates + 1) * sizeof(uint32_t));
    s->codes = malloc((size_t)buckets * sizeof(uint32_t));
    s->projection = aligned_floats(projection);
    s->query = aligned_floats(query);
    s->corrections = aligned_floats(active);
    int ok = s->counter.direct && s->counter.entries && s->counter.candidates && s->histogram && s->winners && s->codes &&
             s->projection && s->query && s->corrections;
    return ok ? SLIDE_OK : SLIDE_NO_MEMORY;
}

static slide_status new_outputs(const slide_network *net, slide_scratch *s, int dense)
{
    s->outputs = calloc((size_t)max64(net->n_layers, 1), sizeof *s->outputs);
    if (!s->outputs) return SLIDE_NO_MEMORY;
    for (int i = 0; i < net->n_layers - dense; i++) {
        const slide_layer *layer = &net->layers[i];
        int sampled = layer->kind == SLIDE_SAMPLED && !dense;
        int64_t capacity = sampled ? layer->n_active + layer->n_random + s->max_labels : layer->n;
        slide_status status = slide_vector_new(&s->outputs[i], capacity, sampled, sampled ? 0 : layer->n);
        if (status) return status;
    }
    return SLIDE_OK;
}

static slide_status new_wide(const slide_network *net, slide_scratch *s)
{
    size_t n = (size_t)net->wide.n_labels, active = n + (size_t)s->max_labels + 1;
    s->wide = (slide_wide_scratch){.score = slide_alloc((int64_t)(n * sizeof(float))),
                                   .touched = calloc(n / SLIDE_WIDE_BLOCK + 1, 1),
                                   .ids = malloc(active * sizeof(int32_t)),
                                   .gradient = malloc(active * sizeof(float))};
    return s->wide.score && s->wide.touched && s->wide.ids && s->wide.gradient ? SLIDE_OK : SLIDE_NO_MEMORY;
}

slide_status slide_scratch_new(const slide_network *net, slide_scratch *s, int64_t max_features, int64_t max_labels,
                               int dense, int wide)
{
    s->max_features = max_features;
    s->max_labels = max_labels;
    s->features = malloc((size_t)max64(max_features, 1) * sizeof(int32_t));
    s->feature_values = malloc((size_t)max64(max_features, 1) * sizeof(float));
    if (!s->features || !s->feature_values) return SLIDE_NO_MEMORY;
    slide_status status = new_tools(net, s);
    if (!status && wide) status = new_wide(net, s);
    return status ? status : new_outputs(net, s, dense);
}

static slide_status reserve(slide_network *net, int64_t max_features, int64_t max_labels)
{
    slide_scratch *first = &net->scratch[0];
    if (first->outputs && max_features <= first->max_features && max_labels <= first->max_labels) return SLIDE_OK;
    max_features = max64(max_features, first->max_features);
    max_labels = max64(max_labels, first->max_labels);
    for (int t = 0; t < net->n_threads; t++) {
        slide_scratch_free(net, &net->scratch[t]);
        slide_status status = slide_scratch_new(net, &net->scratch[t], max_features, max_labels, 0, net->has_wide);
        if (!status && net->trains_batches) status = slide_batch_new(net, &net->scratch[t]);
        if (status) { /* thread 0 stands for all: an unfinished set must not look ready */
            slide_scratch_free(net, &net->scratch[0]);
            return status;
        }
    }
    return SLIDE_OK;
}

void slide_largest(const slide_examples *ex, int64_t *max_features, int64_t *max_labels)
{
    *max_features = *max_labels = 0;
    for (int64_t i = 0; i < ex->n; i++) {
        int64_t row = ex->order ? ex->order[i] : i;
        *max_features = max64(*max_features, ex->x_indptr[row + 1] - ex->x_indptr[row]);
        if (ex->y_indptr) *max_labels = max64(*max_labels, ex->y_indptr[row + 1] - ex->y_indptr[row]);
    }
}

slide_status slide_reserve_for(slide_network *net, const slide_examples *ex, int batches)
{
    if (batches && !net->trains_batches) {
        net->trains_batches = 1;
        for (int t = 0; t < net->n_threads; t++) slide_scratch_free(net, &net->scratch[t]);
    }
    int64_t features, labels;
    slide_largest(ex, &features, &labels);
    return reserve(net, features, labels);
}

slide_network *slide_network_new(const slide_layer *layers, int n_layers, const slide_wide *wide,
                                 const slide_optimizer *optimizer, int loss, uint64_t seed, int n_threads,
                                 const char *isa)
{
    const slide_kernels *kernels = slide_kernels_get(isa);
    slide_network *net = kernels ? calloc(1, sizeof *net) : NULL;
    if (!net) return NULL;
    net->kernels = kernels;
    net->n_layers = n_layers;
    if (wide) net->wide = *wide;
    net->has_wide = wide != NULL;
    net->optimizer = *optimizer;
    net->n_states = slide_optimizer_states(optimizer->kind);
    net->loss = loss;
    net->seed = seed;
    net->n_threads = n_threads;
    net->layers = malloc((size_t)max64(n_layers, 1) * sizeof *net->layers);
    net->scratch = aligned_alloc(128, (size_t)n_threads * sizeof *net->scratch);
    if (net->scratch) memset(net->scratch, 0, (size_t)n_threads * sizeof *net->scratch);
    if (net->layers) memcpy(net->layers, layers, (size_t)n_layers * sizeof *net->layers);
    if (!net->layers || !net->scratch || reserve(net, 1, 1)) {
        slide_network_free(net);
        return NULL;
    }
    return net;
}

void slide_network_free(slide_network *net)
{
    if (!net) return;
    for (int t = 0; net->scratch && t < net->n_threads; t++) slide_scratch_free(net, &net->scratch[t]);
    free(net->scratch);
    free(net->layers);
    free(net);
}

void slide_network_rank(slide_network *net, const slide_rank *rank)
{
    net->rank = rank ? *rank : (slide_rank){.n = 0};
}

const char *slide_network_isa(const slide_network *net)
{
    return net->kernels->name;
}

void slide_network_time(slide_network *net, int on)
{
    net->is_timed = on;
}
