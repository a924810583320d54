/* rows.c: rows between a file and memory. What moves is planned in two halves of a room, so that one is on its way while
 * the other is filled or emptied; transfers are queue.c's, or one pread or pwrite after the other. */
#define _GNU_SOURCE
#include "store/rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/queue.h"

#define AT_ONCE 128        /* transfers of a half */
#define STRETCH (1 << 18)  /* bytes that one transfer moves at most */
#define GAP (1 << 14)      /* bytes between rows that are read too: about what a disk reads while it seeks */

typedef struct {
    slide_transfer transfers[AT_ONCE];
    int n, under_way;
    char *memory;
} half_t;

struct slide_mover {
    slide_queue *queue;
    half_t halves[2];
    char *memory;
    int64_t half_bytes;
    int broken; /* what errno said when the queue failed, for which no remedy is known */
};

/* How far a call has come: the next row, of which some bytes may have been moved. */
typedef struct {
    int64_t row, skip;
} place_t;

/* What a call moves. */
typedef struct {
    int file, is_write;
    int64_t page, row_bytes, n;
    const int64_t *at;
    const int32_t *slots;
    char *arena;
} job_t;

slide_mover *slide_mover_new(int64_t room, int wants_queue)
{
    slide_mover *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    m->half_bytes = room / (2 * SLIDE_DISK_PAGE) * SLIDE_DISK_PAGE;
    m->memory = aligned_alloc(SLIDE_DISK_PAGE, (size_t)(2 * m->half_bytes));
    if (!m->memory) {
        slide_mover_free(m);
        return NULL;
    }
    for (int i = 0; i < 2; i++) m->halves[i].memory = m->memory + i * m->half_bytes;
    m->queue = wants_queue ? slide_queue_new(2 * AT_ONCE) : NULL;
    return m;
}

void slide_mover_free(slide_mover *m)
{
    if (!m) return;
    slide_queue_free(m->queue);
    if (!m->halves[0].under_way && !m->halves[1].under_way) free(m->memory);
    free(m);
}

int slide_mover_has_queue(const slide_mover *m)
{
    return m->queue != NULL;
}

static int64_t down(int64_t n, int64_t page)
{
    return n / page * page;
}

static int64_t up(int64_t n, int64_t page)
{
    return (n + page - 1) / page * page;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The stretch from the place on, of at most `most` bytes, whose last row may go on in the next one. Moves the place on. */
static slide_transfer next_stretch(const job_t *job, place_t *p, int64_t most)
{
    int64_t i = p->row, gap = job->is_write ? 0 : GAP;
    int64_t begin = down(job->at[i] + p->skip, job->page), last = begin + down(least(most, STRETCH), job->page), end = begin;
    for (; i < job->n && job->at[i] < last && (i == p->row || job->at[i] - end <= gap); i++) end = job->at[i] + job->row_bytes;
    slide_transfer t = {.at = begin, .first = p->row, .end = i, .needed = least(end, last) - begin};
    t.length = up(t.needed, job->page);
    *p = end > last ? (place_t){i - 1, last - job->at[i - 1]} : (place_t){i, 0};
    return t;
}

/* Between the arena and a stretch in memory. */
static void copy(const job_t *job, const slide_transfer *t)
{
    for (int64_t i = t->first; i < t->end; i++) {
        int64_t skip = job->at[i] < t->at ? t->at - job->at[i] : 0, from = job->at[i] + skip - t->at;
        size_t n = (size_t)least(job->row_bytes - skip, t->needed - from);
        char *there = t->memory + from, *row = job->arena + job->slots[i] * job->row_bytes + skip;
        if (job->is_write)
            memcpy(there, row, n);
        else
            memcpy(row, there, n);
    }
    if (job->is_write) memset(t->memory + t->needed, 0, (size_t)(t->length - t->needed));
}

/* Plans stretches from the place on while there is room for them, and moves it on. */
static void fill(const slide_mover *m, const job_t *job, half_t *h, place_t *p)
{
    int64_t used = 0;
    for (h->n = 0; p->row < job->n && h->n < AT_ONCE && used < m->half_bytes; h->n++) {
        slide_transfer t = next_stretch(job, p, m->half_bytes - used);
        t.memory = h->memory + used;
        if (job->is_write) copy(job, &t);
        used += up(t.length, SLIDE_DISK_PAGE);
        h->transfers[h->n] = t;
    }
}

/* What is left of a transfer. */
static int move_rest(const job_t *job, const slide_transfer *t, int64_t moved)
{
    while (moved < t->needed) {
        size_t left = (size_t)(t->length - moved);
        ssize_t more = job->is_write ? pwrite(job->file, t->memory + moved, left, (off_t)(t->at + moved))
                                     : pread(job->file, t->memory + moved, left, (off_t)(t->at + moved));
        if (more < 0 && errno == EINTR) continue;
        if (more < 0) return errno;
        if (more == 0) return EIO; /* the file ends before its last row */
        moved += more;
    }
    return 0;
}

static int end_of(const job_t *job, const slide_transfer *t, int64_t moved)
{
    int is_error = moved < 0 && moved != -EINTR && moved != -EAGAIN;
    int error = is_error ? (int)-moved : move_rest(job, t, moved < 0 ? 0 : moved);
    if (!error && !job->is_write) copy(job, t);
    return error;
}

/* Until none of a half is under way. Others may end meanwhile. */
static void wait_for(slide_mover *m, const job_t *job, const half_t *h, int *error)
{
    while (h->under_way) {
        int64_t moved = 0;
        const slide_transfer *t = slide_queue_wait(m->queue, &moved);
        if (!t) {
            m->broken = *error = errno;
            return;
        }
        m->halves[t >= m->halves[1].transfers].under_way--;
        int its = end_of(job, t, moved);
        if (!*error) *error = its;
    }
}

static void start(slide_mover *m, const job_t *job, half_t *h, int *error)
{
    if (!h->n) return;
    h->under_way = slide_queue_start(m->queue, job->file, job->is_write, h->transfers, h->n);
    if (h->under_way < h->n) m->broken = *error = errno;
}

/* Returns when nothing is under way: the kernel writes into the halves until then. */
static int move_by_queue(slide_mover *m, const job_t *job)
{
    int error = m->broken;
    if (error) return error;
    place_t place = {0, 0};
    fill(m, job, &m->halves[0], &place);
    start(m, job, &m->halves[0], &error);
    for (int now = 0; !error && m->halves[now].n; now = 1 - now) {
        fill(m, job, &m->halves[1 - now], &place);
        start(m, job, &m->halves[1 - now], &error);
        if (!error) wait_for(m, job, &m->halves[now], &error);
    }
    for (int k = 0; k < 2; k++) wait_for(m, job, &m->halves[k], &error);
    return error;
}

static int move(slide_mover *m, const job_t *job)
{
    if (m->queue) return move_by_queue(m, job);
    int error = 0;
    half_t *h = &m->halves[0];
    for (place_t place = {0, 0}; place.row < job->n && !error;) {
        fill(m, job, h, &place);
        for (int k = 0; k < h->n && !error; k++) error = end_of(job, &h->transfers[k], 0);
    }
    return error;
}

int slide_rows_read(slide_mover *mover, int file, int64_t page, int64_t row_bytes, const int64_t *at, const int32_t *slots,
                    int64_t n, char *arena)
{
    job_t job = {file, 0, page, row_bytes, n, at, slots, arena};
    return move(mover, &job);
}

int slide_rows_write(slide_mover *mover, int file, int64_t page, int64_t row_bytes, const int64_t *at, const int32_t *slots,
                     int64_t n, char *arena)
{
    job_t job = {file, 1, page, row_bytes, n, at, slots, arena};
    return move(mover, &job);
}
