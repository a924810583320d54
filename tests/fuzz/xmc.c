/* xmc.c: fuzz target: the parser of the extreme classification format (csrc/parse/xmc.c).
 *
 * Text and arrays are exactly as long as the parser is told, so that the address sanitizer sees one byte too many. What
 * is accepted must be canonical; and whether, and with what result, must not depend on how the text is cut. */
#include <math.h>
#include <string.h>

#include "engine.h"
#include "parse/xmc.h"

const char *const fuzz_name = "xmc";
const char *const fuzz_words[] = {":",    ",",    " ",    "\n",     "\r\n",       "0:1 ",       "1,2 ",  "nan",        "inf",
                                  "1e38", "1e39", "-0",   "\xef\xbb\xbf", "2147483647", "2147483648", "0:0.5", "99999999999", "\t",
                                  "+1",   ".",    "1e-46", "3 9 5\n"};
const int fuzz_n_words = sizeof fuzz_words / sizeof *fuzz_words;

#define MOST_CHUNKS 7

typedef struct {
    slide_xmc_status status;
    slide_xmc_error error;
    slide_xmc_plan plan;
    slide_xmc_csr csr;
} parsed;

static parsed parse(const char *text, int64_t size, int64_t n_chunks)
{
    static slide_xmc_chunk chunks[MOST_CHUNKS];
    memset(chunks, 0, sizeof chunks);
    parsed p = {.plan = {.buffer = text, .size = size, .n_threads = 1, .n_features = -1, .n_labels = -1}};
    p.plan.chunks = chunks;
    p.plan.n_chunks = n_chunks;
    p.status = slide_xmc_scan(&p.plan, &p.error);
    if (p.status) return p;
    HOLDS(p.plan.feature_room <= size && p.plan.label_room <= size && p.plan.n_rows <= size);
    p.csr.indptr = calloc((size_t)p.plan.n_rows + 1, sizeof(int64_t));
    p.csr.label_indptr = calloc((size_t)p.plan.n_rows + 1, sizeof(int64_t));
    p.csr.indices = malloc((size_t)p.plan.feature_room * sizeof(int32_t));
    p.csr.data = malloc((size_t)p.plan.feature_room * sizeof(float));
    p.csr.label_indices = malloc((size_t)p.plan.label_room * sizeof(int32_t));
    p.status = slide_xmc_fill(&p.plan, &p.csr, &p.error);
    return p;
}

static void release(parsed *p)
{
    free(p->csr.indptr);
    free(p->csr.label_indptr);
    free(p->csr.indices);
    free(p->csr.data);
    free(p->csr.label_indices);
}

static void check_ids(const int64_t *indptr, const int32_t *ids, int64_t n_rows, int64_t room, int64_t columns)
{
    HOLDS(indptr[0] == 0 && indptr[n_rows] <= room);
    for (int64_t r = 0; r < n_rows; r++) {
        HOLDS(indptr[r] <= indptr[r + 1]);
        for (int64_t i = indptr[r]; i < indptr[r + 1]; i++) {
            HOLDS(ids[i] >= 0 && ids[i] < columns);
            HOLDS(i == indptr[r] || ids[i - 1] < ids[i]);
        }
    }
}

static void check_accepted(const parsed *p)
{
    check_ids(p->csr.indptr, p->csr.indices, p->plan.n_rows, p->plan.feature_room, p->plan.n_features);
    check_ids(p->csr.label_indptr, p->csr.label_indices, p->plan.n_rows, p->plan.label_room, p->plan.n_labels);
    for (int64_t i = 0; i < p->csr.indptr[p->plan.n_rows]; i++) HOLDS(isfinite(p->csr.data[i]));
}

static void check_refused(const parsed *p, int64_t size)
{
    const slide_xmc_error *e = &p->error;
    HOLDS(e->status == p->status && e->line >= 1 && e->column >= 1);
    HOLDS(e->offset >= 0 && e->length >= 0 && e->offset + e->length <= size);
}

static void check_equal(const parsed *a, const parsed *b)
{
    HOLDS(a->status == b->status);
    if (a->status) {
        HOLDS(a->error.line == b->error.line && a->error.column == b->error.column);
        return;
    }
    size_t rows = (size_t)a->plan.n_rows + 1, n = (size_t)a->csr.indptr[rows - 1];
    HOLDS(rows == (size_t)b->plan.n_rows + 1);
    HOLDS(!memcmp(a->csr.indptr, b->csr.indptr, rows * sizeof(int64_t)));
    HOLDS(!memcmp(a->csr.label_indptr, b->csr.label_indptr, rows * sizeof(int64_t)));
    HOLDS(!n || !memcmp(a->csr.indices, b->csr.indices, n * sizeof(int32_t)));
    HOLDS(!n || !memcmp(a->csr.data, b->csr.data, n * sizeof(float)));
}

void fuzz_one(const uint8_t *data, size_t size)
{
    char *text = malloc(size ? size : 1);
    memcpy(text, data, size);
    parsed whole = parse(text, (int64_t)size, 1);
    if (whole.status)
        check_refused(&whole, (int64_t)size);
    else
        check_accepted(&whole);
    parsed cut = parse(text, (int64_t)size, 2 + (int64_t)(size % (MOST_CHUNKS - 1)));
    check_equal(&whole, &cut);
    release(&whole);
    release(&cut);
    free(text);
}
