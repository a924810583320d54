/* avx2.c: AVX2 with fused multiply-add (x86-64 since about 2013). Runs only where dispatch.c saw the flags. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define V 8
#define ISA avx2
#include "kernels/kernels_body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int slide_kernels_avx2_not_here; /* ISO C wants a declaration in every file */
#endif
