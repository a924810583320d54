/* queue.h: transfers between a file and memory that are under way side by side, by io_uring where there is one. */
#ifndef SLIDE_STORE_QUEUE_H
#define SLIDE_STORE_QUEUE_H

#include <stdint.h>

typedef struct slide_queue slide_queue;

/* One stretch of the file. */
typedef struct {
    int64_t at, length; /* bytes */
    int64_t needed;     /* of length: a file may end behind them */
    char *memory;
    int64_t first, end; /* for the caller */
} slide_transfer;

/* A queue for so many transfers; NULL where the kernel has none, or gives none to this process. */
slide_queue *slide_queue_new(int n);
void slide_queue_free(slide_queue *queue);
/* Starts n transfers; how many: fewer only where the queue failed, and errno says how. Each ends in slide_queue_wait. */
int slide_queue_start(slide_queue *queue, int file, int is_write, slide_transfer *transfers, int n);
/* Waits for one of those started: which, and in moved its bytes or a negative errno. NULL: the queue failed, errno says how. */
slide_transfer *slide_queue_wait(slide_queue *queue, int64_t *moved);

#endif
