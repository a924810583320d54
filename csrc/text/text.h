/* text.h: the public face of texts: which features they have and how often, as slide/text/features.py counts them.
 *
 * A feature is known by 64 bits (blake2b.h). A text comes as it is, where it is ASCII, or cut into words by Python, whose
 * table of Unicode is not here (slide/text/words.py). Weights are Python's too: they take no time.
 *
 *   blake2b.c, vocabulary.c   what stands for a feature, and the column of it
 *   words.c, word_cache.h     from texts to words, and what is known of those met last
 *   features.c, entries.c     one text's features: words, pairs of neighbours, n-grams of words
 *   counts.c                  many texts, several threads
 *   names.c                   names of features */
#ifndef SLIDE_TEXT_TEXT_H
#define SLIDE_TEXT_TEXT_H

#include "core/types.h"

typedef struct {
    const char *bytes;
    int64_t length;
    int32_t is_cut; /* words as they count, each behind a space, in UTF-8; else ASCII, in which words are to be found */
} slide_text;

/* What is counted, and under which key: by the number of the feature's hash among codes; where there are buckets, by the
 * remainder of the hash; else by the hash itself. Codes and stop ascend. */
typedef struct {
    int32_t words;             /* 1: words; 2: pairs of neighbours too; 0: neither */
    int32_t shortest, longest; /* n-grams of a word, in characters, a space before and behind it; longest 0: none */
    int32_t lowercase;
    const uint64_t *stop;      /* [n_stop]: hashes of words that are left out */
    int64_t n_stop;
    int64_t n_buckets;         /* 0: none */
    const uint64_t *codes;     /* [n_codes], or NULL */
    int64_t n_codes;
    const int32_t *starts;     /* [2^bits + 1]: where codes that begin with these bits do */
    int32_t bits;
} slide_text_options;

/* A run of texts' features: keys ascend within a text. */
typedef struct {
    uint64_t *keys;
    float *counts;
    int64_t n, room;
} slide_text_run;

/* Names of features by their column: at [n_codes] is where each begins, -1 for those that were not met. The caller's, who
 * frees bytes. */
typedef struct {
    char *bytes;
    int64_t n, room, n_named;
    int64_t *at;
    int64_t *lengths;
} slide_text_names;

/* What reads texts, by one thread at a time. */
typedef struct slide_text_reader slide_text_reader;

/* features.c: NULL when out of memory. caches: it remembers what it found of words; worth its time from a dozen texts on. */
slide_text_reader *slide_text_reader_new(const slide_text_options *options, int caches);
void slide_text_reader_free(slide_text_reader *r);

/* vocabulary.c: fills starts; columns [n] of hashes [n], -1 for those that are not in the vocabulary. */
void slide_text_index(const uint64_t *codes, int64_t n, int32_t bits, int32_t *starts);
void slide_text_columns(const slide_text_options *o, const uint64_t *codes, int64_t n, int n_threads, int32_t *columns);

/* counts.c: lengths [n] of rows; texts i * run to (i + 1) * run go to runs[i], which come zeroed. */
slide_status slide_text_count(const slide_text_options *o, const slide_text *texts, int64_t n, int64_t run, int n_threads,
                              slide_text_run *runs, int64_t *lengths);
/* counts.c: one text, by a reader that is kept. */
slide_status slide_text_count_one(slide_text_reader *r, const slide_text *text, slide_text_run *run);
/* counts.c: copies what runs hold behind each other, keys as ids or as codes, of which one is NULL. */
void slide_text_gather(const slide_text_run *runs, int64_t n_runs, int32_t *ids, uint64_t *codes, float *counts);
void slide_text_free(slide_text_run *runs, int64_t n_runs);

/* names.c: names those features of the texts that have none yet. */
slide_status slide_text_name(const slide_text_options *o, const slide_text *texts, int64_t n, slide_text_names *names);

#endif
