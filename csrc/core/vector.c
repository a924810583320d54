/* vector.c: room for vectors, and their largest number. */
#include "core/vector.h"

#include <stdlib.h>
#include <string.h>

void slide_activations_free(slide_activations *v)
{
    free(v->ids);
    slide_free(v->val, v->capacity * (int64_t)sizeof(float));
    slide_free(v->grad, v->capacity * (int64_t)sizeof(float));
    memset(v, 0, sizeof *v);
}

slide_status slide_activations_new(slide_activations *v, int64_t capacity, int sparse, int64_t n)
{
    capacity = slide_pad(capacity);
    v->n = n;
    v->capacity = capacity;
    v->val = slide_alloc(capacity * (int64_t)sizeof(float));
    v->grad = slide_alloc(capacity * (int64_t)sizeof(float));
    v->ids = sparse ? malloc((size_t)capacity * sizeof(int32_t)) : NULL;
    return v->val && v->grad && (v->ids || !sparse) ? SLIDE_OK : SLIDE_NO_MEMORY;
}

float slide_magnitude(const float *x, int64_t n)
{
    int32_t most = 0; /* without their sign, floats are ordered as their bits are, NaN last */
    for (int64_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= INT32_MAX;
        most = bits > most ? bits : most;
    }
    float magnitude;
    memcpy(&magnitude, &most, sizeof magnitude);
    return magnitude;
}
