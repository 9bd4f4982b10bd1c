// SPDX-License-Identifier: Apache-2.0
// What trainers learn from the servers about how the run began.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/api/job_start.h"
#include "common/base/buf.h"
#include "common/base/err.h"

static void ask(bool loaded, const char *progress, enum job_start_mode mode, int64_t step,
                int64_t sample)
{
    struct job_start start;
    struct err err = {0};
    job_start_init(&start);
    assert_int_equal(job_start_from_servers(loaded, progress, &start, &err), 0);
    assert_int_equal(start.mode, mode);
    assert_int_equal(start.progress.step, step);
    assert_int_equal(start.progress.reader_sample, sample);
    job_start_deinit(&start);
}

static void test_job_start_is_told_by_what_the_servers_hold(void **state)
{
    (void)state;
    struct ckpt_progress progress;
    struct buf text;
    buf_init(&text, 0);
    ckpt_progress_init(&progress);
    ask(false, "", JOB_START_FRESH, 0, 0);
    ask(true, "", JOB_START_LOAD, 0, 0);
    progress.step = 12;
    assert_int_equal(ckpt_progress_format(&progress, &text), 0);
    ask(true, buf_text(&text), JOB_START_LOAD, 12, 0);
    progress.reader_sample = 640;
    ckpt_progress_add_data(&progress, "images", 99);
    buf_clear(&text);
    assert_int_equal(ckpt_progress_format(&progress, &text), 0);
    ask(true, buf_text(&text), JOB_START_RESUME, 12, 640);
    ckpt_progress_deinit(&progress);
    buf_deinit(&text);
}

static void test_job_start_refuses_progress_that_is_none(void **state)
{
    (void)state;
    struct job_start start;
    struct err err = {0};
    job_start_init(&start);
    assert_true(job_start_from_servers(true, "{\"step\":", &start, &err) < 0);
    assert_non_null(strstr(err.text, "servers"));
    job_start_deinit(&start);
}

static void test_job_start_modes_have_names(void **state)
{
    (void)state;
    assert_string_equal(job_start_mode_name(JOB_START_FRESH), "fresh");
    assert_string_equal(job_start_mode_name(JOB_START_LOAD), "load");
    assert_string_equal(job_start_mode_name(JOB_START_RESUME), "resume");
    assert_string_equal(job_start_mode_name(JOB_START_INIT), "init");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_start_is_told_by_what_the_servers_hold),
        cmocka_unit_test(test_job_start_refuses_progress_that_is_none),
        cmocka_unit_test(test_job_start_modes_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
