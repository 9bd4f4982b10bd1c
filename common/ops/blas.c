// SPDX-License-Identifier: Apache-2.0
// OpenBLAS behind two calls. Sizes are 64-bit here and 32-bit there: a product whose side is longer
// than an int is cut along its rows (m) or asserted (n, k: a tensor of such width does not fit a
// host).

#include "common/ops/blas.h"

#include <cblas.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "common/base/assert.h"

#define ROWS_MAX (1 << 30)

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void use_one_thread(void)
{
    openblas_set_num_threads(1);
}

void blas_gemm_f32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a,
                   const float *b, float *c)
{
    pthread_once(&once, use_one_thread);
    ASSERT(m >= 0 && n >= 0 && k >= 0 && n <= INT_MAX && k <= INT_MAX && (!ta || m <= INT_MAX));
    if (m == 0 || n == 0)
        return;
    if (k == 0) {
        memset(c, 0, (size_t)m * (size_t)n * sizeof *c);
        return;
    }
    for (int64_t row = 0; row < m; row += ROWS_MAX) {
        int rows = (int)(m - row < ROWS_MAX ? m - row : ROWS_MAX);
        const float *rows_a = ta ? a + row : a + row * k;
        cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
                    rows, (int)n, (int)k, 1.0f, rows_a, (int)(ta ? m : k), b, (int)(tb ? k : n),
                    0.0f, c + row * n, (int)n);
    }
}

void blas_gemm_f64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const double *a,
                   const double *b, double *c)
{
    pthread_once(&once, use_one_thread);
    ASSERT(m >= 0 && n >= 0 && k >= 0 && n <= INT_MAX && k <= INT_MAX && (!ta || m <= INT_MAX));
    if (m == 0 || n == 0)
        return;
    if (k == 0) {
        memset(c, 0, (size_t)m * (size_t)n * sizeof *c);
        return;
    }
    for (int64_t row = 0; row < m; row += ROWS_MAX) {
        int rows = (int)(m - row < ROWS_MAX ? m - row : ROWS_MAX);
        const double *rows_a = ta ? a + row : a + row * k;
        cblas_dgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
                    rows, (int)n, (int)k, 1.0, rows_a, (int)(ta ? m : k), b, (int)(tb ? k : n), 0.0,
                    c + row * n, (int)n);
    }
}

const char *blas_core(void)
{
    pthread_once(&once, use_one_thread);
    return openblas_get_corename();
}
