/* engine.h: what a fuzz target gives to engine.c. */
#ifndef SLIDE_FUZZ_ENGINE_H
#define SLIDE_FUZZ_ENGINE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

extern const char *const fuzz_name;
extern const char *const fuzz_words[]; /* what mutations insert */
extern const int fuzz_n_words;

/* Runs one input; the data may be read up to its size only. */
void fuzz_one(const uint8_t *data, size_t size);

/* A property that must hold whatever the input. */
#define HOLDS(condition)                                                                        \
    do {                                                                                        \
        if (!(condition)) {                                                                     \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);      \
            abort();                                                                            \
        }                                                                                       \
    } while (0)

#endif
