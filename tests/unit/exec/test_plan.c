// SPDX-License-Identifier: Apache-2.0
// Plans: what is missing is named, addresses are asked for by reading and writing, received slices
// are views of the whole, attributes of both eras fit.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/exec/plan.h"
#include "common/exec/scope.h"
#include "common/ops/op.h"
#include "tests/unit/exec/exec_fixture.h"

#define D(...)                                                                                     \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

// A host op `receive` that fills its outputs with the number it was given.
struct receiver {
    float value;
    void *addresses[8];
    size_t count;
};

static int receive_kernel(struct op_ctx *ctx)
{
    struct receiver *receiver = ctx->host;
    receiver->count = 0;
    for (size_t i = 0; i < ctx->out[0].count; i++) {
        struct tensor *t = op_out_at(ctx, 0, i);
        int rc = op_resize(t, DTYPE_FP32, &(struct dims){.rank = 2, .d = {2, 3}}, ctx->err);
        if (rc < 0)
            return rc;
        for (uint64_t k = 0; k < tensor_count(t); k++)
            tensor_f32(t)[k] = receiver->value + (float)i;
        receiver->addresses[receiver->count++] = t->data;
    }
    return 0;
}

static const struct op_slot_def no_inputs[] = {{NULL, 0}};
static const struct op_slot_def receive_outputs[] = {{"Out", OP_SLOT_LIST}, {NULL, 0}};
static const struct op_attr_def no_attrs[] = {{.name = NULL}};
static const struct op_def receive = {
    .type = "receive",
    .inputs = no_inputs,
    .outputs = receive_outputs,
    .attrs = no_attrs,
    .kernel = receive_kernel,
    .kernel_resizes = true,
};
static const struct op_def *const receive_table[] = {&receive, NULL};

static struct variable *bind_in_scope(void *self, const char *name, bool write, bool written)
{
    (void)write;
    (void)written;
    return scope_var(self, name);
}

static void expect_plan_error(struct program *program, const char *words)
{
    struct err err = {0};
    struct plan *plan = NULL;
    struct scope *scope = scope_new();
    struct plan_binder binder = {bind_in_scope, scope};
    assert_true(plan_new(program_block(program, 0), 0, 0, &binder, NULL, 0, &plan, &err) < 0);
    assert_null(plan);
    if (strstr(err.text, words) == NULL)
        fail_msg("\"%s\" has no \"%s\"", err.text, words);
    scope_free(scope);
    program_free(program);
}

static void test_one_error_names_every_missing_op(void **state)
{
    (void)state;
    struct err err = {0};
    struct str_list lines = {0};
    struct program *program = program_new();
    struct block *block = program_block(program, 0), *inner = program_append_block(program, 0);
    exec_fixture_op(block, "odd", "X=a", "Out=b");
    exec_fixture_op(block, "relu", "X=a", "Out=b");
    exec_fixture_op(block, "rare", "X=a", "Out=b");
    exec_fixture_op(block, "odd", "X=a", "Out=b");
    exec_fixture_op(inner, "odd", "X=a", "Out=b");
    assert_int_equal(plan_check(program, NULL, 0, &lines, &err), SL_EUNSUPPORTED);
    assert_string_equal(err.text, "block 0 op 0 `odd`: not supported; also op 3, block 1 op 0; "
                                  "block 0 op 2 `rare`");
    assert_int_equal(lines.count, 4);
    assert_string_equal(lines.items[3], "block 1 op 0 `odd`");
    str_list_deinit(&lines);
    program_free(program);
}

static void test_very_many_missing_ops_still_fit_an_error(void **state)
{
    (void)state;
    struct err err = {0};
    struct program *program = program_new();
    for (int i = 0; i < 3000; i++) {
        char type[32];
        snprintf(type, sizeof type, "missing_%d", i);
        exec_fixture_op(program_block(program, 0), type, "X=a", "Out=b");
    }
    assert_int_equal(plan_check(program, NULL, 0, NULL, &err), SL_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "more (`sluice program check` lists all)"));
    program_free(program);
}

static void test_host_ops_count_as_there(void **state)
{
    (void)state;
    struct plan_host host = {receive_table, NULL};
    struct program *program = program_new();
    exec_fixture_op(program_block(program, 0), "receive", "", "Out=a");
    assert_int_equal(plan_check(program, &host, 1, NULL, NULL), 0);
    assert_int_equal(plan_check(program, NULL, 0, NULL, NULL), SL_EUNSUPPORTED);
    program_free(program);
}

static void test_malformed_ops_are_refused_with_their_place(void **state)
{
    (void)state;
    struct program *program = program_new();
    exec_fixture_op(program_block(program, 0), "relu", "X=a", "Out=b");
    exec_fixture_op(program_block(program, 0), "mul", "X=b", "Out=c");
    expect_plan_error(program, "block 0 op 1 `mul`: input Y is missing");
    program = program_new();
    exec_fixture_op(program_block(program, 0), "relu", "X=a,b", "Out=c");
    expect_plan_error(program, "block 0 op 0 `relu`: input X takes one argument, not 2");
    program = program_new();
    exec_fixture_op(program_block(program, 0), "relu", "X=a Mask=b", "Out=c");
    expect_plan_error(program, "input Mask is not known");
    program = program_new();
    exec_fixture_op(program_block(program, 0), "relu", "X=a", "");
    expect_plan_error(program, "output Out is missing");
    program = program_new();
    op_desc_set_string(exec_fixture_op(program_block(program, 0), "scale", "X=a", "Out=b"), "scale",
                       "much");
    expect_plan_error(program, "attribute scale has type 2");
}

// Remembers how each name was asked for: "name:wW".
struct asking {
    struct scope *scope;
    struct str_list asked;
};

static struct variable *bind_and_note(void *self, const char *name, bool write, bool written)
{
    struct asking *asking = self;
    str_list_addf(&asking->asked, "%s:%c%c", name, write ? 'w' : 'r', written ? 'W' : '-');
    return scope_var(asking->scope, name);
}

static void test_binder_learns_who_writes_and_whether_it_was_written(void **state)
{
    (void)state;
    struct err err = {0};
    struct plan *plan;
    struct asking asking = {.scope = scope_new()};
    struct plan_binder binder = {bind_and_note, &asking};
    struct program *program = program_new();
    struct block *block = program_block(program, 0);
    exec_fixture_op(block, "sum", "X=g0,g1", "Out=g");
    exec_fixture_op(block, "scale", "X=g", "Out=g");
    exec_fixture_op(block, "sgd", "Param=p LearningRate=lr Grad=g", "ParamOut=p");
    assert_int_equal(plan_new(block, 0, 0, &binder, NULL, 0, &plan, &err), 0);
    char *text = str_list_join(&asking.asked, " ");
    assert_string_equal(text, "g0:r- g1:r- g:w- g:rW g:wW p:r- lr:r- g:rW p:w-");
    mem_free(text);
    str_list_deinit(&asking.asked);
    plan_free(plan);
    scope_free(asking.scope);
    program_free(program);
}

// A state with two versions: reads of p come from the old one, writes go to the new one.
struct versions {
    struct variable old, fresh;
    struct scope *scope;
};

static struct variable *bind_versions(void *self, const char *name, bool write, bool written)
{
    struct versions *versions = self;
    if (!str_eq(name, "p"))
        return scope_var(versions->scope, name);
    return write || written ? &versions->fresh : &versions->old;
}

static void test_an_op_may_read_one_version_and_write_another(void **state)
{
    (void)state;
    struct err err = {0};
    struct plan *plan;
    struct versions versions = {.scope = scope_new()};
    struct plan_binder binder = {bind_versions, &versions};
    struct program *program = program_new();
    struct block *block = program_block(program, 0);
    exec_fixture_value(&versions.old, 1, D(4));
    variable_init(&versions.fresh);
    exec_fixture_value(scope_var(versions.scope, "g"), 1, D(4));
    exec_fixture_fill(block, "lr", 0.5f, 1, D(1));
    exec_fixture_op(block, "sgd", "Param=p LearningRate=lr Grad=g", "ParamOut=p");
    exec_fixture_op(block, "scale", "X=p", "Out=copy");
    assert_int_equal(plan_new(block, 0, 0, &binder, NULL, 0, &plan, &err), 0);
    if (plan_run(plan, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(tensor_f32(&versions.old.tensor)[3] == 3);
    assert_true(tensor_f32(&versions.fresh.tensor)[3] == 1.5f);
    assert_true(tensor_f32(&scope_find(versions.scope, "copy")->tensor)[3] == 1.5f);
    plan_free(plan);
    scope_free(versions.scope);
    variable_deinit(&versions.old);
    variable_deinit(&versions.fresh);
    program_free(program);
}

static struct program *make_received(bool read_early)
{
    struct program *program = program_new();
    struct block *block = program_block(program, 0);
    exec_fixture_var(block, "w", true, 2, D(4, 3));
    exec_fixture_var(block, "w.block0", false, 2, D(2, 3));
    exec_fixture_var(block, "w.block1", false, 2, D(2, 3));
    exec_fixture_var(block, "y", false, 2, D(4, 3));
    if (read_early)
        exec_fixture_op(block, "receive", "", "Out=w.block0,w.block1");
    exec_fixture_op(block, "relu", "X=w", "Out=y");
    if (!read_early)
        exec_fixture_op(block, "receive", "", "Out=w.block0,w.block1");
    exec_fixture_op(block, "concat", "X=w.block0,w.block1", "Out=w");
    return program;
}

static void run_received(bool read_early, bool expect_views)
{
    struct err err = {0};
    struct plan *plan;
    struct receiver receiver = {.value = 7};
    struct plan_host host = {receive_table, &receiver};
    struct scope *scope = scope_new();
    struct plan_binder binder = {bind_in_scope, scope};
    struct program *program = make_received(read_early);
    struct variable *w = scope_var(scope, "w"), other;
    exec_fixture_value(w, 2, D(4, 3));
    assert_int_equal(plan_new(program_block(program, 0), 0, 0, &binder, &host, 1, &plan, &err), 0);
    for (int round = 0; round < 3; round++) {
        if (plan_run(plan, &err) < 0)
            fail_msg("%s", err.text);
        assert_true((receiver.addresses[1] == (void *)(tensor_f32(&w->tensor) + 6)) ==
                    expect_views);
        assert_true(tensor_f32(&w->tensor)[5] == 7 && tensor_f32(&w->tensor)[6] == 8);
        // In the first round the op in front of the receive still saw the old value.
        if (round == 0)
            assert_true(tensor_f32(&scope_find(scope, "y")->tensor)[11] == 11);
        // Another memory for the whole, as a load may bring, is followed.
        exec_fixture_value(&other, 2, D(4, 3));
        tensor_move(&w->tensor, &other.tensor);
    }
    plan_free(plan);
    scope_free(scope);
    program_free(program);
}

static void test_received_slices_are_views_of_the_whole(void **state)
{
    (void)state;
    run_received(false, true);
}

static void test_received_slices_stay_apart_when_the_whole_is_read_between(void **state)
{
    (void)state;
    run_received(true, false);
}

static void test_attributes_of_both_eras_fit(void **state)
{
    (void)state;
    struct err err = {0};
    struct plan *plan;
    struct scope *scope = scope_new();
    struct plan_binder binder = {bind_in_scope, scope};
    struct program *program = program_new();
    struct op_desc *op = exec_fixture_op(program_block(program, 0), "scale", "X=x", "Out=y");
    op_desc_set_int(op, "scale", 3);
    op_desc_set_int(op, "bias_after_scale", 1);
    exec_fixture_value(scope_var(scope, "x"), 1, D(3));
    assert_int_equal(plan_new(program_block(program, 0), 0, 0, &binder, NULL, 0, &plan, &err), 0);
    assert_int_equal(plan_run(plan, &err), 0);
    assert_true(tensor_f32(&scope_find(scope, "y")->tensor)[2] == 6);
    plan_free(plan);
    scope_free(scope);
    program_free(program);
}

// x [2,6] -> a, softmax of a's rows, then a becomes [2,2,3] in place.
static void test_a_variable_may_change_its_shape_within_a_run(void **state)
{
    (void)state;
    struct err err = {0};
    struct plan *plan;
    struct scope *scope = scope_new();
    struct plan_binder binder = {bind_in_scope, scope};
    struct program *program = program_new();
    struct block *block = program_block(program, 0);
    exec_fixture_op(block, "scale", "X=x", "Out=a");
    exec_fixture_op(block, "softmax", "X=a", "Out=p");
    struct op_desc *op = exec_fixture_op(block, "reshape2", "X=a", "Out=a XShape=a_shape");
    op_desc_set_ints(op, "shape", D(0, 2, 3), 3);
    exec_fixture_op(block, "softmax", "X=a", "Out=q");
    exec_fixture_value(scope_var(scope, "x"), 2, D(2, 6));
    assert_int_equal(plan_new(block, 0, 0, &binder, NULL, 0, &plan, &err), 0);
    for (int run = 0; run < 3; run++) {
        if (plan_run(plan, &err) < 0)
            fail_msg("%s", err.text);
        const struct tensor *p = &scope_find(scope, "p")->tensor;
        const struct tensor *q = &scope_find(scope, "q")->tensor;
        assert_int_equal(p->dims.rank, 2);
        assert_int_equal(q->dims.rank, 3);
        assert_true(tensor_f32(p)[5] < 0.64f && tensor_f32(q)[5] > 0.66f);
        assert_int_equal(scope_find(scope, "a_shape")->tensor.dims.d[2], 6);
    }
    plan_free(plan);
    scope_free(scope);
    program_free(program);
}

static void test_a_range_of_ops_may_run_alone(void **state)
{
    (void)state;
    struct err err = {0};
    struct plan *plan;
    struct scope *scope = scope_new();
    struct plan_binder binder = {bind_in_scope, scope};
    struct program *program = program_new();
    struct block *block = program_block(program, 0);
    exec_fixture_op(block, "absent", "X=x", "Out=y");
    exec_fixture_fill(block, "a", 2, 1, D(1));
    exec_fixture_fill(block, "b", 2, 1, D(1));
    assert_int_equal(plan_new(block, 1, 2, &binder, NULL, 0, &plan, &err), 0);
    assert_int_equal(plan_run(plan, &err), 0);
    assert_non_null(scope_find(scope, "a"));
    assert_null(scope_find(scope, "b"));
    plan_free(plan);
    scope_free(scope);
    program_free(program);
}

// if (cond) out = x + x, with the condition as it is told.
static struct program *make_conditional(void)
{
    struct program *program = program_new();
    struct block *block = program_block(program, 0), *inner = program_append_block(program, 0);
    exec_fixture_fill(block, "out", 5, 1, D(1));
    exec_fixture_op(inner, "sum", "X=x,x", "Out=twice");
    exec_fixture_op(inner, "scale", "X=twice", "Out=out");
    struct op_desc *op =
        exec_fixture_op(block, "conditional_block", "Cond=cond Input=x", "Out=out");
    op_desc_set_bool(op, "is_scalar_condition", true);
    op_desc_set_block(op, "sub_block", 1);
    exec_fixture_op(block, "scale", "X=out", "Out=copy");
    return program;
}

static void test_a_conditional_block_runs_when_its_condition_holds(void **state)
{
    (void)state;
    struct err err = {0};
    struct plan *plan;
    struct scope *scope = scope_new();
    struct plan_binder binder = {bind_in_scope, scope};
    struct program *program = make_conditional();
    struct tensor *cond = variable_tensor(scope_var(scope, "cond"));
    assert_int_equal(tensor_resize(cond, DTYPE_BOOL, &(struct dims){.rank = 1, .d = {1}}), 0);
    unsigned char *holds = cond->data;
    assert_int_equal(plan_new(program_block(program, 0), 0, 0, &binder, NULL, 0, &plan, &err), 0);
    // What the block reads need not be there while it does not run.
    *holds = 0;
    if (plan_run(plan, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(tensor_f32(&scope_find(scope, "copy")->tensor)[0] == 5);
    *holds = 1;
    assert_true(plan_run(plan, &err) < 0);
    if (strstr(err.text, "block 1 op 0 `sum`: variable x has no value") == NULL)
        fail_msg("%s", err.text);
    // A wider value inside makes what is behind infer its shapes again.
    for (int width = 1; width < 4; width++) {
        variable_deinit(scope_var(scope, "x"));
        exec_fixture_value(scope_var(scope, "x"), 1, D(width));
        err = (struct err){0};
        if (plan_run(plan, &err) < 0)
            fail_msg("%s", err.text);
        const struct tensor *copy = &scope_find(scope, "copy")->tensor;
        assert_int_equal(copy->dims.d[0], width);
        assert_true(tensor_f32(copy)[width - 1] == 2.0f * (float)(width - 1));
    }
    plan_free(plan);
    scope_free(scope);
    program_free(program);
}

static void test_a_conditional_block_needs_a_block_of_its_own(void **state)
{
    (void)state;
    struct program *program = make_conditional();
    struct block *block = program_block(program, 0);
    op_desc_set_block(block->ops[1], "sub_block", 0);
    expect_plan_error(program,
                      "op 1 `conditional_block`: attribute sub_block names no later block");
    program = make_conditional();
    block = program_block(program, 0);
    for (int i = 0; i < 2; i++)
        block_append_op(block, op_desc_clone(block->ops[1]));
    expect_plan_error(program, "block 1 is run by several ops");
    program = make_conditional();
    block = program_block(program, 1);
    exec_fixture_op(block, "odd", "X=x", "Out=y");
    expect_plan_error(program, "op 1 `conditional_block`: block 1 op 2 `odd`");
}

static void test_uses_tell_outside_reads_and_writes(void **state)
{
    (void)state;
    struct str_list reads = {0}, writes = {0};
    struct program *program = program_new();
    struct block *block = program_block(program, 0);
    exec_fixture_op(block, "sum", "X=g0,g1", "Out=g");
    exec_fixture_op(block, "scale", "X=g", "Out=g");
    exec_fixture_op(block, "sgd", "Param=p LearningRate=lr Grad=g", "ParamOut=p");
    plan_check_uses(block, &reads, &writes);
    char *text = str_list_join(&reads, " ");
    assert_string_equal(text, "g0 g1 p lr");
    mem_free(text);
    text = str_list_join(&writes, " ");
    assert_string_equal(text, "g p");
    mem_free(text);
    str_list_deinit(&reads);
    str_list_deinit(&writes);
    program_free(program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_error_names_every_missing_op),
        cmocka_unit_test(test_very_many_missing_ops_still_fit_an_error),
        cmocka_unit_test(test_host_ops_count_as_there),
        cmocka_unit_test(test_malformed_ops_are_refused_with_their_place),
        cmocka_unit_test(test_binder_learns_who_writes_and_whether_it_was_written),
        cmocka_unit_test(test_an_op_may_read_one_version_and_write_another),
        cmocka_unit_test(test_received_slices_are_views_of_the_whole),
        cmocka_unit_test(test_received_slices_stay_apart_when_the_whole_is_read_between),
        cmocka_unit_test(test_attributes_of_both_eras_fit),
        cmocka_unit_test(test_a_variable_may_change_its_shape_within_a_run),
        cmocka_unit_test(test_a_range_of_ops_may_run_alone),
        cmocka_unit_test(test_a_conditional_block_runs_when_its_condition_holds),
        cmocka_unit_test(test_a_conditional_block_needs_a_block_of_its_own),
        cmocka_unit_test(test_uses_tell_outside_reads_and_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
