// SPDX-License-Identifier: Apache-2.0
// Every recorded single-op case whose ops we have: outputs and gradients against Paddle's. Exact
// where an op neither adds up nor calls a transcendental function.
//
//   test_golden_ops                     runs the cases
//   test_golden_ops --under FOLDER      ... those of another folder of recorded cases
//   test_golden_ops --coverage FILE     ... and compares the table in FILE with what they gave
//   test_golden_ops --rewrite FILE      ... and puts what they gave into FILE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/exec/executor.h"
#include "common/exec/scope.h"
#include "common/ops/op.h"
#include "common/program/program.h"
#include "tests/ops/coverage.h"
#include "tests/ops/golden.h"

// Forward outputs of these must be equal to the last bit. (Fluid's sqrt is an approximation, so ops
// with a square root are not here.)
static const char *const exact_ops[] = {"abs",
                                        "accuracy",
                                        "adam",
                                        "adamax",
                                        "affine_channel",
                                        "arg_max",
                                        "arg_min",
                                        "argsort",
                                        "assign",
                                        "assign_value",
                                        "average_accumulates",
                                        "bilinear_interp",
                                        "brelu",
                                        "cast",
                                        "ceil",
                                        "clip",
                                        "concat",
                                        "crop",
                                        "ctc_align",
                                        "cumsum",
                                        "dropout",
                                        "edit_distance",
                                        "elementwise_add",
                                        "elementwise_div",
                                        "elementwise_floordiv",
                                        "elementwise_max",
                                        "elementwise_min",
                                        "elementwise_mod",
                                        "elementwise_mul",
                                        "elementwise_sub",
                                        "equal",
                                        "expand",
                                        "expand_as",
                                        "fill_any_like",
                                        "fill_constant",
                                        "fill_constant_batch_size_like",
                                        "fill_zeros_like",
                                        "flatten2",
                                        "floor",
                                        "gather",
                                        "gather_nd",
                                        "gaussian_random",
                                        "gaussian_random_batch_size_like",
                                        "greater_equal",
                                        "greater_than",
                                        "hard_shrink",
                                        "hard_sigmoid",
                                        "hard_swish",
                                        "hinge_loss",
                                        "huber_loss",
                                        "im2sequence",
                                        "increment",
                                        "is_empty",
                                        "isfinite",
                                        "label_smooth",
                                        "leaky_relu",
                                        "less_equal",
                                        "less_than",
                                        "linspace",
                                        "lod_reset",
                                        "logical_and",
                                        "logical_not",
                                        "logical_or",
                                        "logical_xor",
                                        "lookup_table",
                                        "lookup_table_v2",
                                        "margin_rank_loss",
                                        "maxout",
                                        "minus",
                                        "modified_huber_loss",
                                        "momentum",
                                        "multiplex",
                                        "nearest_interp",
                                        "not_equal",
                                        "one_hot",
                                        "one_hot_v2",
                                        "pad",
                                        "pad2d",
                                        "pool2d",
                                        "prelu",
                                        "proximal_gd",
                                        "randint",
                                        "range",
                                        "reciprocal",
                                        "reduce_all",
                                        "reduce_any",
                                        "reduce_max",
                                        "reduce_min",
                                        "relu",
                                        "relu6",
                                        "reshape",
                                        "reshape2",
                                        "reverse",
                                        "round",
                                        "scale",
                                        "scatter",
                                        "sequence_concat",
                                        "sequence_enumerate",
                                        "sequence_erase",
                                        "sequence_expand",
                                        "sequence_expand_as",
                                        "sequence_mask",
                                        "sequence_pad",
                                        "sequence_reshape",
                                        "sequence_reverse",
                                        "sequence_scatter",
                                        "sequence_slice",
                                        "sequence_softmax",
                                        "sequence_unpad",
                                        "sgd",
                                        "shape",
                                        "sign",
                                        "size",
                                        "slice",
                                        "softshrink",
                                        "softsign",
                                        "split",
                                        "square",
                                        "squeeze2",
                                        "stack",
                                        "strided_slice",
                                        "sum",
                                        "thresholded_relu",
                                        "top_k",
                                        "transpose",
                                        "transpose2",
                                        "truncated_gaussian_random",
                                        "uniform_random",
                                        "uniform_random_batch_size_like",
                                        "unsqueeze2",
                                        "unstack",
                                        "where",
                                        NULL};

static bool is_exact(const char *type)
{
    for (const char *const *exact = exact_ops; *exact != NULL; exact++)
        if (str_eq(*exact, type))
            return true;
    return false;
}

static void load_feeds(const char *dir, struct str_list *names, struct variable **out_values)
{
    golden_list(dir, names);
    *out_values = mem_must_calloc(names->count + 1, sizeof **out_values);
    for (size_t i = 0; i < names->count; i++) {
        char *path = golden_path(dir, names->items[i], NULL);
        golden_load(path, &(*out_values)[i]);
        mem_free(path);
    }
}

// Paddle gives no value to XShape, to Mask in a test run and to MaxIndex of other pools than MAX
// (recorded as float64 [0]), and to the saved
// statistics of a batch_norm that does not train (recorded as whatever was in memory).
static bool is_recorded(const char *type, const char *name, const struct variable *expected,
                        bool is_test)
{
    if (str_starts_with(name, "XShape_"))
        return false;
    if ((str_starts_with(name, "Mask_out_") || str_starts_with(name, "MaxIndex_out_")) &&
        expected->tensor.dtype == DTYPE_FP64)
        return tensor_count(&expected->tensor) != 0;
    return !(is_test && str_eq(type, "batch_norm") && str_starts_with(name, "Saved"));
}

static bool compare(const char *type, const char *case_dir, const struct executor_fetch *fetch,
                    bool is_test)
{
    struct variable expected;
    char *path = golden_path(case_dir, "expected", fetch->name, NULL);
    golden_load(path, &expected);
    bool exact = is_exact(type) && !str_ends_with(fetch->name, "@GRAD");
    bool ok = !is_recorded(type, fetch->name, &expected, is_test) ||
              golden_close(path, fetch->value, &expected, exact ? 0 : 1e-5, exact ? 0 : 1e-8);
    variable_deinit(&expected);
    mem_free(path);
    return ok;
}

static bool is_gradient(const char *output)
{
    return str_ends_with(output, "@GRAD");
}

// hierarchical_sigmoid names W_Out, which is its W wherever a layer made it, and never gives it a
// value.
static bool is_never_made(const char *output)
{
    return str_starts_with(output, "W_Out_");
}

// 1 passed, 0 failed, -1 not for us (an op is missing).
static int run_case(const char *type, const char *case_dir, struct coverage_row *row)
{
    bool forward = true, gradient = true, has_gradient = false;
    struct err err = {0};
    struct program *program;
    char *main_path = golden_path(case_dir, "main.pb", NULL),
         *feed_dir = golden_path(case_dir, "feed", NULL);
    char *json_path = golden_path(case_dir, "case.json", NULL);
    assert_int_equal(program_load(main_path, &program, &err), 0);
    int result = -1;
    if (plan_check(program, NULL, 0, NULL, NULL) == 0) {
        struct str_list names = {0};
        struct variable *values = NULL;
        if (golden_exists(feed_dir))
            load_feeds(feed_dir, &names, &values);
        struct executor_feed *feeds = mem_must_calloc(names.count + 1, sizeof *feeds);
        for (size_t i = 0; i < names.count; i++)
            feeds[i] = (struct executor_feed){names.items[i], &values[i]};
        json_t *json = golden_json(json_path), *expected = json_object_get(json, "expected");
        size_t count = json_array_size(expected);
        json_t *attrs = json_object_get(json, "attrs");
        bool is_test = json_is_true(json_object_get(attrs, "is_test"));
        struct executor_fetch *fetches = mem_must_calloc(count + 1, sizeof *fetches);
        size_t listed = count;
        count = 0;
        for (size_t i = 0; i < listed; i++) {
            const char *name = json_string_value(json_array_get(expected, i));
            if (!is_never_made(name))
                fetches[count++].name = name;
        }
        struct scope *scope = scope_new();
        struct executor *exe = executor_new(scope, NULL, 0);
        int rc = executor_run(exe, program, feeds, names.count, fetches, count, &err);
        if (rc < 0)
            printf("%s: %s\n", case_dir, err.text);
        for (size_t i = 0; i < count; i++) {
            bool ok = rc == 0 && compare(type, case_dir, &fetches[i], is_test);
            has_gradient |= is_gradient(fetches[i].name);
            *(is_gradient(fetches[i].name) ? &gradient : &forward) &= ok;
        }
        result = forward && gradient;
        executor_free(exe);
        scope_free(scope);
        json_decref(json);
        for (size_t i = 0; i < names.count; i++)
            variable_deinit(&values[i]);
        mem_free(fetches);
        mem_free(feeds);
        mem_free(values);
        str_list_deinit(&names);
    }
    row->cases++;
    row->passed += result == 1;
    row->forward_passed += result >= 0 && forward;
    row->gradient_cases += has_gradient;
    row->gradient_passed += has_gradient && gradient;
    program_free(program);
    mem_free(main_path);
    mem_free(feed_dir);
    mem_free(json_path);
    return result;
}

static struct coverage coverage;
static const char *under;   // a folder of the recorded cases; NULL: the cases themselves

static void test_ops_equal_recorded_results(void **state)
{
    (void)state;
    char *root = golden_root();
    if (root == NULL)
        skip();
    char *ops = under ? golden_path(root, under, "ops", NULL) : golden_path(root, "ops", NULL);
    struct str_list types = {0};
    int passed = 0, failed = 0;
    if (under != NULL && !golden_exists(ops))
        skip();
    golden_list(ops, &types);
    for (size_t t = 0; t < types.count; t++) {
        bool known = op_table_find(types.items[t]) != NULL;
        char *dir = golden_path(ops, types.items[t], NULL);
        struct coverage_row *row = coverage_row_of(&coverage, types.items[t]);
        struct str_list cases = {0};
        golden_list(dir, &cases);
        row->exact = is_exact(types.items[t]);
        if (!known)
            row->cases = (int)cases.count;
        for (size_t c = 0; known && c < cases.count; c++) {
            char *case_dir = golden_path(dir, cases.items[c], NULL);
            int result = run_case(types.items[t], case_dir, row);
            passed += result == 1;
            failed += result == 0;
            if (result < 0)
                printf("%s: needs an op that is not there\n", case_dir);
            mem_free(case_dir);
        }
        str_list_deinit(&cases);
        mem_free(dir);
    }
    printf("%d recorded cases equal, %d differ\n", passed, failed);
    str_list_deinit(&types);
    mem_free(ops);
    mem_free(root);
    assert_int_equal(failed, 0);
    assert_true(passed >= (under ? 1 : 40));
}

static const char *readme, *program_name;
static bool rewrite;

static void test_the_table_says_what_the_cases_gave(void **state)
{
    (void)state;
    struct err err = {0};
    struct buf table;
    if (coverage.count == 0)
        skip();
    buf_init(&table, 0);
    coverage_render(&coverage, &table);
    int rc = coverage_check(readme, buf_text(&table), rewrite, &err);
    buf_deinit(&table);
    if (rc < 0)
        fail_msg("%s. To rewrite it: %s --rewrite %s", err.text, program_name, readme);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ops_equal_recorded_results),
        cmocka_unit_test(test_the_table_says_what_the_cases_gave),
    };
    if (argc == 1)
        return _cmocka_run_group_tests("golden_ops", tests, 1, NULL, NULL);
    if (argc == 3 && str_eq(argv[1], "--under")) {
        under = argv[2];
        return _cmocka_run_group_tests(under, tests, 1, NULL, NULL);
    }
    if (argc != 3 || !(str_eq(argv[1], "--coverage") || str_eq(argv[1], "--rewrite"))) {
        fprintf(stderr, "usage: %s [--under FOLDER | --coverage FILE | --rewrite FILE]\n", argv[0]);
        return 2;
    }
    program_name = argv[0];
    readme = argv[2];
    rewrite = str_eq(argv[1], "--rewrite");
    int failed = _cmocka_run_group_tests("ops_coverage", tests, 2, NULL, NULL);
    coverage_deinit(&coverage);
    return failed;
}
