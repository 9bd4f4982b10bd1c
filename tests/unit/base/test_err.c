// SPDX-License-Identifier: Apache-2.0
// Error texts: bounded, prefixed on the way up, never lost for want of memory.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/err.h"

static void test_err_set_returns_code_and_replaces_text(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(err_set(&err, SL_ENOENT, "%s: not there", "models"), SL_ENOENT);
    assert_string_equal(err.text, "models: not there");
    assert_int_equal(err_set(&err, SL_EIO, "second (%s)", err.text), SL_EIO);
    assert_string_equal(err.text, "second (models: not there)");
    assert_int_equal(err_set(NULL, SL_EIO, "nobody listens"), SL_EIO);
}

static void test_err_prefix_puts_place_in_front(void **state)
{
    (void)state;
    struct err err = {0};
    err_set(&err, SL_EFORMAT, "byte 7");
    assert_int_equal(err_prefix(&err, "%s", "fc_0.w_0"), SL_EFORMAT);
    assert_string_equal(err.text, "fc_0.w_0: byte 7");
    assert_int_equal(err_prefix(NULL, "x"), SL_EINVAL);
}

static void test_err_cuts_long_texts_at_the_end(void **state)
{
    (void)state;
    struct err err = {0};
    char big[3 * ERR_TEXT_MAX];
    memset(big, 'a', sizeof big - 1);
    big[sizeof big - 1] = 0;
    err_set(&err, SL_EIO, "%s", big);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    err_prefix(&err, "where");
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    assert_memory_equal(err.text, "where: aaa", 10);
    err_prefix(&err, "%s", big);
    assert_true(strlen(err.text) < ERR_TEXT_MAX);
}

static void test_err_names_every_code(void **state)
{
    (void)state;
#define X(name, value, text) assert_string_equal(err_name(name), text);
    ERR_CODES(X)
#undef X
    assert_string_equal(err_name(SL_OK), "success");
    assert_string_equal(err_name(12345), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_set_returns_code_and_replaces_text),
        cmocka_unit_test(test_err_prefix_puts_place_in_front),
        cmocka_unit_test(test_err_cuts_long_texts_at_the_end),
        cmocka_unit_test(test_err_names_every_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
