/* number.c: fuzz target: decimal text to float32 (csrc/parse/xmc_number.c) beside the C library's strtof, which rounds
 * correctly too, in the "C" locale in which a program starts. */
#include <math.h>
#include <string.h>

#include "engine.h"
#include "parse/xmc_number.h"

const char *const fuzz_name = "number";
const char *const fuzz_words[] = {"0",  "9",   "1",    "5",   ".",    "e",    "E",     "-",        "+",       "00000000",
                                  "e-", "e38", "e-45", "e39", "e-46", "4999", "50000", "16777217", "3.40282", "1.17549"};
const int fuzz_n_words = sizeof fuzz_words / sizeof *fuzz_words;

void fuzz_one(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *end;
    float ours = 0;
    memcpy(text, data, size);
    slide_xmc_number result = slide_xmc_float(text, text + size, &ours);
    text[size] = 0; /* written only now: it is not ours to read */
    if (result != SLIDE_XMC_NO_NUMBER) {
        float theirs = strtof(text, &end);
        HOLDS(end == text + size);
        if (result == SLIDE_XMC_NUMBER)
            HOLDS(!memcmp(&ours, &theirs, sizeof ours));
        else
            HOLDS(isinf(theirs));
    }
    free(text);
}
