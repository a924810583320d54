/* xmc_number.h: decimal text to float32, correctly rounded and blind to the locale; used by xmc.c. */
#ifndef SLIDE_PARSE_XMC_NUMBER_H
#define SLIDE_PARSE_XMC_NUMBER_H

typedef enum { SLIDE_XMC_NUMBER, SLIDE_XMC_NUMBER_TOO_LARGE, SLIDE_XMC_NO_NUMBER } slide_xmc_number;

/* Reads all of [p, end) as [+-]digits[.digits][e[+-]digits] (a digit before or after the point is enough). The result
 * is the float32 nearest to the exact decimal, ties to even, for any number of digits; *out is set only on
 * SLIDE_XMC_NUMBER. "nan" and "inf" are no numbers here. */
slide_xmc_number slide_xmc_float(const char *p, const char *end, float *out);

#endif
