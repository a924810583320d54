/* kernels_body.h: the one body of every kernel, compiled once per instruction set.
 *
 * The including file sets the target pragma, V (floats per vector) and ISA (suffix of the names). Vector types are the
 * compiler's own (GCC and Clang), so the same lines become SSE2, AVX2, AVX-512 or NEON; plain loops are left to the
 * vectoriser where no sum has to be reordered. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/kernels.h"

#define PASTE2(a, b) a##_##b
#define PASTE(a, b) PASTE2(a, b)
#define NAME(f) PASTE(slide_##f, ISA)
#define STRING2(a) #a
#define STRING(a) STRING2(a)
#define ROWS_AT_ONCE (V == 16 ? 8 : 4) /* as many accumulators as the registers hold */

typedef float vec __attribute__((vector_size(V * 4)));

static inline vec NAME(splat)(float a)
{
    return a - (vec){0};
}

typedef float NAME(quarter) __attribute__((vector_size(16)));

/* A tree of halves: a chain of additions would take longer than the products did. */
static inline float NAME(hsum)(vec v)
{
    union { vec all; NAME(quarter) part[V / 4]; } u = {v};
    NAME(quarter) s = u.part[0];
    if (V == 8) s += u.part[V / 4 - 1];
    if (V == 16) s = (s + u.part[V / 8]) + (u.part[V / 16] + u.part[V / 4 - 1]);
    return (s[0] + s[2]) + (s[1] + s[3]);
}

static float NAME(dot)(const float *x, const float *y, int64_t n)
{
    vec a = {0}, b = {0}, c = {0}, d = {0};
    int64_t i = 0;
    for (; i + 4 * V <= n; i += 4 * V) {
        a += *(const vec *)(x + i) * *(const vec *)(y + i);
        b += *(const vec *)(x + i + V) * *(const vec *)(y + i + V);
        c += *(const vec *)(x + i + 2 * V) * *(const vec *)(y + i + 2 * V);
        d += *(const vec *)(x + i + 3 * V) * *(const vec *)(y + i + 3 * V);
    }
    for (; i < n; i += V) a += *(const vec *)(x + i) * *(const vec *)(y + i);
    return NAME(hsum)((a + b) + (c + d));
}

SLIDE_RACY static void NAME(axpy)(float *restrict y, float a, const float *restrict x, int64_t n)
{
    vec av = NAME(splat)(a);
    for (int64_t i = 0; i < n; i += V) *(vec *)(y + i) += av * *(const vec *)(x + i);
}

/* V weights of 8 bits as floats. */
static inline vec NAME(widen)(const int8_t *qweights)
{
#if V == 16 && defined(__x86_64__)
    return (vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)qweights)));
#elif V == 8 && defined(__x86_64__)
    return (vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)qweights)));
#else
    vec wide;
    for (int j = 0; j < V; j++) wide[j] = qweights[j];
    return wide;
#endif
}

static float NAME(dot_qweights)(const int8_t *qweights, const float *x, int64_t n)
{
    vec a = {0}, b = {0};
    int64_t i = 0;
    for (; i + 2 * V <= n; i += 2 * V) {
        a += NAME(widen)(qweights + i) * *(const vec *)(x + i);
        b += NAME(widen)(qweights + i + V) * *(const vec *)(x + i + V);
    }
    for (; i < n; i += V) a += NAME(widen)(qweights + i) * *(const vec *)(x + i);
    return NAME(hsum)(a + b);
}

#if V >= 8 && defined(__x86_64__)
/* Sums of four products each. The first instruction adds two in 16 bits, which SLIDE_LARGEST_CODE leaves room for. */
static inline __m256i NAME(products)(const uint8_t *x, const int8_t *q)
{
    __m256i pairs = _mm256_maddubs_epi16(_mm256_loadu_si256((const __m256i *)x), _mm256_loadu_si256((const __m256i *)q));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

/* Four rows at a time: their sums are added up together. */
static void NAME(dots_qweights)(int32_t *restrict out, const int8_t *restrict q, int64_t n_rows, int64_t n,
                                const uint8_t *restrict x)
{
    int64_t r = 0, whole = n / 32 * 32;
    for (; r + 4 <= n_rows; r += 4, q += 4 * n) {
        __m256i a = {0}, b = {0}, c = {0}, d = {0};
        for (int64_t i = 0; i < whole; i += 32) {
            a = _mm256_add_epi32(a, NAME(products)(x + i, q + i));
            b = _mm256_add_epi32(b, NAME(products)(x + i, q + n + i));
            c = _mm256_add_epi32(c, NAME(products)(x + i, q + 2 * n + i));
            d = _mm256_add_epi32(d, NAME(products)(x + i, q + 3 * n + i));
        }
        __m256i all = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        _mm_storeu_si128((__m128i *)(out + r),
                         _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
        for (int64_t i = whole; i < n; i++)
            for (int k = 0; k < 4; k++) out[r + k] += q[k * n + i] * x[i];
    }
    for (; r < n_rows; r++, q += n) {
        out[r] = 0;
        for (int64_t i = 0; i < n; i++) out[r] += q[i] * x[i];
    }
}
#else
static void NAME(dots_qweights)(int32_t *restrict out, const int8_t *restrict q, int64_t n_rows, int64_t n,
                                const uint8_t *restrict x)
{
    for (int64_t r = 0; r < n_rows; r++, q += n) {
        int32_t sum = 0;
        for (int64_t i = 0; i < n; i++) sum += q[i] * x[i];
        out[r] = sum;
    }
}
#endif

static void NAME(scale_dots)(float *restrict score, const int32_t *restrict dot, const int32_t *restrict sum,
                             const float *restrict scale, const float *restrict bias, float factor, float share, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        score[i] = share * (scale[i] * factor * (float)(dot[i] - SLIDE_LARGEST_CODE / 2 * sum[i]) + bias[i]);
}

SLIDE_RACY static int64_t NAME(reaching)(int32_t *restrict ids, const float *restrict score, const float *restrict error,
                                         const float *restrict length, float by_error, float by_length, float least,
                                         int64_t n)
{
    int64_t found = 0, i = 0;
#if V >= 8 && defined(__x86_64__)
    __m256 e = _mm256_set1_ps(by_error), l = _mm256_set1_ps(by_length), t = _mm256_set1_ps(least);
    for (; i + 8 <= n; i += 8) {
        __m256 s = _mm256_fmadd_ps(e, _mm256_loadu_ps(error + i), _mm256_loadu_ps(score + i));
        s = _mm256_fmadd_ps(l, _mm256_loadu_ps(length + i), s);
        for (uint32_t bits = (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(s, t, _CMP_GE_OQ)); bits; bits &= bits - 1)
            ids[found++] = (int32_t)i + __builtin_ctz(bits);
    }
#endif
    for (; i < n; i++) {
        ids[found] = (int32_t)i;
        found += score[i] + by_error * error[i] + by_length * length[i] >= least;
    }
    return found;
}

static void NAME(axpy_qweights)(float *restrict y, float a, const int8_t *restrict qweights, int64_t n)
{
    vec av = NAME(splat)(a);
    for (int64_t i = 0; i < n; i += V) *(vec *)(y + i) += av * NAME(widen)(qweights + i);
}

static void NAME(expand_qweights)(float *restrict y, float a, const int8_t *restrict qweights, int64_t n)
{
    vec av = NAME(splat)(a);
    for (int64_t i = 0; i < n; i += V) *(vec *)(y + i) = av * NAME(widen)(qweights + i);
}

typedef uint32_t uvec __attribute__((vector_size(V * 4)));
typedef uint16_t hvec __attribute__((vector_size(V * 2), may_alias));

/* Each element as the other type has it; GCC knows how since version 9. */
#if defined(__clang__) || __GNUC__ >= 9
#define CONVERTED(v, from, to) __builtin_convertvector(v, to)
#else
#define CONVERTED(v, from, to) ({ from v_ = (v); to w_; for (int j = 0; j < V; j++) w_[j] = v_[j]; w_; })
#endif

/* V weights of bfloat16 as floats. */
SLIDE_RACY static inline vec NAME(from_bf16)(const uint16_t *w)
{
    return (vec)(CONVERTED(*(const hvec *)w, hvec, uvec) << 16);
}

SLIDE_RACY static float NAME(dot_bf16)(const uint16_t *w, const float *x, int64_t n)
{
    vec a = {0}, b = {0};
    int64_t i = 0;
    for (; i + 2 * V <= n; i += 2 * V) {
        a += NAME(from_bf16)(w + i) * *(const vec *)(x + i);
        b += NAME(from_bf16)(w + i + V) * *(const vec *)(x + i + V);
    }
    for (; i < n; i += V) a += NAME(from_bf16)(w + i) * *(const vec *)(x + i);
    return NAME(hsum)(a + b);
}

SLIDE_RACY static void NAME(axpy_bf16)(float *restrict y, float a, const uint16_t *restrict w, int64_t n)
{
    vec av = NAME(splat)(a);
    for (int64_t i = 0; i < n; i += V) *(vec *)(y + i) += av * NAME(from_bf16)(w + i);
}

SLIDE_RACY static void NAME(expand_bf16)(float *restrict y, const uint16_t *restrict w, int64_t n)
{
    for (int64_t i = 0; i < n; i += V) *(vec *)(y + i) = NAME(from_bf16)(w + i);
}

SLIDE_RACY static void NAME(update_bf16)(uint16_t *restrict w, float *restrict dx, const float *restrict x, float g,
                                         float scale, float keep, uint32_t seed, int64_t n)
{
    vec gv = NAME(splat)(g), sv = NAME(splat)(scale), kv = NAME(splat)(keep);
    uvec place;
    for (uint32_t j = 0; j < V; j++) place[j] = seed + j * SLIDE_NOISE_STEP;
    for (int64_t i = 0; i < n; i += V, place += V * SLIDE_NOISE_STEP) {
        vec wi = NAME(from_bf16)(w + i);
        if (dx) *(vec *)(dx + i) += gv * wi;
        uvec noise = (place ^ place >> 16) * 0x85EBCA6Bu; /* slide_noise */
        noise = (noise ^ noise >> 13) * 0xC2B2AE35u >> 16;
        uvec bits = (uvec)(kv * wi + sv * *(const vec *)(x + i)) + noise;
        *(hvec *)(w + i) = CONVERTED(bits >> 16, uvec, hvec);
    }
}

SLIDE_RACY static void NAME(update_scaled)(float *restrict w, float *restrict dx, const float *restrict x, float g,
                                              float scale, float keep, int64_t n)
{
    vec gv = NAME(splat)(g), sv = NAME(splat)(scale), kv = NAME(splat)(keep);
    if (!dx) {
        for (int64_t i = 0; i < n; i += V) *(vec *)(w + i) = kv * *(vec *)(w + i) + sv * *(const vec *)(x + i);
        return;
    }
    for (int64_t i = 0; i < n; i += V) {
        vec wi = *(vec *)(w + i);
        *(vec *)(dx + i) += gv * wi;
        *(vec *)(w + i) = kv * wi + sv * *(const vec *)(x + i);
    }
}

SLIDE_RACY static void NAME(update_adagrad)(float *restrict w, float *restrict s, float *restrict dx,
                                               const float *restrict x, float g, float lr, float eps, float keep,
                                               int64_t n)
{
    if (dx) NAME(axpy)(dx, g, w, n);
    for (int64_t i = 0; i < n; i++) {
        float gi = g * x[i];
        s[i] += gi * gi;
        w[i] = keep * w[i] - lr * gi / (sqrtf(s[i]) + eps);
    }
}

SLIDE_RACY static void NAME(update_adam)(float *restrict w, float *restrict m, float *restrict v, float *restrict dx,
                                            const float *restrict x, float g, const slide_adam_step *c, int64_t n)
{
    if (dx) NAME(axpy)(dx, g, w, n);
    const slide_adam_step k = *c;
    for (int64_t i = 0; i < n; i++) {
        float gi = g * x[i];
        m[i] = k.beta1 * m[i] + (1 - k.beta1) * gi;
        v[i] = k.beta2 * v[i] + (1 - k.beta2) * gi * gi;
        w[i] = k.keep * w[i] - k.step * m[i] / (sqrtf(v[i] * k.root) + k.eps);
    }
}

static float NAME(max)(const float *z, int64_t n)
{
    float m[V];
    for (int j = 0; j < V; j++) m[j] = z[j];
    for (int64_t i = V; i < n; i += V)
        for (int j = 0; j < V; j++) m[j] = z[i + j] > m[j] ? z[i + j] : m[j];
    float r = m[0];
    for (int j = 1; j < V; j++) r = m[j] > r ? m[j] : r;
    return r;
}

/* exp by 2^round(x log2 e) times a degree-6 polynomial on [-ln 2 / 2, ln 2 / 2]; relative error under 2.5e-7. Arguments
 * under -87 give 0, NaN stays NaN. The coefficients are Taylor's, which suffice at this width. */
static inline float NAME(exp)(float x)
{
    float clipped = x < -87.0f ? -87.0f : x;
    union {
        float f;
        uint32_t i;
    } rounded = {.f = clipped * 1.44269504f + 12582912.0f}; /* 1.5 * 2^23: k in the low bits, to nearest */
    float k = rounded.f - 12582912.0f;
    float r = clipped - k * 0.693145752f - k * 1.42860677e-6f;
    float p = 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1;
    p = p * r + 1;
    rounded.i = (rounded.i - 0x4B400000u + 127u) << 23; /* the bits of 2^k */
    return x < -87.0f ? 0.0f : p * rounded.f;
}

static float NAME(exp_sum)(float *z, float shift, int64_t n)
{
    for (int64_t i = 0; i < n; i++) z[i] = NAME(exp)(z[i] - shift);
    vec s = {0};
    for (int64_t i = 0; i < n; i += V) s += *(const vec *)(z + i);
    return NAME(hsum)(s);
}

/* From e = exp(-2 |z|), which is at most 1; near 0, where 1 - e would lose digits, by Taylor's polynomial. Relative error
 * under 1e-6. */
static void NAME(tanh)(float *z, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float a = fabsf(z[i]), s = a * a, e = NAME(exp)(-2 * a);
        float near = a * (1 + s * (-1.0f / 3 + s * (2.0f / 15 + s * (-17.0f / 315))));
        float far = (1 - e) / (1 + e);
        z[i] = copysignf(a < 0.25f ? near : far, z[i]);
    }
}

static void NAME(softmax_lanes)(float *restrict z, int64_t n, const float *restrict weight, float *restrict shift,
                                float *restrict sum)
{
    enum { Q = SLIDE_TILE_QUERIES };
    float largest[Q], total[Q], scale[Q];
    for (int q = 0; q < Q; q++) largest[q] = -INFINITY, total[q] = 0;
    for (int64_t k = 0; k < n; k++)
        for (int q = 0; q < Q; q++) largest[q] = z[k * Q + q] > largest[q] ? z[k * Q + q] : largest[q];
    for (int64_t k = 0; k < n; k++)
        for (int q = 0; q < Q; q++) {
            float e = NAME(exp)(z[k * Q + q] - largest[q]);
            z[k * Q + q] = e;
            total[q] += e;
        }
    for (int q = 0; q < Q; q++) scale[q] = weight[q] / total[q];
    for (int64_t k = 0; k < n; k++)
        for (int q = 0; q < Q; q++) z[k * Q + q] *= scale[q];
    memcpy(shift, largest, sizeof largest);
    memcpy(sum, total, sizeof total);
}

static void NAME(project)(float *restrict acc, const float *restrict directions, const float *restrict x, int64_t dim)
{
    enum { M = SLIDE_DIRECTION_BLOCK / V };
    for (int half = 0; half < M; half += (M > 8 ? 8 : M)) { /* narrow vectors: as many accumulators as registers */
        enum { R = M > 8 ? 8 : M };
        vec a[R];
        for (int j = 0; j < R; j++) a[j] = *(const vec *)(acc + (half + j) * V);
        for (int64_t d = 0; d < dim; d++) {
            vec xv = NAME(splat)(x[d]);
            const float *row = directions + d * SLIDE_DIRECTION_BLOCK + half * V;
            for (int j = 0; j < R; j++) a[j] += xv * *(const vec *)(row + j * V);
        }
        for (int j = 0; j < R; j++) *(vec *)(acc + (half + j) * V) = a[j];
    }
}

static void NAME(project_rows)(float *restrict acc, int64_t acc_stride, const float *restrict directions,
                               const float *restrict x, int64_t x_stride, int64_t dim)
{
    enum { N = SLIDE_PROJECT_ROWS, W = V == 16 ? 4 : 2 }; /* N * W accumulators fill the registers */
    for (int j0 = 0; j0 < SLIDE_DIRECTION_BLOCK; j0 += W * V) {
        vec a[N][W];
        for (int r = 0; r < N; r++)
            for (int j = 0; j < W; j++) a[r][j] = (vec){0};
        for (int64_t d = 0; d < dim; d++) {
            const float *row = directions + d * SLIDE_DIRECTION_BLOCK + j0;
            for (int r = 0; r < N; r++) {
                vec xv = NAME(splat)(x[r * x_stride + d]);
                for (int j = 0; j < W; j++) a[r][j] += xv * *(const vec *)(row + j * V);
            }
        }
        for (int r = 0; r < N; r++)
            for (int j = 0; j < W; j++) *(vec *)(acc + r * acc_stride + j0 + j * V) = a[r][j];
    }
}

static void NAME(keep_larger)(float *restrict best, float *restrict at, const float *restrict z, float place, int64_t n)
{
    vec here = NAME(splat)(place);
    for (int64_t i = 0; i < n; i += V) {
        vec *b = (vec *)(best + i), *a = (vec *)(at + i);
        uvec new = (uvec)(*(const vec *)(z + i) > *b); /* all bits or none: a branch would be guessed wrong */
        *b = (vec)((new & (uvec) * (const vec *)(z + i)) | (~new & (uvec)*b));
        *a = (vec)((new & (uvec)here) | (~new & (uvec)*a));
    }
}

/* Every pass reads halves and writes pairs (Pease, J. ACM 1968): one geometry, wide vectors in all of them. */
static void NAME(hadamard)(float *restrict y, float *restrict x, int64_t n)
{
    float *from = x, *to = y;
    for (int64_t done = 1; done < n; done *= 2) {
        const float *restrict low = from, *restrict high = from + n / 2;
        float *restrict out = to;
        for (int64_t j = 0; j < n / 2; j++) {
            float a = low[j], b = high[j];
            out[2 * j] = a + b;
            out[2 * j + 1] = a - b;
        }
        float *other = from;
        from = to;
        to = other;
    }
    if (from != y) memcpy(y, from, (size_t)n * sizeof *y);
}

static void NAME(tile)(float *restrict out, int64_t out_stride, const float *restrict rows, int64_t row_stride,
                       int64_t row_step, const float *restrict queries, int64_t query_stride, int64_t n)
{
    enum { R = ROWS_AT_ONCE, Q = SLIDE_TILE_QUERIES };
    for (int r0 = 0; r0 < SLIDE_TILE_ROWS; r0 += R)
        for (int q0 = 0; q0 < Q; q0 += 2 * V) {
            vec a[R][2];
            for (int r = 0; r < R; r++) a[r][0] = a[r][1] = (vec){0};
            const float *w = rows + r0 * row_stride, *x = queries + q0;
            for (int64_t i = 0; i < n; i++, w += row_step, x += query_stride) {
                vec x0 = *(const vec *)x, x1 = *(const vec *)(x + V);
                for (int r = 0; r < R; r++) {
                    vec wv = NAME(splat)(w[r * row_stride]);
                    a[r][0] += wv * x0;
                    a[r][1] += wv * x1;
                }
            }
            for (int r = 0; r < R; r++) {
                *(vec *)(out + (r0 + r) * out_stride + q0) = a[r][0];
                *(vec *)(out + (r0 + r) * out_stride + q0 + V) = a[r][1];
            }
        }
}

/* Bit j: whether score[j] + bias[j] is over -1, for V labels. */
SLIDE_RACY static inline uint32_t NAME(over)(const float *score, const float *bias)
{
#if V == 16 && defined(__x86_64__)
    __m512 z = _mm512_add_ps(_mm512_loadu_ps(score), _mm512_loadu_ps(bias));
    return _mm512_cmp_ps_mask(z, _mm512_set1_ps(-1), _CMP_GT_OQ);
#elif V == 8 && defined(__x86_64__)
    __m256 z = _mm256_add_ps(_mm256_loadu_ps(score), _mm256_loadu_ps(bias));
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(z, _mm256_set1_ps(-1), _CMP_GT_OQ));
#else
    uint32_t bits = 0;
    for (int j = 0; j < V; j++) bits |= (uint32_t)(score[j] + bias[j] > -1) << j;
    return bits;
#endif
}

SLIDE_RACY static int64_t NAME(margin_violators)(float *restrict score, const float *restrict bias, int64_t n,
                                                 int32_t first, int32_t *restrict ids, float *restrict gradient)
{
    int64_t found = 0, i = 0;
    for (; i + V <= n; i += V) {
        for (uint32_t bits = NAME(over)(score + i, bias + i); bits; bits &= bits - 1, found++) {
            int j = __builtin_ctz(bits);
            ids[found] = first + (int32_t)(i + j);
            gradient[found] = 2 * (1 + (score[i + j] + bias[i + j]));
        }
        memset(score + i, 0, V * sizeof *score);
    }
    for (; i < n; i++) {
        float z = score[i] + bias[i];
        ids[found] = first + (int32_t)i; /* overwritten unless it is over */
        gradient[found] = 2 * (1 + z);
        found += z > -1;
        score[i] = 0;
    }
    return found;
}

/* Only weights of labels with a gradient are written: the others' cache lines stay as they are on other cores. */
SLIDE_RACY static void NAME(step_pairs)(float *restrict weights, const int32_t *restrict labels, int64_t n,
                                        const float *restrict gradient, float step)
{
    int64_t p = 0;
#if V == 16 && defined(__x86_64__)
    for (; p + V <= n; p += V) {
        __m512 g = _mm512_i32gather_ps(_mm512_loadu_si512(labels + p), gradient, 4);
        if (!_mm512_cmp_ps_mask(g, _mm512_setzero_ps(), _CMP_NEQ_UQ)) continue;
        __m512 w = _mm512_loadu_ps(weights + p);
        _mm512_storeu_ps(weights + p, _mm512_sub_ps(w, _mm512_mul_ps(_mm512_set1_ps(step), g)));
    }
#elif V == 8 && defined(__x86_64__)
    for (; p + V <= n; p += V) {
        __m256 g = _mm256_i32gather_ps(gradient, _mm256_loadu_si256((const __m256i *)(labels + p)), 4);
        if (!_mm256_movemask_ps(_mm256_cmp_ps(g, _mm256_setzero_ps(), _CMP_NEQ_UQ))) continue;
        __m256 w = _mm256_loadu_ps(weights + p);
        _mm256_storeu_ps(weights + p, _mm256_sub_ps(w, _mm256_mul_ps(_mm256_set1_ps(step), g)));
    }
#endif
    for (; p < n; p++) {
        float g = gradient[labels[p]];
        if (g != 0) weights[p] -= step * g;
    }
}

const slide_kernels NAME(kernels) = {
    .name = STRING(ISA),
    .dot = NAME(dot),
    .axpy = NAME(axpy),
    .dot_qweights = NAME(dot_qweights),
    .axpy_qweights = NAME(axpy_qweights),
    .dots_qweights = NAME(dots_qweights),
    .scale_dots = NAME(scale_dots),
    .reaching = NAME(reaching),
    .expand_qweights = NAME(expand_qweights),
    .dot_bf16 = NAME(dot_bf16),
    .axpy_bf16 = NAME(axpy_bf16),
    .expand_bf16 = NAME(expand_bf16),
    .update_bf16 = NAME(update_bf16),
    .update_scaled = NAME(update_scaled),
    .update_adagrad = NAME(update_adagrad),
    .update_adam = NAME(update_adam),
    .exp_sum = NAME(exp_sum),
    .tanh = NAME(tanh),
    .softmax_lanes = NAME(softmax_lanes),
    .max = NAME(max),
    .project = NAME(project),
    .project_rows = NAME(project_rows),
    .keep_larger = NAME(keep_larger),
    .hadamard = NAME(hadamard),
    .tile = NAME(tile),
    .margin_violators = NAME(margin_violators),
    .step_pairs = NAME(step_pairs),
};
