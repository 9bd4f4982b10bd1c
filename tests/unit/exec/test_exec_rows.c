// SPDX-License-Identifier: Apache-2.0
// Selected rows in whole programs: gradients of embeddings whose number of rows changes from run to
// run, fed and fetched ones, and ops that do not take them.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/exec/scope.h"
#include "tests/unit/exec/exec_fixture.h"

#define ROWS 6
#define WIDTH 2

#define D(...)                                                                                     \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

// Out@GRAD is fed: the table goes down by it.
struct fixture {
    struct program *startup, *main;
    struct scope *scope;
    struct executor *exe;
    struct variable ids, dout;
    struct executor_feed feeds[2];
};

static void rows_var(struct block *b, const char *name)
{
    exec_fixture_var(b, name, false, 2, D(ROWS, WIDTH));
    block_find_var(b, name)->kind = VAR_SELECTED_ROWS;
}

static void int_var(struct block *b, const char *name)
{
    exec_fixture_var(b, name, false, 2, D(-1, 1));
    block_find_var(b, name)->dtype = DTYPE_INT64;
}

static int set_up(void **state)
{
    struct fixture *f = MEM_NEW(struct fixture);
    struct err err = {0};
    f->startup = program_new();
    f->main = program_new();
    struct block *start = program_block(f->startup, 0), *b = program_block(f->main, 0);
    exec_fixture_var(start, "w", true, 2, D(ROWS, WIDTH));
    exec_fixture_var(start, "lr", true, 1, D(1));
    exec_fixture_fill(start, "w", 100, 2, D(ROWS, WIDTH));
    exec_fixture_fill(start, "lr", 1, 1, D(1));
    exec_fixture_var(b, "w", true, 2, D(ROWS, WIDTH));
    exec_fixture_var(b, "lr", true, 1, D(1));
    int_var(b, "ids");
    exec_fixture_var(b, "dout", false, 2, D(-1, WIDTH));
    rows_var(b, "w@GRAD");
    rows_var(b, "twice");
    struct op_desc *grad =
        exec_fixture_op(b, "lookup_table_grad", "W=w Ids=ids Out@GRAD=dout", "W@GRAD=w@GRAD");
    op_desc_set_bool(grad, "is_sparse", true);
    exec_fixture_op(b, "sum", "X=w@GRAD X=w@GRAD", "Out=twice");
    exec_fixture_op(b, "sgd", "Param=w Grad=twice LearningRate=lr", "ParamOut=w");
    f->scope = scope_new();
    f->exe = executor_new(f->scope, NULL, 0);
    variable_init(&f->ids);
    variable_init(&f->dout);
    f->feeds[0] = (struct executor_feed){"ids", &f->ids};
    f->feeds[1] = (struct executor_feed){"dout", &f->dout};
    assert_int_equal(executor_run(f->exe, f->startup, NULL, 0, NULL, 0, &err), 0);
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
    variable_deinit(&f->ids);
    variable_deinit(&f->dout);
    mem_free(f);
    return 0;
}

// The gradient of id k is k + 1 in both columns.
static void feed(struct fixture *f, const int64_t *ids, int64_t count)
{
    struct dims dims = {.rank = 2, .d = {count, 1}};
    assert_int_equal(tensor_resize(variable_tensor(&f->ids), DTYPE_INT64, &dims), 0);
    dims.d[1] = WIDTH;
    assert_int_equal(tensor_resize(variable_tensor(&f->dout), DTYPE_FP32, &dims), 0);
    for (int64_t i = 0; i < count; i++) {
        tensor_i64(&f->ids.tensor)[i] = ids[i];
        for (int64_t e = 0; e < WIDTH; e++)
            tensor_f32(&f->dout.tensor)[i * WIDTH + e] = (float)(ids[i] + 1);
    }
}

static void test_numbers_of_rows_change_from_run_to_run(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    static const int64_t ids[] = {5, 2, 5, 0, 2, 2};
    float want[ROWS];
    for (int r = 0; r < ROWS; r++)
        want[r] = 100;
    for (int64_t run = 0; run < 9; run++) {
        int64_t count = run * 4 % 7;   // 0 too
        feed(f, ids, count);
        for (int64_t i = 0; i < count; i++)
            want[ids[i]] -= 2 * (float)(ids[i] + 1);
        struct executor_fetch fetch = {.name = "w@GRAD"};
        if (executor_run(f->exe, f->main, f->feeds, 2, &fetch, 1, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(fetch.value->kind, VARIABLE_SELECTED_ROWS);
        assert_int_equal(fetch.value->rows.height, ROWS);
        assert_int_equal(fetch.value->rows.rows_count, count);
        assert_memory_equal(fetch.value->rows.rows, ids, (size_t)count * sizeof *ids);
        const float *w = tensor_f32(&scope_find(f->scope, "w")->tensor);
        for (int r = 0; r < ROWS; r++)
            assert_true(w[r * WIDTH] == want[r] && w[r * WIDTH + 1] == want[r]);
    }
}

static void test_selected_rows_can_be_fed(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct variable value;
    struct program *program = program_new();
    struct block *b = program_block(program, 0);
    struct dims tall = {.rank = 2, .d = {ROWS, WIDTH}};
    exec_fixture_var(b, "w", true, 2, D(ROWS, WIDTH));
    exec_fixture_var(b, "lr", true, 1, D(1));
    rows_var(b, "g");
    exec_fixture_op(b, "sgd", "Param=w Grad=g LearningRate=lr", "ParamOut=w");
    variable_init(&value);
    struct executor_feed feed_rows = {"g", &value};
    for (size_t count = 3; count > 0; count--) {
        struct selected_rows *sr = variable_rows(&value);
        assert_int_equal(selected_rows_shape(sr, ROWS, count, DTYPE_FP32, &tall), 0);
        for (size_t i = 0; i < count; i++) {
            sr->rows[i] = 4;
            tensor_f32(&sr->value)[i * WIDTH] = tensor_f32(&sr->value)[i * WIDTH + 1] = 1;
        }
        if (executor_run(f->exe, program, &feed_rows, 1, NULL, 0, &err) < 0)
            fail_msg("%s", err.text);
    }
    const float *w = tensor_f32(&scope_find(f->scope, "w")->tensor);
    assert_true(w[4 * WIDTH] == 100 - 3 - 2 - 1 && w[3 * WIDTH] == 100);
    variable_deinit(&value);
    program_free(program);
}

static void test_an_op_that_takes_no_rows_is_named(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct block *b = program_block(f->main, 0);
    exec_fixture_var(b, "r", false, 2, D(ROWS, WIDTH));
    exec_fixture_op(b, "relu", "X=twice", "Out=r");
    feed(f, D(1, 2), 2);
    assert_int_equal(executor_run(f->exe, f->main, f->feeds, 2, NULL, 0, &err), SL_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "block 0 op 3 `relu`"));
    assert_non_null(strstr(err.text, "X is selected rows, which relu does not take"));
}

// A sum that is a tensor cannot be where one of its rows is.
static void test_rows_do_not_become_a_tensor_in_place(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    exec_fixture_op(program_block(f->main, 0), "sum", "X=twice X=w", "Out=twice");
    feed(f, D(1, 2), 2);
    assert_int_equal(executor_run(f->exe, f->main, f->feeds, 2, NULL, 0, &err), SL_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "in the place of an input of selected rows"));
}

static void test_failing_memory_is_an_error_and_no_crash(void **state)
{
    struct fixture *f = *state;
    int failed = 0;
    for (long nth = 1; nth < 200; nth++) {
        struct err err = {0};
        struct executor *exe = executor_new(f->scope, NULL, 0);
        feed(f, D(3, 1, 3), 3);
        mem_fail_nth(nth);
        int rc = executor_run(exe, f->main, f->feeds, 2, NULL, 0, &err);
        mem_fail_nth(0);
        failed += rc < 0;
        assert_true(rc == 0 || rc == SL_ENOMEM);
        executor_free(exe);
        if (rc == 0)
            break;
    }
    assert_true(failed > 5 && failed < 199);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_numbers_of_rows_change_from_run_to_run, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_selected_rows_can_be_fed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_op_that_takes_no_rows_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rows_do_not_become_a_tensor_in_place, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_failing_memory_is_an_error_and_no_crash, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
