// SPDX-License-Identifier: Apache-2.0
// A tile of c stays in registers while k goes up; b is read along its rows, or, stored transposed,
// from a panel that is packed for a stripe of columns. What a lane holds is one element of c, so
// the order of summation depends on nothing but k.

#include "common/ops/gemm_small.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define PRODUCTS_MAX (128.0 * 128.0 * 128.0)   // above, packing both sides pays

// How long the next run of k is, with so much left (blas.c).
static int64_t gemm_small_run(int64_t rest)
{
    if (rest >= 2 * GEMM_SMALL_DEPTH)
        return GEMM_SMALL_DEPTH;
    return rest > GEMM_SMALL_DEPTH ? (rest + 1) / 2 : rest;
}

// Elements from one row or step to the next.
struct gemm_strides {
    int64_t k;
    int64_t ai, ak, bk, ci;
};

#define TILE(name) name##_512
#define TILE_TARGET __attribute__((target("avx512f,fma")))
#define TILE_V __m512
#define TILE_W 16
#define TILE_M __mmask16
#define TILE_MASK(n) ((__mmask16)((1u << (n)) - 1u))
#define TILE_LOAD(p) _mm512_loadu_ps(p)
#define TILE_LOAD_SOME(p, m) _mm512_maskz_loadu_ps(m, p)
#define TILE_STORE_SOME(p, m, v) _mm512_mask_storeu_ps(p, m, v)
#define TILE_ONE(x) _mm512_set1_ps(x)
#define TILE_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define TILE_ADD(a, b) _mm512_add_ps(a, b)
#define TILE_ZERO() _mm512_setzero_ps()
#define GEMM_ROWS 8
#include "common/ops/gemm_small_tile.h"

// Lanes 0..n-1: the window that begins 8 - n before the zeros.
static const int32_t lanes_256[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

#define TILE(name) name##_256
#define TILE_TARGET __attribute__((target("avx2,fma")))
#define TILE_V __m256
#define TILE_W 8
#define TILE_M __m256i
#define TILE_MASK(n) _mm256_loadu_si256((const __m256i_u *)(lanes_256 + 8 - (n)))
#define TILE_LOAD(p) _mm256_loadu_ps(p)
#define TILE_LOAD_SOME(p, m) _mm256_maskload_ps(p, m)
#define TILE_STORE_SOME(p, m, v) _mm256_maskstore_ps(p, m, v)
#define TILE_ONE(x) _mm256_set1_ps(x)
#define TILE_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define TILE_ADD(a, b) _mm256_add_ps(a, b)
#define TILE_ZERO() _mm256_setzero_ps()
#define GEMM_ROWS 6
#include "common/ops/gemm_small_tile.h"

bool gemm_small_f32(const struct blas_product *p, const float *a, const float *b, float *c)
{
    bool plain = p->alpha == 1 && (p->beta == 0 || p->beta == 1);
    bool small = p->m > 1 && p->n > 1 && p->k <= GEMM_SMALL_DEPTH &&
                 (double)p->m * (double)p->n * (double)p->k <= PRODUCTS_MAX;
    if (!plain || !small)
        return false;
    if (__builtin_cpu_supports("avx512f"))
        product_512(p, a, b, c);
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        product_256(p, a, b, c);
    else
        return false;
    return true;
}

int64_t gemm_small_panels(int64_t k, int64_t n)
{
    int64_t width = __builtin_cpu_supports("avx512f")                                 ? 32
                    : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 16
                                                                                      : 0;
    return width > 0 ? (n + width - 1) / width * width * k : 0;
}

void gemm_small_pack(const struct blas_product *p, const float *b, float *panels)
{
    if (__builtin_cpu_supports("avx512f"))
        pack_512(p, b, panels);
    else
        pack_256(p, b, panels);
}

void gemm_small_packed(const struct blas_product *p, const float *a, const float *panels, float *c)
{
    if (__builtin_cpu_supports("avx512f"))
        packed_512(p, a, panels, c);
    else
        packed_256(p, a, panels, c);
}

#else

int64_t gemm_small_panels(int64_t k, int64_t n)
{
    (void)k, (void)n;
    return 0;
}

void gemm_small_pack(const struct blas_product *p, const float *b, float *panels)
{
    (void)p, (void)b, (void)panels;
}

void gemm_small_packed(const struct blas_product *p, const float *a, const float *panels, float *c)
{
    (void)p, (void)a, (void)panels, (void)c;
}

bool gemm_small_f32(const struct blas_product *p, const float *a, const float *b, float *c)
{
    (void)p, (void)a, (void)b, (void)c;
    return false;
}

#endif
