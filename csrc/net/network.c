/* network.c: makes and frees a network, and refills its tables. Nothing here runs while training does. */
#include "net/network.h"

#include <stdlib.h>
#include <string.h>

#include "lsh/filling.h"
#include "lsh/rebuild.h"
#include "net/approximation.h"
#include "net/infer.h"
#include "net/optimizer.h"
#include "net/scratch.h"
#include "net/shortlist.h"

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
    net->layers = malloc(((size_t)n_layers + 1) * sizeof *net->layers);
    net->scratch = aligned_alloc(128, (size_t)n_threads * sizeof *net->scratch);
    if (net->scratch) memset(net->scratch, 0, (size_t)n_threads * sizeof *net->scratch);
    if (net->layers) memcpy(net->layers, layers, (size_t)n_layers * sizeof *net->layers);
    if (!net->layers || !net->scratch || slide_reserve(net, 1, 1)) {
        slide_network_free(net);
        return NULL;
    }
    return net;
}

static void free_predictors(slide_network *net)
{
    for (int i = 0; i < SLIDE_SPARES; i++) {
        slide_predictor_free(net, net->spare_predictors[i]);
        net->spare_predictors[i] = NULL;
    }
}

void slide_network_free(slide_network *net)
{
    if (!net) return;
    free_predictors(net);
    for (int t = 0; net->scratch && t < net->n_threads; t++) slide_scratch_free(net, &net->scratch[t]);
    slide_shortlister_free(net->spare);
    slide_approximation_free(net->approximation);
    free(net->scratch);
    free(net->layers);
    free(net);
}

void slide_network_rank(slide_network *net, const slide_rank *rank)
{
    free_predictors(net); /* which have room for what ranked before */
    net->rank = rank ? *rank : (slide_rank){.n = 0};
}

void slide_network_handed_out(slide_network *net)
{
    net->may_be_written = 1;
}

const char *slide_network_isa(const slide_network *net)
{
    return net->kernels->name;
}

slide_status slide_rebuild(slide_network *net, int layer, uint64_t generation, int refresh)
{
    return slide_tables_rebuild(net->kernels, &net->layers[layer], net->seed, generation, refresh, net->n_threads);
}

slide_filling *slide_rebuild_begin(slide_network *net, int layer, int refresh, int64_t first_block, int64_t n_blocks)
{
    return slide_cells_filling_new(&net->layers[layer], refresh, first_block, n_blocks);
}

void slide_rebuild_offer(slide_network *net, int layer, slide_filling *f, float *rows, int64_t first, int64_t n)
{
    slide_cells_filling_offer(f, net->kernels, &net->layers[layer], rows, first, n, net->n_threads);
}

void slide_rebuild_end(slide_network *net, int layer, slide_filling *f)
{
    slide_cells_filling_end(f, &net->layers[layer]);
}

void slide_network_time(slide_network *net, int on)
{
    net->is_timed = on;
}
