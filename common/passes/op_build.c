// SPDX-License-Identifier: Apache-2.0
// Completes an operator from its definition in the op table and writes the inferred shapes into the
// block. Invariant: an op that went through op_build_complete has every attribute that Fluid's op
// maker gives it, so its canonical text equals Fluid's.

#include "common/passes/op_build.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/ops/op.h"
#include "common/program/program.h"

static void add_missing_inputs(const struct op_def *def, struct op_desc *op);
static void add_missing_attrs(const struct op_def *def, struct op_desc *op);
static const struct op_def *find_def(const struct op_desc *op, struct err *err);
static struct op_args_dims *gather(const struct block *block, const struct op_desc *op,
                                   const struct op_slot_def *slots, bool inputs);
static void free_dims(struct op_args_dims *args, const struct op_slot_def *slots);
static const struct attr **gather_attrs(const struct op_def *def, const struct op_desc *op,
                                        struct attr *defaults);
static void scatter(struct block *block, const struct op_def *def, const struct op_desc *op,
                    const struct op_args_dims *out);
static size_t slots_count(const struct op_slot_def *slots);

void op_build_common(struct op_desc *op, int role)
{
    if (op_desc_attr(op, OP_ROLE_ATTR) == NULL)
        op_desc_set_int(op, OP_ROLE_ATTR, role);
    if (op_desc_attr(op, OP_ROLE_VAR_ATTR) == NULL) {
        struct str_list none = {0};
        op_desc_set_strings(op, OP_ROLE_VAR_ATTR, &none);
    }
    if (op_desc_attr(op, "op_namescope") == NULL)
        op_desc_set_string(op, "op_namescope", "/");
    if (op_desc_attr(op, "op_device") == NULL)
        op_desc_set_string(op, "op_device", "");
}

int op_build_complete(struct op_desc *op, int role, struct err *err)
{
    const struct op_def *def = find_def(op, err);
    if (def == NULL)
        return SL_EUNSUPPORTED;
    add_missing_inputs(def, op);
    add_missing_attrs(def, op);
    op_build_common(op, role);
    return 0;
}

int op_build_infer(struct block *block, const struct op_desc *op, struct err *err)
{
    const struct op_def *def = find_def(op, err);
    if (def == NULL)
        return SL_EUNSUPPORTED;
    struct op_args_dims *in = gather(block, op, def->inputs, true);
    struct op_args_dims *out = gather(block, op, def->outputs, false);
    struct attr defaults[OP_ATTRS_MAX];
    memset(defaults, 0, sizeof defaults);
    const struct attr **attrs = gather_attrs(def, op, defaults);
    struct op_shape shape = {
        .def = def, .in = in, .out = out, .attr = attrs, .err = err, .building = true};
    int rc = op_infer(&shape);
    if (rc < 0)
        err_prefix(err, "%s", op->type);
    else
        scatter(block, def, op, out);
    for (size_t i = 0; i < OP_ATTRS_MAX; i++)
        attr_deinit(&defaults[i]);
    mem_free(attrs);
    free_dims(in, def->inputs);
    free_dims(out, def->outputs);
    return rc < 0 ? rc : 0;
}

int op_build_append(struct block *block, struct op_desc *take, int role, struct err *err)
{
    return op_build_insert(block, block->ops_count, take, role, err);
}

int op_build_insert(struct block *block, size_t at, struct op_desc *take, int role, struct err *err)
{
    int rc = op_build_complete(take, role, err);
    if (rc == 0)
        rc = op_build_infer(block, take, err);
    if (rc < 0) {
        op_desc_free(take);
        return rc;
    }
    block_insert_op(block, at, take);
    return 0;
}

static const struct op_def *find_def(const struct op_desc *op, struct err *err)
{
    const struct op_def *def = op_table_find(op->type);
    if (def == NULL)
        err_set(err, SL_EUNSUPPORTED, "operator `%s` is not supported", op->type);
    return def;
}

// Fluid writes every input slot of the definition, empty when nothing was given.
static void add_missing_inputs(const struct op_def *def, struct op_desc *op)
{
    if (op->inputs_count == 0)   // an op without inputs (initializers) keeps none
        return;
    for (const struct op_slot_def *slot = def->inputs; slot->name != NULL; slot++)
        if (op_desc_input(op, slot->name) == NULL)
            op_desc_add_input(op, slot->name, NULL);
}

static void add_missing_attrs(const struct op_def *def, struct op_desc *op)
{
    if (def->attrs == NULL)
        return;
    for (const struct op_attr_def *a = def->attrs; a->name != NULL; a++) {
        if (a->kernel_only || a->required || op_desc_attr(op, a->name) != NULL)
            continue;
        struct attr value;
        op_attr_default(a, &value);
        op_desc_set_attr(op, &value);
        attr_deinit(&value);
    }
}

static size_t slots_count(const struct op_slot_def *slots)
{
    size_t n = 0;
    while (slots[n].name != NULL)
        n++;
    return n;
}

static struct op_args_dims *gather(const struct block *block, const struct op_desc *op,
                                   const struct op_slot_def *slots, bool inputs)
{
    size_t n = slots_count(slots);
    struct op_args_dims *all = mem_must_calloc(n + 1, sizeof *all);
    for (size_t s = 0; s < n; s++) {
        const struct op_slot *slot =
            inputs ? op_desc_input(op, slots[s].name) : op_desc_output(op, slots[s].name);
        if (slot == NULL || slot->args.count == 0)
            continue;
        all[s].count = slot->args.count;
        all[s].vars = mem_must_calloc(slot->args.count, sizeof *all[s].vars);
        for (size_t i = 0; i < slot->args.count; i++) {
            struct op_var_dims *dst = &all[s].vars[i];
            const struct var_desc *var = block_find_var(block, slot->args.items[i]);
            dst->dtype = -1;
            dst->kind = VARIABLE_EMPTY;
            if (var == NULL)
                continue;
            dst->kind = var->kind == VAR_SELECTED_ROWS ? VARIABLE_SELECTED_ROWS : VARIABLE_TENSOR;
            dst->dims = var->dims;
            dst->dtype = var->dtype;
            dst->lod_level = var->lod_level;
        }
    }
    return all;
}

static void free_dims(struct op_args_dims *args, const struct op_slot_def *slots)
{
    for (size_t s = 0; s < slots_count(slots); s++)
        mem_free(args[s].vars);
    mem_free(args);
}

// One attribute a row of the table: the op's own, or the default (kept in defaults).
static const struct attr **gather_attrs(const struct op_def *def, const struct op_desc *op,
                                        struct attr *defaults)
{
    const struct attr **attrs = mem_must_calloc(OP_ATTRS_MAX + 1, sizeof *attrs);
    for (size_t i = 0; def->attrs != NULL && def->attrs[i].name != NULL && i < OP_ATTRS_MAX; i++) {
        attrs[i] = op_desc_attr(op, def->attrs[i].name);
        if (attrs[i] != NULL)
            continue;
        op_attr_default(&def->attrs[i], &defaults[i]);
        attrs[i] = &defaults[i];
    }
    return attrs;
}

static void scatter(struct block *block, const struct op_def *def, const struct op_desc *op,
                    const struct op_args_dims *out)
{
    for (size_t s = 0; def->outputs[s].name != NULL; s++) {
        for (size_t i = 0; i < out[s].count; i++) {
            const struct op_slot *slot = op_desc_output(op, def->outputs[s].name);
            struct var_desc *var = block_find_var(block, slot->args.items[i]);
            const struct op_var_dims *dims = &out[s].vars[i];
            if (var == NULL || !dims->set)
                continue;
            var->has_tensor = true;
            var->dims = dims->dims;
            if (dims->dtype >= 0)
                var->dtype = dims->dtype;
            if (dims->lod_level > 0 || var->has_lod_level) {
                var->has_lod_level = true;
                var->lod_level = dims->lod_level;
            }
            if (dims->kind == VARIABLE_SELECTED_ROWS)
                var->kind = VAR_SELECTED_ROWS;
        }
    }
    program_touch(block->program);
}
