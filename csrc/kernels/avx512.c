/* avx512.c: AVX-512 F, BW, DQ, VL (x86-64 servers since 2017). Runs only where dispatch.c saw the flags. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")
#endif
#define V 16
#define ISA avx512
#include "kernels/kernels_body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int slide_kernels_avx512_not_here; /* ISO C wants a declaration in every file */
#endif
