/* entries.c: a merge sort from the bottom up, over runs that are short enough for insertion. */
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "text/entries.h"

#define FIRST_ROOM 256
#define RUN 16

typedef slide_text_entry entry;

static void insertion_sort(entry *e, int64_t n)
{
    for (int64_t i = 1; i < n; i++) {
        entry moved = e[i];
        int64_t j = i;
        for (; j > 0 && e[j - 1].key > moved.key; j--) e[j] = e[j - 1];
        e[j] = moved;
    }
}

static void merge(entry *out, const entry *e, int64_t middle, int64_t n)
{
    int64_t i = 0, j = middle, at = 0;
    while (i < middle && j < n) out[at++] = e[j].key < e[i].key ? e[j++] : e[i++];
    memcpy(out + at, i < middle ? e + i : e + j, (size_t)(n - at) * sizeof(entry));
}

static void sort(slide_text_entries *list)
{
    int64_t n = list->n;
    for (int64_t i = 0; i < n; i += RUN) insertion_sort(list->e + i, n - i < RUN ? n - i : RUN);
    for (int64_t width = RUN; width < n; width *= 2) {
        for (int64_t i = 0; i < n; i += 2 * width) {
            int64_t both = n - i < 2 * width ? n - i : 2 * width;
            merge(list->spare + i, list->e + i, both < width ? both : width, both);
        }
        entry *sorted = list->spare;
        list->spare = list->e;
        list->e = sorted;
    }
}

void slide_text_settle(slide_text_entries *list)
{
    int64_t n = 0;
    sort(list);
    for (int64_t i = 0; i < list->n; i++) {
        if (n && list->e[n - 1].key == list->e[i].key)
            list->e[n - 1].count += list->e[i].count;
        else
            list->e[n++] = list->e[i];
    }
    list->n = n;
}

int slide_text_make_room(slide_text_entries *list)
{
    slide_text_settle(list); /* so that a long text takes as much as it has features, and not words */
    if (list->n < list->room / 2) return 1;
    int64_t room = list->room ? 2 * list->room : FIRST_ROOM;
    entry *larger = realloc(list->e, (size_t)room * sizeof(entry));
    if (!larger) return 0;
    list->e = larger;
    list->room = room;
    if (slide_grow(&list->spare, room, sizeof(entry))) return 1;
    list->room = 0;
    return 0;
}

void slide_text_entries_free(slide_text_entries *list)
{
    free(list->e);
    free(list->spare);
}
