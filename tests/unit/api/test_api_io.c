// SPDX-License-Identifier: Apache-2.0
// fluid.io through the public API: what is saved, what is refused, what is left as it was.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/fsutil.h"
#include "tests/unit/api/api_net.h"

static struct api_net net;
static sl_executor *exe;
static char folder[64];

static int begin(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/sluice_api_XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    net = api_net_new();
    exe = sl_executor_new(SL_CPU);
    api_net_start(&net, exe);
    return 0;
}

static int end(void **state)
{
    (void)state;
    sl_executor_free(exe);
    api_net_free(&net);
    return fsutil_remove_tree(folder, NULL);
}

static bool has(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static double loss_of(sl_executor *e, sl_program *program)
{
    api_net_run(&net, e, program);
    return sl_fetch_number(net.fetch, 0);
}

static void test_api_io_params_are_parameters_only(void **state)
{
    (void)state;
    struct sl_error err = {0};
    assert_int_equal(sl_io_save_params(exe, folder, net.main, &err), 0);
    assert_true(has("fc_0.w_0") && has("fc_0.b_0"));
    assert_false(has("learning_rate_0") || has("fc_0.w_0_velocity_0"));
    assert_int_equal(sl_io_save_persistables(exe, folder, net.main, &err), 0);
    assert_true(has("learning_rate_0") && has("fc_0.w_0_velocity_0"));
}

static void test_api_io_params_and_update_ops(void **state)
{
    (void)state;
    struct sl_error err = {0};
    struct sl_load_options options = sl_load_defaults();
    struct sl_load_report report;
    assert_int_equal(sl_io_save_params(exe, folder, net.main, &err), 0);
    assert_int_equal(sl_io_load_params(exe, folder, net.main, NULL, &err), SL_ERR_REFUSED);
    api_net_says(&err, "allow_update_ops");
    options.allow_update_ops = true;
    assert_int_equal(sl_io_load_params_with(exe, folder, net.main, &options, &report, &err), 0);
    assert_int_equal(report.loaded, 2);
    assert_int_equal(sl_io_load_params(exe, folder, net.test, &report, &err), 0);
    assert_int_equal(report.loaded, 2);
}

static void test_api_io_going_on_equals_not_stopping(void **state)
{
    (void)state;
    struct sl_error err = {0};
    struct sl_load_report report;
    loss_of(exe, net.main);
    assert_int_equal(sl_io_save_persistables(exe, folder, net.main, &err), 0);
    double second = loss_of(exe, net.main), third = loss_of(exe, net.main);
    sl_executor *other = sl_executor_new(SL_CPU);
    api_net_start(&net, other);
    if (sl_io_load_persistables(other, folder, net.startup, &report, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(report.loaded, 5);
    assert_int_equal(report.missing, 0);
    assert_int_equal(report.step, -1);
    assert_true(strlen(report.digest) == 64);
    assert_true(loss_of(other, net.main) == second);
    assert_true(loss_of(other, net.main) == third);
    sl_executor_free(other);
}

static void test_api_io_startup_after_a_load_is_refused(void **state)
{
    (void)state;
    struct sl_error err = {0};
    assert_int_equal(sl_io_save_persistables(exe, folder, net.main, &err), 0);
    assert_int_equal(sl_io_load_persistables(exe, folder, net.main, NULL, &err), 0);
    assert_int_equal(sl_run(exe, net.startup, NULL, NULL, &err), SL_ERR_REFUSED);
    api_net_says(&err,
                 "fc_0.b_0, fc_0.b_0_velocity_0, fc_0.w_0, fc_0.w_0_velocity_0, learning_rate_0");
    api_net_run(&net, exe, net.main);
    const struct sl_run_options force = {.overwrite_loaded = true};
    assert_int_equal(sl_run_with(exe, net.startup, NULL, NULL, &force, &err), 0);
    assert_int_equal(sl_run(exe, net.startup, NULL, NULL, &err), 0);
}

static void test_api_io_nothing_is_half_loaded(void **state)
{
    (void)state;
    struct sl_error err = {0};
    struct sl_load_report report;
    double before = loss_of(exe, net.test);
    api_net_run(&net, exe, net.main);
    assert_int_equal(sl_io_save_persistables(exe, folder, net.main, &err), 0);
    char path[256];
    snprintf(path, sizeof path, "%s/fc_0.w_0", folder);
    unlink(path);
    sl_executor *other = sl_executor_new(SL_CPU);
    api_net_start(&net, other);
    assert_int_equal(sl_io_load_persistables(other, folder, net.main, &report, &err),
                     SL_ERR_MISMATCH);
    api_net_says(&err, "fc_0.w_0");
    assert_int_equal(report.missing, 1);
    assert_true(loss_of(other, net.test) == before);
    assert_int_equal(sl_run(other, net.startup, NULL, NULL, &err), 0);
    sl_executor_free(other);
}

static void test_api_io_bad_folders(void **state)
{
    (void)state;
    struct sl_error err = {0};
    assert_true(sl_io_load_persistables(exe, "/nonexistent/models", net.main, NULL, &err) < 0);
    api_net_says(&err, "/nonexistent/models");
    assert_true(sl_io_save_persistables(exe, "/proc/nothing", net.main, &err) < 0);
    api_net_says(&err, "/proc/nothing");
    assert_true(sl_io_save_params(exe, "", net.main, &err) < 0);
    assert_true(sl_io_load_params(exe, NULL, net.main, NULL, &err) < 0);
    sl_executor *empty = sl_executor_new(SL_CPU);
    assert_true(sl_io_save_params(empty, folder, net.main, &err) < 0);
    api_net_says(&err, "fc_0.w_0");
    assert_false(has("fc_0.w_0"));
    sl_executor_free(empty);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_api_io_params_are_parameters_only),
        CASE(test_api_io_params_and_update_ops),
        CASE(test_api_io_going_on_equals_not_stopping),
        CASE(test_api_io_startup_after_a_load_is_refused),
        CASE(test_api_io_nothing_is_half_loaded),
        CASE(test_api_io_bad_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
