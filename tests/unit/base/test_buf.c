// SPDX-License-Identifier: Apache-2.0
// The buffer: caps, failing growth, text helpers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"

static void test_buf_cap_is_exact(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 10);
    assert_int_equal(buf_append(&buf, "0123456789", 10), 0);
    assert_int_equal(buf_append(&buf, "x", 1), SL_ELIMIT);
    assert_int_equal(buf_printf(&buf, "%d", 1), SL_ELIMIT);
    assert_int_equal(buf.bytes, 10);
    assert_string_equal(buf_text(&buf), "0123456789");
    assert_true(buf.cap <= 11);
    buf_clear(&buf);
    assert_int_equal(buf_append(&buf, "01234567890", 11), SL_ELIMIT);
    assert_int_equal(buf_printf(&buf, "%s", "abc"), 0);
    assert_string_equal(buf_text(&buf), "abc");
    buf_deinit(&buf);
}

static void test_buf_reserve_refuses_overflow(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 0);
    assert_int_equal(buf_append(&buf, "a", 1), 0);
    assert_int_equal(buf_reserve(&buf, SIZE_MAX), SL_ELIMIT);
    assert_int_equal(buf_reserve(&buf, SIZE_MAX - 1), SL_ELIMIT);
    assert_int_equal(buf_reserve(&buf, SIZE_MAX - 2), SL_ENOMEM);
    assert_string_equal(buf_text(&buf), "a");
    buf_deinit(&buf);
}

static void test_buf_keeps_content_when_memory_is_out(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 0);
    buf_append(&buf, "head", 4);
    char big[4096];
    memset(big, 'x', sizeof big);
    mem_fail_nth(1);
    assert_int_equal(buf_append(&buf, big, sizeof big), SL_ENOMEM);
    mem_fail_nth(1);
    assert_int_equal(buf_printf(&buf, "%4000d", 1), SL_ENOMEM);
    assert_string_equal(buf_text(&buf), "head");
    assert_int_equal(buf_append(&buf, big, sizeof big), 0);
    assert_int_equal(buf.bytes, 4 + sizeof big);
    buf_deinit(&buf);
}

static void test_buf_little_endian(void **state)
{
    (void)state;
    const uint8_t want[12] = {0x04, 0x03, 0x02, 0x01, 0x08, 0x07,
                              0x06, 0x05, 0x04, 0x03, 0x02, 0x01};
    struct buf buf;
    buf_init(&buf, 0);
    buf_append_u32le(&buf, 0x01020304u);
    buf_append_u64le(&buf, 0x0102030405060708u);
    assert_int_equal(buf.bytes, sizeof want);
    assert_memory_equal(buf.data, want, sizeof want);
    buf_deinit(&buf);
}

static void test_buf_text_is_terminated_and_moves_out(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 0);
    assert_string_equal(buf_text(&buf), "");
    char *empty = buf_take_text(&buf);
    assert_string_equal(empty, "");
    mem_free(empty);
    for (int i = 0; i < 300; i++)
        assert_int_equal(buf_printf(&buf, "%d,", i % 10), 0);
    assert_int_equal(strlen(buf_text(&buf)), 600);
    char *text = buf_take_text(&buf);
    assert_int_equal(strlen(text), 600);
    assert_int_equal(buf.bytes, 0);
    mem_free(text);
    buf_deinit(&buf);
    buf_deinit(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_cap_is_exact),
        cmocka_unit_test(test_buf_reserve_refuses_overflow),
        cmocka_unit_test(test_buf_keeps_content_when_memory_is_out),
        cmocka_unit_test(test_buf_little_endian),
        cmocka_unit_test(test_buf_text_is_terminated_and_moves_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
