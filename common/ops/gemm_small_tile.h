// SPDX-License-Identifier: Apache-2.0
// The kernel of gemm_small.c for one width of vectors; included once a width with these macros:
// TILE(name) makes a name, TILE_TARGET the function attribute, TILE_V a vector of TILE_W floats,
// TILE_M a mask of lanes, TILE_MASK(n) the mask of the first n, and the operations TILE_LOAD,
// TILE_LOAD_SOME, TILE_STORE_SOME, TILE_ONE (broadcast), TILE_FMA, TILE_ADD, TILE_ZERO.
// No include guard: it is a template.

// rows x (vectors x TILE_W) elements of c; the last vector has lanes of mask only.
TILE_TARGET static inline __attribute__((always_inline)) void
TILE(tile)(int rows, int vectors, const struct gemm_strides *s, const float *a, const float *b,
           float *c, bool add, TILE_M mask)
{
    TILE_V sum[GEMM_ROWS][2];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
        sum[i][0] = sum[i][1] = TILE_ZERO();
    for (int64_t k = 0; k < s->k; k++) {
        const float *row = b + k * s->bk;
        TILE_V b0 = vectors == 1 ? TILE_LOAD_SOME(row, mask) : TILE_LOAD(row);
        TILE_V b1 = vectors == 1 ? b0 : TILE_LOAD_SOME(row + TILE_W, mask);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            TILE_V one = TILE_ONE(a[i * s->ai + k * s->ak]);
            sum[i][0] = TILE_FMA(one, b0, sum[i][0]);
            if (vectors == 2)
                sum[i][1] = TILE_FMA(one, b1, sum[i][1]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        const TILE_M all = TILE_MASK(TILE_W);
        float *to = c + i * s->ci;
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            TILE_M lanes = v == vectors - 1 ? mask : all;
            TILE_V value = sum[i][v];
            if (add)
                value = TILE_ADD(TILE_LOAD_SOME(to + v * TILE_W, lanes), value);
            TILE_STORE_SOME(to + v * TILE_W, lanes, value);
        }
    }
}

// n <= 2 * TILE_W columns of c, all rows.
TILE_TARGET static void TILE(columns)(int64_t m, int64_t n, const struct gemm_strides *s,
                                      const float *a, const float *b, float *c, bool add)
{
    int vectors = n > TILE_W ? 2 : 1;
    TILE_M mask = TILE_MASK((int)(n - (vectors - 1) * TILE_W));
    for (int64_t i = 0; i < m; i += GEMM_ROWS) {
        const float *rows = a + i * s->ai;
        float *to = c + i * s->ci;
        switch ((m - i < GEMM_ROWS ? (int)(m - i) : GEMM_ROWS) * 2 + vectors - 1) {
#define GEMM_CASE(r)                                                                               \
    case (r)*2:                                                                                    \
        TILE(tile)(r, 1, s, rows, b, to, add, mask);                                               \
        break;                                                                                     \
    case (r)*2 + 1:                                                                                \
        TILE(tile)(r, 2, s, rows, b, to, add, mask);                                               \
        break;
            GEMM_CASE(1)
            GEMM_CASE(2)
            GEMM_CASE(3)
            GEMM_CASE(4)
            GEMM_CASE(5)
            GEMM_CASE(6)
#if GEMM_ROWS > 6
            GEMM_CASE(7)
            GEMM_CASE(8)
#endif
#undef GEMM_CASE
        }
    }
}

TILE_TARGET static void TILE(product)(const struct blas_product *p, const float *a, const float *b,
                                      float *c)
{
    enum { WIDTH = 2 * TILE_W };
    float panel[GEMM_SMALL_DEPTH * WIDTH];
    for (int64_t j = 0; j < p->n; j += WIDTH) {
        int64_t n = p->n - j < WIDTH ? p->n - j : WIDTH;
        struct gemm_strides s = {.k = p->k,
                                 .ai = p->ta ? 1 : p->lda,
                                 .ak = p->ta ? p->lda : 1,
                                 .bk = p->tb ? WIDTH : p->ldb,
                                 .ci = p->ldc};
        if (p->tb) {
            for (int64_t column = 0; column < n; column++)
                for (int64_t k = 0; k < p->k; k++)
                    panel[k * WIDTH + column] = b[(j + column) * p->ldb + k];
        }
        TILE(columns)(p->m, n, &s, a, p->tb ? panel : b + j, c + j, p->beta != 0);
    }
}

// b as panels of 2 TILE_W columns, each k after k; a run of k after the other.
TILE_TARGET static void TILE(pack)(const struct blas_product *p, const float *b, float *panels)
{
    enum { WIDTH = 2 * TILE_W };
    for (int64_t at = 0, k; at < p->k; at += k) {
        k = gemm_small_run(p->k - at);
        for (int64_t j = 0; j < p->n; j += WIDTH, panels += k * WIDTH) {
            int64_t n = p->n - j < WIDTH ? p->n - j : WIDTH;
            for (int64_t i = 0; i < k; i++)
                for (int64_t column = 0; column < WIDTH; column++)
                    panels[i * WIDTH + column] = column < n
                                                     ? b[p->tb ? (j + column) * p->ldb + at + i
                                                               : (at + i) * p->ldb + j + column]
                                                     : 0;
        }
    }
}

TILE_TARGET static void TILE(packed)(const struct blas_product *p, const float *a,
                                     const float *panels, float *c)
{
    enum { WIDTH = 2 * TILE_W };
    for (int64_t at = 0, k; at < p->k; at += k) {
        k = gemm_small_run(p->k - at);
        struct gemm_strides s = {.k = k, .ai = p->lda, .ak = 1, .bk = WIDTH, .ci = p->ldc};
        for (int64_t j = 0; j < p->n; j += WIDTH, panels += k * WIDTH) {
            int64_t n = p->n - j < WIDTH ? p->n - j : WIDTH;
            TILE(columns)(p->m, n, &s, a + at, panels, c + j, at > 0 || p->beta != 0);
        }
    }
}

#undef TILE
#undef TILE_TARGET
#undef TILE_V
#undef TILE_W
#undef TILE_M
#undef TILE_MASK
#undef TILE_LOAD
#undef TILE_LOAD_SOME
#undef TILE_STORE_SOME
#undef TILE_ONE
#undef TILE_FMA
#undef TILE_ADD
#undef TILE_ZERO
#undef GEMM_ROWS
