// SPDX-License-Identifier: Apache-2.0
// Number parsing takes the whole text or nothing; lists keep order and own their items.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "common/base/mem.h"
#include "common/base/str.h"

static void test_str_parse_i64_bounds(void **state)
{
    (void)state;
    const struct {
        const char *text;
        bool good;
        int64_t value;
    } rows[] = {
        {"0", true, 0},
        {"-1", true, -1},
        {"007", true, 7},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1x", false, 0},
        {"0x10", false, 0},
        {"1.0", false, 0},
        {NULL, false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t value = 42;
        assert_int_equal(str_parse_i64(rows[i].text, &value), rows[i].good);
        assert_true(value == (rows[i].good ? rows[i].value : 42));
    }
}

static void test_str_parse_u64_bounds(void **state)
{
    (void)state;
    uint64_t value = 42;
    assert_true(str_parse_u64("18446744073709551615", &value) && value == UINT64_MAX);
    const char *const bad[] = {"18446744073709551616", "-1", "-0", "", " 1", "1 ", "a", NULL};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(str_parse_u64(bad[i], &value));
    assert_true(value == UINT64_MAX);
}

static void test_str_parse_f64(void **state)
{
    (void)state;
    double value = 42.0;
    assert_true(str_parse_f64("0.001", &value) && value > 0.0009 && value < 0.0011);
    assert_true(str_parse_f64("-1e-8", &value) && value < 0.0);
    assert_true(str_parse_f64("1e-400", &value) && value < 1e-300);
    assert_true(str_parse_f64("inf", &value) && isinf(value));
    const char *const bad[] = {"", " 1", "1 ", "1e400", "-1e400", "one", "1,5", NULL};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(str_parse_f64(bad[i], &value));
}

static void test_str_compare(void **state)
{
    (void)state;
    assert_true(str_eq("a", "a") && !str_eq("a", "b") && !str_eq("a", NULL) && str_eq(NULL, NULL));
    assert_true(str_starts_with("step_001", "step_") && !str_starts_with("st", "step_"));
    assert_true(str_ends_with("x@GRAD", "@GRAD") && !str_ends_with("GRAD", "@GRAD"));
    assert_true(str_starts_with("x", "") && str_ends_with("x", ""));
}

static void test_str_list_split_join_sort(void **state)
{
    (void)state;
    const struct {
        const char *text;
        size_t count;
        const char *joined;
    } rows[] = {
        {"a,b,c", 3, "a|b|c"},
        {" a , b b ,\tc\n", 3, "a|b b|c"},
        {"", 1, ""},
        {",", 2, "|"},
        {"a,,b", 3, "a||b"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str_list list = {0};
        str_list_split(&list, rows[i].text, ',');
        assert_int_equal(list.count, rows[i].count);
        char *joined = str_list_join(&list, "|");
        assert_string_equal(joined, rows[i].joined);
        mem_free(joined);
        str_list_deinit(&list);
    }
    struct str_list list = {0};
    str_list_addf(&list, "step_%03d", 10);
    str_list_addn(&list, "fc_0.w_0.block1", 8);
    str_list_add(&list, "Z");
    str_list_sort(&list);
    assert_string_equal(list.items[0], "Z");
    assert_string_equal(list.items[1], "fc_0.w_0");
    assert_true(str_list_has(&list, "step_010") && !str_list_has(&list, "step"));
    str_list_deinit(&list);
    str_list_deinit(&list);
    str_list_deinit(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str_parse_i64_bounds), cmocka_unit_test(test_str_parse_u64_bounds),
        cmocka_unit_test(test_str_parse_f64),        cmocka_unit_test(test_str_compare),
        cmocka_unit_test(test_str_list_split_join_sort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
