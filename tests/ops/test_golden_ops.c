// SPDX-License-Identifier: Apache-2.0
// Every recorded single-op case whose ops we have: outputs and gradients against Paddle's. Exact
// where an op neither adds up nor calls a transcendental function.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/exec/executor.h"
#include "common/exec/scope.h"
#include "common/ops/op.h"
#include "common/program/program.h"
#include "tests/ops/golden.h"

// Forward outputs of these must be equal to the last bit.
static const char *const exact_ops[] = {
    "abs", "accuracy", "adam", "affine_channel", "assign", "brelu", "cast", "ceil", "clip",
    "concat", "cumsum", "elementwise_add", "elementwise_div", "elementwise_floordiv",
    "elementwise_max", "elementwise_min", "elementwise_mod", "elementwise_mul", "elementwise_sub",
    "equal", "fill_constant", "floor", "gaussian_random", "greater_equal", "greater_than",
    "hard_shrink", "hard_sigmoid", "hard_swish", "increment", "is_empty", "isfinite",
    "label_smooth", "leaky_relu", "less_equal", "less_than", "logical_and", "logical_not",
    "logical_or", "logical_xor", "maxout", "minus", "momentum", "not_equal", "prelu", "reciprocal",
    "relu", "relu6", "round", "scale", "sgd", "shape", "sign", "softshrink", "softsign", "split",
    "square", "sum", "thresholded_relu", "top_k", "truncated_gaussian_random", "uniform_random",
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

// Paddle gave no value to XShape when these were recorded.
static bool is_recorded(const char *name)
{
    return !str_starts_with(name, "XShape_");
}

static bool compare(const char *type, const char *case_dir, const struct executor_fetch *fetch)
{
    if (!is_recorded(fetch->name))
        return true;
    struct variable expected;
    char *path = golden_path(case_dir, "expected", fetch->name, NULL);
    golden_load(path, &expected);
    bool exact = is_exact(type) && !str_ends_with(fetch->name, "@GRAD");
    bool ok = golden_close(path, fetch->value, &expected, exact ? 0 : 1e-5, exact ? 0 : 1e-8);
    variable_deinit(&expected);
    mem_free(path);
    return ok;
}

// 1 passed, 0 failed, -1 not for us (an op is missing).
static int run_case(const char *type, const char *case_dir)
{
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
        struct executor_fetch *fetches = mem_must_calloc(count + 1, sizeof *fetches);
        for (size_t i = 0; i < count; i++)
            fetches[i].name = json_string_value(json_array_get(expected, i));
        struct scope *scope = scope_new();
        struct executor *exe = executor_new(scope, NULL, 0);
        int rc = executor_run(exe, program, feeds, names.count, fetches, count, &err);
        if (rc < 0)
            printf("%s: %s\n", case_dir, err.text);
        result = rc == 0;
        for (size_t i = 0; rc == 0 && i < count; i++)
            result &= compare(type, case_dir, &fetches[i]);
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
    program_free(program);
    mem_free(main_path);
    mem_free(feed_dir);
    mem_free(json_path);
    return result;
}

static void test_ops_equal_recorded_results(void **state)
{
    (void)state;
    char *root = golden_root();
    if (root == NULL)
        skip();
    char *ops = golden_path(root, "ops", NULL);
    struct str_list types = {0};
    int passed = 0, failed = 0;
    golden_list(ops, &types);
    for (size_t t = 0; t < types.count; t++) {
        if (op_table_find(types.items[t]) == NULL)
            continue;
        char *dir = golden_path(ops, types.items[t], NULL);
        struct str_list cases = {0};
        golden_list(dir, &cases);
        for (size_t c = 0; c < cases.count; c++) {
            char *case_dir = golden_path(dir, cases.items[c], NULL);
            int result = run_case(types.items[t], case_dir);
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
    assert_true(passed >= 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ops_equal_recorded_results)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
