// SPDX-License-Identifier: Apache-2.0
// Runs of whole programs: feeds, fetches, what lives where, no allocation in steady state.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/exec/scope.h"
#include "tests/unit/exec/exec_fixture.h"

#define D(...)                                                                                     \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

// loss = mean((x w + b - y)^2), trained with momentum.
struct fixture {
    struct program *startup, *main;
    struct scope *scope;
    struct executor *exe;
    struct variable x, y;
    struct executor_feed feeds[2];
};

static void make_main(struct block *b)
{
    static const char *const temps[] = {"xw",      "p",      "d",      "sq",
                                        "sq@GRAD", "d@GRAD", "p@GRAD", "xw@GRAD"};
    exec_fixture_var(b, "x", false, 2, D(-1, 3));
    exec_fixture_var(b, "y", false, 2, D(-1, 1));
    exec_fixture_var(b, "w", true, 2, D(3, 1));
    exec_fixture_var(b, "b", true, 1, D(1));
    exec_fixture_var(b, "vw", true, 2, D(3, 1));
    exec_fixture_var(b, "lr", true, 1, D(1));
    for (size_t i = 0; i < sizeof temps / sizeof *temps; i++)
        exec_fixture_var(b, temps[i], false, 2, D(-1, 1));
    exec_fixture_var(b, "loss", false, 1, D(1));
    exec_fixture_op(b, "mul", "X=x Y=w", "Out=xw");
    op_desc_set_int(exec_fixture_op(b, "elementwise_add", "X=xw Y=b", "Out=p"), "axis", 1);
    exec_fixture_op(b, "elementwise_sub", "X=p Y=y", "Out=d");
    exec_fixture_op(b, "square", "X=d", "Out=sq");
    exec_fixture_op(b, "mean", "X=sq", "Out=loss");
    exec_fixture_fill(b, "loss@GRAD", 1, 1, D(1));
    exec_fixture_op(b, "mean_grad", "X=sq Out@GRAD=loss@GRAD", "X@GRAD=sq@GRAD");
    exec_fixture_op(b, "square_grad", "X=d Out@GRAD=sq@GRAD", "X@GRAD=d@GRAD");
    exec_fixture_op(b, "elementwise_sub_grad", "X=p Y=y Out@GRAD=d@GRAD", "X@GRAD=p@GRAD");
    op_desc_set_int(exec_fixture_op(b, "elementwise_add_grad", "X=xw Y=b Out@GRAD=p@GRAD",
                                    "X@GRAD=xw@GRAD Y@GRAD=b@GRAD"),
                    "axis", 1);
    exec_fixture_op(b, "mul_grad", "X=x Y=w Out@GRAD=xw@GRAD", "Y@GRAD=w@GRAD");
    exec_fixture_op(b, "sgd", "Param=b LearningRate=lr Grad=b@GRAD", "ParamOut=b");
    op_desc_set_float(exec_fixture_op(b, "momentum",
                                      "Param=w Grad=w@GRAD Velocity=vw LearningRate=lr",
                                      "ParamOut=w VelocityOut=vw"),
                      "mu", 0.9f);
}

static int set_up(void **state)
{
    struct fixture *f = MEM_NEW(struct fixture);
    f->startup = program_new();
    f->main = program_new();
    struct block *start = program_block(f->startup, 0);
    exec_fixture_var(start, "w", true, 2, D(3, 1));
    exec_fixture_var(start, "b", true, 1, D(1));
    exec_fixture_var(start, "vw", true, 2, D(3, 1));
    exec_fixture_var(start, "lr", true, 1, D(1));
    exec_fixture_fill(start, "w", 0.5f, 2, D(3, 1));
    exec_fixture_fill(start, "b", 0, 1, D(1));
    exec_fixture_fill(start, "vw", 0, 2, D(3, 1));
    exec_fixture_fill(start, "lr", 0.01f, 1, D(1));
    make_main(program_block(f->main, 0));
    f->scope = scope_new();
    f->exe = executor_new(f->scope, NULL, 0);
    exec_fixture_value(&f->x, 2, D(4, 3));
    exec_fixture_value(&f->y, 2, D(4, 1));
    f->feeds[0] = (struct executor_feed){"x", &f->x};
    f->feeds[1] = (struct executor_feed){"y", &f->y};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    executor_free(f->exe);
    scope_free(f->scope);
    program_free(f->startup);
    program_free(f->main);
    variable_deinit(&f->x);
    variable_deinit(&f->y);
    mem_free(f);
    return 0;
}

static void start(struct fixture *f)
{
    struct err err = {0};
    if (executor_run(f->exe, f->startup, NULL, 0, NULL, 0, &err) < 0)
        fail_msg("%s", err.text);
}

static float step(struct fixture *f)
{
    struct err err = {0};
    struct executor_fetch loss = {.name = "loss"};
    if (executor_run(f->exe, f->main, f->feeds, 2, &loss, 1, &err) < 0)
        fail_msg("%s", err.text);
    return *tensor_f32(&loss.value->tensor);
}

static void expect_error(struct fixture *f, const struct executor_feed *feeds, size_t count,
                         const char *fetch, const char *words)
{
    struct err err = {0};
    struct executor_fetch fetches = {.name = fetch};
    assert_true(executor_run(f->exe, f->main, feeds, count, &fetches, fetch != NULL, &err) < 0);
    if (strstr(err.text, words) == NULL)
        fail_msg("\"%s\" has no \"%s\"", err.text, words);
}

static void test_training_lowers_the_loss(void **state)
{
    struct fixture *f = *state;
    start(f);
    float first = step(f), last = first;
    for (int i = 0; i < 20; i++)
        last = step(f);
    assert_true(last < first / 10);
}

static void test_steady_steps_allocate_nothing(void **state)
{
    struct fixture *f = *state;
    start(f);
    for (int i = 0; i < 3; i++)
        step(f);
    unsigned long before = mem_allocation_count();
    for (int i = 0; i < 1000; i++)
        step(f);
    assert_int_equal(mem_allocation_count(), before);
}

static void test_another_batch_size_is_followed(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct executor_fetch fetches[2] = {{.name = "p"}, {.name = "w@GRAD"}};
    start(f);
    for (int64_t rows = 1; rows < 9; rows = rows * 2 + 1) {
        variable_deinit(&f->x);
        variable_deinit(&f->y);
        exec_fixture_value(&f->x, 2, D(rows, 3));
        exec_fixture_value(&f->y, 2, D(rows, 1));
        if (executor_run(f->exe, f->main, f->feeds, 2, fetches, 2, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(fetches[0].value->tensor.dims.d[0], rows);
        assert_int_equal(fetches[1].value->tensor.dims.d[0], 3);
    }
}

static void test_feeds_are_used_in_place(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct executor_fetch fetch = {.name = "x"};
    start(f);
    assert_int_equal(executor_run(f->exe, f->main, f->feeds, 2, &fetch, 1, &err), 0);
    assert_ptr_equal(fetch.value->tensor.data, f->x.tensor.data);
}

static void test_temporaries_stay_out_of_the_scope(void **state)
{
    struct fixture *f = *state;
    struct str_list names = {0};
    start(f);
    step(f);
    scope_names(f->scope, &names);
    char *text = str_list_join(&names, " ");
    assert_string_equal(text, "b lr vw w");
    mem_free(text);
    str_list_deinit(&names);
}

static void test_any_variable_can_be_fetched(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct executor_fetch fetches[] = {
        {.name = "w"}, {.name = "b@GRAD"}, {.name = "loss@GRAD"}, {.name = "y"}};
    start(f);
    assert_int_equal(executor_run(f->exe, f->main, f->feeds, 2, fetches, 4, &err), 0);
    assert_ptr_equal(fetches[0].value, scope_find(f->scope, "w"));
    assert_true(*tensor_f32(&fetches[2].value->tensor) == 1);
    expect_error(f, f->feeds, 2, "nobody", "fetch nobody: the program has no such variable");
}

static void test_missing_values_are_named(void **state)
{
    struct fixture *f = *state;
    expect_error(f, f->feeds, 2, NULL,
                 "block 0 op 0 `mul`: variable w has no value; run the startup program");
    start(f);
    expect_error(f, f->feeds, 1, NULL,
                 "block 0 op 2 `elementwise_sub`: variable y has no value; feed it");
    step(f);
    // What was fed before does not count.
    expect_error(f, f->feeds, 1, NULL, "variable y has no value");
    step(f);
}

static void test_wrong_feeds_are_refused(void **state)
{
    struct fixture *f = *state;
    struct variable wide, whole;
    start(f);
    exec_fixture_value(&wide, 2, D(4, 5));
    variable_init(&whole);
    assert_int_equal(tensor_resize(variable_tensor(&whole), DTYPE_INT64, &f->x.tensor.dims), 0);
    struct executor_feed feeds[] = {{"x", &wide}, {"z", &wide}, {"x", &whole}};
    expect_error(f, &feeds[0], 1, NULL,
                 "feed x: float32 [4,5] is given, block 0 declares float32 [-1,3] (read first by "
                 "op 0 `mul`)");
    expect_error(f, &feeds[1], 1, NULL,
                 "feed z: block 0 has no such variable (the program reads: x, y)");
    expect_error(f, &feeds[2], 1, NULL, "feed x: int64 [4,3] is given");
    variable_deinit(&wide);
    variable_deinit(&whole);
}

static void test_a_failing_op_tells_place_variables_and_shapes(void **state)
{
    struct fixture *f = *state;
    struct variable labels;
    start(f);
    exec_fixture_value(&labels, 2, D(3, 1));
    struct executor_feed feeds[] = {{"x", &f->x}, {"y", &labels}};
    expect_error(f, feeds, 2, NULL, "block 0 op 2 `elementwise_sub` (X=p [4,1], Y=y [3,1]): ");
    variable_deinit(&labels);
    // The next good run is not disturbed.
    step(f);
}

static void test_fed_persistables_are_copied(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct variable w;
    start(f);
    exec_fixture_value(&w, 2, D(3, 1));
    struct executor_feed feeds[] = {f->feeds[0], f->feeds[1], {"w", &w}};
    assert_int_equal(executor_run(f->exe, f->main, feeds, 3, NULL, 0, &err), 0);
    assert_true(tensor_f32(&w.tensor)[2] == 2);
    assert_true(scope_find(f->scope, "w")->tensor.data != w.tensor.data);
    assert_true(tensor_f32(&scope_find(f->scope, "w")->tensor)[2] != 2);
    variable_deinit(&w);
}

static void test_feeds_that_the_program_writes_are_copied_and_forgotten(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct program *program = program_new();
    struct executor_fetch fetch = {.name = "x"};
    exec_fixture_var(program_block(program, 0), "x", false, 2, D(-1, 3));
    exec_fixture_op(program_block(program, 0), "square", "X=x", "Out=x");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(executor_run(f->exe, program, f->feeds, 1, &fetch, 1, &err), 0);
        assert_true(tensor_f32(&fetch.value->tensor)[11] == 121);
        assert_true(tensor_f32(&f->x.tensor)[11] == 11);
    }
    assert_true(executor_run(f->exe, program, NULL, 0, &fetch, 1, &err) < 0);
    assert_non_null(strstr(err.text, "variable x has no value; feed it"));
    program_free(program);
}

static void test_a_changed_program_gets_a_new_plan(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct executor_fetch fetch = {.name = "twice"};
    start(f);
    step(f);
    op_desc_set_float(exec_fixture_op(program_block(f->main, 0), "scale", "X=loss", "Out=twice"),
                      "scale", 2);
    program_touch(f->main);
    float loss = step(f);
    assert_int_equal(executor_run(f->exe, f->main, f->feeds, 2, &fetch, 1, &err), 0);
    assert_true(*tensor_f32(&fetch.value->tensor) < 2 * loss);
}

static void test_many_programs_share_an_executor(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    for (int i = 0; i < 100; i++) {
        struct program *program = program_new();
        struct executor_fetch fetch = {.name = "v"};
        exec_fixture_fill(program_block(program, 0), "v", (float)i, 1, D(1));
        assert_int_equal(executor_run(f->exe, program, NULL, 0, &fetch, 1, &err), 0);
        assert_true(*tensor_f32(&fetch.value->tensor) == (float)i);
        program_free(program);
    }
}

static void test_inference_programs_check_their_feeds(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct program *program = program_new();
    struct block *block = program_block(program, 0);
    struct executor_fetch fetch = {.name = "out"};
    exec_fixture_var(block, "x", false, 2, D(-1, 3));
    exec_fixture_var(block, "out", false, 2, D(-1, 3));
    exec_fixture_op(block, "feed", "X=feed", "Out=x");
    exec_fixture_op(block, "relu", "X=x", "Out=out");
    exec_fixture_op(block, "fetch", "X=out", "Out=fetch");
    assert_true(executor_run(f->exe, program, NULL, 0, &fetch, 1, &err) < 0);
    assert_non_null(strstr(err.text, "block 0 op 0 `feed`"));
    assert_int_equal(executor_run(f->exe, program, f->feeds, 1, &fetch, 1, &err), 0);
    assert_true(tensor_f32(&fetch.value->tensor)[11] == 11);
    assert_true(executor_run(f->exe, program, NULL, 0, &fetch, 1, &err) < 0);
    executor_free(f->exe);
    f->exe = NULL;
    program_free(program);
}

static void test_lod_travels_with_the_values(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    uint64_t offsets[] = {0, 1, 4}, bad[] = {0, 9};
    struct lod_level level = {.offsets = offsets, .count = 3}, wrong = {.offsets = bad, .count = 2};
    struct executor_fetch fetch = {.name = "p"};
    start(f);
    step(f);
    assert_int_equal(tensor_set_lod(&f->x.tensor, 1, &level), 0);
    assert_int_equal(executor_run(f->exe, f->main, f->feeds, 2, &fetch, 1, &err), 0);
    assert_int_equal(fetch.value->tensor.lod_levels, 1);
    assert_int_equal(fetch.value->tensor.lod[0].offsets[1], 1);
    assert_int_equal(tensor_set_lod(&f->x.tensor, 1, &wrong), 0);
    expect_error(f, f->feeds, 2, NULL, "feed x: its LoD does not fit its [4,3]");
    tensor_clear_lod(&f->x.tensor);
    assert_int_equal(executor_run(f->exe, f->main, f->feeds, 2, &fetch, 1, &err), 0);
    assert_int_equal(fetch.value->tensor.lod_levels, 0);
}

// Each allocation of a first run (planning) and of a run with more rows (growing) fails once.
static void test_failing_memory_is_an_error_and_no_crash(void **state)
{
    struct fixture *f = *state;
    struct variable x, y;
    exec_fixture_value(&x, 2, D(9, 3));
    exec_fixture_value(&y, 2, D(9, 1));
    struct executor_feed more[] = {{"x", &x}, {"y", &y}};
    start(f);
    for (int grown = 0; grown < 2; grown++) {
        int failures = 0;
        bool failed = true;
        for (long nth = 1; failed; nth++) {
            struct err err = {0};
            struct executor *exe = executor_new(f->scope, NULL, 0);
            if (grown && executor_run(exe, f->main, f->feeds, 2, NULL, 0, &err) < 0)
                fail_msg("%s", err.text);
            mem_fail_nth(nth);
            failed = executor_run(exe, f->main, more, 2, NULL, 0, &err) < 0;
            mem_fail_nth(0);
            assert_true(!failed || err.code == SL_ENOMEM);
            failures += failed;
            if (executor_run(exe, f->main, more, 2, NULL, 0, &err) < 0)
                fail_msg("%s", err.text);
            executor_free(exe);
        }
        assert_true(failures > 5);
    }
    variable_deinit(&x);
    variable_deinit(&y);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_training_lowers_the_loss),
        TEST(test_steady_steps_allocate_nothing),
        TEST(test_another_batch_size_is_followed),
        TEST(test_feeds_are_used_in_place),
        TEST(test_temporaries_stay_out_of_the_scope),
        TEST(test_any_variable_can_be_fetched),
        TEST(test_missing_values_are_named),
        TEST(test_wrong_feeds_are_refused),
        TEST(test_a_failing_op_tells_place_variables_and_shapes),
        TEST(test_fed_persistables_are_copied),
        TEST(test_feeds_that_the_program_writes_are_copied_and_forgotten),
        TEST(test_a_changed_program_gets_a_new_plan),
        TEST(test_many_programs_share_an_executor),
        TEST(test_inference_programs_check_their_feeds),
        TEST(test_lod_travels_with_the_values),
        TEST(test_failing_memory_is_an_error_and_no_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
