/* xmc_number.c: decimal text to float32, correctly rounded, without strtod (which follows the locale).
 *
 * Three steps, from the common to the rare (the first is W. Clinger's, PLDI 1990):
 *   1. at most 24 bits of digits and a power of ten that float32 holds exactly: one rounded division or product;
 *   2. otherwise the same in double, good to a few units in its last place, which settles every number that does not
 *      lie that close to the middle between two neighbouring floats;
 *   3. the rest are compared with that middle exactly, in integers of fixed size. */
#include "parse/xmc_number.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FLOAT_DIGITS_MAX (1u << 24)    /* integers up to here are floats */
#define MANTISSA_FULL 1000000000000000000u /* below it one more digit fits into 64 bits */
#define EXPONENT_MAX 1000000000000000  /* where a written exponent stops counting: longer than any file */
#define DIGITS_KEPT 128                /* no middle between two floats has more than 113 significant digits */
#define WORDS 40                       /* 1280 bits; the largest product below takes about 720 */

static const float FLOAT_POWER[] = {1e0f, 1e1f, 1e2f, 1e3f, 1e4f, 1e5f, 1e6f, 1e7f, 1e8f, 1e9f, 1e10f};
static const double DOUBLE_POWER[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* A decimal as read: mantissa * 10^exponent, where `mantissa` lacks the digits after the 19th. */
typedef struct {
    const char *digits, *digits_end; /* digits and point, for the exact comparison */
    int64_t written_exponent;        /* what stands behind the e */
    uint64_t mantissa;
    int64_t exponent;
} decimal;

typedef struct {
    uint32_t word[WORDS]; /* least first */
    int n;
} integer;

static bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

static void multiply_add(integer *a, uint32_t factor, uint32_t addend)
{
    uint64_t carry = addend;
    for (int i = 0; i < a->n; i++) {
        carry += (uint64_t)a->word[i] * factor;
        a->word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry) a->word[a->n++] = (uint32_t)carry;
}

static void multiply_power(integer *a, uint32_t base, int64_t exponent)
{
    for (; exponent > 0; exponent--) multiply_add(a, base, 0);
}

static int compare(const integer *a, const integer *b)
{
    if (a->n != b->n) return a->n < b->n ? -1 : 1;
    for (int i = a->n - 1; i >= 0; i--)
        if (a->word[i] != b->word[i]) return a->word[i] < b->word[i] ? -1 : 1;
    return 0;
}

/* All digits that can matter as an integer; whatever non-zero follows them becomes one last 1. */
static integer gather_digits(const decimal *d, int64_t *exponent)
{
    integer a = {.n = 0};
    int used = 0;
    bool behind_point = false, rest = false;
    *exponent = d->written_exponent;
    for (const char *p = d->digits; p < d->digits_end; p++) {
        if (*p == '.') {
            behind_point = true;
        } else if (used < DIGITS_KEPT) {
            if (used || *p != '0') used++;
            multiply_add(&a, 10, (uint32_t)(*p - '0'));
            *exponent -= behind_point;
        } else {
            rest |= *p != '0';
            *exponent += !behind_point;
        }
    }
    if (rest) {
        multiply_add(&a, 10, 1);
        *exponent -= 1;
    }
    return a;
}

/* Sign of (the decimal - middle), exactly. middle is a positive normal double. */
static int compare_exactly(const decimal *d, double middle)
{
    uint64_t bits;
    memcpy(&bits, &middle, sizeof bits);
    uint64_t m = (bits & 0xfffffffffffffu) | 0x10000000000000u;
    int64_t exponent2 = (int64_t)(bits >> 52) - 1075, exponent10;
    for (; !(m & 1); m >>= 1) exponent2++;

    integer text = gather_digits(d, &exponent10);
    integer mid = {.n = 1, .word = {(uint32_t)m}}; /* halfway between two floats: 25 bits */
    multiply_power(&text, 10, exponent10);
    multiply_power(&mid, 10, -exponent10);
    multiply_power(&text, 2, -exponent2);
    multiply_power(&mid, 2, exponent2);
    return compare(&text, &mid);
}

/* The float with these bits as a double; the one behind the largest counts as 2^128. */
static double widened(uint32_t bits)
{
    float f;
    if (bits == 0x7f800000u) return 0x1p128;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Bits of the float32 nearest to the decimal, given an approximation good to 16 units in its last place. */
static uint32_t nearest(const decimal *d, double approximation)
{
    float f = (float)approximation;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (f > approximation) bits--;
    double middle = 0.5 * (widened(bits) + widened(bits + 1)), slack = approximation * 0x1p-48;
    if (approximation < middle - slack) return bits;
    if (approximation > middle + slack) return bits + 1;
    int side = compare_exactly(d, middle);
    return bits + (side > 0 || (side == 0 && (bits & 1)));
}

static slide_xmc_number round_decimal(const decimal *d, float *out)
{
    int64_t e = d->exponent;
    if (d->mantissa <= FLOAT_DIGITS_MAX && e >= -10 && e <= 10) {
        *out = e < 0 ? (float)d->mantissa / FLOAT_POWER[-e] : (float)d->mantissa * FLOAT_POWER[e];
        return SLIDE_XMC_NUMBER;
    }
    *out = 0;
    if (d->mantissa == 0 || e < -70) return SLIDE_XMC_NUMBER; /* under 2e-51: nearest to zero */
    if (e > 40) return SLIDE_XMC_NUMBER_TOO_LARGE;
    double approximation = (double)d->mantissa;
    for (; e > 22; e -= 22) approximation *= 1e22;
    for (; e < -22; e += 22) approximation /= 1e22;
    approximation = e < 0 ? approximation / DOUBLE_POWER[-e] : approximation * DOUBLE_POWER[e];
    uint32_t bits = nearest(d, approximation);
    if (bits >= 0x7f800000u) return SLIDE_XMC_NUMBER_TOO_LARGE;
    memcpy(out, &bits, sizeof bits);
    return SLIDE_XMC_NUMBER;
}

/* Reads digits into the mantissa, `step` (0 before the point, 1 after it) moving the exponent. */
static const char *read_digits(const char *p, const char *end, int step, decimal *d)
{
    for (; p < end && is_digit(*p); p++) {
        if (d->mantissa < MANTISSA_FULL) {
            d->mantissa = d->mantissa * 10 + (uint64_t)(*p - '0');
            d->exponent -= step;
        } else {
            d->exponent += 1 - step;
        }
    }
    return p;
}

/* Reads what follows the e; NULL if that is no whole number. */
static const char *read_exponent(const char *p, const char *end, decimal *d)
{
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+')) p++;
    if (p == end || !is_digit(*p)) return NULL;
    int64_t e = 0;
    for (; p < end && is_digit(*p); p++)
        if (e < EXPONENT_MAX) e = e * 10 + (*p - '0');
    d->written_exponent = negative ? -e : e;
    d->exponent += d->written_exponent;
    return p;
}

slide_xmc_number slide_xmc_float(const char *p, const char *end, float *out)
{
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+')) p++;
    decimal d = {.digits = p};
    p = read_digits(p, end, 0, &d);
    int64_t n_digits = p - d.digits;
    if (p < end && *p == '.') {
        const char *fraction = p + 1;
        p = read_digits(fraction, end, 1, &d);
        n_digits += p - fraction;
    }
    d.digits_end = p;
    if (n_digits && p < end && (*p == 'e' || *p == 'E')) p = read_exponent(p + 1, end, &d);
    if (!n_digits || p != end) return SLIDE_XMC_NO_NUMBER;
    float f;
    slide_xmc_number result = round_decimal(&d, &f);
    if (result == SLIDE_XMC_NUMBER) *out = negative ? -f : f;
    return result;
}
