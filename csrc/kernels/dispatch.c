/* dispatch.c: which kernels this processor runs, looked up when a network is made; nothing is remembered globally. */
#include <stddef.h>
#include <string.h>

#include "kernels/kernels.h"

extern const slide_kernels slide_kernels_generic;
#if defined(__x86_64__)
extern const slide_kernels slide_kernels_avx2, slide_kernels_avx512;
#elif defined(__aarch64__)
extern const slide_kernels slide_kernels_neon;
#endif

#if defined(__x86_64__)
static int runs_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static int runs_avx512(void)
{
    return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

const char *const *slide_isa_available(void)
{
#if defined(__x86_64__)
    static const char *const wide[] = {"avx512", "avx2", "generic", NULL};
    return runs_avx512() ? wide : runs_avx2() ? wide + 1 : wide + 2;
#elif defined(__aarch64__)
    static const char *const arm[] = {"neon", "generic", NULL};
    return arm;
#else
    static const char *const any[] = {"generic", NULL};
    return any;
#endif
}

const slide_kernels *slide_kernels_get(const char *name)
{
    const char *const *available = slide_isa_available();
    if (!name) name = available[0];
    while (*available && strcmp(*available, name)) available++;
    if (!*available) return NULL;
#if defined(__x86_64__)
    if (!strcmp(name, "avx512")) return &slide_kernels_avx512;
    if (!strcmp(name, "avx2")) return &slide_kernels_avx2;
#elif defined(__aarch64__)
    if (!strcmp(name, "neon")) return &slide_kernels_neon;
#endif
    return &slide_kernels_generic;
}
