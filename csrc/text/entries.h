/* entries.h: features that were met, under keys, with how often: a list that is sorted and added up now and then. */
#ifndef SLIDE_TEXT_ENTRIES_H
#define SLIDE_TEXT_ENTRIES_H

#include <stdint.h>

typedef struct {
    uint64_t key;
    int64_t count;
} slide_text_entry;

typedef struct {
    slide_text_entry *e, *spare; /* [room] */
    int64_t n, room;
} slide_text_entries;

/* Sorts by key, and adds up what has one key. */
void slide_text_settle(slide_text_entries *list);
/* Room for one more at least; what is there may be settled. Returns 0 when out of memory. */
int slide_text_make_room(slide_text_entries *list);
void slide_text_entries_free(slide_text_entries *list);

static inline int slide_text_add(slide_text_entries *list, uint64_t key, int64_t count)
{
    if (list->n == list->room && !slide_text_make_room(list)) return 0;
    list->e[list->n++] = (slide_text_entry){key, count};
    return 1;
}

#endif
