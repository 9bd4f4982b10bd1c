// SPDX-License-Identifier: Apache-2.0
// Matrix products, row-major. The only door to BLAS: one thread, chosen at the first call; whoever
// wants more threads partitions the work.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// c[m,n] = op(a) op(b): op(a) is [m,k], stored [k,m] when ta; op(b) is [k,n], stored [n,k] when tb.
// All matrices are dense (no gaps between rows); c may not overlap a or b. k 0 gives zeros.
void blas_gemm_f32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a,
                   const float *b, float *c);
void blas_gemm_f64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const double *a,
                   const double *b, double *c);
// "SkylakeX": what OpenBLAS runs on, for reports.
const char *blas_core(void);

// c[m,n] = alpha op(a) op(b) + beta c, with elements from the start of one row to the next (lda of
// a as stored). beta 0 does not read c. k 0 leaves beta c.
struct blas_product {
    bool ta, tb;
    int64_t m, n, k;
    int64_t lda, ldb, ldc;
    double alpha, beta;
};
// Of floats when f32, else of doubles. Each size and row length fits an int.
void blas_multiply(const struct blas_product *p, bool f32, const void *a, const void *b, void *c);
