// SPDX-License-Identifier: Apache-2.0
// Running programs through the public API.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/api/api_net.h"

static void test_api_executor_trains(void **state)
{
    (void)state;
    struct api_net n = api_net_new();
    sl_executor *exe = sl_executor_new(SL_CPU);
    api_net_start(&n, exe);
    api_net_run(&n, exe, n.main);
    double first = sl_fetch_number(n.fetch, 0);
    for (int i = 0; i < 50; i++)
        api_net_run(&n, exe, n.main);
    assert_true(sl_fetch_number(n.fetch, 0) < first);
    sl_executor_free(exe);
    api_net_free(&n);
}

static void test_api_executor_test_program_changes_nothing(void **state)
{
    (void)state;
    struct api_net n = api_net_new();
    sl_executor *exe = sl_executor_new(SL_CPU);
    api_net_start(&n, exe);
    api_net_run(&n, exe, n.test);
    double first = sl_fetch_number(n.fetch, 0);
    api_net_run(&n, exe, n.test);
    assert_true(sl_fetch_number(n.fetch, 0) == first);
    sl_executor_free(exe);
    api_net_free(&n);
}

static void test_api_executor_names_what_is_missing(void **state)
{
    (void)state;
    struct api_net n = api_net_new();
    struct sl_error err = {0};
    sl_executor *exe = sl_executor_new(SL_CPU);
    assert_true(sl_run(exe, n.main, n.feed, n.fetch, &err) < 0);
    api_net_says(&err, "fc_0.w_0");
    api_net_start(&n, exe);
    assert_true(sl_run(exe, n.main, NULL, n.fetch, &err) < 0);
    api_net_says(&err, "x");
    sl_fetch_add(n.fetch, "no_such_variable");
    assert_true(sl_run(exe, n.main, n.feed, n.fetch, &err) < 0);
    api_net_says(&err, "no_such_variable");
    assert_null(sl_fetch_get(n.fetch, 0));
    sl_executor_free(exe);
    api_net_free(&n);
}

// Two workers with a sample each do what one does with both.
static void test_api_executor_several_workers(void **state)
{
    (void)state;
    struct api_net n = api_net_new();
    struct sl_error err = {0};
    const struct sl_run_options two = {.cpu_num = 2}, three = {.cpu_num = 3};
    sl_executor *one = sl_executor_new(SL_CPU), *exe = sl_executor_new(SL_CPU);
    api_net_start(&n, one);
    api_net_start(&n, exe);
    for (int i = 0; i < 5; i++) {
        api_net_run(&n, one, n.main);
        double loss = sl_fetch_number(n.fetch, 0);
        if (sl_run_with(exe, n.main, n.feed, n.fetch, &two, &err) < 0)
            fail_msg("%s", err.text);
        const struct sl_tensor *losses = sl_fetch_get(n.fetch, 0);
        assert_int_equal(losses->shape.d[0], 2);
        const float *shares = losses->data;
        assert_float_equal((shares[0] + shares[1]) / 2, loss, 1e-4);
    }
    assert_int_equal(sl_run_with(exe, n.main, n.feed, n.fetch, &three, &err), SL_ERR_INVALID);
    api_net_says(&err, "CPU_NUM");
    const struct sl_run_options too_many = {.cpu_num = 1000};
    assert_int_equal(sl_run_with(exe, n.main, n.feed, n.fetch, &too_many, &err), SL_ERR_INVALID);
    sl_executor_free(one);
    sl_executor_free(exe);
    api_net_free(&n);
}

static void test_api_executor_asks_cpu_num(void **state)
{
    (void)state;
    struct api_net n = api_net_new();
    struct sl_error err = {0};
    const struct sl_run_options asked = {.cpu_num = SL_CPU_NUM};
    sl_executor *exe = sl_executor_new(SL_CPU);
    api_net_start(&n, exe);
    const struct {
        const char *text;
        int64_t losses;   // 0: an error
    } rows[] = {{"2", 2}, {"", 1}, {"1", 1}, {"two", 0}, {"0", 0}, {"3", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(setenv("CPU_NUM", rows[i].text, 1), 0);
        int rc = sl_run_with(exe, n.main, n.feed, n.fetch, &asked, &err);
        assert_int_equal(rc == 0, rows[i].losses > 0);
        if (rc == 0)
            assert_int_equal(sl_fetch_get(n.fetch, 0)->shape.d[0], rows[i].losses);
        else
            api_net_says(&err, "CPU_NUM");
    }
    assert_int_equal(unsetenv("CPU_NUM"), 0);
    sl_executor_free(exe);
    api_net_free(&n);
}

static void test_api_executor_programs_from_files(void **state)
{
    (void)state;
    struct api_net n = api_net_new();
    struct sl_error err = {0};
    char path[] = "/tmp/sluice_api_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(sl_program_save(n.main, path, &err), 0);
    sl_program *read = sl_program_load(path, &err);
    assert_non_null(read);
    assert_true(sl_program_equal(read, n.main));
    assert_false(sl_program_equal(read, n.test));
    char *text = sl_program_text(read);
    assert_non_null(strstr(text, "momentum"));
    sl_free(text);
    sl_executor *exe = sl_executor_new(SL_CPU);
    api_net_start(&n, exe);
    api_net_run(&n, exe, read);
    sl_executor_free(exe);
    sl_program_free(read);
    unlink(path);
    assert_null(sl_program_load(path, &err));
    api_net_says(&err, path);
    api_net_free(&n);
}

static void test_api_executor_close_without_servers(void **state)
{
    (void)state;
    struct sl_error err = {0};
    sl_executor *exe = sl_executor_new_with(SL_CPU, NULL);
    assert_int_equal(sl_executor_close(exe, &err), 0);
    sl_executor_free(exe);
    sl_executor_free(NULL);
    assert_true(strlen(sl_version()) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_executor_trains),
        cmocka_unit_test(test_api_executor_test_program_changes_nothing),
        cmocka_unit_test(test_api_executor_names_what_is_missing),
        cmocka_unit_test(test_api_executor_several_workers),
        cmocka_unit_test(test_api_executor_asks_cpu_num),
        cmocka_unit_test(test_api_executor_programs_from_files),
        cmocka_unit_test(test_api_executor_close_without_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
