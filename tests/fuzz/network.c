/* network.c: fuzz target: the operations on tables, active sets and weights, on small networks that the input describes.
 *
 * The first bytes choose sizes, hash family and optimizer, within what slide/lsh/ and slide/layers.py accept; the rest
 * is a program of one-byte operations. Weights and queries come from a generator, with values at float32's limits among
 * them. What must hold: ids are within range, an active set has each neuron once and begins with the labels. */
#include <math.h>
#include <string.h>

#include "engine.h"
#include "slide.h"

const char *const fuzz_name = "network";
const char *const fuzz_words[] = {"R", "T", "A", "Q", "P", "S", "H", "RTRT", "AAAA", "SPSP"};
const int fuzz_n_words = sizeof fuzz_words / sizeof *fuzz_words;

enum { MOST_NEURONS = 300, MOST_WIDTH = 24, FEATURES = 12, MOST_LABELS = 9, MOST_K = 5 };

typedef struct {
    const uint8_t *p, *end;
    uint64_t random;
} reader;

static int take(reader *r, int low, int high)
{
    int byte = r->p < r->end ? *r->p++ : 0;
    return low + byte % (high - low + 1);
}

static uint32_t draw(reader *r)
{
    r->random = r->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(r->random >> 32);
}

static float draw_float(reader *r)
{
    static const float limits[] = {0, -0.0f, 1e-45f, 3.4e38f, -3.4e38f, 1e20f, 1, -1};
    uint32_t u = draw(r);
    return u % 16 == 0 ? limits[u / 16 % 8] : (float)(int32_t)u / 2147483648.0f;
}

static float *floats(int64_t n)
{
    void *p = NULL;
    HOLDS(posix_memalign(&p, 64, (size_t)(n ? n : 1) * sizeof(float)) == 0);
    return memset(p, 0, (size_t)n * sizeof(float));
}

typedef struct {
    slide_layer layers[2];
    slide_optimizer optimizer;
    slide_network *net;
    float *directions, *frame;
    int32_t *positions, *slots;
    int64_t step;
    uint64_t generation;
} model;

static int64_t pad(int64_t n)
{
    return (n + SLIDE_LANES - 1) / SLIDE_LANES * SLIDE_LANES;
}

static void make_rows(slide_layer *layer, int n_states, reader *r)
{
    layer->padded = pad(layer->width);
    layer->stride = layer->padded * (1 + n_states) + SLIDE_ROW_SCALARS;
    layer->rows = floats(layer->n_rows * layer->stride);
    for (int64_t i = 0; i < layer->n_rows; i++)
        for (int64_t j = 0; j < layer->width; j++) layer->rows[i * layer->stride + j] = draw_float(r);
}

static void make_tables(model *m, slide_lsh *h, int dim, int64_t n, reader *r)
{
    *h = (slide_lsh){.kind = take(r, 0, dim >= 8 ? 2 : 0), .K = take(r, 1, 6), .L = take(r, 1, 12), .dim = dim, .probes = 1};
    h->capacity = take(r, 1, 40);
    h->bucket_stride = (h->capacity + 1 + 15) / 16 * 16;
    h->policy = take(r, 0, 1);
    h->window = h->kind == SLIDE_SIMHASH ? 1 : 8;
    h->log2_window = h->kind == SLIDE_SIMHASH ? 0 : 3;
    int bits = h->K * (h->kind == SLIDE_SIMHASH ? 1 : 3), most = 1;
    while ((1 << most) < n) most++;
    h->code_bits = bits;
    h->table_bits = bits < most + 1 ? bits : most + 1;
    m->slots = calloc((size_t)h->L * (1u << h->table_bits) * (size_t)h->bucket_stride, sizeof(int32_t));
    h->buckets = m->slots;
    int hashes = h->K * h->L;
    if (h->kind == SLIDE_SIMHASH) {
        int blocks = (hashes + 63) / 64;
        h->directions = m->directions = floats((int64_t)blocks * dim * 64);
        for (int64_t i = 0; i < (int64_t)blocks * dim * 64; i++) m->directions[i] = draw(r) % 2 ? 1.0f : -1.0f;
        if (take(r, 0, 1)) {
            h->frame = m->frame = floats(2 * dim);
            for (int i = 0; i < 2 * dim; i++) m->frame[i] = draw_float(r);
        }
        return;
    }
    h->permutations = h->kind == SLIDE_DWTA ? (hashes + dim / 8 - 1) / (dim / 8) : 0;
    int64_t places = h->kind == SLIDE_DWTA ? (int64_t)h->permutations * dim : (int64_t)hashes * 8;
    h->positions = m->positions = malloc((size_t)places * sizeof(int32_t));
    for (int64_t i = 0; i < places; i++) m->positions[i] = (int32_t)(draw(r) % (uint32_t)dim);
}

static model make(reader *r)
{
    static const char *const isas[] = {NULL, "generic"};
    model m = {.optimizer = {.kind = take(r, 0, 3), .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f}};
    int n_states = m.optimizer.kind == SLIDE_ADAM ? 2 : m.optimizer.kind == SLIDE_ADAGRAD;
    int width = take(r, 1, MOST_WIDTH), n = take(r, 1, 255) + (take(r, 0, 1) ? MOST_NEURONS - 255 : 0);
    r->random = (uint64_t)take(r, 0, 255);
    slide_layer *in = &m.layers[0], *out = &m.layers[1];
    *in = (slide_layer){.kind = SLIDE_SPARSE_INPUT, .n = width, .fan_in = FEATURES, .n_rows = FEATURES + 1};
    in->activation = take(r, 0, 2);
    in->width = width;
    in->has_bias = 1;
    in->dropout = take(r, 0, 1) ? 0.5f : 0;
    *out = (slide_layer){.kind = SLIDE_SAMPLED, .n = n, .fan_in = width, .n_rows = n, .width = width, .has_bias = 1};
    out->n_active = take(r, 1, 255) % n + 1;
    out->n_random = take(r, 0, 255) % (out->n_active + 1);
    make_rows(in, n_states, r);
    make_rows(out, n_states, r);
    if (take(r, 0, 7)) make_tables(&m, &out->lsh, width + 1, n, r);
    int loss = take(r, 0, 1);
    m.net = slide_network_new(m.layers, 2, NULL, &m.optimizer, loss, 7, 1, isas[take(r, 0, 1)]);
    HOLDS(m.net);
    return m;
}

static void release(model *m)
{
    slide_network_free(m->net);
    free(m->layers[0].rows);
    free(m->layers[1].rows);
    free(m->directions);
    free(m->frame);
    free(m->positions);
    free(m->slots);
}

/* One row of features and labels, both ascending. */
typedef struct {
    int64_t xp[2], yp[2], order[1];
    int32_t x[FEATURES], y[MOST_LABELS];
    float values[FEATURES];
    slide_examples ex;
} example;

static void make_example(const model *m, reader *r, example *e)
{
    memset(e, 0, sizeof *e);
    for (int32_t f = 0; f < FEATURES; f++) {
        if (draw(r) % 2) continue;
        e->x[e->xp[1]] = f;
        e->values[e->xp[1]++] = draw_float(r);
    }
    int64_t n = m->layers[1].n;
    for (int32_t l = (int32_t)(draw(r) % 40); l < n && e->yp[1] < MOST_LABELS; l += 1 + (int32_t)(draw(r) % 60))
        e->y[e->yp[1]++] = l;
    e->ex = (slide_examples){e->xp, e->yp, e->x, e->y, e->values, e->order, 1, NULL};
}

static void check_set(const int32_t *ids, int64_t n, int64_t n_neurons, int unique)
{
    uint8_t met[MOST_NEURONS + 1] = {0};
    for (int64_t i = 0; i < n; i++) {
        if (ids[i] == -1 && !unique) continue;
        HOLDS(ids[i] >= 0 && ids[i] < n_neurons);
        HOLDS(!met[ids[i]]);
        met[ids[i]] = 1;
    }
}

static void active(model *m, reader *r)
{
    const slide_layer *out = &m->layers[1];
    example e;
    make_example(m, r, &e);
    size_t most = (size_t)(out->n_active + out->n_random + e.yp[1]);
    int32_t *ids = malloc(most * sizeof *ids);
    float *neg_log_q = malloc(most * sizeof *neg_log_q), *query = floats(pad(out->fan_in));
    for (int64_t i = 0; i < out->fan_in; i++) query[i] = draw_float(r);
    int64_t n = slide_active_inspect(m->net, 1, query, &e.ex, (uint64_t)m->step, ids, neg_log_q);
    HOLDS(n >= 0 && n <= (int64_t)most);
    check_set(ids, n, out->n, 1);
    for (int64_t i = 0; i < e.yp[1]; i++) HOLDS(ids[i] == e.y[i]);
    for (int64_t i = 0; i < n; i++) HOLDS(neg_log_q[i] >= 0 && isfinite(neg_log_q[i]));
    free(ids);
    free(neg_log_q);
    free(query);
}

static void predict(model *m, reader *r, int sampled)
{
    const slide_layer *out = &m->layers[1];
    int k = 1 + (int)(draw(r) % MOST_K);
    if (k > out->n) k = (int)out->n;
    int64_t candidates = sampled && out->lsh.L ? k + (int64_t)(draw(r) % (uint32_t)(out->n - k + 1)) : 0;
    int32_t *ids = malloc((size_t)k * sizeof *ids);
    float *scores = malloc((size_t)k * sizeof *scores);
    example e;
    make_example(m, r, &e);
    e.ex.order = NULL;
    HOLDS(slide_predict(m->net, &e.ex, k, candidates, 0, ids, scores) == SLIDE_OK);
    check_set(ids, k, out->n, 0);
    free(ids);
    free(scores);
}

static void train(model *m, reader *r)
{
    static const float rates[] = {0.05f, 1e-30f, 1e18f, 1};
    slide_train_stats stats;
    example e;
    make_example(m, r, &e);
    slide_status status = slide_train(m->net, &e.ex, m->step++, &rates[draw(r) % 4], 1, &stats);
    HOLDS(status == SLIDE_OK || status == SLIDE_NOT_FINITE);
    HOLDS((status == SLIDE_NOT_FINITE) == (stats.bad_step >= 0));
}

static void hidden(model *m, reader *r)
{
    example e;
    make_example(m, r, &e);
    e.ex.order = NULL;
    float *out = malloc((size_t)m->layers[0].n * sizeof *out);
    HOLDS(slide_hidden(m->net, &e.ex, 1, out, m->layers[0].n) == SLIDE_OK);
    free(out);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    reader r = {data, data + size, 0};
    model m = make(&r);
    for (int n = 0; r.p < r.end && n < 24; n++) {
        switch (take(&r, 0, 255)) {
        case 'R':
            if (m.layers[1].lsh.L) HOLDS(slide_rebuild(m.net, 1, m.generation++, 0) == SLIDE_OK);
            break;
        case 'T': train(&m, &r); break;
        case 'A': active(&m, &r); break;
        case 'P': predict(&m, &r, 0); break;
        case 'S': predict(&m, &r, 1); break;
        case 'H': hidden(&m, &r); break;
        default: break;
        }
    }
    release(&m);
}
