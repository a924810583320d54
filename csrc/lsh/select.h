/* select.h: the best of many scored neurons: score and id packed into one number, selection and sorting of such numbers. */
#ifndef SLIDE_LSH_SELECT_H
#define SLIDE_LSH_SELECT_H

#include <stdint.h>

/* Score and id in one number: a smaller one is better, and of equal scores the lower id. */
static inline uint64_t slide_pack(float score, int32_t id)
{
    union {
        float f;
        uint32_t u;
    } bits = {score};
    uint32_t ascending = bits.u & 0x80000000u ? ~bits.u : bits.u | 0x80000000u;
    return (uint64_t)~ascending << 32 | (uint32_t)id;
}

static inline float slide_packed_score(uint64_t item)
{
    uint32_t ascending = ~(uint32_t)(item >> 32);
    union {
        uint32_t u;
        float f;
    } bits = {ascending & 0x80000000u ? ascending & 0x7FFFFFFFu : ~ascending};
    return bits.f;
}

/* Splits a[lo..hi] into what is at most and what is at least the pivot: a[lo..j] and a[i..hi] (Hoare, CACM 1961). */
static inline void slide_split(uint64_t *a, int64_t lo, int64_t hi, int64_t *j_out, int64_t *i_out)
{
    uint64_t x = a[lo], y = a[lo + (hi - lo) / 2], z = a[hi];
    uint64_t pivot = x < y ? (y < z ? y : x < z ? z : x) : (x < z ? x : y < z ? z : y);
    int64_t i = lo, j = hi;
    while (i <= j) {
        while (a[i] < pivot) i++;
        while (a[j] > pivot) j--;
        if (i > j) break;
        uint64_t t = a[i];
        a[i++] = a[j];
        a[j--] = t;
    }
    *i_out = i;
    *j_out = j;
}

/* Moves the best `wanted` of n items to the front. */
static inline void slide_select_best(uint64_t *a, int64_t n, int64_t wanted)
{
    int64_t lo = 0, hi = n - 1, i, j;
    while (lo < hi) {
        slide_split(a, lo, hi, &j, &i);
        if (wanted - 1 <= j)
            hi = j;
        else if (wanted - 1 >= i)
            lo = i;
        else
            return;
    }
}

/* Ascending: a few at a time by insertion, else the shorter part first, so that the stack stays shallow. */
static inline void slide_sort_packed(uint64_t *a, int64_t n)
{
    while (n > 16) {
        int64_t i, j;
        slide_split(a, 0, n - 1, &j, &i);
        if (j + 1 < n - i) {
            slide_sort_packed(a, j + 1);
            a += i;
            n -= i;
        } else {
            slide_sort_packed(a + i, n - i);
            n = j + 1;
        }
    }
    for (int64_t i = 1; i < n; i++) {
        uint64_t item = a[i];
        int64_t j = i;
        for (; j > 0 && a[j - 1] > item; j--) a[j] = a[j - 1];
        a[j] = item;
    }
}

#endif
