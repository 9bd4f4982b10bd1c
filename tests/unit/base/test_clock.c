// SPDX-License-Identifier: Apache-2.0
// Clocks run forwards; wall time is printable.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"

static void test_clock_is_monotonic(void **state)
{
    (void)state;
    uint64_t last = clock_now_ns();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_now_ns();
        assert_true(now >= last);
        last = now;
    }
    assert_true(clock_now_ms() >= last / 1000000u);
    assert_true(clock_wall_s() > 1500000000);
}

static void test_clock_formats_local_time(void **state)
{
    (void)state;
    char text[16];
    setenv("TZ", "UTC", 1);
    tzset();
    clock_format_time(0, text);
    assert_string_equal(text, "00:00:00");
    clock_format_time(86399 + 86400, text);
    assert_string_equal(text, "23:59:59");
    clock_format_time(INT64_MAX, text);
    assert_string_equal(text, "--:--:--");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_is_monotonic),
        cmocka_unit_test(test_clock_formats_local_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
