// SPDX-License-Identifier: Apache-2.0
// fold gives the bits of sum and then scale, for any number of inputs and any target.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/ops/fold.h"

#define N_MAX 2100

static float inputs[9][N_MAX];

static void draw(void)
{
    uint64_t seed = 99;
    for (int k = 0; k < 9; k++)
        for (int i = 0; i < N_MAX; i++)
            inputs[k][i] = (float)(rng_next_u64(&seed) >> 40) / 1048576.0f - 8;
}

static void expected(float *out, int count, int64_t n, float scale)
{
    for (int64_t i = 0; i < n; i++) {
        float sum = inputs[0][i];
        for (int k = 1; k < count; k++)
            sum += inputs[k][i];
        out[i] = sum * scale;
    }
}

static void test_fold_equals_sum_then_scale(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 15, 16, 17, 1023, 1024, 1025, N_MAX};
    static float want[N_MAX], got[N_MAX];
    const float *pointers[9];
    draw();
    for (int k = 0; k < 9; k++)
        pointers[k] = inputs[k];
    for (int count = 1; count <= 9; count++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            float scale = 1.0f / (float)count;
            expected(want, count, sizes[s], scale);
            fold_f32(got, pointers, count, sizes[s], scale);
            assert_memory_equal(got, want, (size_t)sizes[s] * sizeof *want);
        }
    }
}

static void test_fold_may_write_one_of_its_inputs(void **state)
{
    (void)state;
    static float want[N_MAX];
    const float *pointers[9];
    for (int k = 0; k < 9; k++)
        pointers[k] = inputs[k];
    for (int count = 1; count <= 9; count++) {
        for (int target = 0; target < count; target++) {
            draw();
            expected(want, count, N_MAX, 0.25f);
            fold_f32(inputs[target], pointers, count, N_MAX, 0.25f);
            assert_memory_equal(inputs[target], want, sizeof want);
        }
    }
}

static void test_partial_folds_give_the_same_bits(void **state)
{
    (void)state;
    static float want[N_MAX], part[N_MAX];
    draw();
    const float *first[] = {inputs[0], inputs[1]}, *second[] = {part, inputs[2], inputs[3]};
    expected(want, 4, N_MAX, 0.25f);
    fold_f32(part, first, 2, N_MAX, 1);
    fold_f32(part, second, 3, N_MAX, 0.25f);
    assert_memory_equal(part, want, sizeof want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fold_equals_sum_then_scale),
        cmocka_unit_test(test_fold_may_write_one_of_its_inputs),
        cmocka_unit_test(test_partial_folds_give_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
