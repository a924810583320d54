/* words.c: texts are cut into words. ASCII alone: a word is a run of letters, digits and underscores. Texts that Python has cut
 * have a space between their words, and no word has one inside. */
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "text/words.h"

static int is_ascii_word(unsigned char c)
{
    return (unsigned char)((c | 0x20) - 'a') < 26 || (unsigned char)(c - '0') < 10 || c == '_';
}

static int in_word(const slide_text_words *w, char c)
{
    return w->is_cut ? c != ' ' && c != SLIDE_FIELD_SEPARATOR : is_ascii_word((unsigned char)c);
}

static int reserve(slide_text_words *w, int64_t length)
{
    if (length <= w->room) return 1;
    int64_t room = 2 * length;
    w->room = 0;
    if (!slide_grow(&w->folded, room, 1) || !slide_grow(&w->padded, room + 2, 1)) return 0;
    if (w->options->longest && !slide_grow(&w->places, room + 3, sizeof(int64_t))) return 0;
    w->room = room;
    return 1;
}

int slide_text_cut(slide_text_words *w, const slide_text *text)
{
    if (!reserve(w, text->length)) return 0;
    w->bytes = text->bytes;
    w->length = text->length;
    w->is_cut = text->is_cut;
    w->at = 0;
    if (text->is_cut || !w->options->lowercase) return 1;
    for (int64_t i = 0; i < text->length; i++) {
        unsigned char c = (unsigned char)text->bytes[i];
        w->folded[i] = (char)(c + ((unsigned char)(c - 'A') < 26 ? 'a' - 'A' : 0));
    }
    w->bytes = w->folded;
    return 1;
}

int slide_text_next(slide_text_words *w, slide_text_piece *word)
{
    while (w->at < w->length) {
        int64_t begin = w->at;
        while (w->at < w->length && in_word(w, w->bytes[w->at])) w->at++;
        if (w->at == begin && w->bytes[w->at++] != SLIDE_FIELD_SEPARATOR) continue;
        *word = (slide_text_piece){w->bytes + begin, w->at - begin};
        return 1;
    }
    return 0;
}

void slide_text_words_free(slide_text_words *w)
{
    free(w->folded);
    free(w->padded);
    free(w->places);
}

int64_t slide_text_pad(slide_text_words *w, slide_text_piece word)
{
    int64_t n = 0, length = word.n + 2;
    w->padded[0] = ' ';
    memcpy(w->padded + 1, word.bytes, (size_t)word.n);
    w->padded[length - 1] = ' ';
    for (int64_t i = 0; i < length; i++)
        if (((unsigned char)w->padded[i] & 0xC0) != 0x80) w->places[n++] = i; /* UTF-8: the others go on with a character */
    w->places[n] = length;
    return n;
}

int slide_text_is_stop_word(const slide_text_options *o, uint64_t code)
{
    int64_t low = 0, high = o->n_stop;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (o->stop[middle] < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low < o->n_stop && o->stop[low] == code;
}
