/* topk.h: the best k labels of a sample, kept while scores come in. */
#ifndef SLIDE_NET_TOPK_H
#define SLIDE_NET_TOPK_H

#include <math.h>
#include <stdint.h>

/* A sample's best k so far, a heap: ids[0] is the one to beat. Ties go to the lower id. */
typedef struct {
    int32_t *ids;
    float *scores;
    int k;
} slide_topk;

static inline int slide_beats(float score, int32_t id, float other, int32_t other_id)
{
    return score > other || (score == other && (other_id < 0 || id < other_id));
}

/* Puts an entry where the worst was, among the first k, so that no entry is better than its children. */
static inline void slide_topk_sift(slide_topk *t, int k, int32_t id, float score)
{
    int i = 0;
    for (int child = 1; child < k; child = 2 * i + 1) {
        if (child + 1 < k && slide_beats(t->scores[child], t->ids[child], t->scores[child + 1], t->ids[child + 1])) child++;
        if (!slide_beats(score, id, t->scores[child], t->ids[child])) break;
        t->scores[i] = t->scores[child];
        t->ids[i] = t->ids[child];
        i = child;
    }
    t->scores[i] = score;
    t->ids[i] = id;
}

static inline void slide_topk_offer(slide_topk *t, int32_t id, float score)
{
    if (slide_beats(score, id, t->scores[0], t->ids[0])) slide_topk_sift(t, t->k, id, score);
}

static inline void slide_topk_begin(slide_topk *t)
{
    for (int i = 0; i < t->k; i++) {
        t->ids[i] = -1;
        t->scores[i] = -INFINITY;
    }
}

/* Best first: the worst goes behind all others, again and again. */
static inline void slide_topk_finish(slide_topk *t)
{
    for (int last = t->k - 1; last > 0; last--) {
        int32_t id = t->ids[last], worst = t->ids[0];
        float score = t->scores[last], least = t->scores[0];
        slide_topk_sift(t, last, id, score);
        t->ids[last] = worst;
        t->scores[last] = least;
    }
}

#endif
