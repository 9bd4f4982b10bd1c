// SPDX-License-Identifier: Apache-2.0
// The merged loops of a broadcast visit what the rule says, against an index-by-index walk.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/ops/broadcast.h"

static uint64_t seed = 4711;

static int64_t draw(int64_t low, int64_t high)
{
    return low + (int64_t)(rng_next_u64(&seed) % (uint64_t)(high - low + 1));
}

// Writes the two offsets side by side instead of computing.
static void pair_row(void *out, const void *x, const void *y, int64_t n, int64_t x_stride,
                     int64_t y_stride)
{
    int64_t *to = out;
    for (int64_t i = 0; i < n; i++)
        to[i] = ((const int64_t *)x)[i * x_stride] * 100000 + ((const int64_t *)y)[i * y_stride];
}

// The element of an operand that belongs to an index of the result.
static int64_t offset(const struct dims *operand, int64_t axis, const int64_t *index)
{
    int64_t at = 0;
    for (int i = 0; i < operand->rank; i++)
        at = at * operand->d[i] + (operand->d[i] == 1 ? 0 : index[axis + i]);
    return at;
}

static void check_once(void)
{
    static int64_t numbers[4096], got[4096];
    struct dims x = {.rank = (int)draw(1, 5)}, y = {.rank = (int)draw(1, x.rank)}, out;
    int64_t axis = y.rank == x.rank ? 0 : draw(0, x.rank - y.rank), index[LIMIT_RANK] = {0},
            count = 1;
    for (int i = 0; i < x.rank; i++)
        x.d[i] = draw(1, 4);
    for (int i = 0; i < y.rank; i++) {
        y.d[i] = draw(0, 2) == 0 ? 1 : x.d[axis + i];
        if (draw(0, 4) == 0)
            x.d[axis + i] = 1;
    }
    for (int64_t i = 0; i < 4096; i++)
        numbers[i] = i;
    struct broadcast b;
    assert_true(broadcast_dims(&x, &y, axis, &out));
    broadcast_plan(&x, &y, axis, &b);
    broadcast_walk(&b, sizeof(int64_t), got, numbers, numbers, pair_row);
    for (int i = 0; i < out.rank; i++)
        count *= out.d[i];
    for (int64_t k = 0; k < count; k++) {
        assert_int_equal(got[k], offset(&x, 0, index) * 100000 + offset(&y, axis, index));
        for (int i = out.rank - 1; i >= 0 && ++index[i] == out.d[i]; i--)
            index[i] = 0;
    }
}

static void test_walk_visits_what_the_rule_says(void **state)
{
    (void)state;
    for (int i = 0; i < 2000; i++)
        check_once();
}

static void test_equal_shapes_are_one_loop(void **state)
{
    (void)state;
    struct dims x = {.rank = 3, .d = {2, 3, 4}}, bias = {.rank = 1, .d = {4}};
    struct broadcast b;
    broadcast_plan(&x, &x, -1, &b);
    assert_int_equal(b.rank, 1);
    assert_int_equal(b.d[0], 24);
    broadcast_plan(&x, &bias, 2, &b);
    assert_int_equal(b.rank, 2);
    assert_int_equal(b.d[0], 6);
    assert_true(b.y_repeats && !b.x_repeats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk_visits_what_the_rule_says),
        cmocka_unit_test(test_equal_shapes_are_one_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
