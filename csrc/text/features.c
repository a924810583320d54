/* features.c: one text's words, pairs of neighbours and n-grams of words, each under its key with how often it occurs. Its twin
 * is slide/text/counting.py. */
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "text/features.h"
#include "text/blake2b.h"
#include "text/vocabulary.h"

#define AHEAD 8
#define MOST_NGRAMS INT32_MAX /* of a word: 32 GiB of them */

slide_text_reader *slide_text_reader_new(const slide_text_options *options, int caches)
{
    slide_text_reader *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->options = r->words.options = options;
    if (caches) r->cache = aligned_alloc(64, SLIDE_CACHED_WORDS * sizeof(slide_text_word));
    if (r->cache) memset(r->cache, 0, SLIDE_CACHED_WORDS * sizeof(slide_text_word)); /* without it, it only takes longer */
    return r;
}

void slide_text_reader_free(slide_text_reader *r)
{
    if (!r) return;
    for (int64_t i = 0; r->cache && i < SLIDE_CACHED_WORDS; i++) free(r->cache[i].ngrams);
    free(r->cache);
    free(r->uncached.ngrams);
    slide_text_words_free(&r->words);
    slide_text_entries_free(&r->found);
    slide_text_entries_free(&r->pairs);
    slide_text_entries_free(&r->ngrams);
    free(r);
}

/* Hashes become the keys under which they are counted, and those that are not are left out. Where a hash is in a vocabulary is
 * fetched ahead: each look-up misses the cache twice, and nothing else here does. */
static void find_keys(const slide_text_options *o, slide_text_entries *list)
{
    int64_t n = 0;
    for (int64_t i = 0; i < list->n; i++) {
        if (i + 2 * AHEAD < list->n) slide_text_prefetch_start(o, list->e[i + 2 * AHEAD].key);
        if (i + AHEAD < list->n) slide_text_prefetch_codes(o, list->e[i + AHEAD].key);
        list->e[n].count = list->e[i].count;
        n += slide_text_key(o, list->e[i].key, &list->e[n].key);
    }
    list->n = n;
}

/* Counts all n-grams of a word, once for each time that they are in it. */
static int find_ngrams(slide_text_reader *r, slide_text_piece word, slide_text_word *w)
{
    const slide_text_options *o = r->options;
    int64_t n = slide_text_pad(&r->words, word);
    r->ngrams.n = 0;
    for (int64_t length = o->shortest; length <= o->longest && length <= n; length++)
        for (int64_t i = 0; i + length <= n; i++) {
            slide_text_piece p = slide_text_ngram(&r->words, i, length);
            if (!slide_text_add(&r->ngrams, slide_text_hash(SLIDE_NGRAM_MARK, p.bytes, p.n), 1)) return 0;
        }
    find_keys(o, &r->ngrams);
    slide_text_settle(&r->ngrams);
    if (r->ngrams.n > MOST_NGRAMS) return 0;
    if (r->ngrams.n > (int64_t)w->room) {
        w->room = 0;
        if (!slide_grow(&w->ngrams, r->ngrams.n, sizeof(slide_text_entry))) return 0;
        w->room = (uint32_t)r->ngrams.n;
    }
    if (r->ngrams.n) memcpy(w->ngrams, r->ngrams.e, (size_t)r->ngrams.n * sizeof(slide_text_entry));
    w->n_ngrams = (uint32_t)r->ngrams.n;
    return 1;
}

static int describe(slide_text_reader *r, slide_text_piece word, slide_text_word *w)
{
    const slide_text_options *o = r->options;
    w->n_ngrams = 0;
    w->code = slide_text_hash(0, word.bytes, word.n);
    w->is_stop = slide_text_is_stop_word(o, w->code);
    w->has_key = o->words && !w->is_stop && slide_text_key(o, w->code, &w->key);
    return !o->longest || w->is_stop || slide_text_is_separator(word) || find_ngrams(r, word, w);
}

/* What is to be counted of a word; NULL when out of memory. It stays until the next word is asked for. */
static const slide_text_word *look_up(slide_text_reader *r, slide_text_piece word)
{
    uint64_t letters[SLIDE_CACHED_BYTES / 8];
    if (!r->cache || word.n > SLIDE_CACHED_BYTES) return describe(r, word, &r->uncached) ? &r->uncached : NULL;
    slide_text_word *w = slide_text_place_of(r->cache, word, letters);
    if (!memcmp(w->letters, letters, sizeof letters)) return w;
    memset(w->letters, 0, sizeof letters); /* nobody's, should this fail */
    if (!describe(r, word, w)) return NULL;
    memcpy(w->letters, letters, sizeof letters);
    return w;
}

static int add_all(slide_text_entries *found, const slide_text_entry *e, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!slide_text_add(found, e[i].key, e[i].count)) return 0;
    return 1;
}

int slide_text_read(slide_text_reader *r, const slide_text *text)
{
    const slide_text_options *o = r->options;
    slide_text_piece word;
    uint64_t previous = 0;
    int has_previous = 0;
    r->found.n = r->pairs.n = 0;
    if (!slide_text_cut(&r->words, text)) return 0;
    while (slide_text_next(&r->words, &word)) {
        const slide_text_word *w = look_up(r, word);
        if (!w) return 0;
        if (w->is_stop) continue;
        if (slide_text_is_separator(word)) {
            has_previous = 0;
            continue;
        }
        if (w->has_key && !slide_text_add(&r->found, w->key, 1)) return 0;
        if (o->words == 2 && has_previous && !slide_text_add(&r->pairs, slide_text_mix(previous, w->code), 1)) return 0;
        if (!add_all(&r->found, w->ngrams, w->n_ngrams)) return 0;
        previous = w->code;
        has_previous = 1;
    }
    find_keys(o, &r->pairs);
    if (!add_all(&r->found, r->pairs.e, r->pairs.n)) return 0;
    slide_text_settle(&r->found);
    return 1;
}
