// SPDX-License-Identifier: Apache-2.0
// Which variables of a file's program are Parameters, against what Paddle's case.json lists.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/str.h"
#include "common/passes/params.h"
#include "tests/unit/passes/golden_folder.h"

static const struct {
    const char *program;
    const char *params;   // sorted
} cases[] = {
    {"fit_a_line/main.pb", "fc_0.b_0,fc_0.w_0"},
    {"fit_a_line/test.pb", "fc_0.b_0,fc_0.w_0"},
    {"fit_a_line/dist/trainer_1.pb", "fc_0.b_0,fc_0.w_0"},
    {"digits_adam/main.pb", "fc_0.b_0,fc_0.w_0,fc_1.b_0,fc_1.w_0"},
    {"digits_adam/dist/trainer_0.pb", "fc_0.b_0,fc_0.w_0,fc_1.b_0,fc_1.w_0"},
    {"lr_piecewise/main.pb", "fc_0.b_0,fc_0.w_0,fc_1.b_0,fc_1.w_0"},
    {"lr_piecewise/dist_async/trainer_0.pb", "fc_0.b_0,fc_0.w_0,fc_1.b_0,fc_1.w_0"},
    {"reg_per_param/main.pb", "first.b,first.w,second.b,second.w"},
    {"lenet_digits_bn/main.pb", "batch_norm_0.b_0,batch_norm_0.w_0,batch_norm_0.w_1,batch_norm_0.w_"
                                "2,conv2d_0.b_0,conv2d_0.w_0,conv2d_1.b_0,"
                                "conv2d_1.w_0,fc_0.b_0,fc_0.w_0"},
};

static void test_params_of_files_are_inferred(void **state)
{
    (void)state;
    size_t compared = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct program *program = golden_folder_load(cases[i].program);
        struct str_list params = {0};
        if (program == NULL)
            continue;
        assert_true(params_list(program, &params));
        str_list_sort(&params);
        char *text = str_list_join(&params, ",");
        if (!str_eq(text, cases[i].params))
            fail_msg("%s: %s", cases[i].program, text);
        mem_free(text);
        str_list_deinit(&params);
        program_free(program);
        compared++;
    }
    golden_folder_done(compared);
}

static void test_params_update_ops(void **state)
{
    (void)state;
    static const struct {
        const char *program;
        bool updates;
    } files[] = {{"fit_a_line/main.pb", true},
                 {"fit_a_line/test.pb", false},
                 {"fit_a_line/startup.pb", false},
                 {"fit_a_line/dist/pserver_0.pb", true},
                 {"fit_a_line/dist/trainer_0.pb", false}};
    size_t compared = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct program *program = golden_folder_load(files[i].program);
        if (program == NULL)
            continue;
        assert_int_equal(params_has_update_ops(program), files[i].updates);
        program_free(program);
        compared++;
    }
    golden_folder_done(compared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params_of_files_are_inferred),
        cmocka_unit_test(test_params_update_ops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
