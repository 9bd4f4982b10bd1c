// SPDX-License-Identifier: Apache-2.0
// A cut parameter arrives in slices that a `concat` along rows joins. When nothing else can tell
// the difference, the slices are made views of the joined tensor: what is received lands in its
// place, and concat finds nothing to copy. It is only an optimisation: concat copies any piece that
// is elsewhere.
//
// A concat qualifies when each piece is a temporary of static shape that only ops with I/O write,
// all of them between which and the concat nobody touches the whole, and nobody else touches the
// pieces.

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/exec/plan_op.h"
#include "common/program/program.h"

static bool qualifies(const struct plan *plan, const struct plan_op *concat, struct dims *out_whole,
                      int *out_dtype);

int plan_alias_build(struct plan *plan, struct err *err)
{
    for (size_t k = 0; k < plan->ops_count; k++) {
        const struct plan_op *op = &plan->ops[k];
        struct dims whole;
        int dtype = -1;
        if (!str_eq(op->def->type, "concat") || op->host || !qualifies(plan, op, &whole, &dtype))
            continue;
        size_t count = op->in[0].count;
        struct plan_alias alias = {
            .whole = op->out[0].vars[0], .dtype = (enum dtype)dtype, .dims = whole, .count = count};
        alias.pieces = op->in[0].vars;
        alias.rows = plan_calloc(plan, count, sizeof *alias.rows);
        if (alias.rows == NULL)
            return err_set(err, SL_ENOMEM, "out of memory");
        for (size_t i = 0; i < count; i++)
            alias.rows[i] =
                block_find_var(plan->block, op_desc_input(op->desc, "X")->args.items[i])->dims.d[0];
        MEM_GROW(plan->aliases, plan->aliases_count, plan->aliases_cap);
        plan->aliases[plan->aliases_count++] = alias;
    }
    return 0;
}

int plan_alias_apply(struct plan *plan, struct err *err)
{
    for (size_t a = 0; a < plan->aliases_count; a++) {
        struct plan_alias *alias = &plan->aliases[a];
        struct tensor *whole = variable_tensor(alias->whole);
        int rc = op_resize(whole, alias->dtype, &alias->dims, err);
        if (rc < 0)
            return rc;
        char *at = whole->data;
        int64_t row = 0;
        for (size_t i = 0; i < alias->count; i++) {
            struct tensor *piece = variable_tensor(alias->pieces[i]);
            if (piece->data != at || piece->dtype != whole->dtype ||
                piece->dims.d[0] != alias->rows[i])
                rc = tensor_share_rows(piece, whole, row, alias->rows[i]);
            if (rc < 0)
                return err_set(err, rc, "received slices: %s", err_name(rc));
            row += alias->rows[i];
            at += tensor_bytes(piece);
        }
    }
    return 0;
}

static bool reads(const struct plan_op *op, const char *name)
{
    return op_desc_reads(op->desc, name);
}

static bool writes(const struct plan_op *op, const char *name)
{
    return op_desc_writes(op->desc, name);
}

// Index of the first op that writes the piece, or ops_count when something else than ops with I/O
// in front of the concat touches it.
static size_t first_receive(const struct plan *plan, const struct plan_op *concat,
                            const char *piece)
{
    size_t first = plan->ops_count;
    for (size_t k = 0; k < plan->ops_count; k++) {
        const struct plan_op *op = &plan->ops[k];
        if (op == concat)
            continue;
        if (reads(op, piece) || (writes(op, piece) && (!op->host || op > concat)))
            return plan->ops_count;
        if (writes(op, piece) && first == plan->ops_count)
            first = k;
    }
    return first;
}

// The pieces' shapes joined along rows; false unless all are static and fit.
static bool join_static(const struct plan *plan, const struct op_slot *x, struct dims *whole,
                        int *dtype)
{
    *whole = (struct dims){.rank = 0};
    *dtype = -1;
    for (size_t i = 0; i < x->args.count; i++) {
        const struct var_desc *desc = block_find_var(plan->block, x->args.items[i]);
        uint64_t elements;
        if (desc == NULL || desc->persistable || !desc->has_tensor ||
            desc->kind != VAR_LOD_TENSOR || desc->dims.rank < 1 || !dtype_is_valid(desc->dtype) ||
            !dims_count(&desc->dims, dtype_bytes((enum dtype)desc->dtype), &elements) ||
            elements == 0)
            return false;
        if (i == 0) {
            *whole = desc->dims;
            *dtype = desc->dtype;
            continue;
        }
        struct dims same = desc->dims;
        same.d[0] = whole->d[0];
        if (!dims_equal(&same, whole) || desc->dtype != *dtype)
            return false;
        whole->d[0] += desc->dims.d[0];
    }
    return x->args.count > 0;
}

static bool qualifies(const struct plan *plan, const struct plan_op *concat, struct dims *out_whole,
                      int *out_dtype)
{
    const struct op_slot *x = op_desc_input(concat->desc, "X");
    const char *whole = op_desc_output1(concat->desc, "Out");
    const struct var_desc *desc = whole != NULL ? block_find_var(plan->block, whole) : NULL;
    if (op_desc_get_int(concat->desc, "axis", 0) != 0 ||
        op_desc_input1(concat->desc, "AxisTensor") != NULL || desc == NULL || x == NULL ||
        !join_static(plan, x, out_whole, out_dtype) || !dims_equal(&desc->dims, out_whole) ||
        desc->dtype != *out_dtype)
        return false;
    size_t first = plan->ops_count, at = (size_t)(concat - plan->ops);
    for (size_t i = 0; i < x->args.count; i++) {
        size_t received = first_receive(plan, concat, x->args.items[i]);
        if (received >= at || str_eq(x->args.items[i], whole))
            return false;
        for (size_t k = 0; k < i; k++)
            if (str_eq(x->args.items[k], x->args.items[i]))
                return false;
        first = received < first ? received : first;
    }
    for (size_t k = first; k < at; k++)
        if (reads(&plan->ops[k], whole) || writes(&plan->ops[k], whole))
            return false;
    return true;
}
