// SPDX-License-Identifier: Apache-2.0
// Small products equal, bit by bit, one chain of fused multiplications and additions an element.

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/ops/gemm_small.h"

#define CASES 400

static uint32_t state = 1;

static int64_t below(int64_t limit)
{
    state = state * 1664525u + 1013904223u;
    return (int64_t)((state >> 8) % (uint32_t)limit);
}

static float *numbers(size_t count)
{
    float *x = mem_alloc(count * sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(below(20001) - 10000) / 3000.0f;
    return x;
}

static void check(const struct blas_product *p, const float *a, const float *b, const float *before,
                  const float *c, int64_t rows)
{
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < p->ldc; j++) {
            float expected = before[i * p->ldc + j], sum = 0;
            for (int64_t k = 0; k < p->k; k++)
                sum = fmaf(p->ta ? a[k * p->lda + i] : a[i * p->lda + k],
                           p->tb ? b[j * p->ldb + k] : b[k * p->ldb + j], sum);
            if (j < p->n)
                expected = p->beta != 0 ? expected + sum : sum;
            if (c[i * p->ldc + j] != expected)
                fail_msg("%lldx%lldx%lld ta %d tb %d: c[%lld,%lld] is %.9g, not %.9g",
                         (long long)p->m, (long long)p->n, (long long)p->k, p->ta, p->tb,
                         (long long)i, (long long)j, (double)c[i * p->ldc + j], (double)expected);
        }
    }
}

static void test_an_element_is_one_chain_over_k(void **unused)
{
    (void)unused;
    for (int i = 0; i < CASES; i++) {
        struct blas_product p = {.ta = below(2),
                                 .tb = below(2),
                                 .m = 2 + below(20),
                                 .n = 2 + below(70),
                                 .k = 1 + below(GEMM_SMALL_DEPTH),
                                 .alpha = 1,
                                 .beta = (double)below(2)};
        p.lda = (p.ta ? p.m : p.k) + below(3);
        p.ldb = (p.tb ? p.k : p.n) + below(3);
        p.ldc = p.n + below(3);
        // Room for whole rows, so that the check may read the gaps between them.
        float *a = numbers((size_t)((p.ta ? p.k : p.m) * p.lda));
        float *b = numbers((size_t)((p.tb ? p.n + 3 : p.k) * p.ldb + 3));
        float *before = numbers((size_t)(p.m * p.ldc)), *c = numbers((size_t)(p.m * p.ldc));
        for (int64_t at = 0; at < p.m * p.ldc; at++)
            c[at] = before[at];
        if (!gemm_small_f32(&p, a, b, c)) {
            puts("skipped: this processor has no FMA");
            skip();
        }
        check(&p, a, b, before, c, p.m);
        mem_free(a);
        mem_free(b);
        mem_free(before);
        mem_free(c);
    }
}

// k in runs of at most GEMM_SMALL_DEPTH, the last two of equal length.
static float in_runs(const struct blas_product *p, const float *a, const float *b, float sum)
{
    for (int64_t at = 0, k; at < p->k; at += k) {
        int64_t rest = p->k - at;
        float part = 0;
        k = rest >= 2 * GEMM_SMALL_DEPTH ? GEMM_SMALL_DEPTH
            : rest > GEMM_SMALL_DEPTH    ? (rest + 1) / 2
                                         : rest;
        for (int64_t i = at; i < at + k; i++)
            part = fmaf(a[i], p->tb ? b[i] : b[i * p->ldb], part);
        sum = at == 0 && p->beta == 0 ? part : sum + part;
    }
    return sum;
}

static void test_a_packed_matrix_gives_the_same_in_runs(void **unused)
{
    (void)unused;
    for (int i = 0; i < CASES / 4; i++) {
        struct blas_product p = {.tb = below(2),
                                 .m = below(20),
                                 .n = 1 + below(100),
                                 .k = 1 + below(3 * GEMM_SMALL_DEPTH),
                                 .alpha = 1,
                                 .beta = (double)below(2)};
        p.lda = p.k + below(3);
        p.ldb = (p.tb ? p.k : p.n) + below(3);
        p.ldc = p.n + below(3);
        if (gemm_small_panels(p.k, p.n) == 0) {
            puts("skipped: this processor has no FMA");
            skip();
        }
        float *a = numbers((size_t)(p.m * p.lda) + 1);
        float *b = numbers((size_t)((p.tb ? p.n : p.k) * p.ldb));
        float *before = numbers((size_t)(p.m * p.ldc) + 1),
              *c = mem_alloc((size_t)(p.m * p.ldc + 1) * sizeof *c);
        float *panels = mem_alloc((size_t)gemm_small_panels(p.k, p.n) * sizeof *panels);
        for (int64_t at = 0; at < p.m * p.ldc; at++)
            c[at] = before[at];
        gemm_small_pack(&p, b, panels);
        gemm_small_packed(&p, a, panels, c);
        for (int64_t at = 0; at < p.m * p.ldc; at++) {
            int64_t row = at / p.ldc, column = at % p.ldc;
            float expected = before[at];
            if (column < p.n)
                expected = in_runs(&p, a + row * p.lda, b + column * (p.tb ? p.ldb : 1), expected);
            if (c[at] != expected)
                fail_msg("%lldx%lldx%lld tb %d: element %lld is %.9g, not %.9g", (long long)p.m,
                         (long long)p.n, (long long)p.k, p.tb, (long long)at, (double)c[at],
                         (double)expected);
        }
        mem_free(a);
        mem_free(b);
        mem_free(before);
        mem_free(c);
        mem_free(panels);
    }
}

static void test_what_is_not_small_is_left_alone(void **unused)
{
    (void)unused;
    float a[4] = {1, 2, 3, 4}, c[4] = {9, 9, 9, 9};
    const struct blas_product small = {
        .m = 2, .n = 2, .k = 2, .lda = 2, .ldb = 2, .ldc = 2, .alpha = 1};
    struct blas_product p = small;
    p.alpha = 2;
    assert_false(gemm_small_f32(&p, a, a, c));
    p = small;
    p.beta = 0.5;
    assert_false(gemm_small_f32(&p, a, a, c));
    p = small;
    p.m = 1;
    assert_false(gemm_small_f32(&p, a, a, c));
    p = small;
    p.k = GEMM_SMALL_DEPTH + 1;
    assert_false(gemm_small_f32(&p, a, a, c));
    p = small;
    p.m = p.n = 2000;
    assert_false(gemm_small_f32(&p, a, a, c));
    assert_true(c[0] == 9 && c[3] == 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_element_is_one_chain_over_k),
        cmocka_unit_test(test_a_packed_matrix_gives_the_same_in_runs),
        cmocka_unit_test(test_what_is_not_small_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
