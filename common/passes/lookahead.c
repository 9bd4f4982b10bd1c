// SPDX-License-Identifier: Apache-2.0
// See lookahead.h. The slow copy of P is P@SLOW; the steps are counted in lookahead_step.

#include "common/passes/lookahead.h"

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/passes/expr.h"
#include "common/passes/op_build.h"
#include "common/program/program.h"

#define SLOW_SUFFIX "@SLOW"

static const struct dims one_element = {.rank = 1, .d = {1}};

static void add_slow(struct expr *e, const char *param);
static void move(struct expr *e, const char *param, const struct var_desc *alpha,
                 const struct var_desc *one);

void lookahead_append(struct expr *e, double alpha, int64_t k)
{
    struct block *block = program_block(e->main, 0);
    struct str_list params = {0};
    for (size_t i = 0; i < block->vars_count; i++)
        if (block->vars[i]->is_parameter)
            str_list_add(&params, block->vars[i]->name);
    for (size_t i = 0; i < params.count; i++)
        add_slow(e, params.items[i]);
    struct var_desc *period =
        expr_global(e, "lookahead_k", &one_element, DTYPE_INT32, (double)k, false, "");
    struct var_desc *part =
        expr_global(e, "lookahead_alpha", &one_element, DTYPE_FP32, alpha, false, "");
    struct var_desc *step =
        expr_global(e, "lookahead_step", &one_element, DTYPE_INT32, 0.0, false, "");
    if (e->rc == 0) {
        struct op_desc *op = op_desc_new("increment");
        op_desc_add_input(op, "X", step->name);
        op_desc_add_output(op, "Out", step->name);
        op_desc_set_float(op, "step", 1.0f);
        expr_append(e, op);
    }
    struct var_desc *zero = expr_fill(e, 0.0, DTYPE_FP32, false);
    struct var_desc *one = expr_fill(e, 1.0, DTYPE_FP32, false);
    struct var_desc *rest = expr_layer(e, "elementwise_mod", step, period);
    struct expr_switch s = {0};
    expr_case(e, &s, expr_math(e, "equal", rest, zero));
    for (size_t i = 0; i < params.count; i++)
        move(e, params.items[i], part, one);
    expr_case_end(e, &s);
    expr_default(e, &s);
    expr_case_end(e, &s);
    str_list_deinit(&params);
}

static char *slow_name(const char *param)
{
    return mem_must_printf("%s" SLOW_SUFFIX, param);
}

static void add_slow(struct expr *e, const char *param)
{
    struct program *const programs[] = {e->main, e->startup};
    char *slow = slow_name(param);
    for (size_t i = 0; i < 2; i++) {
        const struct var_desc *fast = block_var(program_block(e->main, 0), param);
        struct var_desc *var = var_desc_new(slow);
        var->has_tensor = true;
        var->dims = fast->dims;
        var->dtype = fast->dtype;
        var->has_persistable = true;
        var->persistable = true;
        block_add_var(program_block(programs[i], 0), var);
    }
    struct op_desc *op = op_desc_new("assign");
    op_desc_add_input(op, "X", param);
    op_desc_add_output(op, "Out", slow);
    int rc = op_build_append(program_block(e->startup, 0), op, OP_ROLE_FORWARD, e->err);
    if (rc < 0)
        e->rc = rc;
    mem_free(slow);
}

// slow = fast = alpha * fast + (1 - alpha) * slow
static void move(struct expr *e, const char *param, const struct var_desc *alpha,
                 const struct var_desc *one)
{
    char *name = slow_name(param);
    const struct var_desc *fast = block_var(program_block(e->main, 0), param);
    const struct var_desc *slow = block_var(program_block(e->main, 0), name);
    struct var_desc *near = expr_layer(e, "elementwise_mul", fast, alpha);
    struct var_desc *left = expr_layer(e, "elementwise_sub", one, alpha);
    struct var_desc *far = expr_layer(e, "elementwise_mul", slow, left);
    struct var_desc *sum = expr_layer(e, "elementwise_add", near, far);
    expr_assign(e, sum, slow);
    expr_assign(e, sum, fast);
    mem_free(name);
}
