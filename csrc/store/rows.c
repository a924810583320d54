/* rows.c: rows between a file and memory, some at a time. Positions are given with each call, so threads may share a file. */
#define _GNU_SOURCE
#include "store/rows.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST 64 /* rows that one call of the system moves, wherever they lie in memory */

typedef ssize_t (*slide_move)(int file, const struct iovec *parts, int n, off_t position);

/* Moves all of one stretch of the file: parts of it may come before others. */
static int move_all(slide_move move, int file, struct iovec *parts, int n, off_t position)
{
    while (n) {
        ssize_t moved = move(file, parts, n, position);
        if (moved < 0 && errno == EINTR) continue;
        if (moved < 0) return errno;
        if (moved == 0) return EIO; /* the file ends before its last row */
        position += moved;
        for (; n && (size_t)moved >= parts->iov_len; parts++, n--) moved -= (ssize_t)parts->iov_len;
        if (!n) break;
        parts->iov_base = (char *)parts->iov_base + moved;
        parts->iov_len -= (size_t)moved;
    }
    return 0;
}

static int move_rows(slide_move move, int file, int64_t row_bytes, const int32_t *ids, const int32_t *slots, int64_t n,
                     char *arena)
{
    struct iovec parts[MOST];
    for (int64_t i = 0; i < n;) {
        int m = 0;
        int64_t first = i;
        for (; i < n && m < MOST && ids[i] == ids[first] + m; i++, m++)
            parts[m] = (struct iovec){arena + slots[i] * row_bytes, (size_t)row_bytes};
        int error = move_all(move, file, parts, m, (off_t)(ids[first] * row_bytes));
        if (error) return error;
    }
    return 0;
}

int slide_rows_read(int file, int64_t row_bytes, const int32_t *ids, const int32_t *slots, int64_t n, char *arena)
{
    return move_rows(preadv, file, row_bytes, ids, slots, n, arena);
}

int slide_rows_write(int file, int64_t row_bytes, const int32_t *ids, const int32_t *slots, int64_t n, char *arena)
{
    return move_rows(pwritev, file, row_bytes, ids, slots, n, arena);
}
