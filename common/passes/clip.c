// SPDX-License-Identifier: Apache-2.0
// See clip.h. Global norm: sum the squares of each gradient, sum those, take the root; every
// gradient is multiplied by norm / max(norm, root). In the end every operator made here is tagged
// with its parameter's clipped gradient.

#include "common/passes/clip.h"

#include "common/base/mem.h"
#include "common/passes/backward.h"
#include "common/passes/expr.h"
#include "common/program/program.h"

static struct var_desc *clip_one(struct expr *e, const struct clip_spec *spec,
                                 const struct var_desc *grad, const struct var_desc *factor);
static struct var_desc *global_factor(struct expr *e, double norm,
                                      const struct backward_result *pairs);
static void tag(struct expr *e, size_t first, const struct backward_result *pairs);

static const struct var_desc *look(struct expr *e, const struct backward_result *pairs, size_t i)
{
    e->param = pairs->params.items[i];
    e->grad = pairs->grads.items[i];
    return block_find_var(e->block, e->grad);
}

void clip_append(struct expr *e, const struct clip_spec *spec, struct backward_result *pairs)
{
    size_t first = e->block->ops_count, count = pairs->params.count;
    struct var_desc *factor = NULL;
    if (spec->kind == CLIP_NONE || count == 0)
        return;
    if (spec->kind == CLIP_GLOBAL_NORM)
        factor = global_factor(e, spec->norm, pairs);
    struct str_list clipped = {0};
    for (size_t i = 0; i < count; i++) {
        const struct var_desc *out = clip_one(e, spec, look(e, pairs, i), factor);
        str_list_add(&clipped, out ? out->name : "");
    }
    e->param = e->grad = NULL;
    if (e->rc == 0) {
        str_list_deinit(&pairs->grads);
        pairs->grads = clipped;
        tag(e, first, pairs);
    } else {
        str_list_deinit(&clipped);
    }
}

static struct var_desc *clip_one(struct expr *e, const struct clip_spec *spec,
                                 const struct var_desc *grad, const struct var_desc *factor)
{
    if (spec->kind == CLIP_GLOBAL_NORM)
        return expr_layer(e, "elementwise_mul", grad, factor);
    if (e->rc < 0 || grad == NULL)
        return NULL;
    const char *type = spec->kind == CLIP_VALUE ? "clip" : "clip_by_norm";
    struct var_desc *out = expr_layer_tmp(e, type, grad->dtype);
    struct op_desc *op = op_desc_new(type);
    op_desc_add_input(op, "X", grad->name);
    op_desc_add_output(op, "Out", out->name);
    if (spec->kind == CLIP_VALUE) {
        op_desc_set_float(op, "min", (float)spec->low);
        op_desc_set_float(op, "max", (float)spec->high);
    } else {
        op_desc_set_float(op, "max_norm", (float)spec->norm);
    }
    expr_append(e, op);
    return out;
}

static struct var_desc *reduce_all(struct expr *e, const struct var_desc *x)
{
    const int64_t zero = 0;
    if (e->rc < 0 || x == NULL)
        return NULL;
    struct var_desc *out = expr_layer_tmp(e, "reduce_sum", x->dtype);
    struct op_desc *op = op_desc_new("reduce_sum");
    op_desc_add_input(op, "X", x->name);
    op_desc_add_output(op, "Out", out->name);
    op_desc_set_ints(op, "dim", &zero, 1);
    op_desc_set_bool(op, "keep_dim", false);
    op_desc_set_bool(op, "reduce_all", true);
    expr_append(e, op);
    return out;
}

// A sparse gradient's rows, merged, as a dense tensor of the rows that there are.
static const struct var_desc *dense(struct expr *e, const struct var_desc *grad)
{
    if (e->rc < 0 || grad == NULL || grad->kind != VAR_SELECTED_ROWS)
        return grad;
    const struct var_desc *merged = expr_layer(e, "merge_selected_rows", grad, NULL);
    return expr_layer(e, "get_tensor_from_selected_rows", merged, NULL);
}

static struct var_desc *global_factor(struct expr *e, double norm,
                                      const struct backward_result *pairs)
{
    size_t count = pairs->params.count;
    const struct var_desc **squares = mem_must_calloc(count, sizeof *squares);
    for (size_t i = 0; i < count; i++)
        squares[i] = reduce_all(e, expr_layer(e, "square", dense(e, look(e, pairs, i)), NULL));
    struct var_desc *root = expr_layer(e, "sqrt", expr_sum(e, squares, count), NULL);
    mem_free(squares);
    struct var_desc *bound = expr_fill(e, norm, DTYPE_FP32, false);
    return expr_layer(e, "elementwise_div", bound, expr_layer(e, "elementwise_max", bound, root));
}

static void tag(struct expr *e, size_t first, const struct backward_result *pairs)
{
    for (size_t k = first; k < e->block->ops_count; k++) {
        struct attr *pair = op_desc_attr(e->block->ops[k], OP_ROLE_VAR_ATTR);
        for (size_t i = 0; pair != NULL && i < pairs->params.count; i++) {
            if (!str_eq(pairs->params.items[i], pair->strings[0]))
                continue;
            mem_free(pair->strings[1]);
            pair->strings[1] = mem_must_strdup(pairs->grads.items[i]);
        }
    }
}
