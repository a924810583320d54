/* omp.h: OpenMP where the compiler has it, one thread where it has not. Nothing else includes <omp.h>. */
#ifndef SLIDE_CORE_OMP_H
#define SLIDE_CORE_OMP_H

#ifdef _OPENMP
#include <omp.h>
#endif

/* Number of the calling thread in its team, from 0. */
static inline int slide_thread(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

/* OpenMP's own default number of threads; 0 when built without OpenMP. */
static inline int slide_openmp_threads(void)
{
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 0;
#endif
}

#endif
