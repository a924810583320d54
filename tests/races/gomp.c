/* gomp.c: the eleven calls that GCC makes of an OpenMP runtime when it compiles csrc/, on plain threads.
 *
 * The thread sanitizer does not understand GCC's libgomp, whose barriers are futexes, and would report every variable
 * that crosses one. Here a region creates and joins its threads, and a loop deals out iterations by a relaxed counter:
 * no lock orders one thread's samples before another's, so no race hides behind the runtime. */
#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define MOST_THREADS 16
#define MOST_LOOPS 4096 /* of one region */

typedef struct {
    pthread_barrier_t barrier;
    int n;
    void (*body)(void *);
    void *data;
    long taken[MOST_LOOPS]; /* iterations dealt out, a loop each */
} team;

typedef struct {
    team *team;
    int number, n_loops;
    long start, end, step, chunk;
} member;

static _Thread_local member self;

static void *run(void *argument)
{
    self = *(member *)argument;
    self.team->body(self.team->data);
    self.team = NULL;
    return NULL;
}

void GOMP_parallel(void (*body)(void *), void *data, unsigned n_threads, unsigned flags)
{
    (void)flags;
    assert(!self.team && n_threads <= MOST_THREADS); /* csrc/ nests no regions */
    int n = n_threads ? (int)n_threads : 1;
    team *t = calloc(1, sizeof *t);
    *t = (team){.n = n, .body = body, .data = data};
    pthread_barrier_init(&t->barrier, NULL, (unsigned)n);
    pthread_t threads[MOST_THREADS];
    member members[MOST_THREADS];
    for (int i = 0; i < n; i++) members[i] = (member){.team = t, .number = i};
    for (int i = 1; i < n; i++) pthread_create(&threads[i], NULL, run, &members[i]);
    run(&members[0]);
    for (int i = 1; i < n; i++) pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&t->barrier);
    free(t);
}

bool GOMP_loop_nonmonotonic_dynamic_next(long *from, long *to)
{
    long *taken = &self.team->taken[self.n_loops - 1];
    long first = self.start + __atomic_fetch_add(taken, self.chunk, __ATOMIC_RELAXED) * self.step;
    if (first >= self.end) return false;
    *from = first;
    *to = first + self.chunk * self.step;
    if (*to > self.end) *to = self.end;
    return true;
}

bool GOMP_loop_nonmonotonic_dynamic_start(long start, long end, long step, long chunk, long *from, long *to)
{
    assert(step > 0 && self.n_loops < MOST_LOOPS);
    self.start = start, self.end = end, self.step = step, self.chunk = chunk;
    self.n_loops++;
    return GOMP_loop_nonmonotonic_dynamic_next(from, to);
}

void GOMP_barrier(void)
{
    pthread_barrier_wait(&self.team->barrier);
}

void GOMP_loop_end(void)
{
    GOMP_barrier();
}

void GOMP_loop_end_nowait(void)
{
}

/* GCC takes this lock once a thread, at a region's end, to add up several reductions. */
static pthread_mutex_t reductions = PTHREAD_MUTEX_INITIALIZER;

void GOMP_atomic_start(void)
{
    pthread_mutex_lock(&reductions);
}

void GOMP_atomic_end(void)
{
    pthread_mutex_unlock(&reductions);
}

int omp_get_num_threads(void)
{
    return self.team ? self.team->n : 1;
}

int omp_get_thread_num(void)
{
    return self.team ? self.number : 0;
}

int omp_get_max_threads(void)
{
    return 4;
}
