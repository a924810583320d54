/* xmc.h: the text format of the extreme classification repository, parsed from memory by several threads.
 *
 *   rows features labels                   three whole numbers
 *   label,label,... feature:value ...      one line a row, ids from zero
 *
 * Accepted: rows without labels (the line starts with blanks or at once with feature:value), without features or with
 * nothing at all; blanks are spaces, tabs and carriage returns, in any number; a missing last newline; a UTF-8 byte
 * order mark; blank lines behind the last row. Made canonical: the ids of a row come out sorted; values of a repeated
 * feature are added in float32 in the order of the text; a repeated label counts once. Values written as 0 are kept.
 * slide/engine/reference/xmc.py does the same in Python. Files, compression and messages are slide/io/xmc.py's.
 *
 * Two calls: slide_xmc_scan checks the header against the lines that are there and says how much room the arrays need
 * (never more than four times the text), slide_xmc_fill parses into the caller's arrays. */
#ifndef SLIDE_PARSE_XMC_H
#define SLIDE_PARSE_XMC_H

#include <stdint.h>

typedef enum {
    SLIDE_XMC_OK,
    SLIDE_XMC_EMPTY,         /* nothing in the buffer */
    SLIDE_XMC_HEADER,        /* the first line is not three whole numbers */
    SLIDE_XMC_HEADER_RANGE,  /* more features or labels than int32 can number */
    SLIDE_XMC_ROWS,          /* found lines, the header promised wanted */
    SLIDE_XMC_LABEL,         /* text where a label belongs */
    SLIDE_XMC_LABEL_RANGE,   /* label id negative, or wanted (the number of labels) or more */
    SLIDE_XMC_FEATURE,       /* text where feature:value belongs */
    SLIDE_XMC_FEATURE_RANGE, /* feature id negative, or wanted (the number of features) or more */
    SLIDE_XMC_VALUE,         /* text where a value belongs */
    SLIDE_XMC_NOT_FINITE,    /* a value that is NaN, infinite or beyond float32 */
    SLIDE_XMC_SUM,           /* feature found is repeated and its values add up beyond float32 */
    SLIDE_XMC_NO_MEMORY
} slide_xmc_status;

typedef struct {
    slide_xmc_status status;
    int64_t line, column;   /* from 1; the column counts bytes */
    int64_t offset, length; /* the offending text in the buffer */
    int64_t found, wanted;
} slide_xmc_error;

/* A run of whole lines that one thread parses. n_features and n_labels: room first, then what was found. */
typedef struct {
    const char *begin, *end;
    int64_t first_row, n_rows;
    int64_t first_feature, n_features;
    int64_t first_label, n_labels;
    slide_xmc_error error;
} slide_xmc_chunk;

typedef struct {
    const char *buffer;
    int64_t size;
    int32_t n_threads;
    int64_t n_features, n_labels; /* columns to check ids against; -1 before the scan takes the header's */
    slide_xmc_chunk *chunks;      /* [n_chunks], the caller's */
    int64_t n_chunks;
    int64_t n_rows;                /* the scan's, as the following */
    int64_t feature_room, label_room;
} slide_xmc_plan;

/* indptr, label_indptr: [n_rows + 1]; indices, data: [feature_room]; label_indices: [label_room]. */
typedef struct {
    int64_t *indptr, *label_indptr;
    int32_t *indices, *label_indices;
    float *data;
} slide_xmc_csr;

slide_xmc_status slide_xmc_scan(slide_xmc_plan *plan, slide_xmc_error *error);
slide_xmc_status slide_xmc_fill(slide_xmc_plan *plan, const slide_xmc_csr *out, slide_xmc_error *error);

#endif
