// SPDX-License-Identifier: Apache-2.0
// Attributes: deep copies, and what counts as equal.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/mem.h"
#include "common/program/attr.h"

static char a_name[] = "a";
static int64_t numbers[] = {1, 2, 3};
static float floats[] = {1, 2.5f};
static char one[] = "one", two[] = "two";
static char *strings[] = {one, two};

static const struct attr samples[] = {
    {.name = a_name, .type = ATTR_INT, .i = 1},
    {.name = a_name, .type = ATTR_LONG, .i = 1},
    {.name = a_name, .type = ATTR_BLOCK, .i = 1},
    {.name = a_name, .type = ATTR_FLOAT, .f = 1},
    {.name = a_name, .type = ATTR_STRING, .s = one, .s_bytes = 3},
    {.name = a_name, .type = ATTR_INTS, .ints = numbers, .count = 3},
    {.name = a_name, .type = ATTR_LONGS, .ints = numbers, .count = 3},
    {.name = a_name, .type = ATTR_BLOCKS, .ints = numbers, .count = 3},
    {.name = a_name, .type = ATTR_BOOLEANS, .ints = numbers, .count = 1},
    {.name = a_name, .type = ATTR_FLOATS, .floats = floats, .count = 2},
    {.name = a_name, .type = ATTR_STRINGS, .strings = strings, .count = 2},
};
#define SAMPLES (sizeof samples / sizeof samples[0])

static void test_attr_copies_are_deep_and_equal(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLES; i++) {
        struct attr copy;
        attr_copy(&copy, &samples[i]);
        assert_ptr_not_equal(copy.name, samples[i].name);
        for (size_t k = 0; k < SAMPLES; k++)
            assert_int_equal(attr_equal(&copy, &samples[k]), i == k);
        attr_deinit(&copy);
    }
    attr_deinit(NULL);
}

static void test_attr_int_and_boolean_are_one(void **state)
{
    (void)state;
    const struct attr flag = {.name = a_name, .type = ATTR_BOOLEAN, .i = 1};
    assert_true(attr_equal(&flag, &samples[0]));
    assert_true(attr_bool(&flag) && attr_bool(&samples[0]));
    assert_false(attr_bool(NULL));
    const struct attr no_ints = {.name = a_name, .type = ATTR_INTS};
    const struct attr no_strings = {.name = a_name, .type = ATTR_STRINGS};
    assert_true(attr_equal(&no_ints, &no_strings));
    assert_false(attr_equal(&no_ints, &samples[5]));
}

static void test_attr_strings_may_hold_nul(void **state)
{
    (void)state;
    char raw[] = "a\0b", other[] = "a\0c";
    const struct attr x = {.name = a_name, .type = ATTR_STRING, .s = raw, .s_bytes = 3};
    const struct attr y = {.name = a_name, .type = ATTR_STRING, .s = other, .s_bytes = 3};
    struct attr copy;
    attr_copy(&copy, &x);
    assert_true(attr_equal(&copy, &x));
    assert_false(attr_equal(&copy, &y));
    attr_deinit(&copy);
}

static void test_attr_blocks(void **state)
{
    (void)state;
    assert_int_equal(attr_blocks_count(&samples[0]), 0);
    assert_int_equal(attr_blocks_count(&samples[2]), 1);
    assert_int_equal(attr_block(&samples[2], 0), 1);
    assert_int_equal(attr_blocks_count(&samples[7]), 3);
    assert_int_equal(attr_block(&samples[7], 2), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attr_copies_are_deep_and_equal),
        cmocka_unit_test(test_attr_int_and_boolean_are_one),
        cmocka_unit_test(test_attr_strings_may_hold_nul),
        cmocka_unit_test(test_attr_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
