/* rows.h: rows of a layer that lie in a file. */
#ifndef SLIDE_STORE_ROWS_H
#define SLIDE_STORE_ROWS_H

#include <stdint.h>

/* Move rows of row_bytes between a file, where row i is the i-th, and an arena in memory, where row ids[i] has slot
 * slots[i]; ids[n] are ascending. Rows that are neighbours in the file move together. Return 0, or what errno says. */
int slide_rows_read(int file, int64_t row_bytes, const int32_t *ids, const int32_t *slots, int64_t n, char *arena);
int slide_rows_write(int file, int64_t row_bytes, const int32_t *ids, const int32_t *slots, int64_t n, char *arena);

#endif
