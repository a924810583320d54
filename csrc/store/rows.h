/* rows.h: moves rows between a file and memory. Rows that are neighbours in the file move together, and many of these
 * stretches are under way at once where the kernel has io_uring. */
#ifndef SLIDE_STORE_ROWS_H
#define SLIDE_STORE_ROWS_H

#include <stdint.h>

#define SLIDE_DISK_PAGE 4096 /* a file without the system's cache of files is read and written in pages of this size */

/* What moves rows: room for those under way, and a queue. One call at a time. */
typedef struct slide_mover slide_mover;

/* room : bytes under way at once, two pages or more; wants_queue : whether to ask for io_uring. NULL when out of memory. */
slide_mover *slide_mover_new(int64_t room, int wants_queue);
void slide_mover_free(slide_mover *mover);
int slide_mover_has_queue(const slide_mover *mover);

/* Row i is at byte at[i] of the file, in ascending order, and at slots[i] * row_bytes in arena. page : SLIDE_DISK_PAGE where
 * whole pages move, as a file past the system's cache wants it, else 1. Each stretch that is written begins at a page then, and
 * the rest of its last one is filled with zeros. Return 0, or what errno says. */
int slide_rows_read(slide_mover *mover, int file, int64_t page, int64_t row_bytes, const int64_t *at, const int32_t *slots,
                    int64_t n, char *arena);
int slide_rows_write(slide_mover *mover, int file, int64_t page, int64_t row_bytes, const int64_t *at, const int32_t *slots,
                     int64_t n, char *arena);

#endif
