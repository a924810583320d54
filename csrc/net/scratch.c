/* scratch.c: room for what one thread works on, sized by the longest sample. Nothing here runs while training does. */
#include "net/scratch.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "net/batch.h"

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void slide_scratch_free(const slide_network *net, slide_scratch *s)
{
    slide_active_scratch_free(&s->lsh);
    slide_wide_scratch_free(&s->wide, net->wide.n_labels);
    slide_batch_free(net, s);
    free(s->features);
    free(s->feature_values);
    for (int i = 0; s->outputs && i < net->n_layers; i++) slide_activations_free(&s->outputs[i]);
    free(s->outputs);
    memset(s, 0, sizeof *s);
}

static slide_status new_outputs(const slide_network *net, slide_scratch *s, int dense)
{
    s->outputs = calloc((size_t)max64(net->n_layers, 1), sizeof *s->outputs);
    if (!s->outputs) return SLIDE_NO_MEMORY;
    for (int i = 0; i < net->n_layers - dense; i++) {
        const slide_layer *layer = &net->layers[i];
        int sampled = layer->kind == SLIDE_SAMPLED && !dense;
        int64_t capacity = sampled ? layer->n_active + layer->n_random + s->max_labels : layer->n;
        slide_status status = slide_activations_new(&s->outputs[i], capacity, sampled, sampled ? 0 : layer->n);
        if (status) return status;
    }
    return SLIDE_OK;
}

slide_status slide_scratch_new(const slide_network *net, slide_scratch *s, int64_t max_features, int64_t max_labels,
                               int dense, int wide)
{
    s->max_features = max_features;
    s->max_labels = max_labels;
    s->features = malloc((size_t)max64(max_features, 1) * sizeof(int32_t));
    s->feature_values = malloc((size_t)max64(max_features, 1) * sizeof(float));
    if (!s->features || !s->feature_values) return SLIDE_NO_MEMORY;
    slide_status status = slide_active_scratch_new(&s->lsh, net->layers, net->n_layers, max_labels);
    if (!status && wide) status = slide_wide_scratch_new(&s->wide, net->wide.n_labels, max_labels);
    return status ? status : new_outputs(net, s, dense);
}

slide_status slide_reserve(slide_network *net, int64_t max_features, int64_t max_labels)
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
    return slide_reserve(net, features, labels);
}
