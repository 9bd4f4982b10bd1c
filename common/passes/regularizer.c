// SPDX-License-Identifier: Apache-2.0
// See regularizer.h. The term is computed beside the parameter and added by `sum`, in place of the
// gradient.

#include "common/passes/regularizer.h"

#include "common/base/mem.h"
#include "common/passes/backward.h"
#include "common/passes/expr.h"
#include "common/program/program.h"

#define NEW_GRAD_SUFFIX "@NEWGRAD@"

// coeff * X into Out, which may be X.
static void append_scaled(struct expr *e, const char *x, const char *out, double coeff)
{
    struct op_desc *op = op_desc_new("scale");
    op_desc_add_input(op, "X", x);
    op_desc_add_output(op, "Out", out);
    op_desc_set_float(op, "scale", (float)coeff);
    expr_append(e, op);
}

static struct var_desc *append_term(struct expr *e, enum regularizer_kind kind, double coeff,
                                    const struct var_desc *param)
{
    struct var_desc *term = expr_generated(e, param);
    if (term == NULL)
        return NULL;
    if (kind == REGULARIZER_L2) {
        append_scaled(e, param->name, term->name, coeff);
        return term;
    }
    struct op_desc *sign = op_desc_new("sign");
    op_desc_add_input(sign, "X", param->name);
    op_desc_add_output(sign, "Out", term->name);
    expr_append(e, sign);
    append_scaled(e, term->name, term->name, coeff);
    return term;
}

// What the sum goes to: the gradient itself, or a dense variable for a sparse one.
static char *sum_name(struct expr *e, const struct var_desc *param, const char *grad)
{
    const struct var_desc *var = block_find_var(e->block, grad);
    if (var == NULL || var->kind != VAR_SELECTED_ROWS)
        return mem_must_strdup(grad);
    char *name = mem_must_printf("%s" NEW_GRAD_SUFFIX, grad);
    struct var_desc *dense = var_desc_new(name);
    dense->has_tensor = true;
    dense->dtype = param->dtype;
    dense->dims = param->dims;
    dense->has_lod_level = true;
    dense->lod_level = param->lod_level;
    dense->has_persistable = true;
    block_add_var(e->block, dense);
    return name;
}

void regularizer_append(struct expr *e, enum regularizer_kind kind, double coeff,
                        struct backward_result *pairs)
{
    for (size_t i = 0; i < pairs->params.count && e->rc == 0; i++) {
        const struct var_desc *param = block_find_var(e->block, pairs->params.items[i]);
        bool own = param != NULL && param->regularizer != REGULARIZER_NONE;
        enum regularizer_kind used = own ? (enum regularizer_kind)param->regularizer : kind;
        if (param == NULL || used == REGULARIZER_NONE)
            continue;
        e->param = param->name;
        e->grad = pairs->grads.items[i];
        const struct var_desc *term =
            append_term(e, used, own ? (double)param->regularizer_coeff : coeff, param);
        if (term == NULL)
            break;
        char *sum = sum_name(e, param, pairs->grads.items[i]);
        struct op_desc *op = op_desc_new("sum");
        op_desc_add_input(op, "X", pairs->grads.items[i]);
        op_desc_add_input(op, "X", term->name);
        op_desc_add_output(op, "Out", sum);
        expr_append(e, op);
        e->param = e->grad = NULL;
        mem_free(pairs->grads.items[i]);
        pairs->grads.items[i] = sum;
    }
}
