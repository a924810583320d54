/* filling.h: fills the lists of query cells from rows that come in parts, where they are not all in memory: the same lists as
 * slide_cells_fill (query_cells.h), which goes through all rows once for each block of cells. */
#ifndef SLIDE_LSH_FILLING_H
#define SLIDE_LSH_FILLING_H

#include "kernels/kernels.h"

typedef struct slide_filling slide_filling;

/* For blocks first_block .. first_block + n_blocks of 64 cells. refresh: only from neurons that can have risen since the
 * lists were filled, as slide_cells_fill. NULL when out of memory. */
slide_filling *slide_cells_filling_new(const slide_layer *layer, int refresh, int64_t first_block, int64_t n_blocks);

/* Offers the neurons first .. first + n, whose rows lie one behind the other at `rows`; each neuron once, in any order. */
void slide_cells_filling_offer(slide_filling *f, const slide_kernels *kernels, const slide_layer *layer, float *rows,
                               int64_t first, int64_t n, int n_threads);

/* Writes the buckets, and frees the filling. */
void slide_cells_filling_end(slide_filling *f, const slide_layer *layer);

#endif
