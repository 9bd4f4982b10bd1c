// SPDX-License-Identifier: Apache-2.0
// The rules of the job file: what inih takes silently is an error with file and line here.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/limits.h"
#include "common/config/option_file.h"

static char path[64];

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/option_file_XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static int read_text(struct option_file *file, const char *text, size_t bytes, struct err *err)
{
    assert_int_equal(fsutil_write_atomic(path, text, bytes, NULL), 0);
    return option_file_read(file, path, err);
}

static void test_option_file_reads_keys_with_lines(void **state)
{
    (void)state;
    const char *text = "; a comment\n\n# another\n[job]\npservers = a:1,b:2\n   \ntrainers=2\r\n"
                       "[model]\t\nmodel =  fit_a_line  ; inline\nsave_dir = my models\nlast = 1";
    const struct option_file_entry want[] = {
        {"pservers", "a:1,b:2", 5}, {"trainers", "2", 7}, {"model", "fit_a_line", 9},
        {"save_dir", "my models", 10}, {"last", "1", 11},
    };
    struct option_file file;
    struct err err = {0};
    if (read_text(&file, text, strlen(text), &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(file.count, 5);
    for (size_t i = 0; i < file.count; i++) {
        assert_string_equal(file.entries[i].name, want[i].name);
        assert_string_equal(file.entries[i].value, want[i].value);
        assert_int_equal(file.entries[i].line, want[i].line);
    }
    option_file_deinit(&file);
}

static void test_option_file_refuses_with_the_line(void **state)
{
    (void)state;
    const struct {
        const char *text, *line, *why;
    } rows[] = {
        {"[job] pservers = a:1\n", ":1:", "behind"},
        {"[job] ; servers\n", ":1:", "behind"},
        {"\n[job\n", ":2:", "without"},
        {"[]\n", ":1:", "without a name"},
        {"[job]\n  trainers = 2\n", ":2:", "indented"},
        {"[job]\ntrainers = 2\n\t3\n", ":3:", "indented"},
        {"trainers = 2\nseed = 1\ntrainers = 2\n", ":3:", "twice, first in line 1"},
        {"trainers = 2\n[model]\ntrainers = 3\n", ":3:", "twice"},
        {"trainers\n", ":1:", "neither"},
        {"seed = 1\ntrainers =\n", ":2:", "no value"},
        {"trainers = ; nothing\n", ":1:", "no value"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct option_file file;
        struct err err = {0};
        assert_int_equal(read_text(&file, rows[i].text, strlen(rows[i].text), &err), SL_EUSAGE);
        if (!strstr(err.text, rows[i].why) || !strstr(err.text, rows[i].line) ||
            !strstr(err.text, path))
            fail_msg("row %zu: %s", i, err.text);
        assert_int_equal(file.count, 0);
    }
}

static void test_option_file_takes_long_lines_up_to_the_cap(void **state)
{
    (void)state;
    struct option_file file;
    struct err err = {0};
    struct buf text;
    const size_t lengths[] = {199, 200, 201, 5000, LIMIT_CONFIG_LINE_BYTES};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        buf_init(&text, 0);
        buf_printf(&text, "pservers = ");
        while (text.bytes < lengths[i])
            buf_append(&text, "a", 1);
        buf_printf(&text, "\ntrainers = 2\n");
        if (read_text(&file, buf_text(&text), text.bytes, &err) != 0)
            fail_msg("%s", err.text);
        assert_int_equal(file.count, 2);
        assert_int_equal(strlen(file.entries[0].value), lengths[i] - strlen("pservers = "));
        assert_int_equal(file.entries[1].line, 2);
        option_file_deinit(&file);
        buf_deinit(&text);
    }
    buf_init(&text, 0);
    buf_printf(&text, "seed = 1\npservers = ");
    while (text.bytes < LIMIT_CONFIG_LINE_BYTES + 10)
        buf_append(&text, "a", 1);
    assert_int_equal(read_text(&file, buf_text(&text), text.bytes, &err), SL_EUSAGE);
    assert_non_null(strstr(err.text, ":2: the line is longer than 64 KiB"));
    buf_deinit(&text);
}

static void test_option_file_refuses_binary_and_missing(void **state)
{
    (void)state;
    struct option_file file;
    struct err err = {0};
    assert_int_equal(read_text(&file, "seed = 1\n\0x", 11, &err), SL_EUSAGE);
    assert_non_null(strstr(err.text, "not a text file"));
    assert_int_equal(option_file_read(&file, "/no/such/job.conf", &err), SL_EUSAGE);
    assert_non_null(strstr(err.text, "/no/such/job.conf"));
    assert_int_equal(read_text(&file, "", 0, &err), 0);
    assert_int_equal(file.count, 0);
    option_file_deinit(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_option_file_reads_keys_with_lines),
        cmocka_unit_test(test_option_file_refuses_with_the_line),
        cmocka_unit_test(test_option_file_takes_long_lines_up_to_the_cap),
        cmocka_unit_test(test_option_file_refuses_binary_and_missing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
