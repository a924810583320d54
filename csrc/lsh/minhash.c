/* minhash.c: densified one-permutation MinHash (Shrivastava & Li, ICML 2014; Shrivastava, ICML 2017), b bits a hash (Li &
 * Koenig, WWW 2010). The set of a vector: its coordinates of largest magnitude, at most `window` of them and none that
 * is 0, ties to the lower coordinate; each with its sign, so that 2 dim elements exist. */
#include <string.h>

#include "lsh/densify.h"
#include "lsh/families.h"

/* Ascends with the magnitude, then with the nearness to coordinate 0. The sign takes the lowest bit. */
static uint64_t strength(float x, int32_t coordinate)
{
    union {
        float f;
        uint32_t i;
    } digits = {.f = x};
    return (uint64_t)(digits.i & 0x7FFFFFFFu) << 32 | (uint32_t)(0x7FFFFFFF - coordinate) << 1 | digits.i >> 31;
}

static int32_t element_of(uint64_t strength)
{
    int32_t coordinate = 0x7FFFFFFF - (int32_t)((uint32_t)strength >> 1);
    return 2 * coordinate + (int32_t)(strength & 1);
}

/* Lets key sink from the root of a heap whose root is the weakest. */
static void sink(uint64_t *heap, int n, uint64_t key)
{
    int at = 0;
    for (int child = 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= key) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = key;
}

/* Offers coordinates to the heap of the strongest. It starts full of zeros, which are no coordinate. */
static void offer(const slide_lsh *lsh, const int32_t *ids, const float *x, int64_t n, uint64_t *heap)
{
    for (int64_t i = 0; i < n; i++) {
        uint64_t key = strength(x[i], ids ? ids[i] : (int32_t)i);
        if (x[i] != 0 && key > heap[0]) sink(heap, lsh->window, key);
    }
}

int64_t slide_minhash_scratch(const slide_lsh *lsh)
{
    return slide_projection_size(lsh) + 2 * (int64_t)lsh->window; /* ranks, and a heap of 64-bit keys */
}

void slide_minhash(const slide_lsh *lsh, const int32_t *ids, const float *x, int64_t n, int with_one, float *scratch,
                   uint32_t *codes)
{
    int bins = lsh->K * lsh->L, whole = (bins + lsh->permutations - 1) / lsh->permutations;
    int32_t *least = (int32_t *)scratch, last = lsh->dim - 1;
    uint64_t *heap = (uint64_t *)(scratch + slide_projection_size(lsh));
    float one = 1;
    memset(heap, 0, (size_t)lsh->window * sizeof *heap);
    offer(lsh, ids, x, n, heap);
    if (with_one) offer(lsh, &last, &one, 1, heap);
    for (int b = 0; b < bins; b++) least[b] = SLIDE_EMPTY;
    for (int i = 0; i < lsh->window; i++) {
        if (!heap[i]) continue;
        const int32_t *ranks = lsh->positions + (int64_t)element_of(heap[i]) * lsh->permutations;
        for (int p = 0; p < lsh->permutations; p++) {
            int64_t bin = (int64_t)p * whole + (((int64_t)ranks[p] * whole) >> 31);
            if (bin < bins && (least[bin] == SLIDE_EMPTY || ranks[p] < least[bin])) least[bin] = ranks[p];
        }
    }
    slide_densified_codes(lsh, least, lsh->code_bits / lsh->K, codes);
}
