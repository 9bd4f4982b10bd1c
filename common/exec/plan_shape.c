// SPDX-License-Identifier: Apache-2.0
// Shapes at run time: what variables have now goes into the op's infer_shape, what comes out sizes
// its outputs. A tensor that already fits is left alone (op_resize), so nothing is allocated when
// shapes stay.

#include "common/base/err.h"
#include "common/exec/plan_op.h"
#include "common/program/op_desc.h"

static int gather(struct plan_op *op, struct err *err);
static int apply(struct plan_op *op, struct err *err);
static const struct variable *source_of_lod(const struct plan_op *op,
                                            const struct op_var_dims *from);

bool plan_shape_is_set(const struct variable *var)
{
    if (var->kind != VARIABLE_TENSOR)
        return var->kind == VARIABLE_SELECTED_ROWS;
    // A tensor that was never sized is what tensor_init makes: [0] without memory.
    return var->tensor.data != NULL || var->tensor.dims.rank != 1 || var->tensor.dims.d[0] != 0;
}

static bool lod_equal(const struct tensor *a, const struct tensor *b)
{
    if (a->lod_levels != b->lod_levels)
        return false;
    for (int l = 0; l < a->lod_levels; l++) {
        if (a->lod[l].count != b->lod[l].count)
            return false;
        for (size_t i = 0; i < a->lod[l].count; i++)
            if (a->lod[l].offsets[i] != b->lod[l].offsets[i])
                return false;
    }
    return true;
}

// Selected rows change their number of rows every step; that alone is no new shape.
static struct dims rows_dims(const struct selected_rows *rows)
{
    struct dims dims = rows->value.dims;
    if (dims.rank > 0)
        dims.d[0] = rows->height;
    return dims;
}

bool plan_shape_matches(const struct plan_seen *seen, const struct variable *var)
{
    if (seen->kind != var->kind)
        return false;
    if (var->kind == VARIABLE_SELECTED_ROWS) {
        struct dims dims = rows_dims(&var->rows);
        return seen->shape.dtype == var->rows.value.dtype && dims_equal(&seen->shape.dims, &dims);
    }
    return var->kind == VARIABLE_EMPTY || (seen->shape.dtype == var->tensor.dtype &&
                                           dims_equal(&seen->shape.dims, &var->tensor.dims) &&
                                           lod_equal(&seen->shape, &var->tensor));
}

int plan_shape_remember(struct plan_seen *seen, const struct variable *var, struct err *err)
{
    seen->kind = var->kind;
    if (var->kind == VARIABLE_SELECTED_ROWS) {
        seen->shape.dtype = var->rows.value.dtype;
        seen->shape.dims = rows_dims(&var->rows);
        return 0;
    }
    if (var->kind == VARIABLE_EMPTY)
        return 0;
    seen->shape.dtype = var->tensor.dtype;
    seen->shape.dims = var->tensor.dims;
    int rc = tensor_set_lod(&seen->shape, var->tensor.lod_levels, var->tensor.lod);
    return rc < 0 ? err_set(err, rc, "LoD: %s", err_name(rc)) : 0;
}

int plan_shape_infer(struct plan_op *op, struct err *err)
{
    struct op_shape shape = {
        .def = op->def, .in = op->in_dims, .out = op->out_dims, .attr = op->ctx.attr, .err = err};
    int rc = gather(op, err);
    if (rc == 0)
        rc = op_infer(&shape);
    return rc < 0 ? rc : apply(op, err);
}

int plan_shape_watch(struct plan_op *op, bool *out_changed, struct err *err)
{
    size_t flat = 0;
    *out_changed = false;
    for (int s = 0; op->def->outputs[s].name != NULL; s++) {
        for (size_t i = 0; i < op->out[s].count; i++, flat++) {
            const struct variable *var = op->out[s].vars[i];
            if (var == NULL || plan_shape_matches(&op->watched[flat], var))
                continue;
            *out_changed = true;
            int rc = plan_shape_remember(&op->watched[flat], var, err);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

bool plan_shape_is_in_place(const struct plan_op *op)
{
    for (int o = 0; op->def->outputs[o].name != NULL; o++) {
        for (size_t k = 0; k < op->out[o].count; k++) {
            const struct variable *out = op->out[o].vars[k];
            for (int s = 0; out != NULL && op->def->inputs[s].name != NULL; s++)
                for (size_t i = 0; i < op->in[s].count; i++)
                    if (op->in[s].vars[i] == out && out->kind == VARIABLE_TENSOR &&
                        !dims_equal(&op->in_dims[s].vars[i].dims, &out->tensor.dims))
                        return true;
        }
    }
    return false;
}

static int gather(struct plan_op *op, struct err *err)
{
    for (int s = 0; op->def->inputs[s].name != NULL; s++) {
        for (size_t i = 0; i < op->in[s].count; i++) {
            const struct variable *var = op->in[s].vars[i];
            struct op_var_dims *dims = &op->in_dims[s].vars[i];
            *dims = (struct op_var_dims){.dtype = -1, .kind = VARIABLE_EMPTY};
            if (var == NULL)
                continue;
            if (!plan_shape_is_set(var))
                return err_set(err, SL_EUSAGE, "input %s: variable %s has no value",
                               op->def->inputs[s].name,
                               op_desc_input(op->desc, op->def->inputs[s].name)->args.items[i]);
            dims->kind = var->kind;
            if (var->kind == VARIABLE_SELECTED_ROWS) {
                dims->dims = rows_dims(&var->rows);
                dims->dtype = (int)var->rows.value.dtype;
            } else {
                dims->dims = var->tensor.dims;
                dims->dtype = (int)var->tensor.dtype;
                dims->lod_level = var->tensor.lod_levels;
            }
        }
    }
    for (int s = 0; op->def->outputs[s].name != NULL; s++)
        for (size_t i = 0; i < op->out[s].count; i++)
            op->out_dims[s].vars[i] = (struct op_var_dims){.dtype = -1};
    return 0;
}

static bool is_input(const struct plan_op *op, const struct variable *var)
{
    for (int s = 0; op->def->inputs[s].name != NULL; s++)
        for (size_t i = 0; i < op->in[s].count; i++)
            if (op->in[s].vars[i] == var)
                return true;
    return false;
}

static int apply(struct plan_op *op, struct err *err)
{
    for (int s = 0; op->def->outputs[s].name != NULL; s++) {
        for (size_t i = 0; i < op->out[s].count; i++) {
            const struct op_var_dims *dims = &op->out_dims[s].vars[i];
            struct variable *var = op->out[s].vars[i];
            if (var == NULL || !dims->set || dims->kind != VARIABLE_TENSOR)
                continue;
            if (var->kind == VARIABLE_SELECTED_ROWS && is_input(op, var))
                return err_set(err, SL_EUNSUPPORTED,
                               "output %s is a tensor in the place of an input of selected rows",
                               op->def->outputs[s].name);
            struct tensor *t = variable_tensor(var);
            int rc = op->def->kernel_resizes
                         ? 0
                         : op_resize(t, (enum dtype)dims->dtype, &dims->dims, err);
            if (rc < 0)
                return err_prefix(err, "output %s", op->def->outputs[s].name);
            const struct variable *from = source_of_lod(op, dims->lod_from);
            if (from == NULL)
                tensor_clear_lod(t);
            else if (from != var &&
                     (rc = tensor_set_lod(t, from->tensor.lod_levels, from->tensor.lod)) < 0)
                return err_set(err, rc, "LoD of output %s: %s", op->def->outputs[s].name,
                               err_name(rc));
        }
    }
    return 0;
}

static const struct variable *source_of_lod(const struct plan_op *op,
                                            const struct op_var_dims *from)
{
    for (int s = 0; from != NULL && op->def->inputs[s].name != NULL; s++)
        for (size_t i = 0; i < op->in[s].count; i++)
            if (&op->in_dims[s].vars[i] == from && op->in[s].vars[i]->kind == VARIABLE_TENSOR)
                return op->in[s].vars[i];
    return NULL;
}
