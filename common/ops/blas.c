// SPDX-License-Identifier: Apache-2.0
// OpenBLAS behind two calls. Sizes are 64-bit here and 32-bit there: a product whose side is longer
// than an int is cut along its rows (m) or asserted (n, k: a tensor of such width does not fit a
// host).
// In float a product over a long k is the sum of products over runs of RUN_MAX, the last two of
// equal length. That is how MKL cuts it, so that most products have Paddle's bits; optimizers that
// divide by small gradients (Adagrad, Ftrl) show a difference of one rounding.

#include "common/ops/blas.h"

#include <cblas.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/ops/gemm_small.h"

#define ROWS_MAX (1 << 30)
#define RUN_MAX 384

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void use_one_thread(void)
{
    openblas_set_num_threads(1);
}

// p->k > 0.
static void multiply_f32(const struct blas_product *p, const float *a, const float *b, float *c)
{
    CBLAS_TRANSPOSE ta = p->ta ? CblasTrans : CblasNoTrans, tb = p->tb ? CblasTrans : CblasNoTrans;
    int64_t k;
    for (int64_t at = 0; at < p->k; at += k) {
        int64_t rest = p->k - at;
        k = rest >= 2 * RUN_MAX ? RUN_MAX : rest > RUN_MAX ? (rest + 1) / 2 : rest;
        struct blas_product run = *p;
        run.k = k;
        run.beta = at == 0 ? p->beta : 1;
        const float *run_a = a + at * (p->ta ? p->lda : 1), *run_b = b + at * (p->tb ? 1 : p->ldb);
        if (gemm_small_f32(&run, run_a, run_b, c))
            continue;
        cblas_sgemm(CblasRowMajor, ta, tb, (int)p->m, (int)p->n, (int)k, (float)p->alpha, run_a,
                    (int)p->lda, run_b, (int)p->ldb, (float)run.beta, c, (int)p->ldc);
    }
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
        const struct blas_product product = {.ta = ta,
                                             .tb = tb,
                                             .m = m - row < ROWS_MAX ? m - row : ROWS_MAX,
                                             .n = n,
                                             .k = k,
                                             .lda = ta ? m : k,
                                             .ldb = tb ? k : n,
                                             .ldc = n,
                                             .alpha = 1};
        multiply_f32(&product, ta ? a + row : a + row * k, b, c + row * n);
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

void blas_multiply(const struct blas_product *p, bool f32, const void *a, const void *b, void *c)
{
    pthread_once(&once, use_one_thread);
    ASSERT(p->m >= 0 && p->n >= 0 && p->k >= 0 && p->m <= INT_MAX && p->n <= INT_MAX &&
           p->k <= INT_MAX && p->lda <= INT_MAX && p->ldb <= INT_MAX && p->ldc <= INT_MAX);
    if (p->m == 0 || p->n == 0)
        return;
    CBLAS_TRANSPOSE ta = p->ta ? CblasTrans : CblasNoTrans, tb = p->tb ? CblasTrans : CblasNoTrans;
    int lda = p->lda > 0 ? (int)p->lda : 1, ldb = p->ldb > 0 ? (int)p->ldb : 1;
    if (f32 && p->k > 0)
        multiply_f32(p, a, b, c);
    else if (f32)
        cblas_sgemm(CblasRowMajor, ta, tb, (int)p->m, (int)p->n, 0, (float)p->alpha, a, lda, b, ldb,
                    (float)p->beta, c, (int)p->ldc);
    else
        cblas_dgemm(CblasRowMajor, ta, tb, (int)p->m, (int)p->n, (int)p->k, p->alpha, a, lda, b,
                    ldb, p->beta, c, (int)p->ldc);
}

const char *blas_core(void)
{
    pthread_once(&once, use_one_thread);
    return openblas_get_corename();
}
