/* words.h: a text's words one after another, and a word's n-grams: slide/text/words.py for texts that are ASCII. */
#ifndef SLIDE_TEXT_WORDS_H
#define SLIDE_TEXT_WORDS_H

#include "text/text.h"

#define SLIDE_NGRAM_MARK '\x1e'      /* before an n-gram, so that it is not taken for a word */
#define SLIDE_FIELD_SEPARATOR '\x1f' /* between the texts of several columns: words on its two sides are no pair */

/* Bytes of a text that stay where they are; n is never 0 where there is something. */
typedef struct {
    const char *bytes;
    int64_t n;
} slide_text_piece;

/* A thread's own: the text that is being cut, and room for its letters. */
typedef struct {
    const slide_text_options *options;
    const char *bytes;
    int64_t length, at;
    int32_t is_cut;
    char *folded;    /* [room]: the text in lower case */
    char *padded;    /* [room + 2]: a word with its spaces */
    int64_t *places; /* [room + 3]: where its characters begin */
    int64_t room;
} slide_text_words;

/* Begins with a text. Returns 0 when out of memory. */
int slide_text_cut(slide_text_words *w, const slide_text *text);
/* The next word or field separator; 0 behind the last one. */
int slide_text_next(slide_text_words *w, slide_text_piece *word);
void slide_text_words_free(slide_text_words *w);

/* Takes up a word for its n-grams; returns how many characters it has with a space before and behind it. */
int64_t slide_text_pad(slide_text_words *w, slide_text_piece word);
/* So many characters of it, from the i-th on. */
static inline slide_text_piece slide_text_ngram(const slide_text_words *w, int64_t i, int64_t n)
{
    return (slide_text_piece){w->padded + w->places[i], w->places[i + n] - w->places[i]};
}

static inline int slide_text_is_separator(slide_text_piece word)
{
    return word.bytes[0] == SLIDE_FIELD_SEPARATOR;
}

int slide_text_is_stop_word(const slide_text_options *o, uint64_t code);

#endif
