// SPDX-License-Identifier: Apache-2.0
// numpy.random.seed(1234); numpy.random.shuffle(list(range(n))), values of numpy 1.21.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/passes/np_shuffle.h"

static void expect(size_t n, const size_t *want)
{
    size_t order[64];
    np_shuffle_order(1234, order, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(order[i], want[i]);
}

static void test_np_shuffle_equals_numpy(void **state)
{
    (void)state;
    expect(2, (const size_t[]){0, 1});
    expect(4, (const size_t[]){0, 1, 2, 3});
    expect(6, (const size_t[]){2, 1, 5, 0, 4, 3});
    expect(40, (const size_t[]){8,  39, 14, 1,  4,  31, 20, 17, 13, 21, 0,  7,  3,  10,
                                6,  2,  34, 29, 27, 18, 35, 9,  25, 5,  16, 36, 22, 33,
                                28, 37, 32, 11, 30, 26, 23, 15, 24, 12, 38, 19});
}

static void test_np_shuffle_of_none_and_one(void **state)
{
    (void)state;
    expect(0, NULL);
    expect(1, (const size_t[]){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_np_shuffle_equals_numpy),
        cmocka_unit_test(test_np_shuffle_of_none_and_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
