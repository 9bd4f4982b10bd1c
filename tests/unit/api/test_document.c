// SPDX-License-Identifier: Apache-2.0
// Sentences of the reference document as behaviour on one node; each test's name quotes its
// sentence, and tests/README.md has them in the document's order. Sentences about several processes
// are in tests/examples.
#include "tests/unit/storage/temp_folder.h"

#include "tests/unit/api/api_net.h"

static struct sl_error err;
static struct api_net net;
static sl_executor *exe;

static int begin(void **state)
{
    if (fixture_setup(state) != 0)
        return -1;
    net = api_net_new();
    exe = sl_executor_new(SL_CPU);
    api_net_start(&net, exe);
    return 0;
}

static int end(void **state)
{
    sl_executor_free(exe);
    api_net_free(&net);
    return fixture_teardown(state);
}

static void good(int rc)
{
    if (rc != 0)
        fail_msg("%d: %s", rc, err.text);
}

static double loss_of(sl_executor *e, sl_program *program)
{
    api_net_run(&net, e, program);
    return sl_fetch_number(net.fetch, 0);
}

static float first_value(sl_executor *e, const char *name)
{
    struct sl_tensor t;
    good(sl_scope_get(e, name, &t, &err));
    return *(const float *)t.data;
}

static bool has(const char *folder, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(at(path), F_OK) == 0;
}

// ---- kinds of variables

static void test_all_model_parameters_are_persistable_variables_but_not_all(void **state)
{
    (void)state;
    size_t parameters = 0, persistables = 0, temporaries = 0;
    for (size_t i = 0; i < sl_program_vars(net.main); i++) {
        const sl_var *var = sl_program_var_at(net.main, i);
        parameters += sl_var_is_parameter(var);
        persistables += sl_var_is_persistable(var);
        temporaries += !sl_var_is_persistable(var);
        assert_true(sl_var_is_persistable(var) || !sl_var_is_parameter(var));
    }
    assert_int_equal(parameters, 2);
    assert_int_equal(persistables, 5);   // and two velocities and the learning rate
    // "In general, most of the variables in the model belong to this category"
    assert_true(temporaries > persistables);
    assert_null(sl_program_var_at(net.main, sl_program_vars(net.main)));
}

static void test_parameter_configured_with_its_own_initialization_and_update_rate(void **state)
{
    (void)state;
    sl_program *main_program = sl_program_new(), *startup = sl_program_new();
    sl_net *own = sl_net_new(main_program, startup);
    struct sl_param_attr attr = sl_param_attr_defaults();
    struct sl_fc_options fc = sl_fc_defaults();
    attr.initializer.kind = SL_INIT_CONSTANT;
    attr.initializer.a = 0.25;
    attr.learning_rate = 0;   // this one stays as it began
    fc.param_attr = &attr;
    sl_var *x = sl_data(own, "x", SL_FP32, SL_SHAPE(4));
    sl_var *y = sl_data(own, "y", SL_FP32, SL_SHAPE(1));
    sl_var *loss = sl_mean(own, sl_square_error_cost(own, sl_fc(own, x, 1, &fc), y));
    sl_minimize(own, sl_sgd(0.1), loss);
    good(sl_net_error(own, &err));
    sl_executor *other = sl_executor_new(SL_CPU);
    good(sl_run(other, startup, NULL, NULL, &err));
    assert_true(first_value(other, "fc_0.w_0") == 0.25f);
    good(sl_run(other, main_program, net.feed, NULL, &err));
    assert_true(first_value(other, "fc_0.w_0") == 0.25f);
    assert_true(first_value(other, "fc_0.b_0") != 0);
    sl_executor_free(other);
    sl_net_free(own);
    sl_program_free(main_program);
    sl_program_free(startup);
}

static void test_persistable_variables_are_not_destroyed_by_the_end_of_an_iteration(void **state)
{
    (void)state;
    float velocity = 0;
    for (int i = 0; i < 3; i++) {
        loss_of(exe, net.main);
        assert_true(first_value(exe, "fc_0.b_0_velocity_0") != velocity);
        velocity = first_value(exe, "fc_0.b_0_velocity_0");
    }
}

static void test_such_as_the_global_learning_rate_which_is_dynamically_adjusted(void **state)
{
    (void)state;
    float zero = 0, before = first_value(exe, "fc_0.b_0");
    const struct sl_tensor rate = {.dtype = SL_FP32, .shape = SL_SHAPE(1), .data = &zero};
    good(sl_scope_set(exe, "learning_rate_0", &rate, &err));
    loss_of(exe, net.main);
    assert_true(first_value(exe, "learning_rate_0") == 0);
    assert_true(first_value(exe, "fc_0.b_0") == before);
}

static void test_by_setting_the_persistable_property_to_true(void **state)
{
    (void)state;
    sl_program *main_program = sl_program_new(), *startup = sl_program_new();
    sl_net *own = sl_net_new(main_program, startup);
    sl_var *x = sl_data(own, "x", SL_FP32, SL_SHAPE(4));
    sl_data(own, "y", SL_FP32, SL_SHAPE(1));
    sl_var *kept = sl_mean(own, x), *gone = sl_mean(own, x);
    sl_var_set_persistable(kept, true);
    good(sl_net_error(own, &err));
    sl_executor *other = sl_executor_new(SL_CPU);
    good(sl_run(other, main_program, net.feed, NULL, &err));
    assert_true(sl_scope_has(other, sl_var_name(kept)));
    assert_false(sl_scope_has(other, sl_var_name(gone)));
    good(sl_io_save_persistables(other, at("m"), main_program, &err));
    assert_true(has("m", sl_var_name(kept)));
    assert_false(has("m", sl_var_name(gone)));
    sl_executor_free(other);
    sl_net_free(own);
    sl_program_free(main_program);
    sl_program_free(startup);
}

static void test_after_each_iteration_all_temporary_variables_will_be_destroyed(void **state)
{
    (void)state;
    sl_fetch *fetch = sl_fetch_new();
    sl_fetch_add(fetch, "fc_0.tmp_0");
    for (int i = 0; i < 2; i++) {
        good(sl_run(exe, net.main, net.feed, fetch, &err));
        assert_false(sl_scope_has(exe, "x") || sl_scope_has(exe, "fc_0.tmp_0"));
        assert_true(sl_scope_has(exe, "fc_0.w_0"));
    }
    // Nothing of the iteration before is there: what was fed then is not fed now.
    assert_true(sl_run(exe, net.main, NULL, fetch, &err) < 0);
    api_net_says(&err, "feed");
    sl_fetch_free(fetch);
}

// ---- saving and loading parameters

static void test_save_params_picks_out_all_model_parameters(void **state)
{
    (void)state;
    good(sl_io_save_params(exe, at("m"), net.main, &err));
    size_t saved = 0;
    for (size_t i = 0; i < sl_program_vars(net.main); i++) {
        const sl_var *var = sl_program_var_at(net.main, i);
        assert_int_equal(has("m", sl_var_name(var)), sl_var_is_parameter(var));
        saved += sl_var_is_parameter(var);
    }
    assert_int_equal(saved, 2);
}

static void test_main_program_none_is_the_default_program(void **state)
{
    (void)state;
    sl_reset_default_programs();
    sl_net *own = sl_net_new(NULL, NULL);
    sl_fc(own, sl_data(own, "x", SL_FP32, SL_SHAPE(4)), 3, NULL);
    good(sl_net_error(own, &err));
    sl_net_free(own);
    sl_executor *other = sl_executor_new(SL_CPU);
    good(sl_run(other, sl_default_startup_program(), NULL, NULL, &err));
    good(sl_io_save_params(other, at("m"), NULL, &err));
    assert_true(has("m", "fc_0.w_0") && has("m", "fc_0.b_0"));
    good(sl_io_load_params(other, at("m"), NULL, NULL, &err));
    good(sl_io_save_persistables(other, at("p"), NULL, &err));
    good(sl_io_load_persistables(other, at("p"), NULL, NULL, &err));
    sl_executor_free(other);
    sl_reset_default_programs();
}

static void test_load_params_will_filter_out_all_the_model_parameters(void **state)
{
    (void)state;
    struct sl_load_report report;
    good(sl_io_save_persistables(exe, at("m"), net.main, &err));
    double before = loss_of(exe, net.test);
    sl_executor *other = sl_executor_new(SL_CPU);
    api_net_start(&net, other);
    good(sl_io_load_params(other, at("m"), net.test, &report, &err));
    assert_int_equal(report.loaded, 2);
    assert_int_equal(report.extra, 3);   // never a reason to fail
    assert_true(loss_of(other, net.test) == before);
    sl_executor_free(other);
}

// Another network over parameters of the same names and shapes.
static sl_program *other_network(const char *act)
{
    sl_program *program = sl_program_new(), *startup = sl_program_new();
    sl_net *own = sl_net_new(program, startup);
    struct sl_fc_options fc = sl_fc_defaults();
    fc.act = act;
    sl_var *x = sl_data(own, "x", SL_FP32, SL_SHAPE(4));
    sl_var *y = sl_data(own, "y", SL_FP32, SL_SHAPE(1));
    sl_mean(own, sl_square_error_cost(own, sl_fc(own, x, 1, &fc), y));
    good(sl_net_error(own, &err));
    sl_net_free(own);
    sl_program_free(startup);
    return program;
}

static void test_prog_must_be_exactly_the_same_as_the_forward_part(void **state)
{
    (void)state;
    good(sl_io_save_params(exe, at("m"), net.main, &err));
    sl_program *same = other_network(NULL), *other = other_network("tanh");
    good(sl_io_load_params(exe, at("m"), same, NULL, &err));
    float before = first_value(exe, "fc_0.w_0");
    assert_int_equal(sl_io_load_params(exe, at("m"), other, NULL, &err), SL_ERR_MISMATCH);
    api_net_says(&err, "tanh -> fc_0.tmp_2");
    api_net_says(&err, "allow_other_forward");
    assert_true(first_value(exe, "fc_0.w_0") == before);
    struct sl_load_options options = sl_load_defaults();
    options.allow_other_forward = true;
    good(sl_io_load_params_with(exe, at("m"), other, &options, NULL, &err));
    // Without a manifest names, shapes and types are all that can be compared.
    assert_int_equal(unlink(at("m/sluice.manifest.json")), 0);
    good(sl_io_load_params(exe, at("m"), other, NULL, &err));
    sl_program_free(same);
    sl_program_free(other);
}

// Two programs may share a folder: the network of either is known.
static void test_prog_may_share_a_folder_with_another(void **state)
{
    (void)state;
    sl_program *program = sl_program_new(), *startup = sl_program_new();
    sl_net *own = sl_net_new(program, startup);
    struct sl_fc_options fc = sl_fc_defaults();
    fc.name = "other";
    sl_fc(own, sl_data(own, "z", SL_FP32, SL_SHAPE(5)), 2, &fc);
    good(sl_net_error(own, &err));
    sl_executor *second = sl_executor_new(SL_CPU);
    good(sl_run(second, startup, NULL, NULL, &err));
    good(sl_io_save_params(exe, at("m"), net.main, &err));
    good(sl_io_save_params(second, at("m"), program, &err));
    good(sl_io_load_params(exe, at("m"), net.test, NULL, &err));
    good(sl_io_load_params(second, at("m"), program, NULL, &err));
    sl_executor_free(second);
    sl_net_free(own);
    sl_program_free(program);
    sl_program_free(startup);
}

static void test_it_may_cause_some_variables_not_to_be_loaded_correctly(void **state)
{
    (void)state;
    sl_program *program = sl_program_new(), *startup = sl_program_new();
    sl_net *own = sl_net_new(program, startup);
    sl_fc(own, sl_fc(own, sl_data(own, "x", SL_FP32, SL_SHAPE(5)), 2, NULL), 1, NULL);
    good(sl_net_error(own, &err));
    sl_executor *other = sl_executor_new(SL_CPU);
    good(sl_run(other, startup, NULL, NULL, &err));
    float before = first_value(other, "fc_0.w_0");
    good(sl_io_save_params(exe, at("m"), net.main, &err));
    for (int plain = 0; plain < 2; plain++) {
        struct sl_load_report report;
        assert_int_equal(sl_io_load_params(other, at("m"), program, &report, &err),
                         SL_ERR_MISMATCH);
        static const char *const all[] = {"fc_0.w_0: file has shape [4,1]",
                                          "the program wants [5,2]",
                                          "fc_0.b_0: file has shape [1]",
                                          "fc_1.w_0: missing",
                                          "fc_1.b_0: missing",
                                          "Nothing was loaded"};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            api_net_says(&err, all[i]);
        assert_int_equal(report.missing, 2);
        assert_int_equal(report.mismatched, 2);
        assert_true(first_value(other, "fc_0.w_0") == before);
        unlink(at("m/sluice.manifest.json"));
    }
    sl_executor_free(other);
    sl_net_free(own);
    sl_program_free(program);
    sl_program_free(startup);
}

static void test_prog_cannot_contain_any_operations_of_parameter_updates(void **state)
{
    (void)state;
    struct sl_load_options options = sl_load_defaults();
    good(sl_io_save_params(exe, at("m"), net.main, &err));
    assert_int_equal(sl_io_load_params(exe, at("m"), net.main, NULL, &err), SL_ERR_REFUSED);
    api_net_says(&err, "allow_update_ops");
    options.allow_update_ops = true;
    good(sl_io_load_params_with(exe, at("m"), net.main, &options, NULL, &err));
}

static void test_it_may_cause_the_parameters_to_be_changed_during_normal_prediction(void **state)
{
    (void)state;
    good(sl_io_save_params(exe, at("m"), net.main, &err));
    good(sl_io_load_params(exe, at("m"), net.test, NULL, &err));
    float before = first_value(exe, "fc_0.w_0");
    double loss = loss_of(exe, net.test);
    assert_true(loss_of(exe, net.test) == loss && first_value(exe, "fc_0.w_0") == before);
}

static void test_startup_program_must_be_run_before_calling_load_params(void **state)
{
    (void)state;
    good(sl_io_save_params(exe, at("m"), net.main, &err));
    good(sl_io_load_params(exe, at("m"), net.test, NULL, &err));
    float before = first_value(exe, "fc_0.w_0");
    // "If you run it later, it may overwrite the loaded model parameters and cause an error."
    assert_int_equal(sl_run(exe, net.startup, NULL, NULL, &err), SL_ERR_REFUSED);
    api_net_says(&err, "would overwrite what was loaded: fc_0.b_0, fc_0.w_0");
    api_net_says(&err, "overwrite_loaded");
    assert_true(first_value(exe, "fc_0.w_0") == before);
    const struct sl_run_options force = {.overwrite_loaded = true};
    good(sl_run_with(exe, net.startup, NULL, NULL, &force, &err));
}

// ---- incremental training

static void test_save_persistables_will_find_all_persistable_variables(void **state)
{
    (void)state;
    good(sl_io_save_persistables(exe, at("m"), net.main, &err));
    for (size_t i = 0; i < sl_program_vars(net.main); i++) {
        const sl_var *var = sl_program_var_at(net.main, i);
        assert_int_equal(has("m", sl_var_name(var)), sl_var_is_persistable(var));
    }
}

static void test_load_persistables_of_the_startup_program_to_continue_training(void **state)
{
    (void)state;
    struct sl_load_report report;
    loss_of(exe, net.main);
    good(sl_io_save_persistables(exe, at("m"), net.main, &err));
    double second = loss_of(exe, net.main), third = loss_of(exe, net.main);
    sl_executor *other = sl_executor_new(SL_CPU);
    api_net_start(&net, other);
    good(sl_io_load_persistables(other, at("m"), net.startup, &report, &err));
    assert_int_equal(report.loaded, 5);
    assert_true(loss_of(other, net.main) == second && loss_of(other, net.main) == third);
    sl_executor_free(other);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_all_model_parameters_are_persistable_variables_but_not_all),
        CASE(test_parameter_configured_with_its_own_initialization_and_update_rate),
        CASE(test_persistable_variables_are_not_destroyed_by_the_end_of_an_iteration),
        CASE(test_such_as_the_global_learning_rate_which_is_dynamically_adjusted),
        CASE(test_by_setting_the_persistable_property_to_true),
        CASE(test_after_each_iteration_all_temporary_variables_will_be_destroyed),
        CASE(test_save_params_picks_out_all_model_parameters),
        CASE(test_main_program_none_is_the_default_program),
        CASE(test_load_params_will_filter_out_all_the_model_parameters),
        CASE(test_prog_must_be_exactly_the_same_as_the_forward_part),
        CASE(test_prog_may_share_a_folder_with_another),
        CASE(test_it_may_cause_some_variables_not_to_be_loaded_correctly),
        CASE(test_prog_cannot_contain_any_operations_of_parameter_updates),
        CASE(test_it_may_cause_the_parameters_to_be_changed_during_normal_prediction),
        CASE(test_startup_program_must_be_run_before_calling_load_params),
        CASE(test_save_persistables_will_find_all_persistable_variables),
        CASE(test_load_persistables_of_the_startup_program_to_continue_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
