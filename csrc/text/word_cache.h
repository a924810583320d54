/* word_cache.h: what is known of the words that were met last: most words of a text are common ones, and to hash a word and its
 * n-grams takes longer than all else. Bounded: a word takes the place of an older one. */
#ifndef SLIDE_TEXT_WORD_CACHE_H
#define SLIDE_TEXT_WORD_CACHE_H

#include <string.h>

#include "text/entries.h"
#include "text/words.h"

#define SLIDE_CACHED_WORDS 16384 /* a power of 2 */
#define SLIDE_CACHED_BYTES 24    /* of a word; longer ones are hashed each time */

typedef struct {
    uint64_t letters[SLIDE_CACHED_BYTES / 8]; /* zeros behind the last; no word has a zero inside, and none is empty */
    uint64_t code, key;
    slide_text_entry *ngrams;                 /* [n_ngrams], of those that are counted; the word's own */
    uint32_t n_ngrams : 31, is_stop : 1;      /* a word that is left out */
    uint32_t room : 31, has_key : 1;          /* a feature that is counted, under its key */
} slide_text_word;

/* Where a word is, or would be: its letters are others' then. Only for words of at most SLIDE_CACHED_BYTES bytes. */
static inline slide_text_word *slide_text_place_of(slide_text_word *cache, slide_text_piece word, uint64_t letters[3])
{
    memset(letters, 0, SLIDE_CACHED_BYTES);
    memcpy(letters, word.bytes, (size_t)word.n);
    uint64_t z = letters[0] * 0x9E3779B97F4A7C15u ^ letters[1] * 0xBF58476D1CE4E5B9u ^ letters[2] * 0x94D049BB133111EBu;
    z = (z ^ z >> 32) * 0x9E3779B97F4A7C15u;
    return cache + (z >> 40) % SLIDE_CACHED_WORDS;
}

#endif
