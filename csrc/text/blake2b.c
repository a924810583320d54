/* blake2b.c: BLAKE2b as RFC 7693 has it, without a key, of which only the first word of the result is wanted. */
#include <string.h>

#include "text/blake2b.h"

#define BLOCK 128
#define ROUNDS 12
#define DIGEST_BYTES 8

static const uint64_t IV[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
                               0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};

static const uint8_t SIGMA[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static inline uint64_t rotated(uint64_t x, int n)
{
    return x >> n | x << (64 - n);
}

static inline uint64_t little_endian(uint64_t x)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(x);
#else
    return x;
#endif
}

#define G(a, b, c, d, x, y)         \
    do {                            \
        a += b + x;                 \
        d = rotated(d ^ a, 32);     \
        c += d;                     \
        b = rotated(b ^ c, 24);     \
        a += b + y;                 \
        d = rotated(d ^ a, 16);     \
        c += d;                     \
        b = rotated(b ^ c, 63);     \
    } while (0)

/* h takes in one block; so many bytes of the message have been seen with it. */
static void compress(uint64_t h[8], const unsigned char block[BLOCK], uint64_t seen, int is_last)
{
    uint64_t v[16], m[16];
    memcpy(m, block, BLOCK);
    for (int i = 0; i < 16; i++) m[i] = little_endian(m[i]);
    for (int i = 0; i < 8; i++) v[i] = h[i], v[i + 8] = IV[i];
    v[12] ^= seen;
    if (is_last) v[14] = ~v[14];
#pragma GCC unroll 12
    for (int r = 0; r < ROUNDS; r++) {
        const uint8_t *s = SIGMA[r % 10];
        G(v[0], v[4], v[8], v[12], m[s[0]], m[s[1]]);
        G(v[1], v[5], v[9], v[13], m[s[2]], m[s[3]]);
        G(v[2], v[6], v[10], v[14], m[s[4]], m[s[5]]);
        G(v[3], v[7], v[11], v[15], m[s[6]], m[s[7]]);
        G(v[0], v[5], v[10], v[15], m[s[8]], m[s[9]]);
        G(v[1], v[6], v[11], v[12], m[s[10]], m[s[11]]);
        G(v[2], v[7], v[8], v[13], m[s[12]], m[s[13]]);
        G(v[3], v[4], v[9], v[14], m[s[14]], m[s[15]]);
    }
    for (int i = 0; i < 8; i++) h[i] ^= v[i] ^ v[i + 8];
}

uint64_t slide_text_hash(char mark, const char *bytes, int64_t n)
{
    unsigned char block[BLOCK];
    uint64_t h[8], seen = 0;
    int64_t filled = 0;
    memcpy(h, IV, sizeof h);
    h[0] ^= 0x01010000 ^ DIGEST_BYTES;
    if (mark) block[filled++] = (unsigned char)mark;
    while (filled + n > BLOCK) { /* the last block, full or not, is compressed below */
        int64_t part = BLOCK - filled;
        memcpy(block + filled, bytes, (size_t)part);
        bytes += part;
        n -= part;
        filled = 0;
        compress(h, block, seen += BLOCK, 0);
    }
    if (n) memcpy(block + filled, bytes, (size_t)n);
    filled += n;
    memset(block + filled, 0, (size_t)(BLOCK - filled));
    compress(h, block, seen + (uint64_t)filled, 1);
    return h[0];
}
