/* generic.c: the baseline every machine runs: 128-bit vectors, which the compiler splits where there are none. */
#define V 4
#define ISA generic
#include "kernels/kernels_body.h"
