/* shard.c: the parts of a step of processes that share the rows of one network: what comes before and after the step of
 * the labels, which is that of batch.c. slide.h says in which order they are called, slide/distributed/ who does. */
#include <string.h>

#include "core/omp.h"
#include "net/batch.h"
#include "net/layer.h"
#include "net/scratch.h"

#define AT_ONCE 16 /* samples that a thread takes from the queue */

static void load(const slide_network *net, slide_scratch *s, const slide_examples *ex, int64_t first_step, int64_t i)
{
    slide_load_features(net, s, ex, ex->order[i], (uint64_t)(first_step + i), net->layers[0].dropout);
}

slide_status slide_shard_sums(slide_network *net, const slide_examples *ex, int64_t first_step, float *out, int64_t stride)
{
    slide_status status = slide_reserve_for(net, ex, 1);
    if (status) return status;
#pragma omp parallel for num_threads(net->n_threads) schedule(dynamic, AT_ONCE)
    for (int64_t i = 0; i < ex->n; i++) {
        slide_scratch *s = &net->scratch[slide_thread()];
        load(net, s, ex, first_step, i);
        slide_input_forward(net, s, &s->outputs[0]);
        memcpy(out + i * stride, s->outputs[0].val, (size_t)stride * sizeof(float));
    }
    return SLIDE_OK;
}

slide_status slide_shard_log_sums(slide_network *net, const slide_batch_plan *plan, slide_train_stats *stats)
{
    slide_train_begin(net);
#pragma omp parallel for num_threads(net->n_threads) schedule(dynamic, 1)
    for (int64_t i = 0; i < plan->n_batches; i++) {
        int64_t begin;
        int n = slide_batch_samples(plan, i, &begin);
        slide_batch_log_sums(net, &net->scratch[slide_thread()], plan, begin, n);
    }
    return slide_train_end(net, stats);
}

/* A sample whose update would leave float32 is reported and changes nothing. */
static void step(const slide_network *net, slide_scratch *s, const slide_examples *ex, int64_t first_step, int64_t i, float lr,
                 const float *d, int64_t stride)
{
    load(net, s, ex, first_step, i);
    s->outputs[0].n = net->layers[0].n;
    memcpy(s->outputs[0].grad, d, (size_t)stride * sizeof(float));
    if (slide_input_backward(net, s, &s->outputs[0], lr)) return;
    s->stats.bad_step = first_step + i;
    s->stats.bad_layer = 0;
    s->stats.bad_update = 1;
}

slide_status slide_shard_step(slide_network *net, const slide_examples *ex, int64_t first_step, const float *lr, float *d,
                              int64_t stride, slide_train_stats *stats)
{
    slide_train_begin(net);
#pragma omp parallel for num_threads(net->n_threads) schedule(dynamic, AT_ONCE)
    for (int64_t i = 0; i < ex->n; i++)
        step(net, &net->scratch[slide_thread()], ex, first_step, i, lr[i], d + i * stride, stride);
    return slide_train_end(net, stats);
}
