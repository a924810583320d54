/* euclidean.c: E2LSH (Datar et al., SoCG 2004): space is cut into cells of one width along random directions, and a hash is
 * the number of a vector's cell, modulo a power of two. The directions are those of Gaussian SimHash (simhash.c). */
#include <math.h>

#include "lsh/families.h"

/* Division and floor are exact or rounded once, and no product is left for fused multiply-add to change: window is a
 * power of two. What has no cell (the projection of a vector near the end of float) goes to cell 0. */
static uint32_t cell_of(double projection, double width, int32_t offset, int32_t window)
{
    double cell = floor(projection / width + (double)offset / SLIDE_OFFSET_STEPS);
    double folded = cell - window * floor(cell / window);
    return folded >= 0 ? (uint32_t)folded : 0;
}

void slide_euclidean_rows(const slide_kernels *kernels, const slide_lsh *lsh, const float *x, int64_t x_stride, int n,
                          float *projection, uint32_t *codes)
{
    int64_t size = slide_projection_size(lsh);
    double width = 32 * lsh->width; /* directions count in steps of 1/32 */
    slide_project_dense(kernels, lsh, x, x_stride, n, projection);
    for (int64_t i = 0; i < (int64_t)n * lsh->L; i++) {
        int64_t row = i / lsh->L, first = i % lsh->L * lsh->K;
        codes[i] = 0;
        for (int64_t k = first; k < first + lsh->K; k++)
            codes[i] = codes[i] << lsh->log2_window |
                       cell_of(projection[row * size + k], width, lsh->positions[k], lsh->window);
    }
}
