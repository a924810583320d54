/* driver.c: trains, rebuilds, predicts and parses on four threads, for the thread sanitizer: `make sanitize-threads`.
 *
 *   driver           every optimizer, hash family and loss; prediction from several threads at once; the XMC parser;
 *                    sparse rows by label
 *   driver planted   a race on purpose: the run must fail, or the sanitizer sees nothing */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slide.h"
#include "linear/linear.h"
#include "parse/xmc.h"

enum { THREADS = 4, ROWS = 400, FEATURES = 60, PER_ROW = 8, LABELS = 500, PER_LABEL_ROW = 3, WIDTH = 20, K = 5 };

#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);     \
            exit(1);                                                                      \
        }                                                                                 \
    } while (0)

static uint64_t state = 1;

static uint32_t draw(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

static void *zeroed(int64_t n, size_t size)
{
    void *p = NULL;
    CHECK(posix_memalign(&p, 64, (size_t)n * size + 64) == 0);
    return memset(p, 0, (size_t)n * size);
}

/* Rows whose ids ascend, as the binding hands them over. */
static int32_t *make_ids(int64_t **indptr, int per_row, int columns)
{
    int64_t *p = *indptr = zeroed(ROWS + 1, sizeof *p);
    int32_t *ids = zeroed(ROWS * per_row, sizeof *ids);
    for (int64_t r = 0; r < ROWS; r++) {
        int32_t id = (int32_t)(draw() % 5);
        p[r + 1] = p[r];
        for (int i = 0; i < per_row && id < columns; i++, id += 1 + (int32_t)(draw() % (unsigned)(2 * columns / per_row)))
            ids[p[r + 1]++] = id;
    }
    return ids;
}

static slide_examples make_examples(void)
{
    int64_t *xp, *yp, *order = zeroed(ROWS, sizeof *order);
    int32_t *x = make_ids(&xp, PER_ROW, FEATURES), *y = make_ids(&yp, PER_LABEL_ROW, LABELS);
    float *values = zeroed(ROWS * PER_ROW, sizeof *values);
    for (int i = 0; i < ROWS * PER_ROW; i++) values[i] = (float)(draw() % 100) / 200;
    for (int i = 0; i < ROWS; i++) order[i] = i;
    return (slide_examples){xp, yp, x, y, values, order, ROWS, NULL};
}

static int halves; /* whether layers without optimizer states are of bfloat16 */

static void put(slide_layer *layer, int64_t row, int64_t d, float w)
{
    float *start = layer->rows + row * layer->stride;
    uint32_t bits;
    memcpy(&bits, &w, sizeof bits);
    if (layer->is_bf16)
        ((uint16_t *)start)[d] = (uint16_t)(bits >> 16);
    else
        start[d] = w;
}

static slide_layer make_layer(int kind, int64_t n, int64_t fan_in, int n_states)
{
    int input = kind == SLIDE_SPARSE_INPUT;
    slide_layer layer = {.kind = kind, .n = n, .fan_in = fan_in, .has_bias = 1};
    layer.width = input ? n : fan_in;
    layer.n_rows = input ? fan_in + 1 : n;
    layer.padded = (layer.width + 15) / 16 * 16;
    layer.is_bf16 = halves && !n_states;
    layer.stride = (layer.is_bf16 ? (layer.padded / 2 + 15) / 16 * 16 : layer.padded * (1 + n_states)) + SLIDE_ROW_SCALARS;
    layer.rows = zeroed(layer.n_rows * layer.stride, sizeof(float));
    for (int64_t i = 0; i < layer.n_rows; i++)
        for (int64_t j = 0; j < layer.width; j++) put(&layer, i, j, (float)((int)(draw() % 200) - 100) / 400);
    return layer;
}

static void add_tables(slide_layer *layer, int kind)
{
    slide_lsh *h = &layer->lsh;
    int dim = (int)layer->fan_in + 1, hashes;
    *h = (slide_lsh){.kind = kind, .K = kind == SLIDE_SIMHASH ? 5 : 2, .L = 12, .dim = dim, .capacity = 31};
    h->probes = 1;
    h->window = kind == SLIDE_SIMHASH ? 1 : 8;
    h->log2_window = kind == SLIDE_SIMHASH ? 0 : 3;
    h->table_bits = h->code_bits = h->K * (kind == SLIDE_SIMHASH ? 1 : 3);
    h->bucket_stride = 32;
    h->policy = SLIDE_RESERVOIR;
    hashes = h->K * h->L;
    h->permutations = kind == SLIDE_DWTA ? (hashes + dim / 8 - 1) / (dim / 8) : 0;
    h->buckets = zeroed(((int64_t)h->L << h->table_bits) * h->bucket_stride, sizeof(int32_t));
    float *directions = zeroed((hashes + 63) / 64 * (int64_t)dim * 64, sizeof(float));
    for (int64_t i = 0; i < (hashes + 63) / 64 * (int64_t)dim * 64; i++) directions[i] = draw() % 2 ? 1.0f : -1.0f;
    int64_t n_positions = kind == SLIDE_DWTA ? (int64_t)h->permutations * dim : (int64_t)hashes * 8;
    int32_t *positions = zeroed(n_positions, sizeof(int32_t));
    for (int64_t i = 0; i < n_positions; i++) positions[i] = (int32_t)(draw() % (unsigned)dim);
    float *frame = zeroed(2 * dim, sizeof(float));
    frame[2 * dim - 1] = 1;
    h->directions = directions;
    h->positions = positions;
    h->frame = kind == SLIDE_SIMHASH ? frame : NULL;
}

/* 64 query cells with lists of 31. */
static void add_cells(slide_layer *layer)
{
    slide_lsh *h = &layer->lsh;
    *h = (slide_lsh){.kind = SLIDE_QUERY_CELLS, .K = 6, .L = 1, .dim = (int)layer->fan_in + 1, .capacity = 31, .window = 1};
    h->table_bits = h->code_bits = 6;
    h->bucket_stride = 32;
    h->probes = 2;
    h->buckets = zeroed(64 * 32, sizeof(int32_t));
    float *centres = zeroed(64 * (int64_t)h->dim, sizeof(float));
    for (int64_t i = 0; i < 64 * (int64_t)h->dim; i++) centres[i] = (float)((int)(draw() % 64) - 32) / 64;
    h->directions = centres;
    h->label_cell = zeroed(layer->n, sizeof *h->label_cell);
}

static slide_wide make_wide(void)
{
    int64_t *indptr = zeroed(FEATURES + 1, sizeof *indptr);
    int32_t *labels = zeroed(FEATURES * LABELS, sizeof *labels);
    for (int f = 0; f < FEATURES; f++) {
        indptr[f + 1] = indptr[f];
        for (int32_t l = (int32_t)(draw() % 3); l < LABELS; l += 1 + (int32_t)(draw() % 4)) labels[indptr[f + 1]++] = l;
    }
    float *weights = zeroed(indptr[FEATURES], sizeof *weights), *bias = zeroed(LABELS, sizeof *bias);
    slide_wide wide = {.indptr = indptr, .labels = labels, .weights = weights, .bias = bias, .n_labels = LABELS};
    wide.lr_ratio = 1, wide.bias_ratio = 0.1f, wide.deep_share = 0.5f;
    return wide;
}

typedef struct {
    slide_network *net;
    const slide_examples *ex;
    int64_t n_candidates;
} question;

static void *ask(void *argument)
{
    const question *q = argument;
    slide_examples ex = *q->ex;
    ex.order = NULL;
    ex.y_indptr = NULL;
    int32_t *ids = zeroed(ROWS * K, sizeof *ids);
    float *scores = zeroed(ROWS * K, sizeof *scores);
    CHECK(slide_predict(q->net, &ex, K, q->n_candidates, 1, ids, scores) == SLIDE_OK);
    for (int i = 0; i < ROWS * K; i++) CHECK(ids[i] >= -1 && ids[i] < LABELS);
    free(ids);
    free(scores);
    return NULL;
}

/* Prediction is read-only: several callers, each with its own region, on one network. */
static void ask_together(slide_network *net, const slide_examples *ex)
{
    pthread_t threads[3];
    question exact = {net, ex, 0}, sampled = {net, ex, 100};
    pthread_create(&threads[0], NULL, ask, &exact);
    pthread_create(&threads[1], NULL, ask, &sampled);
    pthread_create(&threads[2], NULL, ask, &sampled);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

static void train_and_predict(int optimizer_kind, int hash_kind, int loss, const char *isa)
{
    int n_states = optimizer_kind == SLIDE_ADAM ? 2 : optimizer_kind == SLIDE_ADAGRAD;
    slide_examples ex = make_examples();
    slide_layer layers[] = {make_layer(SLIDE_SPARSE_INPUT, WIDTH, FEATURES, n_states),
                            make_layer(SLIDE_SAMPLED, 3 * WIDTH, WIDTH, n_states),
                            make_layer(SLIDE_DENSE, WIDTH, 3 * WIDTH, n_states),
                            make_layer(SLIDE_SAMPLED, LABELS, WIDTH, n_states)};
    layers[0].dropout = 0.2f;
    layers[0].activation = SLIDE_RELU;
    layers[1].n_active = 30, layers[1].n_random = 5;
    layers[2].activation = SLIDE_TANH;
    layers[3].n_active = 60, layers[3].n_random = 10;
    add_tables(&layers[1], hash_kind);
    add_tables(&layers[3], hash_kind);
    slide_wide wide = make_wide();
    slide_optimizer optimizer = {optimizer_kind, 0.9f, 0.999f, 1e-8f, 1e-4f};
    slide_network *net = slide_network_new(layers, 4, &wide, &optimizer, loss, 3, THREADS, isa);
    CHECK(net);
    float *lr = zeroed(ROWS, sizeof *lr), *hidden = zeroed(ROWS * 64, sizeof *hidden);
    for (int i = 0; i < ROWS; i++) lr[i] = 0.01f;
    for (uint64_t pass = 0; pass < 3; pass++) {
        slide_train_stats stats;
        CHECK(slide_rebuild(net, 1, pass, pass & 1) == SLIDE_OK && slide_rebuild(net, 3, pass, pass & 1) == SLIDE_OK);
        CHECK(slide_train(net, &ex, (int64_t)pass * ROWS, lr, 1, &stats) == SLIDE_OK);
        CHECK(isfinite(stats.loss));
    }
    slide_examples rows = ex;
    rows.order = NULL;
    CHECK(slide_hidden(net, &rows, 3, hidden, 64) == SLIDE_OK);
    ask_together(net, &ex);
    uint32_t *codes = zeroed(ROWS * 12, sizeof *codes);
    CHECK(slide_hash_codes(net, 3, hidden, ROWS, 64, codes) == SLIDE_OK);
    free(codes);
    slide_network_free(net);
}

/* Samples that share active sets. */
static void train_batches(int optimizer_kind, int loss)
{
    int n_states = optimizer_kind == SLIDE_ADAM ? 2 : optimizer_kind == SLIDE_ADAGRAD;
    slide_examples ex = make_examples();
    slide_layer layers[] = {make_layer(SLIDE_SPARSE_INPUT, WIDTH, FEATURES, n_states),
                            make_layer(SLIDE_DENSE, WIDTH, WIDTH, n_states),
                            make_layer(SLIDE_SAMPLED, LABELS, WIDTH, n_states)};
    layers[2].n_active = 60, layers[2].n_random = 10;
    add_cells(&layers[2]);
    slide_wide wide = make_wide();
    slide_optimizer optimizer = {optimizer_kind, 0.9f, 0.999f, 1e-8f, 1e-4f};
    slide_network *net = slide_network_new(layers, 3, &wide, &optimizer, loss, 3, THREADS, NULL);
    CHECK(net);
    float *lr = zeroed(ROWS, sizeof *lr);
    for (int i = 0; i < ROWS; i++) lr[i] = 0.01f;
    for (uint64_t pass = 0; pass < 3; pass++) {
        slide_train_stats stats;
        CHECK(slide_rebuild(net, 2, pass, pass & 1) == SLIDE_OK);
        CHECK(slide_train(net, &ex, (int64_t)pass * ROWS, lr, pass ? 16 : 1, &stats) == SLIDE_OK);
        CHECK(isfinite(stats.loss));
    }
    ask_together(net, &ex);
    slide_network_free(net);
}

typedef struct {
    slide_network *net;
    int layer;
} filling;

static void *fill(void *argument)
{
    const filling *f = argument;
    for (uint64_t generation = 1; generation < 5; generation++)
        CHECK(slide_rebuild(f->net, f->layer, generation, generation & 1) == SLIDE_OK);
    return NULL;
}

/* A second set of tables over the same rows, filled by a network of its own while the first trains. */
static void fill_while_training(int optimizer_kind, int hash_kind, int remembers)
{
    int n_states = optimizer_kind == SLIDE_ADAM ? 2 : optimizer_kind == SLIDE_ADAGRAD, cells = hash_kind == SLIDE_QUERY_CELLS;
    slide_examples ex = make_examples();
    slide_layer layers[] = {make_layer(SLIDE_SPARSE_INPUT, WIDTH, FEATURES, n_states),
                            make_layer(SLIDE_SAMPLED, LABELS, WIDTH, n_states)};
    layers[1].n_active = 60, layers[1].n_random = 10;
    slide_optimizer optimizer = {optimizer_kind, 0.9f, 0.999f, 1e-8f, 1e-4f};
    slide_network *nets[2];
    for (int i = 0; i < 2; i++) {
        if (cells) add_cells(&layers[1]);
        else add_tables(&layers[1], hash_kind);
        layers[1].lsh.codes = remembers ? zeroed(LABELS * layers[1].lsh.L, sizeof(uint32_t)) : NULL;
        layers[1].lsh.row_digests = remembers ? zeroed(LABELS, sizeof(uint64_t)) : NULL;
        CHECK((nets[i] = slide_network_new(layers, 2, NULL, &optimizer, SLIDE_SOFTMAX, 3, THREADS, NULL)));
        CHECK(slide_rebuild(nets[i], 1, 0, 0) == SLIDE_OK);
    }
    float *lr = zeroed(ROWS, sizeof *lr);
    for (int i = 0; i < ROWS; i++) lr[i] = 0.01f;
    filling second = {nets[1], 1};
    pthread_t thread;
    pthread_create(&thread, NULL, fill, &second);
    for (int pass = 0; pass < 3; pass++) {
        slide_train_stats stats;
        CHECK(slide_train(nets[0], &ex, pass * ROWS, lr, cells ? 16 : 1, &stats) == SLIDE_OK);
        CHECK(isfinite(stats.loss));
    }
    pthread_join(thread, NULL);
    for (int i = 0; i < 2; i++) slide_network_free(nets[i]);
}

static void parse(void)
{
    enum { LINES = 5000, CHUNKS = 16 };
    char *text = zeroed(LINES * 40 + 40, 1), *p = text;
    p += sprintf(p, "%d %d %d\n", LINES, FEATURES, LABELS);
    for (int i = 0; i < LINES; i++)
        p += sprintf(p, "%d,%d 7:0.25 3:1e-3 7:.5\n", (int)(draw() % LABELS), (int)(draw() % LABELS));
    slide_xmc_chunk *chunks = zeroed(CHUNKS, sizeof *chunks);
    slide_xmc_error error;
    slide_xmc_plan plan = {.buffer = text, .size = p - text, .n_threads = THREADS, .n_features = -1, .n_labels = -1};
    plan.chunks = chunks;
    plan.n_chunks = CHUNKS;
    CHECK(slide_xmc_scan(&plan, &error) == SLIDE_XMC_OK);
    slide_xmc_csr csr = {.indptr = zeroed(LINES + 1, 8), .label_indptr = zeroed(LINES + 1, 8)};
    csr.indices = zeroed(plan.feature_room, 4);
    csr.label_indices = zeroed(plan.label_room, 4);
    csr.data = zeroed(plan.feature_room, 4);
    CHECK(slide_xmc_fill(&plan, &csr, &error) == SLIDE_XMC_OK);
    CHECK(csr.indptr[LINES] == 2 * LINES);
}

/* Sparse rows by label: their negatives, the solver and the scores, with the bits of one thread. */
static void solve_rows(void)
{
    enum { M = 20 };
    slide_examples ex = make_examples();
    int32_t *lists = zeroed(ROWS * M, sizeof *lists), *positives = zeroed(ex.y_indptr[ROWS], sizeof *positives);
    for (int i = 0; i < ROWS * M; i++) lists[i] = i % M ? (lists[i - 1] + 1) % LABELS : (int32_t)(draw() % LABELS);
    int64_t *positive_indptr = zeroed(LABELS + 2, sizeof *positive_indptr);
    for (int64_t i = 0; i < ex.y_indptr[ROWS]; i++) positive_indptr[ex.y_indices[i] + 2]++;
    for (int l = 0; l < LABELS; l++) positive_indptr[l + 2] += positive_indptr[l + 1];
    for (int32_t r = 0; r < ROWS; r++)
        for (int64_t i = ex.y_indptr[r]; i < ex.y_indptr[r + 1]; i++)
            positives[positive_indptr[ex.y_indices[i] + 1]++] = r;
    float *first = NULL;
    for (int n_threads = 1; n_threads <= THREADS; n_threads += THREADS - 1) {
        slide_linear_shortlists shortlists = {lists, ROWS, M, ex.y_indptr, ex.y_indices, 0, LABELS, n_threads};
        int64_t *negative_indptr = zeroed(LABELS + 1, sizeof *negative_indptr), n_passes;
        CHECK(slide_linear_negatives(&shortlists, negative_indptr, NULL) == SLIDE_OK);
        int32_t *negatives = zeroed(negative_indptr[LABELS], sizeof *negatives);
        CHECK(slide_linear_negatives(&shortlists, negative_indptr, negatives) == SLIDE_OK);
        slide_linear_data data = {ex.x_indptr, ex.x_indices, ex.x_data, ROWS, FEATURES, positive_indptr, negative_indptr,
                                  positives, negatives, NULL, 0, LABELS, NULL};
        slide_linear_options options = {10, 1, 1, .1f, .05f, 20, 3, 1, n_threads};
        int64_t *indptr = zeroed(LABELS + 1, sizeof *indptr);
        float *bias = zeroed(LABELS, sizeof *bias), *z = zeroed(ROWS * M, sizeof *z);
        slide_linear_solution *solution = slide_linear_train(&data, &options, indptr, bias, &n_passes);
        CHECK(solution && n_passes >= LABELS);
        int32_t *features = zeroed(indptr[LABELS] + 1, sizeof *features);
        float *weights = zeroed(indptr[LABELS] + 1, sizeof *weights);
        slide_linear_take(solution, indptr, features, weights);
        slide_linear_free(solution);
        slide_linear_rows rows = {.indptr = indptr, .features = features, .weights = weights, .bias = bias,
                                  .n_labels = LABELS, .n_features = FEATURES};
        CHECK(slide_linear_scores(&rows, &ex, lists, M, n_threads, z) == SLIDE_OK);
        if (first) CHECK(!memcmp(first, z, ROWS * M * sizeof *z));
        first = z;
    }
}

static int shared; /* raced over by the planted race alone */

static void *plant(void *argument)
{
    (void)argument;
    for (int i = 0; i < 1000; i++) shared++;
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "planted")) {
        pthread_t thread;
        pthread_create(&thread, NULL, plant, NULL);
        plant(NULL);
        pthread_join(thread, NULL);
        return 0;
    }
    const char *const *isa = slide_isa_available();
    for (int kind = SLIDE_SGD; kind <= SLIDE_ADAM; kind++)
        train_and_predict(kind, kind % 3, kind % 2, kind % 2 ? "generic" : isa[0]);
    for (int kind = SLIDE_SGD; kind <= SLIDE_ADAM; kind++) train_batches(kind, kind % 2);
    halves = 1;
    for (int kind = SLIDE_SGD; kind <= SLIDE_ADAGRAD_ROW; kind++) {
        train_and_predict(kind, kind, kind, isa[0]);
        train_batches(kind, kind);
    }
    fill_while_training(SLIDE_ADAGRAD_ROW, SLIDE_QUERY_CELLS, 0);
    fill_while_training(SLIDE_ADAGRAD_ROW, SLIDE_SIMHASH, 1);
    halves = 0;
    fill_while_training(SLIDE_ADAGRAD, SLIDE_QUERY_CELLS, 0);
    for (int kind = SLIDE_SIMHASH; kind <= SLIDE_DWTA; kind++) fill_while_training(kind, kind, kind != SLIDE_WTA);
    parse();
    solve_rows();
    printf("four optimizers, two kinds of weights, three hash families and cells, two losses, batches, tables filled beside training, the parser, "
           "sparse rows by label: no race outside functions marked SLIDE_RACY\n");
    return 0;
}
