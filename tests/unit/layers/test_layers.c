// SPDX-License-Identifier: Apache-2.0
// The building functions: sticky errors, names, shared parameters, initializers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/layers/layers.h"
#include "tests/unit/passes/golden_folder.h"

static void expect_error(sl_net *net, const char *text)
{
    struct sl_error err = {0};
    assert_true(sl_net_error(net, &err) < 0);
    if (strstr(err.text, text) == NULL)
        fail_msg("`%s` does not say `%s`", err.text, text);
    sl_net_free(net);
}

static void test_layers_keep_the_first_error(void **state)
{
    (void)state;
    struct program *main = program_new(), *startup = program_new();
    sl_net *net = sl_net_new(main, startup);
    sl_var *x = sl_data(net, "x", SL_FP32, SL_SHAPE(13));
    size_t ops = program_block(main, 0)->ops_count;
    assert_null(sl_fc(net, x, 0, NULL));
    assert_null(sl_mean(net, sl_fc(net, NULL, 5, NULL)));
    assert_true(sl_minimize(net, sl_sgd(0.1), x) < 0);
    assert_int_equal(program_block(main, 0)->ops_count, ops);
    expect_error(net, "layers: fc: input x [-1,13]: size must be > 0");
    program_free(main);
    program_free(startup);
}

static void test_layers_judge_their_arguments(void **state)
{
    (void)state;
    struct program *main = program_new(), *startup = program_new();
    sl_net *net = sl_net_new(main, startup);
    struct sl_fc_options options = sl_fc_defaults();
    options.num_flatten_dims = 2;
    sl_fc(net, sl_data(net, "a", SL_FP32, SL_SHAPE(3)), 4, &options);
    expect_error(net, "num_flatten_dims must be 1..1");
    net = sl_net_new(main, startup);
    sl_data(net, "a", SL_FP32, SL_SHAPE(3));
    expect_error(net, "already there");
    net = sl_net_new(main, startup);
    sl_mean(net, NULL);
    expect_error(net, "input 0 is missing");
    net = sl_net_new(main, startup);
    options = sl_fc_defaults();
    options.act = "no_such_activation";
    sl_fc(net, sl_program_var(main, "a"), 4, &options);
    expect_error(net, "no_such_activation");
    net = sl_net_new(main, startup);
    sl_minimize(net, sl_sgd(0.1), sl_program_var(main, "a"));
    expect_error(net, "loss `a`");
    program_free(main);
    program_free(startup);
}

static void test_layers_continue_counting(void **state)
{
    (void)state;
    struct program *main = program_new(), *startup = program_new();
    sl_net *net = sl_net_new(main, startup);
    sl_var *x = sl_data(net, "x", SL_FP32, SL_SHAPE(3));
    assert_string_equal(sl_var_name(sl_fc(net, x, 4, NULL)), "fc_0.tmp_1");
    sl_net_free(net);
    net = sl_net_new(main, startup);
    assert_string_equal(sl_var_name(sl_fc(net, x, 4, NULL)), "fc_1.tmp_1");
    assert_int_equal(sl_net_error(net, NULL), 0);
    sl_net_free(net);
    program_free(main);
    program_free(startup);
}

static void test_layers_share_a_named_parameter(void **state)
{
    (void)state;
    struct program *main = program_new(), *startup = program_new();
    sl_net *net = sl_net_new(main, startup);
    struct sl_param_attr shared = sl_param_attr_defaults();
    struct sl_fc_options options = sl_fc_defaults();
    shared.name = "shared_w";
    options.param_attr = &shared;
    options.no_bias = true;
    sl_var *x = sl_data(net, "x", SL_FP32, SL_SHAPE(3));
    sl_var *y = sl_fc(net, sl_fc(net, x, 3, &options), 3, &options);
    assert_non_null(y);
    assert_int_equal(program_block(startup, 0)->ops_count, 1);
    assert_int_equal(sl_minimize(net, sl_sgd(0.1), sl_mean(net, y)), 1);
    sl_fc(net, x, 5, &options);
    expect_error(net, "`shared_w` is already there with shape [3,3]");
    program_free(main);
    program_free(startup);
}

static void test_layers_frozen_parameter_is_not_updated(void **state)
{
    (void)state;
    struct program *main = program_new(), *startup = program_new();
    sl_net *net = sl_net_new(main, startup);
    struct sl_param_attr frozen = sl_param_attr_defaults();
    struct sl_fc_options options = sl_fc_defaults();
    frozen.trainable = false;
    options.param_attr = &frozen;
    sl_var *x = sl_data(net, "x", SL_FP32, SL_SHAPE(3));
    assert_int_equal(sl_minimize(net, sl_sgd(0.1), sl_mean(net, sl_fc(net, x, 2, &options))), 1);
    sl_net_free(net);
    program_free(main);
    program_free(startup);
}

static void test_layers_default_programs(void **state)
{
    (void)state;
    sl_reset_default_programs();
    sl_net *net = sl_net_new(NULL, NULL);
    sl_fc(net, sl_data(net, "x", SL_FP32, SL_SHAPE(3)), 2, NULL);
    assert_int_equal(sl_net_error(net, NULL), 0);
    assert_non_null(sl_program_var(sl_default_main_program(), "fc_0.w_0"));
    assert_int_equal(program_block(sl_default_startup_program(), 0)->ops_count, 2);
    sl_net_free(net);
    sl_reset_default_programs();
    assert_null(sl_program_var(sl_default_main_program(), "fc_0.w_0"));
    sl_reset_default_programs();
}

// The goldens' initializers (Bilinear and NumpyArray aside) in the same order.
static void test_layers_initializers_equal_fluid(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int rank;
        int64_t d[4];
        struct sl_initializer init;
    } rows[] = {
        {"uniform_program_seed", 2, {40, 25}, {SL_INIT_UNIFORM, false, -1.0, 1.0, 0}},
        {"normal_odd", 1, {33}, {SL_INIT_NORMAL, false, 1.5, 0.3, 12345}},
        {"normal_program_seed", 2, {16, 16}, {SL_INIT_NORMAL, false, 0.0, 1.0, 0}},
        {"truncated_mid", 2, {40, 20}, {SL_INIT_TRUNCATED_NORMAL, false, 0.1, 0.5, 41}},
        {"xavier_uniform", 2, {24, 18}, {SL_INIT_XAVIER, true, 0, 0, 5}},
        {"xavier_normal", 2, {24, 18}, {SL_INIT_XAVIER, false, 0, 0, 6}},
        {"xavier_conv", 4, {8, 3, 5, 5}, {SL_INIT_XAVIER, false, 0, 0, 0}},
        {"xavier_fan", 2, {10, 10}, {SL_INIT_XAVIER, true, 4, 9, 0}},
        {"msra_uniform", 2, {24, 18}, {SL_INIT_MSRA, true, 0, 0, 8}},
        {"msra_normal", 2, {24, 18}, {SL_INIT_MSRA, false, 0, 0, 9}},
        {"msra_conv", 4, {8, 3, 3, 3}, {SL_INIT_MSRA, false, 0, 0, 0}},
        {"constant", 1, {7}, {SL_INIT_CONSTANT, false, 0.25, 0, 0}},
    };
    struct program *recorded = golden_folder_load("initializers_90/startup.pb");
    struct program *want = program_new(), *main = program_new(), *startup = program_new();
    size_t compared = 0;
    sl_net *net = sl_net_new(main, startup);
    startup->random_seed = 90;
    for (size_t i = sizeof rows / sizeof *rows; recorded != NULL && i-- > 0;) {
        const struct block *block = program_block(recorded, 0);
        block_add_var(program_block(want, 0), var_desc_clone(block_var(block, rows[i].name)));
        for (size_t k = 0; k < block->ops_count; k++)
            if (op_desc_writes(block->ops[k], rows[i].name))
                block_append_op(program_block(want, 0), op_desc_clone(block->ops[k]));
        compared++;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sl_param_attr attr = sl_param_attr_defaults();
        struct sl_shape shape = {.rank = rows[i].rank};
        memcpy(shape.d, rows[i].d, sizeof rows[i].d);
        attr.name = rows[i].name;
        attr.initializer = rows[i].init;
        assert_non_null(sl_create_parameter(net, shape, SL_FP32, &attr));
    }
    struct buf diff;
    buf_init(&diff, 0);
    if (recorded != NULL && !program_text_diff(want, startup, &diff))
        fail_msg("%s", buf_text(&diff));
    buf_deinit(&diff);
    sl_net_free(net);
    program_free(recorded);
    program_free(want);
    program_free(main);
    program_free(startup);
    golden_folder_done(compared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers_keep_the_first_error),
        cmocka_unit_test(test_layers_judge_their_arguments),
        cmocka_unit_test(test_layers_continue_counting),
        cmocka_unit_test(test_layers_share_a_named_parameter),
        cmocka_unit_test(test_layers_frozen_parameter_is_not_updated),
        cmocka_unit_test(test_layers_default_programs),
        cmocka_unit_test(test_layers_initializers_equal_fluid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
