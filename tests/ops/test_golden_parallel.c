// SPDX-License-Identifier: Apache-2.0
// Trainings that Paddle ran on several workers (goldens/parallel): every worker's loss, what is
// fetched, and final values. A second run gives the same bits.

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/exec/parallel_executor.h"
#include "common/exec/scope.h"
#include "common/program/program.h"
#include "tests/ops/golden.h"

#define VARS_MAX 32

// Losses relative (and 1e-7 absolute), final values of the tensor's largest.
#define LOSS_BOUND 1e-5
#define FINAL_BOUND 1e-4

struct training {
    const char *dir;
    struct program *startup, *main;
    json_t *json;
    struct scope *scope;
    struct parallel_executor *exe;
    int workers;
    bool ok;
};

static void compare_scope(struct training *t, const char *folder, double relative)
{
    char *dir = golden_path(t->dir, folder, NULL);
    struct str_list names = {0};
    golden_list(dir, &names);
    assert_true(names.count > 0);
    for (size_t i = 0; i < names.count; i++) {
        char *path = golden_path(dir, names.items[i], NULL);
        struct variable expected, *got = scope_find(t->scope, names.items[i]);
        golden_load(path, &expected);
        assert_non_null(got);
        t->ok &= golden_close(path, got, &expected, relative, 0);
        variable_deinit(&expected);
        mem_free(path);
    }
    str_list_deinit(&names);
    mem_free(dir);
}

static void compare_losses(struct training *t, size_t step, const char *line,
                           const struct variable *value)
{
    struct str_list expected = {0};
    str_list_split(&expected, line, ' ');
    assert_int_equal(expected.count, t->workers);
    assert_int_equal(tensor_count(&value->tensor), t->workers);
    for (size_t w = 0; w < expected.count; w++) {
        double loss = (double)tensor_f32(&value->tensor)[w], want;
        assert_true(str_parse_f64(expected.items[w], &want));
        if (fabs(loss - want) <= fabs(want) * LOSS_BOUND + 1e-7)
            continue;
        printf("%s: loss of step %zu, worker %zu is %.9g, expected %.9g\n", t->dir, step, w, loss,
               want);
        t->ok = false;
    }
    str_list_deinit(&expected);
}

static void compare_fetches(struct training *t, const char *step,
                            const struct executor_fetch *fetches, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *path = golden_path(t->dir, "fetch", step, fetches[i].name, NULL);
        struct variable expected;
        golden_load(path, &expected);
        t->ok &= golden_close(path, fetches[i].value, &expected, 1e-4, 1e-7);
        variable_deinit(&expected);
        mem_free(path);
    }
}

static void run_step(struct training *t, size_t step, const char *losses)
{
    struct err err = {0};
    char *name = mem_must_printf("step_%03zu", step);
    char *feed_dir = golden_path(t->dir, "feed", name, NULL),
         *fetch_dir = golden_path(t->dir, "fetch", name, NULL);
    struct str_list names = {0}, fetch_names = {0};
    struct variable values[VARS_MAX];
    struct executor_feed feeds[VARS_MAX];
    struct executor_fetch fetches[VARS_MAX] = {0};
    golden_list(feed_dir, &names);
    if (golden_exists(fetch_dir))
        golden_list(fetch_dir, &fetch_names);
    assert_true(names.count <= VARS_MAX && fetch_names.count < VARS_MAX);
    for (size_t i = 0; i < names.count; i++) {
        char *path = golden_path(feed_dir, names.items[i], NULL);
        golden_load(path, &values[i]);
        feeds[i] = (struct executor_feed){names.items[i], &values[i]};
        mem_free(path);
    }
    for (size_t i = 0; i < fetch_names.count; i++)
        fetches[i].name = fetch_names.items[i];
    fetches[fetch_names.count].name = json_string_value(json_object_get(t->json, "loss"));
    int rc = parallel_executor_run(t->exe, t->main, feeds, names.count, fetches,
                                   fetch_names.count + 1, &err);
    t->ok &= rc == 0;
    if (rc == 0) {
        compare_losses(t, step, losses, fetches[fetch_names.count].value);
        compare_fetches(t, name, fetches, fetch_names.count);
    } else {
        printf("%s: step %zu: %s\n", t->dir, step, err.text);
    }
    for (size_t i = 0; i < names.count; i++)
        variable_deinit(&values[i]);
    str_list_deinit(&names);
    str_list_deinit(&fetch_names);
    mem_free(feed_dir);
    mem_free(fetch_dir);
    mem_free(name);
}

static void train(struct training *t)
{
    struct err err = {0};
    struct buf text;
    struct str_list lines = {0};
    char *path = golden_path(t->dir, "losses.txt", NULL);
    buf_init(&text, 0);
    t->scope = scope_new();
    struct executor *starter = executor_new(t->scope, NULL, 0);
    t->exe = parallel_executor_new(t->scope, NULL, 0, t->workers);
    if (executor_run(starter, t->startup, NULL, 0, NULL, 0, &err) < 0)
        fail_msg("%s: startup: %s", t->dir, err.text);
    executor_free(starter);
    compare_scope(t, "init", 0);
    assert_true(fsutil_read(path, 1 << 20, &text, &err) >= 0);
    str_list_split(&lines, buf_text(&text), '\n');
    for (size_t i = 0; i < lines.count && t->ok; i++)
        if (lines.items[i][0] != '\0')
            run_step(t, i, lines.items[i]);
    if (t->ok)
        compare_scope(t, "final", FINAL_BOUND);
    str_list_deinit(&lines);
    buf_deinit(&text);
    mem_free(path);
}

static void compare_bits(struct training *t, const struct scope *again)
{
    struct str_list names = {0};
    scope_names(t->scope, &names);
    for (size_t i = 0; i < names.count; i++) {
        const struct variable *a = scope_find(t->scope, names.items[i]),
                              *b = scope_find(again, names.items[i]);
        if (a->kind != VARIABLE_TENSOR || a->tensor.data == NULL)
            continue;
        assert_int_equal(tensor_bytes(&a->tensor), tensor_bytes(&b->tensor));
        if (memcmp(a->tensor.data, b->tensor.data, tensor_bytes(&a->tensor)) == 0)
            continue;
        printf("%s: %s differs between two runs\n", t->dir, names.items[i]);
        t->ok = false;
    }
    str_list_deinit(&names);
}

static void train_twice(struct training *t)
{
    train(t);
    struct scope *once = t->scope;
    parallel_executor_free(t->exe);
    train(t);
    if (t->ok)
        compare_bits(t, once);
    parallel_executor_free(t->exe);
    scope_free(t->scope);
    scope_free(once);
}

static bool run_case(const char *dir)
{
    struct err err = {0};
    struct training t = {.dir = dir, .ok = true};
    char *main_path = golden_path(dir, "main.pb", NULL),
         *startup_path = golden_path(dir, "startup.pb", NULL),
         *json_path = golden_path(dir, "case.json", NULL);
    assert_int_equal(program_load(main_path, &t.main, &err), 0);
    assert_int_equal(program_load(startup_path, &t.startup, &err), 0);
    t.json = golden_json(json_path);
    t.workers = (int)json_integer_value(json_object_get(t.json, "workers"));
    if (plan_check(t.main, NULL, 0, NULL, &err) == 0) {
        train_twice(&t);
    } else {
        printf("%s: %s\n", dir, err.text);
        t.ok = false;
    }
    json_decref(t.json);
    program_free(t.main);
    program_free(t.startup);
    mem_free(main_path);
    mem_free(startup_path);
    mem_free(json_path);
    return t.ok;
}

static void test_workers_equal_recorded_results(void **state)
{
    (void)state;
    char *root = golden_root();
    if (root == NULL)
        skip();
    char *folder = golden_path(root, "parallel", NULL);
    const char *ci = getenv("CI");
    if (!golden_exists(folder)) {
        mem_free(root);
        mem_free(folder);
        if (ci != NULL && strcmp(ci, "true") == 0)
            fail_msg("no recorded cases of several workers");
        skip();
    }
    struct str_list names = {0};
    int failed = 0;
    golden_list(folder, &names);
    assert_true(names.count > 0);
    for (size_t i = 0; i < names.count; i++) {
        char *dir = golden_path(folder, names.items[i], NULL);
        bool ok = run_case(dir);
        printf("%s: %s\n", names.items[i], ok ? "equal" : "differs");
        failed += !ok;
        mem_free(dir);
    }
    str_list_deinit(&names);
    mem_free(folder);
    mem_free(root);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_workers_equal_recorded_results)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
