// SPDX-License-Identifier: Apache-2.0
// Several workers on one batch: whose what is, what is summed, what happens once.

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/exec/parallel_executor.h"
#include "common/exec/scope.h"
#include "common/ops/op.h"
#include "tests/unit/exec/exec_fixture.h"

#define D(...)                                                                                     \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

// loss = mean((x w - y)^2) trained with sgd; seen counts in forward, round in the schedule.
struct fixture {
    struct program *startup, *main;
    struct scope *scope;
    struct executor *single;
    struct parallel_executor *exe;
    struct variable x, y;
    struct executor_feed feeds[2];
};

static void set_role(struct op_desc *op, int role)
{
    op_desc_set_int(op, OP_ROLE_ATTR, role);
}

static void make_backward(struct block *b)
{
    exec_fixture_fill(b, "loss@GRAD", 1, 1, D(1));
    exec_fixture_op(b, "mean_grad", "X=sq Out@GRAD=loss@GRAD", "X@GRAD=sq@GRAD");
    exec_fixture_op(b, "square_grad", "X=d Out@GRAD=sq@GRAD", "X@GRAD=d@GRAD");
    exec_fixture_op(b, "elementwise_sub_grad", "X=p Y=y Out@GRAD=d@GRAD", "X@GRAD=p@GRAD");
    struct op_desc *last =
        exec_fixture_op(b, "mul_grad", "X=x Y=w Out@GRAD=p@GRAD", "Y@GRAD=w@GRAD");
    struct str_list pair = {0};
    str_list_add(&pair, "w");
    str_list_add(&pair, "w@GRAD");
    for (size_t i = b->ops_count - 5; i < b->ops_count; i++)
        set_role(b->ops[i], OP_ROLE_BACKWARD | (i == b->ops_count - 5 ? OP_ROLE_LOSS : 0));
    op_desc_set_strings(last, OP_ROLE_VAR_ATTR, &pair);
    str_list_deinit(&pair);
}

static void make_main(struct block *b)
{
    static const char *const temps[] = {"p", "d", "sq", "sq@GRAD", "d@GRAD", "p@GRAD"};
    exec_fixture_var(b, "x", false, 2, D(-1, 3));
    exec_fixture_var(b, "y", false, 2, D(-1, 1));
    exec_fixture_var(b, "w", true, 2, D(3, 1));
    exec_fixture_var(b, "w@GRAD", false, 2, D(3, 1));
    exec_fixture_var(b, "lr", true, 1, D(1));
    exec_fixture_var(b, "seen", true, 1, D(1));
    exec_fixture_var(b, "round", true, 1, D(1));
    for (size_t i = 0; i < sizeof temps / sizeof *temps; i++)
        exec_fixture_var(b, temps[i], false, 2, D(-1, 1));
    exec_fixture_var(b, "loss", false, 1, D(1));
    exec_fixture_var(b, "loss@GRAD", false, 1, D(1));
    exec_fixture_op(b, "increment", "X=seen", "Out=seen");
    exec_fixture_op(b, "mul", "X=x Y=w", "Out=p");
    exec_fixture_op(b, "elementwise_sub", "X=p Y=y", "Out=d");
    exec_fixture_op(b, "square", "X=d", "Out=sq");
    set_role(exec_fixture_op(b, "mean", "X=sq", "Out=loss"), OP_ROLE_LOSS);
    set_role(exec_fixture_op(b, "increment", "X=round", "Out=round"), OP_ROLE_LR_SCHED);
    make_backward(b);
    set_role(exec_fixture_op(b, "sgd", "Param=w LearningRate=lr Grad=w@GRAD", "ParamOut=w"),
             OP_ROLE_OPTIMIZE);
}

static void set_rows(struct fixture *f, int64_t rows)
{
    variable_deinit(&f->x);
    variable_deinit(&f->y);
    exec_fixture_value(&f->x, 2, D(rows, 3));
    exec_fixture_value(&f->y, 2, D(rows, 1));
    for (int64_t i = 0; i < rows * 3; i++)
        tensor_f32(&f->x.tensor)[i] = sinf((float)i);
    f->feeds[0] = (struct executor_feed){"x", &f->x};
    f->feeds[1] = (struct executor_feed){"y", &f->y};
}

static void start(struct fixture *f)
{
    struct err err = {0};
    if (executor_run(f->single, f->startup, NULL, 0, NULL, 0, &err) < 0)
        fail_msg("%s", err.text);
}

static void make(struct fixture *f, int workers)
{
    f->startup = program_new();
    f->main = program_new();
    struct block *start_block = program_block(f->startup, 0);
    static const char *const numbers[] = {"lr", "seen", "round"};
    exec_fixture_var(start_block, "w", true, 2, D(3, 1));
    exec_fixture_fill(start_block, "w", 0.5f, 2, D(3, 1));
    for (size_t i = 0; i < 3; i++) {
        exec_fixture_var(start_block, numbers[i], true, 1, D(1));
        exec_fixture_fill(start_block, numbers[i], i == 0 ? 0.125f : 0, 1, D(1));
    }
    make_main(program_block(f->main, 0));
    f->scope = scope_new();
    f->single = executor_new(f->scope, NULL, 0);
    f->exe = parallel_executor_new(f->scope, NULL, 0, workers);
    set_rows(f, 6);
    start(f);
}

static void drop(struct fixture *f)
{
    parallel_executor_free(f->exe);
    executor_free(f->single);
    scope_free(f->scope);
    program_free(f->startup);
    program_free(f->main);
    variable_deinit(&f->x);
    variable_deinit(&f->y);
}

static int set_up(void **state)
{
    struct fixture *f = MEM_NEW(struct fixture);
    make(f, 2);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    drop(*state);
    mem_free(*state);
    return 0;
}

static const struct variable *step(struct fixture *f, const char *fetch)
{
    struct err err = {0};
    struct executor_fetch fetches = {.name = fetch};
    if (parallel_executor_run(f->exe, f->main, f->feeds, 2, &fetches, 1, &err) < 0)
        fail_msg("%s", err.text);
    return fetches.value;
}

static float number(const struct fixture *f, const char *name)
{
    return *tensor_f32(&scope_find(f->scope, name)->tensor);
}

static void expect_error(struct fixture *f, size_t feeds, const char *words)
{
    struct err err = {0};
    int rc = parallel_executor_run(f->exe, f->main, f->feeds, feeds, NULL, 0, &err);
    assert_true(rc < 0);
    assert_int_equal(rc, err.code);
    if (strstr(err.text, words) == NULL)
        fail_msg("\"%s\" has no \"%s\"", err.text, words);
}

// The w that one executor makes of rows [from, from + rows) in one step.
static void step_alone(struct fixture *f, int64_t from, int64_t rows, float *out_w)
{
    struct err err = {0};
    struct variable part[2];
    struct executor_feed feeds[2] = {{"x", &part[0]}, {"y", &part[1]}};
    start(f);
    variable_init(&part[0]);
    variable_init(&part[1]);
    assert_int_equal(tensor_share_rows(variable_tensor(&part[0]), &f->x.tensor, from, rows), 0);
    assert_int_equal(tensor_share_rows(variable_tensor(&part[1]), &f->y.tensor, from, rows), 0);
    if (executor_run(f->single, f->main, feeds, 2, NULL, 0, &err) < 0)
        fail_msg("%s", err.text);
    memcpy(out_w, scope_find(f->scope, "w")->tensor.data, 3 * sizeof *out_w);
    variable_deinit(&part[0]);
    variable_deinit(&part[1]);
}

// Each worker's mean gradient weighs the same, however many samples it had.
static void test_uneven_shares_weigh_the_same(void **state)
{
    struct fixture *f = *state;
    float first[3], second[3];
    set_rows(f, 5);
    step_alone(f, 0, 3, first);
    step_alone(f, 3, 2, second);
    start(f);
    const struct variable *loss = step(f, "loss");
    assert_int_equal(loss->tensor.dims.d[0], 2);
    const float *w = tensor_f32(&scope_find(f->scope, "w")->tensor);
    for (int i = 0; i < 3; i++)
        assert_float_equal(w[i], (first[i] + second[i]) / 2, 1e-6);
}

static void test_workers_own_and_what_happens_once(void **state)
{
    struct fixture *f = *state;
    step(f, "loss");
    const struct variable *seen = step(f, "seen");
    assert_int_equal(tensor_count(&seen->tensor), 2);
    assert_true(tensor_f32(&seen->tensor)[0] == 2 && tensor_f32(&seen->tensor)[1] == 2);
    assert_true(number(f, "seen") == 2 && number(f, "round") == 2);
    assert_int_equal(tensor_count(&step(f, "round")->tensor), 2);
    const struct variable *w = step(f, "w");
    assert_int_equal(w->tensor.dims.d[0], 6);
    assert_memory_equal(tensor_f32(&w->tensor), tensor_f32(&w->tensor) + 3, 3 * sizeof(float));
    assert_int_equal(step(f, "p")->tensor.dims.d[0], 6);
    const struct variable *grad = step(f, "w@GRAD");
    assert_int_equal(grad->tensor.dims.d[0], 6);
    assert_memory_equal(tensor_f32(&grad->tensor), tensor_f32(&grad->tensor) + 3,
                        3 * sizeof(float));
    assert_float_equal(*tensor_f32(&step(f, "loss@GRAD")->tensor), 0.5, 0);
    struct str_list names = {0};
    scope_names(f->scope, &names);
    char *text = str_list_join(&names, " ");
    assert_string_equal(text, "lr round seen w");
    mem_free(text);
    str_list_deinit(&names);
}

static void test_a_sum_that_workers_read_later_reaches_them(void **state)
{
    struct fixture *f = *state;
    struct block *b = program_block(f->main, 0);
    exec_fixture_var(b, "after", false, 2, D(3, 1));
    exec_fixture_op(b, "scale", "X=w@GRAD", "Out=after");
    program_touch(f->main);
    const float *both = tensor_f32(&step(f, "after")->tensor);
    assert_memory_equal(both, both + 3, 3 * sizeof(float));
    assert_true(both[0] != 0);
}

static void test_same_bits_with_every_run(void **state)
{
    (void)state;
    float first[3];
    for (int run = 0; run < 5; run++) {
        struct fixture f = {0};
        make(&f, 3);
        set_rows(&f, 17);
        for (int i = 0; i < 20; i++)
            step(&f, "loss");
        const float *w = tensor_f32(&scope_find(f.scope, "w")->tensor);
        if (run == 0)
            memcpy(first, w, sizeof first);
        assert_memory_equal(first, w, sizeof first);
        drop(&f);
    }
}

static void test_steady_steps_allocate_nothing(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++)
        step(f, "p");
    unsigned long before = mem_allocation_count();
    for (int i = 0; i < 500; i++)
        step(f, "p");
    assert_int_equal(mem_allocation_count(), before);
}

static void test_batches_of_other_sizes(void **state)
{
    struct fixture *f = *state;
    for (int64_t rows = 2; rows < 40; rows = rows * 2 + 1) {
        set_rows(f, rows);
        assert_int_equal(step(f, "p")->tensor.dims.d[0], rows);
    }
}

static void test_errors_say_who_and_what(void **state)
{
    struct fixture *f = *state;
    expect_error(f, 1, "variable y has no value; feed it");
    set_rows(f, 1);
    expect_error(f, 2, "CPU_NUM");
    set_rows(f, 6);
    f->feeds[1].name = "nothing";
    expect_error(f, 2, "no such variable");
    f->feeds[1].name = "y";
    // 6 rows and 4: worker 0 has 3 and 2, and so fails first.
    variable_deinit(&f->y);
    exec_fixture_value(&f->y, 2, D(4, 1));
    expect_error(f, 2, "worker 0 of 2");
    set_rows(f, 6);
    step(f, "loss");   // and goes on afterwards
}

static void test_one_failing_worker_is_named(void **state)
{
    struct fixture *f = *state;
    // 5 rows are 3 and 2, 6 rows 3 and 3.
    variable_deinit(&f->y);
    exec_fixture_value(&f->y, 2, D(5, 1));
    expect_error(f, 2, "worker 1 of 2: block 0 op 2 `elementwise_sub`");
}

static void test_optimizer_in_a_sub_block_is_refused(void **state)
{
    struct fixture *f = *state;
    struct block *inner = program_append_block(f->main, 0);
    set_role(exec_fixture_op(inner, "sgd", "Param=w LearningRate=lr Grad=w@GRAD", "ParamOut=w"),
             OP_ROLE_OPTIMIZE);
    program_touch(f->main);
    expect_error(f, 2, "an optimizer within control flow");
}

static void test_persistable_feeds_are_not_cut(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct variable rate;
    exec_fixture_value(&rate, 1, D(1));
    struct executor_feed feeds[3] = {f->feeds[0], f->feeds[1], {"lr", &rate}};
    assert_int_equal(parallel_executor_run(f->exe, f->main, feeds, 3, NULL, 0, &err), 0);
    assert_true(number(f, "lr") == 0 && number(f, "w") == 0.5f);
    variable_deinit(&rate);
}

// Ops of a host: look gives each worker rows for its ids, push sends what is summed.
struct host {
    int looks, pushes;
    int64_t rows[2];   // of the ids, by call
    float pushed;
    pthread_t thread;
};

static int look_kernel(struct op_ctx *ctx)
{
    struct host *host = ctx->host;
    const struct tensor *ids = op_in(ctx, 0);
    struct dims dims = dims_make(2, D(ids->dims.d[0], 3));
    assert_true(host->looks < 2);
    assert_true(pthread_equal(pthread_self(), host->thread));
    host->rows[host->looks++] = ids->dims.d[0];
    int rc = op_resize(op_out(ctx, 0), DTYPE_FP32, &dims, ctx->err);
    for (int64_t i = 0; rc == 0 && i < ids->dims.d[0] * 3; i++)
        tensor_f32(op_out(ctx, 0))[i] = 1;
    return rc;
}

static int push_kernel(struct op_ctx *ctx)
{
    struct host *host = ctx->host;
    assert_true(pthread_equal(pthread_self(), host->thread));
    host->pushes++;
    host->pushed = *tensor_f32(op_in(ctx, 0));
    return 0;
}

static const struct op_slot_def look_in[] = {{"Ids", 0}, {NULL, 0}},
                                push_in[] = {{"X", 0}, {NULL, 0}},
                                look_out[] = {{"Out", 0}, {NULL, 0}}, no_out[] = {{NULL, 0}};
static const struct op_def look_def = {.type = "look",
                                       .inputs = look_in,
                                       .outputs = look_out,
                                       .kernel = look_kernel,
                                       .kernel_resizes = true};
static const struct op_def push_def = {
    .type = "push", .inputs = push_in, .outputs = no_out, .kernel = push_kernel};

static void test_hosts_are_asked_on_the_callers_thread(void **state)
{
    struct fixture *f = *state;
    struct host host = {.thread = pthread_self()};
    const struct op_def *const ops[] = {&look_def, &push_def, NULL};
    const struct plan_host hosts = {.ops = ops, .self = &host};
    struct block *b = program_block(f->main, 0);
    struct variable ids;
    struct err err = {0};
    // x is looked up by ids; the optimizer becomes a push.
    exec_fixture_var(b, "ids", false, 2, D(-1, 1));
    op_desc_free(b->ops[b->ops_count - 1]);
    b->ops_count--;
    set_role(exec_fixture_op(b, "push", "X=w@GRAD", ""), OP_ROLE_RPC);
    block_insert_op(b, 0, op_desc_new("look"));
    op_desc_add_input(b->ops[0], "Ids", "ids");
    op_desc_add_output(b->ops[0], "Out", "x");
    program_touch(f->main);
    struct parallel_executor *exe = parallel_executor_new(f->scope, &hosts, 1, 2);
    exec_fixture_value(&ids, 2, D(5, 1));
    set_rows(f, 5);
    struct executor_feed feeds[] = {{"ids", &ids}, f->feeds[1]};
    struct executor_fetch grad = {.name = "w@GRAD"};
    if (parallel_executor_run(exe, f->main, feeds, 2, &grad, 1, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(host.looks, 2);
    assert_int_equal(host.rows[0], 3);
    assert_int_equal(host.rows[1], 2);
    assert_int_equal(host.pushes, 1);
    // p = 1.5; means of 1.5 - {0, 1, 2} and 1.5 - {3, 4}, each twice by 1/2.
    assert_float_equal(host.pushed, 0.5f - 2, 1e-6);
    assert_float_equal(*tensor_f32(&grad.value->tensor), host.pushed, 0);
    variable_deinit(&ids);
    parallel_executor_free(exe);
}

static void test_failing_memory_is_an_error_and_no_crash(void **state)
{
    (void)state;
    for (long nth = 1; nth < 400; nth++) {
        struct fixture f = {0};
        struct err err = {0};
        make(&f, 2);
        mem_fail_nth(nth);
        int rc = parallel_executor_run(f.exe, f.main, f.feeds, 2, NULL, 0, &err);
        mem_fail_nth(0);
        if (rc < 0)
            assert_true(err.text[0] != '\0');
        drop(&f);
        if (rc == 0 && nth > 100)
            break;
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_uneven_shares_weigh_the_same),
        TEST(test_workers_own_and_what_happens_once),
        TEST(test_a_sum_that_workers_read_later_reaches_them),
        cmocka_unit_test(test_same_bits_with_every_run),
        TEST(test_steady_steps_allocate_nothing),
        TEST(test_batches_of_other_sizes),
        TEST(test_errors_say_who_and_what),
        TEST(test_one_failing_worker_is_named),
        TEST(test_optimizer_in_a_sub_block_is_refused),
        TEST(test_persistable_feeds_are_not_cut),
        TEST(test_hosts_are_asked_on_the_callers_thread),
        cmocka_unit_test(test_failing_memory_is_an_error_and_no_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
