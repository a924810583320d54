/* kernels.h: the leaves: loops over one or a few rows, one set per instruction set, chosen once per network.
 *
 * Lengths n are multiples of SLIDE_LANES and padding is zero, so no kernel has a remainder loop. Pointers are 64-byte
 * aligned unless said otherwise. Bodies: kernels_body.h. Choice: dispatch.c. */
#ifndef SLIDE_KERNELS_KERNELS_H
#define SLIDE_KERNELS_KERNELS_H

#include "core/types.h"

#define SLIDE_TILE_QUERIES 32 /* queries scored together by tile(), one per lane */
#define SLIDE_TILE_ROWS 8 /* with 32 queries 16 accumulators of 16 floats, half of the registers */
#define SLIDE_DIRECTION_BLOCK 64 /* directions side by side: four registers of 16 floats */
#define SLIDE_PROJECT_ROWS 4 /* vectors that share a read of the directions */

#define SLIDE_LARGEST_CODE 128 /* 128 * 127 twice is less than 2^15, 128 * -128 twice just as much */

/* 16 random bits for the i-th weight of a row, the same on every instruction set; seed differs with row and step. */
#define SLIDE_NOISE_STEP 0x9E3779B9u /* 2^32 over the golden ratio (Knuth, TAOCP 6.4); the mix is MurmurHash3's */
static inline uint32_t slide_noise(uint32_t seed, uint32_t i)
{
    uint32_t h = seed + i * SLIDE_NOISE_STEP;
    h = (h ^ h >> 16) * 0x85EBCA6Bu;
    return (h ^ h >> 13) * 0xC2B2AE35u >> 16;
}

/* Adam's coefficients for one row at one step: bias corrections follow the row's own count of updates. */
typedef struct {
    float beta1, beta2, step, root, eps, keep; /* step = lr / (1 - beta1^t), root = 1 / (1 - beta2^t), keep = 1 - lr wd */
} slide_adam_step;

typedef struct slide_kernels {
    const char *name;
    float (*dot)(const float *x, const float *y, int64_t n);
    /* y += a x */
    void (*axpy)(float *y, float a, const float *x, int64_t n);
    /* The optimizer's row updates, where HOGWILD's races are intended (Niu et al., NIPS 2011). Row w has gradient
     * g * x; dx (may be NULL) receives g * w from before the update. */
    void (*update_scaled)(float *w, float *dx, const float *x, float g, float scale, float keep, int64_t n);
    void (*update_adagrad)(float *w, float *s, float *dx, const float *x, float g, float lr, float eps, float keep,
                           int64_t n);
    void (*update_adam)(float *w, float *m, float *v, float *dx, const float *x, float g, const slide_adam_step *c,
                        int64_t n);
    /* z[i] = exp(z[i] - shift), returns the sum */
    float (*exp_sum)(float *z, float shift, int64_t n);
    /* z[i] = tanh(z[i]) */
    void (*tanh)(float *z, int64_t n);
    float (*max)(const float *z, int64_t n);
    /* acc[64] += x . directions[dim][64], in the order of the coordinates: directions are small integers and x leaves
     * room for their digits, so every product is exact and sums are the same bits with or without fused multiply-add,
     * on every instruction set */
    void (*project)(float *acc, const float *directions, const float *x, int64_t dim);
    /* the same for SLIDE_PROJECT_ROWS vectors at once, x and acc that many strides apart: directions are read once */
    void (*project_rows)(float *acc, int64_t acc_stride, const float *directions, const float *x, int64_t x_stride,
                         int64_t dim);
    /* Where z[i] is larger than best[i]: best[i] = z[i], at[i] = place */
    void (*keep_larger)(float *best, float *at, const float *z, float place, int64_t n);
    /* y = Walsh-Hadamard transform of x, which is overwritten; n is a power of two. Each sum has two terms. */
    void (*hadamard)(float *y, float *x, int64_t n);
    /* out[r][q] = sum over i < n of rows[r * row_stride + i * row_step] * queries[i * query_stride + q], for
     * SLIDE_TILE_ROWS rows and SLIDE_TILE_QUERIES queries */
    void (*tile)(float *out, int64_t out_stride, const float *rows, int64_t row_stride, int64_t row_step,
                 const float *queries, int64_t query_stride, int64_t n);
    /* Softmax over n rows of SLIDE_TILE_QUERIES lanes, each lane for itself: z = weight e^(z - shift) / sum, with shift
     * the lane's largest z and sum that of the exponentials */
    void (*softmax_lanes)(float *z, int64_t n, const float *weight, float *shift, float *sum);
    /* Lists the labels first + i with z = score[i] + bias[i] over -1 and their 2 (1 + z), zeroes the scores, returns how
     * many; ids and gradient have room for one more. */
    int64_t (*margin_violators)(float *score, const float *bias, int64_t n, int32_t first, int32_t *ids, float *gradient);
    /* Rows of 8-bit weights, whose scale is the caller's (n and alignment as ever, but they may lie anywhere): the inner
     * product with x; y += a q; y = a q */
    float (*dot_qweights)(const int8_t *q, const float *x, int64_t n);
    void (*axpy_qweights)(float *y, float a, const int8_t *q, int64_t n);
    void (*expand_qweights)(float *y, float a, const int8_t *q, int64_t n);
    /* out[r] = q[r] . x for n_rows rows of n, exact integers; x of 0 to SLIDE_LARGEST_CODE, anywhere */
    void (*dots_qweights)(int32_t *out, const int8_t *q, int64_t n_rows, int64_t n, const uint8_t *x);
    /* Bounds of n scores (net/filter.c), any n, anywhere: score[i] = share * (scale[i] * factor * (dot[i] - SLIDE_LARGEST_CODE / 2
     * * sum[i]) + bias[i]); and which of them can reach `least`: lists the i with score[i] + by_error * error[i] + by_length *
     * length[i] of it or more, with room for one id beyond, and returns how many */
    void (*scale_dots)(float *score, const int32_t *dot, const int32_t *sum, const float *scale, const float *bias,
                       float factor, float share, int64_t n);
    int64_t (*reaching)(int32_t *ids, const float *score, const float *error, const float *length, float by_error,
                        float by_length, float least, int64_t n);
    /* Rows of bfloat16 (the upper half of a float32): the inner product with x; y += a w; y = w */
    float (*dot_bf16)(const uint16_t *w, const float *x, int64_t n);
    void (*axpy_bf16)(float *y, float a, const uint16_t *w, int64_t n);
    void (*expand_bf16)(float *y, const uint16_t *w, int64_t n);
    /* As update_scaled. What is lost below the 16 bits is rounded up with the chance that it is of a step (stochastic
     * rounding: Gupta et al., ICML 2015), by slide_noise of the weight's place and the seed, so small steps add up. */
    void (*update_bf16)(uint16_t *w, float *dx, const float *x, float g, float scale, float keep, uint32_t seed,
                        int64_t n);
    /* weights[p] -= step * gradient[labels[p]] */
    void (*step_pairs)(float *weights, const int32_t *labels, int64_t n, const float *gradient, float step);
} slide_kernels;

/* NULL name: the best this processor runs. An unknown or unusable name gives NULL. */
const slide_kernels *slide_kernels_get(const char *name);

/* Instruction sets compiled in and usable here; NULL-terminated names, best first. */
const char *const *slide_isa_available(void);

#endif
