/* xmc.c: parses the extreme classification repository's text format; see xmc.h for the format and the two calls.
 *
 * The body is cut at newlines into chunks. The scan counts newlines, colons and commas, which bounds what each chunk
 * can hold; the fill lets every chunk write into its own part of the arrays and then closes the gaps that rows without
 * labels and repeated ids left. No byte outside the buffer is read. An error is that of the first bad line, whatever
 * the number of threads. Numbers: xmc_number.c. */
#include "parse/xmc.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "parse/xmc_number.h"

#define COUNT_BLOCK 240 /* bytes whose matches a byte can count, so the counting loop vectorises */
#define ID_LIMIT 1000000000000 /* what a longer number counts as: out of range in any case */

typedef struct {
    int32_t id;
    float value;
} entry;

/* What parsing one chunk needs: where it stands, where it writes, and scratch for rows that are not in order. */
typedef struct {
    const slide_xmc_plan *plan;
    slide_xmc_chunk *chunk;
    int32_t *indices, *label_indices;
    float *data;
    int64_t n_features, n_labels; /* written so far */
    int64_t row;
    const char *line;
    entry *scratch;
    int64_t scratch_size;
} parser;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

static const char *skip_blanks(const char *p, const char *end)
{
    while (p < end && is_blank(*p)) p++;
    return p;
}

static const char *skip_token(const char *p, const char *end)
{
    while (p < end && !is_blank(*p)) p++;
    return p;
}

static const char *line_end(const char *p, const char *end)
{
    const char *newline = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    return newline ? newline : end;
}

/* Reads digits; stops growing far outside int32, so that no length overflows. */
static const char *read_id(const char *p, const char *end, int64_t *id)
{
    int64_t value = 0;
    for (; p < end && is_digit(*p); p++)
        if (value < ID_LIMIT) value = value * 10 + (*p - '0');
    *id = value < ID_LIMIT ? value : ID_LIMIT;
    return p;
}

/* ------------------------------------------------------------------------------------------------------ the scan */

static slide_xmc_status header_error(const slide_xmc_plan *plan, slide_xmc_error *e, slide_xmc_status status,
                                     const char *from, const char *to)
{
    *e = (slide_xmc_error){.status = status, .line = 1, .column = 1};
    e->offset = from - plan->buffer;
    e->length = to - from;
    return status;
}

/* Reads the first line; *body is where the rows start. */
static slide_xmc_status read_header(slide_xmc_plan *plan, const char **body, slide_xmc_error *e)
{
    const char *p = plan->buffer, *end = plan->buffer + plan->size;
    if (plan->size >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) p += 3;
    const char *line = p, *eol = line_end(p, end);
    int64_t number[3];
    if (plan->size == 0) return header_error(plan, e, SLIDE_XMC_EMPTY, p, p);
    for (int i = 0; i < 3; i++) {
        const char *token = skip_blanks(p, eol);
        p = read_id(token, eol, &number[i]);
        if (p == token || (p < eol && !is_blank(*p))) return header_error(plan, e, SLIDE_XMC_HEADER, line, eol);
    }
    if (skip_blanks(p, eol) != eol) return header_error(plan, e, SLIDE_XMC_HEADER, line, eol);
    if (number[1] > INT32_MAX || number[2] > INT32_MAX)
        return header_error(plan, e, SLIDE_XMC_HEADER_RANGE, line, eol);
    plan->n_rows = number[0];
    if (plan->n_features < 0) plan->n_features = number[1];
    if (plan->n_labels < 0) plan->n_labels = number[2];
    *body = eol < end ? eol + 1 : end;
    return SLIDE_XMC_OK;
}

/* Counts lines and bounds what they can hold: by colons and commas, and by the four bytes of "0:0 ", two of "0,". */
static void count_chunk(slide_xmc_chunk *c)
{
    int64_t newlines = 0, colons = 0, commas = 0, length = c->end - c->begin;
    for (int64_t from = 0; from < length; from += COUNT_BLOCK) {
        const char *p = c->begin + from;
        int n = length - from < COUNT_BLOCK ? (int)(length - from) : COUNT_BLOCK;
        uint8_t block_newlines = 0, block_colons = 0, block_commas = 0;
        for (int i = 0; i < n; i++) {
            block_newlines = (uint8_t)(block_newlines + (p[i] == '\n'));
            block_colons = (uint8_t)(block_colons + (p[i] == ':'));
            block_commas = (uint8_t)(block_commas + (p[i] == ','));
        }
        newlines += block_newlines;
        colons += block_colons;
        commas += block_commas;
    }
    c->n_rows = newlines + (length > 0 && c->end[-1] != '\n');
    c->n_features = colons < (length + 1) / 4 ? colons : (length + 1) / 4;
    c->n_labels = commas + c->n_rows < (length + 1) / 2 ? commas + c->n_rows : (length + 1) / 2;
}

/* Cuts [body, end) behind newlines into chunks of about equal size; late ones may be empty. */
static void cut_chunks(slide_xmc_plan *plan, const char *body, const char *end)
{
    int64_t size = (end - body) / plan->n_chunks + 1;
    const char *p = body;
    for (int64_t i = 0; i < plan->n_chunks; i++) {
        const char *stop = end - p > size ? line_end(p + size - 1, end) : end;
        plan->chunks[i] = (slide_xmc_chunk){.begin = p, .end = stop < end ? stop + 1 : end};
        p = plan->chunks[i].end;
    }
}

/* Lines at the end that hold nothing. */
static int64_t count_blank_tail(const char *body, const char *end)
{
    int64_t n = 0;
    const char *p = end;
    while (p > body && (is_blank(p[-1]) || p[-1] == '\n')) n += *--p == '\n';
    if (p > body && n) n--;                        /* the newline that ends the last line with something on it */
    if (end > body && end[-1] != '\n' && p < end) { /* blanks without a newline are a line if they start one */
        const char *q = end;
        while (q > p && q[-1] != '\n') q--;
        n += q > p || q == body;
    }
    return n;
}

slide_xmc_status slide_xmc_scan(slide_xmc_plan *plan, slide_xmc_error *e)
{
    const char *body = NULL, *end = plan->buffer + plan->size;
    slide_xmc_status status = read_header(plan, &body, e);
    if (status) return status;
    cut_chunks(plan, body, end);
#pragma omp parallel for schedule(dynamic) num_threads(plan->n_threads)
    for (int64_t i = 0; i < plan->n_chunks; i++) count_chunk(&plan->chunks[i]);

    int64_t n_rows = 0;
    plan->feature_room = plan->label_room = 0;
    for (int64_t i = 0; i < plan->n_chunks; i++) {
        slide_xmc_chunk *c = &plan->chunks[i];
        c->first_row = n_rows;
        c->first_feature = plan->feature_room;
        c->first_label = plan->label_room;
        n_rows += c->n_rows;
        plan->feature_room += c->n_features;
        plan->label_room += c->n_labels;
    }
    int64_t least = n_rows - count_blank_tail(body, end);
    if (least <= plan->n_rows && plan->n_rows <= n_rows) return SLIDE_XMC_OK;
    header_error(plan, e, SLIDE_XMC_ROWS, plan->buffer, line_end(plan->buffer, end));
    e->found = plan->n_rows < least ? least : n_rows;
    e->wanted = plan->n_rows;
    return SLIDE_XMC_ROWS;
}

/* ------------------------------------------------------------------------------------------------------ the fill */

static bool fail(parser *s, slide_xmc_status status, const char *from, const char *to)
{
    slide_xmc_error *e = &s->chunk->error;
    e->status = status;
    e->line = s->row + 2;
    e->column = from - s->line + 1;
    e->offset = from - s->plan->buffer;
    e->length = to - from;
    e->wanted = status == SLIDE_XMC_LABEL_RANGE ? s->plan->n_labels : s->plan->n_features;
    return false;
}

/* Stable: sorts a[n] by id with b[n] as second buffer and returns the one of the two that holds the result. */
static entry *merge_sort(entry *a, entry *b, int64_t n)
{
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t low = 0; low < n; low += 2 * width) {
            int64_t middle = low + width < n ? low + width : n, high = low + 2 * width < n ? low + 2 * width : n;
            int64_t i = low, j = middle;
            for (int64_t k = low; k < high; k++)
                b[k] = i < middle && (j == high || a[i].id <= a[j].id) ? a[i++] : a[j++];
        }
        entry *swap = a;
        a = b;
        b = swap;
    }
    return a;
}

/* Sorts one row's ids, adds up what shares an id (values may be NULL), and returns how many are left; -1: no memory. */
static int64_t make_canonical(parser *s, int32_t *ids, float *values, int64_t n)
{
    if (s->scratch_size < n) {
        free(s->scratch);
        s->scratch = malloc((size_t)n * 2 * sizeof(entry));
        s->scratch_size = s->scratch ? n : 0;
        if (!s->scratch) return -1;
    }
    for (int64_t i = 0; i < n; i++) s->scratch[i] = (entry){ids[i], values ? values[i] : 0};
    const entry *sorted = merge_sort(s->scratch, s->scratch + n, n);
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) {
        bool repeated = kept && ids[kept - 1] == sorted[i].id;
        kept += !repeated;
        ids[kept - 1] = sorted[i].id;
        if (values) values[kept - 1] = repeated ? values[kept - 1] + sorted[i].value : sorted[i].value;
    }
    return kept;
}

static bool is_increasing(const int32_t *ids, int64_t n)
{
    for (int64_t i = 1; i < n; i++)
        if (ids[i - 1] >= ids[i]) return false;
    return true;
}

/* [p, end): one or more ids with commas between them. */
static bool parse_labels(parser *s, const char *p, const char *end)
{
    int32_t *ids = s->label_indices + s->n_labels;
    int64_t n = 0;
    for (;; p++) {
        const char *stop = p;
        while (stop < end && *stop != ',') stop++;
        const char *digits = p + (p < stop && *p == '-');
        int64_t id;
        if (digits == stop || read_id(digits, stop, &id) != stop) return fail(s, SLIDE_XMC_LABEL, p, stop);
        if (digits != p || id >= s->plan->n_labels) return fail(s, SLIDE_XMC_LABEL_RANGE, p, stop);
        ids[n++] = (int32_t)id;
        p = stop;
        if (p == end) break;
    }
    if (!is_increasing(ids, n)) n = make_canonical(s, ids, NULL, n);
    if (n < 0) return fail(s, SLIDE_XMC_NO_MEMORY, s->line, s->line);
    s->n_labels += n;
    return true;
}

static bool is_word(const char *p, const char *end, const char *word)
{
    for (; p < end && *word; p++, word++)
        if ((*p | 0x20) != *word) return false;
    return p == end && !*word;
}

/* What is wrong with a value that is no number. */
static slide_xmc_status value_status(const char *p, const char *end)
{
    if (p < end && (*p == '-' || *p == '+')) p++;
    bool named = is_word(p, end, "nan") || is_word(p, end, "inf") || is_word(p, end, "infinity");
    return named ? SLIDE_XMC_NOT_FINITE : SLIDE_XMC_VALUE;
}

/* [p, end): one feature:value. */
static bool parse_feature(parser *s, const char *p, const char *end)
{
    const char *digits = p + (p < end && *p == '-');
    int64_t id;
    const char *colon = read_id(digits, end, &id);
    if (colon == digits || colon == end || *colon != ':') return fail(s, SLIDE_XMC_FEATURE, p, end);
    if (digits != p || id >= s->plan->n_features) return fail(s, SLIDE_XMC_FEATURE_RANGE, p, colon);
    float value;
    slide_xmc_number number = slide_xmc_float(colon + 1, end, &value);
    if (number == SLIDE_XMC_NO_NUMBER) return fail(s, value_status(colon + 1, end), colon + 1, end);
    if (number == SLIDE_XMC_NUMBER_TOO_LARGE) return fail(s, SLIDE_XMC_NOT_FINITE, colon + 1, end);
    s->indices[s->n_features] = (int32_t)id;
    s->data[s->n_features++] = value;
    return true;
}

static bool finish_features(parser *s, int64_t first)
{
    int32_t *ids = s->indices + first;
    float *values = s->data + first;
    int64_t n = s->n_features - first;
    if (is_increasing(ids, n)) return true;
    n = make_canonical(s, ids, values, n);
    if (n < 0) return fail(s, SLIDE_XMC_NO_MEMORY, s->line, s->line);
    for (int64_t i = 0; i < n; i++) {
        if (isfinite(values[i])) continue;
        s->chunk->error.found = ids[i];
        return fail(s, SLIDE_XMC_SUM, s->line, s->line);
    }
    s->n_features = first + n;
    return true;
}

static bool parse_row(parser *s, const char *eol)
{
    const char *p = s->line;
    int64_t first = s->n_features;
    if (p < eol && !is_blank(*p)) {
        const char *stop = skip_token(p, eol);
        if (!memchr(p, ':', (size_t)(stop - p))) {
            if (!parse_labels(s, p, stop)) return false;
            p = stop;
        }
    }
    while ((p = skip_blanks(p, eol)) < eol) {
        const char *stop = skip_token(p, eol);
        if (!parse_feature(s, p, stop)) return false;
        p = stop;
    }
    return finish_features(s, first);
}

/* Parses a chunk's rows; indptr entries count from the chunk's start until close_gaps. */
static void parse_chunk(const slide_xmc_plan *plan, slide_xmc_chunk *c, const slide_xmc_csr *out)
{
    parser s = {.plan = plan, .chunk = c, .row = c->first_row, .line = c->begin};
    s.indices = out->indices + c->first_feature;
    s.data = out->data + c->first_feature;
    s.label_indices = out->label_indices + c->first_label;
    for (; s.line < c->end && s.row < plan->n_rows; s.row++) {
        const char *eol = line_end(s.line, c->end);
        if (!parse_row(&s, eol)) break;
        out->indptr[s.row + 1] = s.n_features;
        out->label_indptr[s.row + 1] = s.n_labels;
        s.line = eol < c->end ? eol + 1 : eol;
    }
    c->n_rows = s.row - c->first_row;
    c->n_features = s.n_features;
    c->n_labels = s.n_labels;
    free(s.scratch);
}

static void close_gaps(const slide_xmc_plan *plan, const slide_xmc_csr *out)
{
    int64_t features = 0, labels = 0;
    out->indptr[0] = out->label_indptr[0] = 0;
    for (int64_t i = 0; i < plan->n_chunks; i++) {
        const slide_xmc_chunk *c = &plan->chunks[i];
        size_t n_features = (size_t)c->n_features, n_labels = (size_t)c->n_labels;
        if (features < c->first_feature) {
            memmove(out->indices + features, out->indices + c->first_feature, n_features * sizeof(int32_t));
            memmove(out->data + features, out->data + c->first_feature, n_features * sizeof(float));
        }
        if (labels < c->first_label)
            memmove(out->label_indices + labels, out->label_indices + c->first_label, n_labels * sizeof(int32_t));
        for (int64_t row = c->first_row; row < c->first_row + c->n_rows; row++) {
            out->indptr[row + 1] += features;
            out->label_indptr[row + 1] += labels;
        }
        features += c->n_features;
        labels += c->n_labels;
    }
}

slide_xmc_status slide_xmc_fill(slide_xmc_plan *plan, const slide_xmc_csr *out, slide_xmc_error *e)
{
#pragma omp parallel for schedule(dynamic) num_threads(plan->n_threads)
    for (int64_t i = 0; i < plan->n_chunks; i++) parse_chunk(plan, &plan->chunks[i], out);
    for (int64_t i = 0; i < plan->n_chunks; i++) {
        if (!plan->chunks[i].error.status) continue;
        *e = plan->chunks[i].error;
        return e->status;
    }
    close_gaps(plan, out);
    return SLIDE_XMC_OK;
}
