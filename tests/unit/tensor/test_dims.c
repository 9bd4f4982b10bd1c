// SPDX-License-Identifier: Apache-2.0
// Shapes and element types: what counts as possible, and how it is written.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/tensor/dims.h"
#include "common/tensor/dtype.h"

static struct dims shape(int rank, int64_t a, int64_t b, int64_t c)
{
    const int64_t d[] = {a, b, c};
    return dims_make(rank, d);
}

static void test_dims_count(void **state)
{
    (void)state;
    const int64_t far = INT64_C(1) << 40;
    const struct {
        struct dims dims;
        size_t elem_bytes;
        bool good;
        uint64_t count;
    } rows[] = {
        {shape(0, 0, 0, 0), 4, true, 1},
        {shape(1, 0, 0, 0), 4, true, 0},
        {shape(2, 784, 24, 0), 4, true, 784 * 24},
        {shape(2, 0, 5, 0), 8, true, 0},
        {shape(2, -1, 5, 0), 4, false, 0},
        {shape(2, 0, -5, 0), 4, false, 0},
        {shape(3, far, far, far), 1, false, 0},
        {shape(3, far, 0, far), 1, false, 0},       // empty, but no sane shape
        {shape(1, far, 0, 0), 4, true, 1ull << 40}, // the limit itself
        {shape(1, far + 1, 0, 0), 4, false, 0},
        {shape(1, INT64_MAX, 0, 0), 1, false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t count = 77;
        assert_int_equal(dims_count(&rows[i].dims, rows[i].elem_bytes, &count), rows[i].good);
        assert_int_equal(count, rows[i].good ? rows[i].count : 77);
    }
}

static void test_dims_equal_compares_used_dimensions_only(void **state)
{
    (void)state;
    struct dims a = shape(2, 3, 4, 5), b = shape(2, 3, 4, 9);
    b.d[2] = 7;
    assert_true(dims_equal(&a, &b));
    b.d[1] = 5;
    assert_false(dims_equal(&a, &b));
    assert_int_equal(dims_product(&a, 0, 2), 12);
    assert_int_equal(dims_product(&a, 1, 2), 4);
    assert_int_equal(dims_product(&a, 2, 2), 1);
}

static void test_dims_format_fits_the_longest_shape(void **state)
{
    (void)state;
    char text[DIMS_TEXT_MAX];
    struct dims dims = shape(2, -1, 24, 0);
    assert_string_equal(dims_format(&dims, text), "[-1,24]");
    dims = shape(0, 0, 0, 0);
    assert_string_equal(dims_format(&dims, text), "[]");
    dims.rank = LIMIT_RANK;
    for (int i = 0; i < LIMIT_RANK; i++)
        dims.d[i] = INT64_MIN;
    assert_true(sizeof text > LIMIT_RANK * sizeof "-9223372036854775808");
    assert_int_equal(dims_format(&dims, text)[0], '[');
}

static void test_dtype_table(void **state)
{
    (void)state;
    assert_int_equal(dtype_bytes(DTYPE_FP32), 4);
    assert_int_equal(dtype_bytes(DTYPE_INT64), 8);
    assert_int_equal(dtype_bytes(DTYPE_BOOL), 1);
    assert_int_equal(dtype_bytes(DTYPE_FP16), 2);
    assert_int_equal(dtype_bytes((enum dtype)7), 0);
    assert_true(dtype_is_valid(21));
    assert_false(dtype_is_valid(7));
    assert_false(dtype_is_valid(-1));
    assert_string_equal(dtype_name(5), "float32");
    assert_string_equal(dtype_name(19), "unknown dtype");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dims_count),
        cmocka_unit_test(test_dims_equal_compares_used_dimensions_only),
        cmocka_unit_test(test_dims_format_fits_the_longest_shape),
        cmocka_unit_test(test_dtype_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
