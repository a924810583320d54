/* neon.c: arm64, where 128-bit NEON with fused multiply-add is part of every processor. */
#if defined(__aarch64__)
#define V 4
#define ISA neon
#include "kernels/kernels_body.h"
#else
typedef int slide_kernels_neon_not_here; /* ISO C wants a declaration in every file */
#endif
