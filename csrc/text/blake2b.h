/* blake2b.h: 64 bits that stand for a feature's text, the same on every machine: slide/text/features.py's feature_hash and mix. */
#ifndef SLIDE_TEXT_BLAKE2B_H
#define SLIDE_TEXT_BLAKE2B_H

#include <stdint.h>

/* BLAKE2b (RFC 7693) of 8 bytes, little-endian, of n bytes; mark: one byte that goes before them, or 0 for none. */
uint64_t slide_text_hash(char mark, const char *bytes, int64_t n);

/* A pair's hash from its words': the finaliser of splitmix64 (Steele et al., OOPSLA 2014) over a sum of both. */
static inline uint64_t slide_text_mix(uint64_t left, uint64_t right)
{
    uint64_t z = left * 0x9E3779B97F4A7C15u + right;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

#endif
