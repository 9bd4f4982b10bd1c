// SPDX-License-Identifier: Apache-2.0
// Small products of floats in one order of summation on every machine that multiplies and adds in
// one rounding (FMA): each element of c is one chain over k, ascending. OpenBLAS's kernels for
// small matrices take another order at their edges.
#pragma once

#include <stdbool.h>

#include "common/ops/blas.h"

// Computes the product and returns true; false when it is not a small one (c is untouched then):
// too many multiplications, a vector instead of a matrix, other factors than alpha 1 and beta 0 or
// 1, k longer than GEMM_SMALL_DEPTH, or a processor without FMA.
bool gemm_small_f32(const struct blas_product *p, const float *a, const float *b, float *c);

#define GEMM_SMALL_DEPTH 384

// For one b [k, n] under many products: its panels, made once.
// Floats that they take; 0 when this processor has no kernel for them.
int64_t gemm_small_panels(int64_t k, int64_t n);
// Fills them; of p only tb, n, k and ldb count.
void gemm_small_pack(const struct blas_product *p, const float *b, float *panels);
// c = a b, or c += a b when beta is not 0 (alpha is 1, a not transposed). Sums go over runs of k as
// in blas.c.
void gemm_small_packed(const struct blas_product *p, const float *a, const float *panels,
                       float *c);
