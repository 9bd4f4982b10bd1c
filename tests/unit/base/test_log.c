// SPDX-License-Identifier: Apache-2.0
// Log lines as text and JSON, with levels; control characters cannot break a line.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"

static char got[65536];

// What fn writes to stderr, in got.
static void capture(void (*fn)(void))
{
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stderr);
    int kept = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    fn();
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(file);
    size_t bytes = fread(got, 1, sizeof got - 1, file);
    got[bytes] = 0;
    fclose(file);
}

static void write_text(void)
{
    log_setup("trainer 0", LOG_INFO, false);
    log_debug("hidden %d", 1);
    log_info("ready on %s", "127.0.0.1:6174");
    log_error("from a peer: a\nb\x1b[31m\x7f");
}

static void write_json(void)
{
    log_setup("pserver \"x\"", LOG_DEBUG, true);
    log_debug("back\\slash \"quoted\"\ttab");
}

static void write_long(void)
{
    static char big[40000];
    memset(big, 'x', sizeof big - 1);
    log_setup("n", LOG_INFO, false);
    log_warn("%s", big);
}

static void test_log_text_lines(void **state)
{
    (void)state;
    capture(write_text);
    assert_string_equal(got, "trainer 0: ready on 127.0.0.1:6174\n"
                             "trainer 0: from a peer: a b [31m \n");
}

static void test_log_json_lines(void **state)
{
    (void)state;
    capture(write_json);
    assert_non_null(strstr(got, "\"level\":\"debug\",\"name\":\"pserver \\\"x\\\"\","
                                "\"text\":\"back\\\\slash \\\"quoted\\\" tab\"}\n"));
    assert_memory_equal(got, "{\"time\":\"2", 10);
}

static void test_log_cuts_long_lines(void **state)
{
    (void)state;
    capture(write_long);
    assert_true(strlen(got) < 20000);
    assert_int_equal(got[strlen(got) - 1], '\n');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_text_lines),
        cmocka_unit_test(test_log_json_lines),
        cmocka_unit_test(test_log_cuts_long_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
