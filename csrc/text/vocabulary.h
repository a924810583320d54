/* vocabulary.h: from a feature's hash to the key under which it is counted. */
#ifndef SLIDE_TEXT_VOCABULARY_H
#define SLIDE_TEXT_VOCABULARY_H

#include "text/text.h"

/* The column of a hash, -1 for one that the vocabulary lacks. */
int64_t slide_text_column(const slide_text_options *o, uint64_t code);

/* Whether a feature is counted, and as what. */
static inline int slide_text_key(const slide_text_options *o, uint64_t code, uint64_t *key)
{
    if (o->n_buckets) {
        *key = code % (uint64_t)o->n_buckets;
        return 1;
    }
    int64_t column = o->codes ? slide_text_column(o, code) : 0;
    *key = o->codes ? (uint64_t)column : code;
    return column >= 0;
}

/* Bring the two places on their way that slide_text_column looks into, the second when the first is there. */
static inline void slide_text_prefetch_start(const slide_text_options *o, uint64_t code)
{
    if (o->codes) __builtin_prefetch(o->starts + (code >> (64 - o->bits)));
}

static inline void slide_text_prefetch_codes(const slide_text_options *o, uint64_t code)
{
    if (o->codes) __builtin_prefetch(o->codes + o->starts[code >> (64 - o->bits)]);
}

#endif
