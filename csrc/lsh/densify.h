/* densify.h: what an empty bin of a one-pass hash (DWTA, MinHash) takes instead of a winner. */
#ifndef SLIDE_LSH_DENSIFY_H
#define SLIDE_LSH_DENSIFY_H

#include "core/rng.h"
#include "core/types.h"

#define SLIDE_EMPTY (-1)
#define SLIDE_DENSIFY_TRIES 64 /* with half of the bins empty all fail once in 2^64 */

/* The winner of another bin (optimal densification: Shrivastava, ICML 2017). The bins that are asked follow from the
 * number of the empty one alone, so that vectors agree; after many tries the next bins in order, so that one of them
 * answers. At least one bin must not be empty. */
static inline int32_t slide_borrow(const int32_t *winners, int bins, int bin)
{
    int other = bin;
    for (int attempt = 1; attempt <= SLIDE_DENSIFY_TRIES; attempt++) {
        uint64_t h = slide_mix64((uint64_t)bin * SLIDE_DENSIFY_TRIES + (uint64_t)attempt);
        other = (int)((h >> 32) % (uint64_t)bins);
        if (winners[other] != SLIDE_EMPTY) return winners[other];
    }
    while (winners[other] == SLIDE_EMPTY) other = other + 1 < bins ? other + 1 : 0;
    return winners[other];
}

/* Codes from winners of which each gives its low `bits`; all 0 where every bin is empty. */
static inline void slide_densified_codes(const slide_lsh *lsh, const int32_t *winners, int bits, uint32_t *codes)
{
    int bins = lsh->K * lsh->L, any = 0;
    for (int b = 0; b < bins; b++) any |= winners[b] != SLIDE_EMPTY;
    for (int t = 0, bin = 0; t < lsh->L; t++) {
        uint32_t code = 0;
        for (int k = 0; k < lsh->K && any; k++, bin++) {
            int32_t winner = winners[bin] == SLIDE_EMPTY ? slide_borrow(winners, bins, bin) : winners[bin];
            code = code << bits | ((uint32_t)winner & ((1u << bits) - 1));
        }
        codes[t] = code;
    }
}

#endif
