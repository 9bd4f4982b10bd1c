// SPDX-License-Identifier: Apache-2.0
// Updates, accumulators and their start-up operators.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/passes/optimizer.h"
#include "common/program/program.h"
#include "common/program/unique_name.h"

static struct program *net(void)
{
    struct program *program = program_new();
    static const char *const names[] = {"b", "a", "b@GRAD", "a@GRAD"};
    for (size_t i = 0; i < 4; i++) {
        struct var_desc *var = var_desc_new(names[i]);
        var->has_tensor = true;
        var->dims = (struct dims){.rank = 2, .d = {3, i % 2 + 2}};
        var->persistable = var->is_parameter = var->trainable = i < 2;
        var->learning_rate = i == 0 ? 0.5f : 1.0f;
        block_add_var(program_block(program, 0), var);
    }
    return program;
}

static void apply(struct program *main, struct program *startup, const struct optimizer_spec *spec)
{
    struct unique_name names;
    struct backward_result pairs = {0};
    struct err err = {0};
    unique_name_init(&names);
    str_list_add(&pairs.params, "b");
    str_list_add(&pairs.grads, "b@GRAD");
    str_list_add(&pairs.params, "a");
    str_list_add(&pairs.grads, "a@GRAD");
    if (optimizer_apply(main, startup, &names, spec, &pairs, &err) < 0)
        fail_msg("%s", err.text);
    backward_result_deinit(&pairs);
    unique_name_deinit(&names);
}

static void test_optimizer_adam_states_and_order(void **state)
{
    (void)state;
    struct program *main = net(), *startup = program_new();
    struct optimizer_spec spec = optimizer_spec_make(OPTIMIZER_ADAM, 0.25);
    apply(main, startup, &spec);
    const struct block *block = program_block(main, 0), *start = program_block(startup, 0);
    assert_int_equal(block->ops_count, 3);
    assert_string_equal(op_desc_input1(block->ops[0], "Param"), "a");
    assert_string_equal(op_desc_input1(block->ops[0], "LearningRate"), "learning_rate_0");
    assert_string_equal(block->ops[1]->type, "scale");
    assert_int_equal(op_desc_role(block->ops[1]), OP_ROLE_LR_SCHED | OP_ROLE_OPTIMIZE);
    assert_string_equal(op_desc_input1(block->ops[2], "LearningRate"), "tmp_0");
    assert_string_equal(op_desc_output1(block->ops[2], "Moment2Out"), "b_moment2_0");
    assert_int_equal(start->ops_count, 9);
    assert_string_equal(op_desc_output1(start->ops[0], "Out"), "learning_rate_0");
    assert_true(op_desc_get_float(start->ops[0], "value", 0) == 0.25f);
    assert_string_equal(op_desc_output1(start->ops[8], "Out"), "a_moment1_0");
    assert_int_equal(block_var(block, "a_moment1_0")->dims.d[1], 3);
    assert_int_equal(block_var(block, "a_beta1_pow_acc_0")->dims.rank, 1);
    program_free(main);
    program_free(startup);
}

static void test_optimizer_sgd_with_a_schedule(void **state)
{
    (void)state;
    struct program *main = net(), *startup = program_new();
    struct optimizer_spec spec = optimizer_spec_make(OPTIMIZER_SGD, 0);
    struct var_desc *rate = var_desc_new("rate");
    rate->has_tensor = true;
    rate->dims = (struct dims){.rank = 1, .d = {1}};
    block_add_var(program_block(main, 0), rate);
    spec.learning_rate_var = "rate";
    apply(main, startup, &spec);
    assert_int_equal(program_block(startup, 0)->ops_count, 0);
    assert_string_equal(op_desc_input1(program_block(main, 0)->ops[0], "LearningRate"), "rate");
    program_free(main);
    program_free(startup);
}

static void test_optimizer_kinds_by_name(void **state)
{
    (void)state;
    enum optimizer_kind kind;
    struct err err = {0};
    assert_int_equal(optimizer_kind_parse("momentum", &kind, &err), 0);
    assert_int_equal(kind, OPTIMIZER_MOMENTUM);
    assert_int_equal(optimizer_kind_parse("adamw", &kind, &err), SL_EINVAL);
    assert_non_null(strstr(err.text, "adam"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optimizer_adam_states_and_order),
        cmocka_unit_test(test_optimizer_sgd_with_a_schedule),
        cmocka_unit_test(test_optimizer_kinds_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
