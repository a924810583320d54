/* features.h: the features of one text at a time, by a thread that owns the reader. */
#ifndef SLIDE_TEXT_FEATURES_H
#define SLIDE_TEXT_FEATURES_H

#include "text/entries.h"
#include "text/text.h"
#include "text/word_cache.h"
#include "text/words.h"

struct slide_text_reader {
    const slide_text_options *options;
    slide_text_words words;
    slide_text_entries found;  /* after slide_text_read: the text's features, keys ascending */
    slide_text_entries pairs;  /* of the text, by their hashes */
    slide_text_entries ngrams; /* of one word */
    slide_text_word *cache;    /* [SLIDE_CACHED_WORDS], or NULL */
    slide_text_word uncached;  /* of a word for which there is no place */
};

/* Returns 0 when out of memory. */
int slide_text_read(slide_text_reader *r, const slide_text *text);

#endif
