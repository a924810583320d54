/* text.c: fuzz target: features of texts (csrc/text/). The first bytes are options, the rest is texts with zeros between them.
 *
 * Texts are exactly as long as the reader is told, so that the address sanitizer sees one byte too many. Keys must ascend, and
 * what a reader remembers of words, or which texts a thread takes together, must not change what is found. */
#include <string.h>

#include "engine.h"
#include "text/text.h"

const char *const fuzz_name = "text";
const char *const fuzz_words[] = {" ", "\x1f", "\x1e", "_", "a", "the", "The", "\xc3\xa9", "\xe4\xb8\xad", "\xf0\x9f\x98\x80", "0",
                                  "abcdefghijklmnopqrstuvwx", "abcdefghijklmnopqrstuvwxy", "--"};
const int fuzz_n_words = sizeof fuzz_words / sizeof *fuzz_words;

#define MOST_TEXTS 40
#define BITS 4

static int cut(const uint8_t *data, size_t size, int is_cut, slide_text *texts)
{
    int n = 0;
    for (size_t i = 0; i <= size && n < MOST_TEXTS; i++) {
        const uint8_t *end = i < size ? memchr(data + i, 0, size - i) : NULL;
        size_t length = end ? (size_t)(end - data) - i : size - i;
        char *bytes = malloc(length ? length : 1);
        memcpy(bytes, data + i, length);
        texts[n++] = (slide_text){bytes, (int64_t)length, is_cut};
        i += length;
    }
    return n;
}

static void check_ascending(const slide_text_run *run, const int64_t *lengths, int n)
{
    int64_t at = 0;
    for (int i = 0; i < n; at += lengths[i++])
        for (int64_t j = 0; j < lengths[i]; j++) HOLDS(run->counts[at + j] >= 1 && (!j || run->keys[at + j] > run->keys[at + j - 1]));
    HOLDS(at == run->n);
}

/* The same texts one by one, by readers with and without memory of words. */
static void check_one_by_one(const slide_text_options *o, const slide_text *texts, int n, const slide_text_run *whole)
{
    for (int caches = 0; caches < 2; caches++) {
        slide_text_reader *r = slide_text_reader_new(o, caches);
        slide_text_run run = {0};
        for (int i = 0; i < n; i++) HOLDS(slide_text_count_one(r, &texts[i], &run) == SLIDE_OK);
        HOLDS(run.n == whole->n);
        HOLDS(!run.n || !memcmp(run.keys, whole->keys, (size_t)run.n * sizeof(uint64_t)));
        HOLDS(!run.n || !memcmp(run.counts, whole->counts, (size_t)run.n * sizeof(float)));
        slide_text_free(&run, 1);
        slide_text_reader_free(r);
    }
}

static void name_all(const slide_text_options *o, const slide_text *texts, int n)
{
    slide_text_names names = {.at = malloc((size_t)o->n_codes * sizeof(int64_t))};
    names.lengths = malloc((size_t)o->n_codes * sizeof(int64_t));
    for (int64_t i = 0; i < o->n_codes; i++) names.at[i] = -1;
    HOLDS(slide_text_name(o, texts, n, &names) == SLIDE_OK);
    for (int64_t i = 0; i < o->n_codes; i++) HOLDS(names.at[i] < 0 || names.at[i] + names.lengths[i] <= names.n);
    free(names.bytes);
    free(names.at);
    free(names.lengths);
}

static void read_all(const slide_text_options *o, const slide_text *texts, int n)
{
    int64_t lengths[MOST_TEXTS];
    slide_text_run run = {0};
    HOLDS(slide_text_count(o, texts, n, MOST_TEXTS, 1, &run, lengths) == SLIDE_OK);
    check_ascending(&run, lengths, n);
    check_one_by_one(o, texts, n, &run);
    if (!o->codes && !o->n_buckets && n && lengths[0]) { /* the first text's features as a vocabulary */
        int32_t starts[(1 << BITS) + 1];
        slide_text_options known = *o;
        known.codes = run.keys;
        known.n_codes = lengths[0];
        known.bits = BITS;
        known.starts = starts;
        slide_text_index(known.codes, known.n_codes, BITS, starts);
        read_all(&known, texts, n);
        name_all(&known, texts, n);
    }
    slide_text_free(&run, 1);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    slide_text texts[MOST_TEXTS];
    uint64_t stop[1] = {0};
    if (size < 2) return;
    slide_text_options o = {.words = data[0] % 3, .lowercase = data[0] / 3 % 2, .n_buckets = data[0] / 6 % 3 == 1 ? 7 : 0};
    if (data[1] % 4) {
        o.shortest = 1 + data[1] / 4 % 3;
        o.longest = o.shortest + data[1] / 12 % 4;
    }
    int n = cut(data + 2, size - 2, data[0] / 18 % 2, texts);
    slide_text_run first = {0};
    int64_t length;
    HOLDS(slide_text_count(&o, texts, 1, 1, 1, &first, &length) == SLIDE_OK);
    if (!o.n_buckets && length && data[0] / 36 % 2) {
        stop[0] = first.keys[0];
        o.stop = stop;
        o.n_stop = 1;
    }
    read_all(&o, texts, n);
    slide_text_free(&first, 1);
    for (int i = 0; i < n; i++) free((char *)(uintptr_t)texts[i].bytes);
}
