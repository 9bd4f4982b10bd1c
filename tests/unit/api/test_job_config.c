// SPDX-License-Identifier: Apache-2.0
// What the daemons print of their options, and which exit code an end has.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/job_config.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/config/option.h"

static void test_job_config_exit_codes(void **state)
{
    (void)state;
    assert_int_equal(job_config_exit_code(0), 0);
    assert_int_equal(job_config_exit_code(OPTION_HELP), 0);
    assert_int_equal(job_config_exit_code(SL_EUSAGE), 2);
    assert_int_equal(job_config_exit_code(SL_ESTOPPED), 3);
    assert_int_equal(job_config_exit_code(SL_EIO), 1);
    assert_int_equal(job_config_exit_code(SL_EMISMATCH), 1);
}

static void test_job_config_lines_show_values_with_their_origin(void **state)
{
    (void)state;
    const char *argv[] = {"t", "--role", "local", "--model", "fit_a_line", "--batch_size", "8"};
    struct option_set *options = option_new(OPTION_TRAINER | OPTION_LOCAL, "t", 0, NULL, NULL);
    struct err err = {0};
    struct str_list lines = {0};
    assert_int_equal(option_parse(options, 7, (char *const *)argv, &err), 0);
    job_config_lines(options, &lines);
    char *all = str_list_join(&lines, "\n");
    assert_non_null(strstr(all, "config: role=local (flag) model=fit_a_line (flag)"));
    assert_non_null(strstr(all, "batch_size=8 (flag)"));
    assert_non_null(strstr(all, "defaults: "));
    assert_non_null(strstr(all, "seed=1"));
    assert_null(strstr(all, "save_dir="));
    mem_free(all);
    str_list_deinit(&lines);
    option_free(options);
}

static void test_job_config_answers(void **state)
{
    (void)state;
    struct option_set *options = option_new(OPTION_PSERVER, "pserver", 0, NULL, NULL);
    struct buf text;
    buf_init(&text, 0);
    job_config_answer(options, OPTION_VERSION, "usage", &text);
    assert_int_equal(strncmp(buf_text(&text), "sluice ", 7), 0);
    buf_clear(&text);
    job_config_answer(options, OPTION_HELP, "how to use it", &text);
    assert_int_equal(strncmp(buf_text(&text), "how to use it", 13), 0);
    assert_non_null(strstr(buf_text(&text), "--current_endpoint"));
    buf_deinit(&text);
    option_free(options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_config_exit_codes),
        cmocka_unit_test(test_job_config_lines_show_values_with_their_origin),
        cmocka_unit_test(test_job_config_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
