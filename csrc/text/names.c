/* names.c: what the features of a vocabulary are called, from the texts that it was learned of. A feature is named where it is
 * first met, and the texts are gone through until all have names. */
#include <stdlib.h>
#include <string.h>

#include "text/blake2b.h"
#include "text/vocabulary.h"
#include "text/words.h"

static const slide_text_piece NOTHING = {"", 0}, SPACE = {" ", 1}, OPEN = {"<", 1}, CLOSE = {">", 1};

static int append(slide_text_names *names, slide_text_piece part)
{
    if (names->n + part.n > names->room) {
        int64_t room = 2 * (names->room + part.n);
        char *larger = realloc(names->bytes, (size_t)room);
        if (!larger) return 0;
        names->bytes = larger;
        names->room = room;
    }
    if (part.n) memcpy(names->bytes + names->n, part.bytes, (size_t)part.n);
    names->n += part.n;
    return 1;
}

/* Gives a feature of the vocabulary its name, which has three parts, if it has none yet. */
static int name(const slide_text_options *o, slide_text_names *names, uint64_t code, slide_text_piece a, slide_text_piece b,
                slide_text_piece c)
{
    int64_t column = slide_text_column(o, code);
    if (column < 0 || names->at[column] >= 0) return 1;
    names->at[column] = names->n;
    names->lengths[column] = a.n + b.n + c.n;
    names->n_named++;
    return append(names, a) && append(names, b) && append(names, c);
}

static int name_ngrams(const slide_text_options *o, slide_text_words *w, slide_text_names *names, slide_text_piece word)
{
    int64_t n = slide_text_pad(w, word);
    for (int64_t length = o->shortest; length <= o->longest && length <= n; length++)
        for (int64_t i = 0; i + length <= n; i++) {
            slide_text_piece p = slide_text_ngram(w, i, length);
            if (!name(o, names, slide_text_hash(SLIDE_NGRAM_MARK, p.bytes, p.n), OPEN, p, CLOSE)) return 0;
        }
    return 1;
}

static int name_features(const slide_text_options *o, slide_text_words *w, slide_text_names *names)
{
    slide_text_piece word, previous = NOTHING;
    uint64_t left = 0;
    while (slide_text_next(w, &word)) {
        uint64_t code = slide_text_hash(0, word.bytes, word.n);
        if (slide_text_is_stop_word(o, code)) continue;
        if (slide_text_is_separator(word)) {
            previous = NOTHING;
            continue;
        }
        if (o->words && !name(o, names, code, word, NOTHING, NOTHING)) return 0;
        if (o->words == 2 && previous.n && !name(o, names, slide_text_mix(left, code), previous, SPACE, word)) return 0;
        if (o->longest && !name_ngrams(o, w, names, word)) return 0;
        previous = word;
        left = code;
    }
    return 1;
}

slide_status slide_text_name(const slide_text_options *o, const slide_text *texts, int64_t n, slide_text_names *names)
{
    slide_text_words w = {.options = o};
    int ok = 1;
    for (int64_t i = 0; i < n && ok && names->n_named < o->n_codes; i++)
        ok = slide_text_cut(&w, &texts[i]) && name_features(o, &w, names);
    slide_text_words_free(&w);
    return ok ? SLIDE_OK : SLIDE_NO_MEMORY;
}
