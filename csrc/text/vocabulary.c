/* vocabulary.c: from a feature's hash to its column. Hashes are spread evenly and lie in order, so the first bits say where
 * to look: a table of their places is all that the map adds to them, and nothing in it changes once it was made. */
#include "core/omp.h"
#include "text/vocabulary.h"

#define FEW 8 /* codes that are gone through one by one */

void slide_text_index(const uint64_t *codes, int64_t n, int32_t bits, int32_t *starts)
{
    int64_t i = 0, n_starts = (int64_t)1 << bits;
    for (int64_t first = 0; first < n_starts; first++) {
        while (i < n && (int64_t)(codes[i] >> (64 - bits)) < first) i++;
        starts[first] = (int32_t)i;
    }
    starts[n_starts] = (int32_t)n;
}

int64_t slide_text_column(const slide_text_options *o, uint64_t code)
{
    const int32_t *start = o->starts + (code >> (64 - o->bits));
    int64_t low = start[0], high = start[1];
    while (high - low > FEW) { /* of a file that somebody made up */
        int64_t middle = low + (high - low) / 2;
        if (o->codes[middle] <= code)
            low = middle;
        else
            high = middle;
    }
    while (low < high && o->codes[low] < code) low++;
    return low < high && o->codes[low] == code ? low : -1;
}

void slide_text_columns(const slide_text_options *o, const uint64_t *codes, int64_t n, int n_threads, int32_t *columns)
{
#pragma omp parallel for num_threads(n_threads) if (n > 10000)
    for (int64_t i = 0; i < n; i++) columns[i] = (int32_t)slide_text_column(o, codes[i]);
}
