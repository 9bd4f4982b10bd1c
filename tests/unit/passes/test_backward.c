// SPDX-License-Identifier: Apache-2.0
// The backward pass on small graphs: shared variables, unwanted gradients, branches that lead
// nowhere.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/passes/backward.h"
#include "common/passes/op_build.h"
#include "common/program/program.h"

static struct program *graph;
static struct block *block;

static struct var_desc *var(const char *name, int64_t rows, int64_t cols)
{
    struct var_desc *v = var_desc_new(name);
    v->has_tensor = true;
    v->dtype = DTYPE_FP32;
    v->dims = (struct dims){.rank = 2, .d = {rows, cols}};
    return block_add_var(block, v);
}

static void param(const char *name, int64_t rows, int64_t cols)
{
    struct var_desc *v = var(name, rows, cols);
    v->is_parameter = true;
    v->trainable = true;
    v->persistable = true;
}

static void op(const char *type, const char *x, const char *y, const char *out)
{
    struct op_desc *o = op_desc_new(type);
    struct err err = {0};
    op_desc_add_input(o, "X", x);
    if (y != NULL)
        op_desc_add_input(o, "Y", y);
    op_desc_add_output(o, "Out", out);
    var(out, 0, 0);
    if (op_build_append(block, o, OP_ROLE_FORWARD, &err) < 0)
        fail_msg("%s", err.text);
}

static int begin(void **state)
{
    (void)state;
    graph = program_new();
    block = program_block(graph, 0);
    var("x", -1, 4)->stop_gradient = true;
    param("w", 4, 4);
    return 0;
}

static int end(void **state)
{
    (void)state;
    program_free(graph);
    return 0;
}

// The operators behind the first count, "type(in,..)->out,.." each.
static void expect_ops(size_t from, const char *const *want, size_t count)
{
    assert_int_equal(block->ops_count - from, count);
    for (size_t i = 0; i < count; i++) {
        const struct op_desc *o = block->ops[from + i];
        struct buf text;
        buf_init(&text, 0);
        buf_printf(&text, "%s", o->type);
        for (size_t s = 0; s < o->outputs_count; s++)
            for (size_t k = 0; k < o->outputs[s].args.count; k++)
                buf_printf(&text, " %s", o->outputs[s].args.items[k]);
        assert_string_equal(buf_text(&text), want[i]);
        buf_deinit(&text);
    }
}

static void backward(const char *loss, struct backward_result *out)
{
    struct str_list params = {0};
    struct err err = {0};
    for (size_t i = 0; i < block->vars_count; i++)
        if (block->vars[i]->is_parameter)
            str_list_add(&params, block->vars[i]->name);
    if (backward_append(graph, loss, &params, NULL, out, &err) < 0)
        fail_msg("%s", err.text);
    str_list_deinit(&params);
}

static void test_backward_sums_shared_parameter(void **state)
{
    (void)state;
    struct backward_result out = {0};
    op("mul", "x", "w", "a");
    op("mul", "a", "w", "b");
    op("mul", "b", "w", "c");
    op("mean", "c", NULL, "loss");
    backward("loss", &out);
    static const char *const want[] = {
        "fill_constant loss@GRAD",
        "mean_grad c@GRAD",
        "mul_grad b@GRAD w@GRAD@RENAME@block0@0",
        "mul_grad a@GRAD w@GRAD@RENAME@block0@1",
        "mul_grad w@GRAD@RENAME@block0@2",
        "sum w@GRAD",
    };
    expect_ops(4, want, 6);
    assert_int_equal(out.params.count, 1);
    assert_string_equal(out.grads.items[0], "w@GRAD");
    const struct op_desc *sum = block->ops[9];
    const struct attr *pair = op_desc_attr(sum, OP_ROLE_VAR_ATTR);
    assert_int_equal(pair->count, 2);
    assert_string_equal(pair->strings[0], "w");
    assert_int_equal(op_desc_input(sum, "X")->args.count, 3);
    assert_int_equal(block_var(block, "w@GRAD@RENAME@block0@1")->dims.d[1], 4);
    backward_result_deinit(&out);
}

static void test_backward_sums_before_it_is_read(void **state)
{
    (void)state;
    struct backward_result out = {0};
    op("mul", "x", "w", "a");
    op("square", "a", NULL, "s");
    op("elementwise_add", "a", "s", "b");
    op("mean", "b", NULL, "loss");
    backward("loss", &out);
    static const char *const want[] = {
        "fill_constant loss@GRAD",
        "mean_grad b@GRAD",
        "elementwise_add_grad a@GRAD@RENAME@block0@0 s@GRAD",
        "square_grad a@GRAD@RENAME@block0@1",
        "sum a@GRAD",
        "mul_grad w@GRAD",
    };
    expect_ops(4, want, 6);
    backward_result_deinit(&out);
}

static void test_backward_same_variable_twice(void **state)
{
    (void)state;
    struct backward_result out = {0};
    op("mul", "x", "w", "a");
    op("elementwise_add", "a", "a", "b");
    op("mean", "b", NULL, "loss");
    backward("loss", &out);
    static const char *const want[] = {
        "fill_constant loss@GRAD",
        "mean_grad b@GRAD",
        "elementwise_add_grad a@GRAD@RENAME@block0@0 a@GRAD@RENAME@block0@1",
        "sum a@GRAD",
        "mul_grad w@GRAD",
    };
    expect_ops(3, want, 5);
    backward_result_deinit(&out);
}

static void test_backward_stops_at_stop_gradient(void **state)
{
    (void)state;
    struct backward_result out = {0};
    param("v", 4, 4);
    op("mul", "x", "v", "a");
    block_var(block, "a")->stop_gradient = true;
    op("mul", "a", "w", "b");
    op("mean", "b", NULL, "loss");
    backward("loss", &out);
    static const char *const want[] = {"fill_constant loss@GRAD", "mean_grad b@GRAD",
                                       "mul_grad w@GRAD"};
    expect_ops(3, want, 3);
    assert_int_equal(out.params.count, 1);
    assert_string_equal(out.params.items[0], "w");
    backward_result_deinit(&out);
}

static void test_backward_leaves_side_branches(void **state)
{
    (void)state;
    struct backward_result out = {0};
    param("v", 4, 4);
    op("mul", "x", "w", "a");
    op("mul", "a", "v", "side");
    op("mean", "a", NULL, "loss");
    op("square", "side", NULL, "aside");
    backward("loss", &out);
    static const char *const want[] = {"fill_constant loss@GRAD", "mean_grad a@GRAD",
                                       "mul_grad w@GRAD"};
    expect_ops(4, want, 3);
    assert_int_equal(op_desc_role(block->ops[2]), OP_ROLE_LOSS);
    backward_result_deinit(&out);
}

static void expect_error(const char *loss, const char *text)
{
    struct str_list none = {0};
    struct backward_result out = {0};
    struct err err = {0};
    size_t ops = block->ops_count;
    assert_true(backward_append(graph, loss, &none, NULL, &out, &err) < 0);
    if (strstr(err.text, text) == NULL)
        fail_msg("`%s` does not say `%s`", err.text, text);
    assert_int_equal(block->ops_count, ops);
}

static void test_backward_errors_leave_the_program(void **state)
{
    (void)state;
    op("mul", "x", "w", "a");
    op("mean", "a", NULL, "loss");
    expect_error("nothing", "not a variable");
    expect_error("a", "must be [1]");
    var("made_by_none", 1, 1)->dims = (struct dims){.rank = 1, .d = {1}};
    expect_error("made_by_none", "no operator");
    struct op_desc *unknown = op_desc_new("no_such_op");
    op_desc_add_input(unknown, "X", "loss");
    op_desc_add_output(unknown, "Out", "made_by_none");
    block_append_op(block, unknown);
    expect_error("made_by_none", "op 2 `no_such_op`");
    struct backward_result out = {0};
    backward("loss", &out);
    expect_error("loss", "already has the gradient");
    backward_result_deinit(&out);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_backward_sums_shared_parameter), CASE(test_backward_sums_before_it_is_read),
        CASE(test_backward_same_variable_twice),   CASE(test_backward_stops_at_stop_gradient),
        CASE(test_backward_leaves_side_branches),  CASE(test_backward_errors_leave_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
