// SPDX-License-Identifier: Apache-2.0
// The transpiler through the public API. (Real processes: tests/examples.)
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/api/api_net.h"

static const struct sl_job job = {
    .trainer_id = 1, .pservers = "127.0.0.1:1,127.0.0.1:2", .trainers = 2, .sync_mode = true};

static void test_api_transpiler_programs_become_the_trainers(void **state)
{
    (void)state;
    struct api_net n = api_net_new();
    struct sl_error err = {0};
    sl_transpiler *t = sl_transpiler_new(NULL);
    assert_null(sl_get_trainer_program(t, &err));
    api_net_says(&err, "sl_transpile");
    if (sl_transpile(t, &job, n.main, n.startup, &err) < 0)
        fail_msg("%s", err.text);
    assert_ptr_equal(sl_get_trainer_program(t, &err), n.main);
    assert_non_null(sl_program_var(n.main, "fc_0.w_0@GRAD.trainer_1"));
    assert_null(sl_program_var(n.main, "learning_rate_0"));
    assert_string_equal(n.loss, "mean_0.tmp_0");   // the variable from before is still there
    sl_program *main = NULL, *startup = NULL;
    assert_int_equal(sl_get_pserver_programs(t, "127.0.0.1:2", &main, &startup, &err), 0);
    assert_ptr_equal(sl_get_pserver_program(t, "127.0.0.1:2", &err), main);
    assert_ptr_equal(sl_get_startup_program(t, "127.0.0.1:2", main, &err), startup);
    assert_non_null(sl_program_var(main, "learning_rate_0"));
    assert_null(sl_get_pserver_program(t, "127.0.0.1:3", &err));
    api_net_says(&err, "127.0.0.1:3");
    assert_int_equal(sl_transpile(t, &job, n.main, n.startup, &err), SL_ERR_USAGE);
    sl_transpiler_free(t);
    api_net_free(&n);
}

static void test_api_transpiler_refuses_and_changes_nothing(void **state)
{
    (void)state;
    struct api_net n = api_net_new();
    struct sl_error err = {0};
    char *before = sl_program_text(n.main);
    struct sl_transpiler_config config = sl_transpiler_config_defaults();
    config.min_block_size = 10;
    sl_transpiler *t = sl_transpiler_new(&config);
    assert_int_equal(sl_transpile(t, &job, n.main, n.startup, &err), SL_ERR_INVALID);
    api_net_says(&err, "min_block_size");
    sl_transpiler_free(t);
    t = sl_transpiler_new(NULL);
    struct sl_job bad = job;
    bad.trainer_id = 2;
    assert_int_equal(sl_transpile(t, &bad, n.main, n.startup, &err), SL_ERR_INVALID);
    api_net_says(&err, "trainer_id");
    char *after = sl_program_text(n.main);
    assert_string_equal(before, after);
    sl_free(before);
    sl_free(after);
    sl_transpiler_free(t);
    sl_transpiler_free(NULL);
    api_net_free(&n);
}

static void test_api_transpiler_saves_and_loads_by_role(void **state)
{
    (void)state;
    struct api_net n = api_net_new();
    struct sl_error err = {0};
    sl_transpiler *t = sl_transpiler_new(NULL);
    assert_int_equal(sl_transpile(t, &job, n.main, n.startup, &err), 0);
    sl_executor *exe = sl_executor_new(SL_CPU);
    assert_int_equal(sl_io_save_persistables(exe, "/nonexistent/x", n.main, &err), SL_SKIPPED);
    api_net_says(&err, "trainer 1");
    assert_int_equal(sl_io_load_persistables(exe, "/nonexistent/x", n.main, NULL, &err),
                     SL_ERR_REFUSED);
    assert_int_equal(sl_io_load_params(exe, "/nonexistent/x", n.main, NULL, &err), SL_ERR_REFUSED);
    api_net_says(&err, "the servers load");
    sl_program *server = sl_get_pserver_program(t, "127.0.0.1:1", &err);
    assert_int_equal(sl_io_save_persistables(exe, "/nonexistent/x", server, &err), SL_ERR_REFUSED);
    api_net_says(&err, "trainer 0");
    sl_executor_free(exe);
    sl_transpiler_free(t);
    api_net_free(&n);
}

static void test_api_transpiler_servers_that_stay_away(void **state)
{
    (void)state;
    struct api_net n = api_net_new();
    struct sl_error err = {0};
    struct sl_executor_options options = sl_executor_defaults();
    sl_transpiler *t = sl_transpiler_new(NULL);
    assert_int_equal(sl_transpile(t, &job, n.main, n.startup, &err), 0);
    options.connect_timeout_ms = 50;
    sl_executor *exe = sl_executor_new_with(SL_CPU, &options);
    assert_int_equal(sl_run(exe, n.startup, NULL, NULL, &err), SL_ERR_TIMEOUT);
    api_net_says(&err, "127.0.0.1:");
    sl_executor_free(exe);
    sl_transpiler_free(t);
    api_net_free(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_transpiler_programs_become_the_trainers),
        cmocka_unit_test(test_api_transpiler_refuses_and_changes_nothing),
        cmocka_unit_test(test_api_transpiler_saves_and_loads_by_role),
        cmocka_unit_test(test_api_transpiler_servers_that_stay_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
