/* rebuild.h: empties and refills the tables of a sampled layer. */
#ifndef SLIDE_LSH_REBUILD_H
#define SLIDE_LSH_REBUILD_H

#include "kernels/kernels.h"

/* As slide_rebuild in slide.h, which calls it. seed: the network's. */
slide_status slide_tables_rebuild(const slide_kernels *kernels, const slide_layer *layer, uint64_t seed,
                                  uint64_t generation, int refresh, int n_threads);

#endif
