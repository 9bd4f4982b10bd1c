// SPDX-License-Identifier: Apache-2.0
// Signals arrive on the thread of stop.c, one by one, and interrupt nothing.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/api/stop.h"
#include "common/base/err.h"

static void write_count(void *self, int count)
{
    const int *pipe_end = self;
    char byte = (char)count;
    if (write(*pipe_end, &byte, 1) != 1)
        fail();
}

static void test_stop_counts_signals(void **state)
{
    (void)state;
    int ends[2];
    char byte;
    struct err err = {0};
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(stop_start(write_count, &ends[1], &err), 0);
    assert_false(stop_requested());
    const int signals[] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        kill(getpid(), signals[i]);
        assert_int_equal(read(ends[0], &byte, 1), 1);
        assert_int_equal(byte, i + 1);
        assert_true(stop_requested());
    }
    stop_end();
    stop_end();
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stop_counts_signals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
