// SPDX-License-Identifier: Apache-2.0
// The building functions: sticky errors, names, shared parameters, initializers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/layers/layers.h"
#include "common/program/program.h"
#include "common/program/var_desc.h"

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
    expect_error(net, "input X is missing");
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

static void test_layers_of_images_and_shapes_judge_their_arguments(void **state)
{
    (void)state;
    struct program *main = program_new(), *startup = program_new();
    struct sl_conv2d_options conv = sl_conv2d_defaults();
    sl_net *net = sl_net_new(main, startup);
    sl_var *m = sl_data(net, "m", SL_FP32, SL_SHAPE(6));
    sl_conv2d(net, m, 8, 3, 3, NULL);
    expect_error(net, "conv2d: input m is no image of four dimensions");
    net = sl_net_new(main, startup);
    sl_var *img = sl_data(net, "img", SL_FP32, SL_SHAPE(3, 8, 8));
    conv.groups = 2;
    sl_conv2d(net, img, 8, 3, 3, &conv);
    expect_error(net, "8 filters of 3 x 3 in 2 groups over 3 channels");
    net = sl_net_new(main, startup);
    sl_pool2d(net, img, 0, 2, NULL);
    expect_error(net, "a window of 0 x 2");
    net = sl_net_new(main, startup);
    sl_prelu(net, m, "some", NULL);
    expect_error(net, "mode is all, channel or element, not some");
    net = sl_net_new(main, startup);
    sl_var *parts[4];
    assert_true(sl_split(net, m, 4, 1, parts) < 0);
    expect_error(net, "6 elements of dimension 1 do not make 4 equal parts");
    net = sl_net_new(main, startup);
    sl_exponential_decay(net, 0.1, 0, 0.5, false);
    expect_error(net, "exponential_decay: a number of steps must be > 0, not 0");
    net = sl_net_new(main, startup);
    sl_optimizer *optimizer = sl_sgd(0.1);
    sl_optimizer_set_rate(optimizer, NULL);
    assert_true(sl_minimize(net, optimizer, m) < 0);
    expect_error(net, "the learning rate's variable is missing");
    program_free(main);
    program_free(startup);
}

static void test_layers_auc_counts_in_variables_that_persist(void **state)
{
    (void)state;
    struct program *main = program_new(), *startup = program_new();
    sl_net *net = sl_net_new(main, startup);
    sl_var *p = sl_data(net, "p", SL_FP32, SL_SHAPE(2));
    sl_var *label = sl_data(net, "label", SL_INT64, SL_SHAPE(1));
    struct sl_auc auc = sl_auc(net, p, label, NULL);
    assert_null(net->error.code ? net->error.text : NULL);
    assert_true(auc.auc != NULL && auc.batch_auc != NULL);
    const int64_t counts[] = {2 * 4096 + 1, 2 * 4096 + 1, 4096, 4096};
    for (size_t i = 0; i < 4; i++) {
        assert_true(auc.states[i]->persistable && !auc.states[i]->is_parameter);
        assert_int_equal(dims_product(&auc.states[i]->dims, 0, auc.states[i]->dims.rank),
                         counts[i]);
    }
    assert_int_equal(program_block(startup, 0)->ops_count, 4);
    sl_net_free(net);
    struct sl_auc_options bad = sl_auc_defaults();
    bad.num_thresholds = 0;
    net = sl_net_new(main, startup);
    assert_null(sl_auc(net, p, label, &bad).auc);
    expect_error(net, "layers: auc: 0 thresholds, 1 slide steps");
    net = sl_net_new(main, startup);
    assert_null(sl_auc(net, p, NULL, NULL).auc);
    expect_error(net, "layers: auc: input 1 is missing");
    program_free(main);
    program_free(startup);
}

static void test_layers_fc_of_several_inputs(void **state)
{
    (void)state;
    struct program *main = program_new(), *startup = program_new();
    sl_net *net = sl_net_new(main, startup);
    sl_var *in[] = {sl_data(net, "a", SL_FP32, SL_SHAPE(3)),
                    sl_data(net, "b", SL_FP32, SL_SHAPE(5))};
    sl_var *out = sl_fc_many(net, in, 2, 7, NULL);
    assert_string_equal(out->name, "fc_0.tmp_3");
    assert_int_equal(block_var(program_block(main, 0), "fc_0.w_1")->dims.d[0], 5);
    assert_null(sl_fc_many(net, in, 0, 7, NULL));
    expect_error(net, "layers: fc: 0 inputs");
    program_free(main);
    program_free(startup);
}

static void test_layers_operators_of_variables(void **state)
{
    (void)state;
    struct program *main = program_new(), *startup = program_new();
    sl_net *net = sl_net_new(main, startup);
    sl_var *x = sl_data(net, "x", SL_FP32, SL_SHAPE(3));
    sl_var *n = sl_data(net, "n", SL_INT64, SL_SHAPE(3));
    sl_var *sum = sl_var_add(net, x, n);
    assert_string_equal(sum->name, "tmp_1");   // behind the cast
    assert_int_equal(sum->dtype, DTYPE_FP32);
    assert_string_equal(sl_var_scale(net, sum, 2.0, 1.0)->name, "tmp_2");
    assert_null(sl_var_mul(net, sl_mean(net, x), x));
    expect_error(net, "x has more dimensions than mean_0.tmp_0");
    program_free(main);
    program_free(startup);
}

static void test_layers_resize_images(void **state)
{
    (void)state;
    sl_program *main = sl_program_new(), *startup = sl_program_new();
    struct sl_resize_options o = sl_resize_defaults();
    struct sl_error err = {0};
    sl_net *net = sl_net_new(main, startup);
    sl_var *img = sl_data(net, "img", SL_FP32, SL_SHAPE(3, 8, 10));
    o.height = 4;
    o.width = 15;
    sl_var *sized = sl_resize_bilinear(net, img, &o);
    o = sl_resize_defaults();
    o.scale = 1.5;
    sl_var *scaled = sl_image_resize(net, img, "NEAREST", &o);
    if (sl_net_error(net, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(sized->name, "bilinear_interp_0.tmp_0");
    assert_int_equal(sized->dims.d[2], 4);
    assert_int_equal(sized->dims.d[3], 15);
    assert_int_equal(scaled->dims.d[2], 12);
    assert_int_equal(scaled->dims.d[3], 15);
    sl_resize_nearest(net, img, NULL);
    expect_error(net, "give height and width, a size, or a scale above 0");
    net = sl_net_new(main, startup);
    sl_image_resize(net, img, "CUBIC", &o);
    expect_error(net, "resample `CUBIC`");
    net = sl_net_new(main, startup);
    sl_var *x = sl_data(net, "x", SL_FP32, SL_SHAPE(5)),
           *y = sl_data(net, "y", SL_FP32, SL_SHAPE(4));
    sl_var *product = sl_bilinear_tensor_product(net, x, y, 6, "tanh", NULL, NULL);
    assert_int_equal(product->dims.d[1], 6);
    sl_bilinear_tensor_product(net, x, img, 6, NULL, NULL, NULL);
    expect_error(net, "x and y must be matrices");
    sl_program_free(main);
    sl_program_free(startup);
}

static void test_layers_no_grad_set_holds_back(void **state)
{
    (void)state;
    struct program *main = program_new(), *startup = program_new();
    sl_net *net = sl_net_new(main, startup);
    sl_var *x = sl_data(net, "x", SL_FP32, SL_SHAPE(3));
    sl_var *hidden = sl_fc(net, x, 2, NULL);
    sl_var *loss = sl_mean(net, sl_fc(net, hidden, 1, NULL));
    assert_int_equal(sl_minimize_without(net, sl_sgd(0.1), loss, &hidden, 1), 2);
    assert_null(sl_program_var(main, "fc_0.w_0@GRAD"));
    assert_non_null(sl_program_var(main, "fc_1.w_0@GRAD"));
    sl_net_free(net);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers_keep_the_first_error),
        cmocka_unit_test(test_layers_judge_their_arguments),
        cmocka_unit_test(test_layers_of_images_and_shapes_judge_their_arguments),
        cmocka_unit_test(test_layers_auc_counts_in_variables_that_persist),
        cmocka_unit_test(test_layers_fc_of_several_inputs),
        cmocka_unit_test(test_layers_operators_of_variables),
        cmocka_unit_test(test_layers_resize_images),
        cmocka_unit_test(test_layers_no_grad_set_holds_back),
        cmocka_unit_test(test_layers_continue_counting),
        cmocka_unit_test(test_layers_share_a_named_parameter),
        cmocka_unit_test(test_layers_frozen_parameter_is_not_updated),
        cmocka_unit_test(test_layers_default_programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
