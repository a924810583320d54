/* memory.h: the only allocator of parameters, tables and scratch vectors. */
#ifndef SLIDE_CORE_MEMORY_H
#define SLIDE_CORE_MEMORY_H

#include <stddef.h>

#include "core/types.h"

/* n floats in whole lanes. */
static inline int64_t slide_pad(int64_t n)
{
    return (n + SLIDE_LANES - 1) / SLIDE_LANES * SLIDE_LANES;
}

/* Zeroed, 2 MiB-aligned with huge pages advised when large, 64-byte aligned else. NULL when out of memory. */
void *slide_alloc(int64_t bytes);
void slide_free(void *p, int64_t bytes);

/* n floats (none may be asked for), padded to whole lanes and 64-byte aligned, not zeroed. Given back by free(). */
float *slide_floats(int64_t n);

/* Puts a block of n items of that size in place of the one at *p, and what that held is lost. Given back by free(). Returns 0,
 * and *p is NULL, when out of memory. */
int slide_grow(void *p, int64_t n, size_t size);

#endif
