/* engine.c: a small coverage-guided fuzzer for GCC, which has no libFuzzer. Linked with one target (xmc.c, number.c,
 * network.c) and with csrc/ under the address and undefined-behaviour sanitizers: tests/fuzz/run.sh builds and runs it.
 *
 *   target SECONDS SEED FOLDER     mutates the files of the folder, keeps what reaches new code, reports executions
 *   target FILE...                 runs each file once (what a crash left, or the seeds as a test)
 *
 * GCC calls __sanitizer_cov_trace_pc in every basic block of csrc/ (-fsanitize-coverage=trace-pc). Pairs of successive
 * blocks are counted in a map, and an input that sets a byte of the map to a power of two not seen before joins the
 * corpus: AFL's rule (M. Zalewski). An input that ends the process is left in crash-* in the working folder. */
#include "engine.h"

#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAP_SIZE (1 << 13)
#define MOST_INPUTS (1 << 16)
#define LONGEST 4096

typedef struct {
    uint8_t *data;
    size_t size;
} input;

static _Alignas(8) uint8_t map[MAP_SIZE];
static uint8_t seen[MAP_SIZE];
static uintptr_t previous;
static input corpus[MOST_INPUTS];
static int n_corpus;
static uint8_t current[LONGEST];
static size_t current_size;
static uint64_t state = 1;

void __sanitizer_cov_trace_pc(void);
void __sanitizer_set_death_callback(void (*)(void));

void __sanitizer_cov_trace_pc(void)
{
    uintptr_t here = (uintptr_t)__builtin_return_address(0);
    here = (here >> 2) ^ (here << 7);
    uint8_t *count = &map[(here ^ previous) % MAP_SIZE];
    *count = (uint8_t)(*count + (*count < 255));
    previous = here >> 1;
}

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static size_t below(size_t n)
{
    return n ? next() % n : 0;
}

static void keep_crash(void)
{
    char name[64];
    snprintf(name, sizeof name, "crash-%s-%d", fuzz_name, (int)getpid());
    FILE *file = fopen(name, "wb");
    if (!file) return;
    fwrite(current, 1, current_size, file);
    fclose(file);
    fprintf(stderr, "the input is in %s\n", name);
}

static void on_abort(int number)
{
    keep_crash();
    signal(number, SIG_DFL);
    raise(number);
}

/* Whether the last run reached a block, or a number of visits, that no run before it did. */
static int is_news(void)
{
    int news = 0;
    for (int i = 0; i < MAP_SIZE; i++) {
        uint64_t eight;
        memcpy(&eight, map + i / 8 * 8, sizeof eight);
        if (!eight) i |= 7;
        if (!map[i]) continue;
        uint8_t bucket = (uint8_t)(1 << (31 - __builtin_clz(map[i])));
        news |= (seen[i] & bucket) == 0;
        seen[i] |= bucket;
    }
    return news;
}

static int run(void)
{
    memset(map, 0, sizeof map);
    previous = 0;
    fuzz_one(current, current_size);
    return is_news();
}

static void add(void)
{
    if (n_corpus == MOST_INPUTS) return;
    uint8_t *copy = malloc(current_size + 1);
    memcpy(copy, current, current_size);
    corpus[n_corpus++] = (input){copy, current_size};
}

static void insert(size_t at, const void *data, size_t size)
{
    if (current_size + size > LONGEST) return;
    memmove(current + at + size, current + at, current_size - at);
    memcpy(current + at, data, size);
    current_size += size;
}

static void erase(size_t at, size_t size)
{
    memmove(current + at, current + at + size, current_size - at - size);
    current_size -= size;
}

static void mutate(void)
{
    size_t at = below(current_size + 1), left = current_size - at;
    const char *word = fuzz_words[below((size_t)fuzz_n_words)];
    const input *other = &corpus[below((size_t)n_corpus)];
    size_t from = below(other->size), n = below(other->size - from + 1);
    uint8_t copy[LONGEST];
    switch (below(8)) {
    case 0: if (left) current[at] ^= (uint8_t)(1 << below(8)); break;
    case 1: if (left) current[at] = (uint8_t)next(); break;
    case 2: insert(at, word, strlen(word)); break;
    case 3: insert(at, other->data + from, n); break;
    case 4: erase(at, below(left + 1)); break;
    case 5:
        n = below(left + 1);
        memcpy(copy, current + at, n);
        insert(at, copy, n);
        break;
    case 6: if (left) current[at] = (uint8_t)(current[at] + below(9) - 4); break;
    default:
        if (left > strlen(word)) memcpy(current + at, word, strlen(word));
    }
}

static int load(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    current_size = fread(current, 1, sizeof current, file);
    fclose(file);
    return 1;
}

static void load_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.' || !load(path)) continue;
        run();
        add();
    }
    if (dir) closedir(dir);
}

static int fuzz(double seconds)
{
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    long long n = 0;
    for (double spent = 0; spent < seconds; n++) {
        const input *base = &corpus[below((size_t)n_corpus)];
        memcpy(current, base->data, base->size);
        current_size = base->size;
        for (size_t i = 1 + below(6); i > 0; i--) mutate();
        if (run()) add();
        if (n % 256) continue;
        clock_gettime(CLOCK_MONOTONIC, &now);
        spent = (double)(now.tv_sec - begin.tv_sec) + 1e-9 * (double)(now.tv_nsec - begin.tv_nsec);
    }
    int reached = 0;
    for (int i = 0; i < MAP_SIZE; i++) reached += seen[i] != 0;
    printf("%s: %lld executions, %d inputs, %d pairs of blocks, no crash\n", fuzz_name, n, n_corpus, reached);
    return 0;
}

int main(int argc, char **argv)
{
    __sanitizer_set_death_callback(keep_crash);
    signal(SIGABRT, on_abort);
    char *end = NULL;
    double seconds = argc == 4 ? strtod(argv[1], &end) : 0;
    if (argc == 4 && end && !*end) {
        state = strtoull(argv[2], NULL, 10) * 2654435761u + 1;
        load_folder(argv[3]);
        if (!n_corpus) add(); /* nothing */
        return fuzz(seconds);
    }
    for (int i = 1; i < argc; i++) {
        if (!load(argv[i])) return 2;
        run();
    }
    printf("%s: %d inputs, no crash\n", fuzz_name, argc - 1);
    return 0;
}
