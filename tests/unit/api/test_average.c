// SPDX-License-Identifier: Apache-2.0
// Averages of parameters through sluice.h, trained and applied: what Paddle's apply() showed, and
// what restore brings back.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/api/sluice.h"
#include "common/tensor/tensor_io.h"
#include "common/tensor/variable.h"
#include "tests/unit/passes/golden_folder.h"

#define STEPS 10
#define BOUND 1e-4   // of the largest value

struct trained {
    sl_program *main, *startup;
    sl_average *average;
    sl_executor *exe;
};

static void train(struct trained *t, bool moving, const char *feeds)
{
    struct sl_fc_options relu = sl_fc_defaults(), softmax = sl_fc_defaults();
    struct sl_error err = {0};
    relu.act = "relu";
    softmax.act = "softmax";
    t->main = sl_program_new();
    t->startup = sl_program_new();
    sl_program_set_random_seed(t->startup, 1234);
    sl_net *net = sl_net_new(t->main, t->startup);
    sl_var *img = sl_data(net, "img", SL_FP32, SL_SHAPE(784));
    sl_var *label = sl_data(net, "label", SL_INT64, SL_SHAPE(1));
    sl_var *predict = sl_fc(net, sl_fc(net, img, 24, &relu), 10, &softmax);
    sl_var *loss = sl_mean(net, sl_cross_entropy(net, predict, label));
    sl_minimize(net, sl_momentum(0.05, 0.9, NULL), loss);
    t->average =
        moving ? sl_exponential_moving_average(net, 0.9) : sl_model_average(net, 0.5, 2, 4);
    if (sl_net_error(net, &err) < 0)
        fail_msg("%s", err.text);
    sl_net_free(net);
    t->exe = sl_executor_new(SL_CPU);
    if (sl_run(t->exe, t->startup, NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
    sl_reader *reader = sl_reader_feed_dir(feeds, NULL, &err);
    if (reader == NULL)
        fail_msg("%s", err.text);
    sl_feed *feed = sl_feed_new();
    for (int step = 0; step < STEPS; step++) {
        assert_int_equal(sl_reader_next(reader, feed, &err), 1);
        if (sl_run(t->exe, t->main, feed, NULL, &err) < 0)
            fail_msg("%s", err.text);
    }
    sl_feed_free(feed);
    sl_reader_free(reader);
}

static void release(struct trained *t)
{
    sl_executor_free(t->exe);
    sl_average_free(t->average);
    sl_program_free(t->main);
    sl_program_free(t->startup);
}

static void expect_near(const struct trained *t, const char *folder, const char *name)
{
    char *path = mem_must_printf("%s/%s", folder, name);
    struct sl_error error = {0};
    struct err err = {0};
    struct sl_tensor got;
    struct variable loaded;
    double largest = 0.0, gap = 0.0;
    variable_init(&loaded);
    if (tensor_io_load(path, VARIABLE_TENSOR, &loaded, &err) < 0)
        fail_msg("%s", err.text);
    const struct tensor *want = &loaded.tensor;
    if (sl_scope_get(t->exe, name, &got, &error) < 0)
        fail_msg("%s", error.text);
    assert_int_equal(got.bytes, tensor_bytes(want));
    for (uint64_t i = 0; i < tensor_count(want); i++) {
        largest = fmax(largest, fabs((double)tensor_f32(want)[i]));
        gap = fmax(gap, fabs((double)(tensor_f32(want)[i] - ((const float *)got.data)[i])));
    }
    if (gap > BOUND * largest)
        fail_msg("%s: off by %g of %g", name, gap, largest);
    variable_deinit(&loaded);
    mem_free(path);
}

static void check(const char *name, bool moving)
{
    static const char *const params[] = {"fc_0.w_0", "fc_0.b_0", "fc_1.w_0", "fc_1.b_0"};
    char *averaged_rest = mem_must_printf("%s/averaged", name);
    char *final_rest = mem_must_printf("%s/final", name);
    char *averaged = golden_folder_path(averaged_rest), *final = golden_folder_path(final_rest);
    char *feeds = golden_folder_path("feeds/digits");
    struct sl_error err = {0};
    struct trained t;
    size_t compared = 0;
    if (averaged != NULL && final != NULL && feeds != NULL) {
        train(&t, moving, feeds);
        for (size_t i = 0; i < 4; i++)
            expect_near(&t, final, params[i]);
        if (sl_run(t.exe, sl_average_apply_program(t.average), NULL, NULL, &err) < 0)
            fail_msg("%s", err.text);
        for (size_t i = 0; i < 4; i++)
            expect_near(&t, averaged, params[i]);
        if (sl_run(t.exe, sl_average_restore_program(t.average), NULL, NULL, &err) < 0)
            fail_msg("%s", err.text);
        for (size_t i = 0; i < 4; i++)
            expect_near(&t, final, params[i]);
        release(&t);
        compared++;
    }
    mem_free(averaged_rest);
    mem_free(final_rest);
    mem_free(averaged);
    mem_free(final);
    mem_free(feeds);
    golden_folder_done(compared);
}

static void test_average_of_the_last_steps(void **state)
{
    (void)state;
    check("digits_model_average", false);
}

static void test_average_moving(void **state)
{
    (void)state;
    check("digits_ema", true);
}

// A parameter that never changes (rate 0): its average is 1 - d_1 d_2 ... of it, with the decays
// d_t = min(0.5, (t + 1) / (t + 10)).
static void test_average_moving_begins_fast(void **state)
{
    (void)state;
    struct sl_error err = {0};
    struct trained t = {.main = sl_program_new(), .startup = sl_program_new()};
    sl_net *net = sl_net_new(t.main, t.startup);
    sl_var *x = sl_fill_constant(net, SL_SHAPE(2, 3), SL_FP32, 1.0);
    sl_var *loss = sl_mean(net, sl_fc(net, x, 1, NULL));
    sl_minimize(net, sl_sgd(0.0), loss);
    sl_var *steps = sl_autoincreased_step_counter(net, NULL, 1);
    t.average = sl_exponential_moving_average_of(net, 0.5, steps);
    if (sl_net_error(net, &err) < 0)
        fail_msg("%s", err.text);
    sl_net_free(net);
    t.exe = sl_executor_new(SL_CPU);
    if (sl_run(t.exe, t.startup, NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
    double left = 1.0;
    for (int step = 1; step <= 12; step++) {
        struct sl_tensor param, mean;
        if (sl_run(t.exe, t.main, NULL, NULL, &err) < 0 ||
            sl_scope_get(t.exe, "fc_0.w_0", &param, &err) < 0 ||
            sl_scope_get(t.exe, "fc_0.w_0_ema_0", &mean, &err) < 0)
            fail_msg("%s", err.text);
        left *= fmin(0.5, (step + 1.0) / (step + 10.0));
        double want = (1.0 - left) * (double)((const float *)param.data)[0];
        assert_true(fabs((double)((const float *)mean.data)[0] - want) <= 1e-6 * fabs(want));
    }
    release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_average_of_the_last_steps),
        cmocka_unit_test(test_average_moving),
        cmocka_unit_test(test_average_moving_begins_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
