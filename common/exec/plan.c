// SPDX-License-Identifier: Apache-2.0
// The life of a plan. A run first looks at the variables that come from outside (are they there, do
// they still have the shapes of the last run), then walks the ops. Only when a shape changed does
// the walk infer again, op by op before each kernel, so an op whose output shape depends on data
// makes just the ops behind it infer again.
//
// Invariant: when `stale` is false, every variable has the shape that its kernel wrote last time. A
// plan in which a variable has two shapes (reshape in place) is always stale.
// A plan belongs to one thread at a time; two plans may run at once when they write different
// variables.

#include "common/exec/plan_op.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/program/program.h"

#define ARGS_TEXT_MAX 400

static int check_inputs(struct plan *plan, struct err *err);
static int run_op(struct plan *plan, struct plan_op *op, struct err *err);
static int op_failed(const struct plan *plan, const struct plan_op *op, int rc, struct err *err);
static void free_op(struct plan_op *op);

int plan_new(const struct block *block, size_t first, size_t last, const struct plan_binder *binder,
             const struct plan_host *hosts, size_t hosts_count, struct plan **out, struct err *err)
{
    if (last == 0 || last > block->ops_count)
        last = block->ops_count;
    if (first > last)
        first = last;
    size_t *ops = mem_must_calloc(last - first + 1, sizeof *ops);
    for (size_t i = first; i < last; i++)
        ops[i - first] = i;
    int rc = plan_new_of(block, ops, last - first, binder, hosts, hosts_count, out, err);
    mem_free(ops);
    return rc;
}

int plan_new_of(const struct block *block, const size_t *ops, size_t count,
                const struct plan_binder *binder, const struct plan_host *hosts, size_t hosts_count,
                struct plan **out, struct err *err)
{
    struct plan *plan = plan_make(block);
    int rc = plan_build(plan, ops, count, binder, hosts, hosts_count, err);
    if (rc == 0)
        rc = plan_alias_build(plan, err);
    if (rc < 0) {
        plan_free(plan);
        return rc;
    }
    *out = plan;
    return 0;
}

struct plan *plan_make(const struct block *block)
{
    struct plan *plan = MEM_NEW(struct plan);
    plan->block = block;
    plan->stale = true;
    return plan;
}

void plan_free(struct plan *plan)
{
    if (plan == NULL)
        return;
    for (size_t i = 0; i < plan->ops_count; i++)
        free_op(&plan->ops[i]);
    for (size_t i = 0; i < plan->inputs_count; i++)
        tensor_deinit(&plan->inputs[i].seen.shape);
    for (size_t i = 0; i < plan->made_attrs_count; i++)
        attr_deinit(plan->made_attrs[i]);
    for (size_t i = 0; i < plan->pool_count; i++)
        mem_free(plan->pool[i]);
    mem_free(plan->pool);
    mem_free(plan->made_attrs);
    mem_free(plan->inputs);
    mem_free(plan->aliases);
    mem_free(plan);
}

int plan_run(struct plan *plan, struct err *err)
{
    int rc = check_inputs(plan, err);
    if (rc == 0)
        rc = plan_alias_apply(plan, err);
    for (size_t i = 0; rc == 0 && i < plan->ops_count; i++)
        rc = run_op(plan, &plan->ops[i], err);
    plan->stale = rc < 0 || plan->reshapes;
    return rc;
}

void *plan_calloc(struct plan *plan, size_t count, size_t bytes)
{
    void *memory = mem_calloc(count > 0 ? count : 1, bytes);
    if (memory != NULL) {
        MEM_GROW(plan->pool, plan->pool_count, plan->pool_cap);
        plan->pool[plan->pool_count++] = memory;
    }
    return memory;
}

static int check_inputs(struct plan *plan, struct err *err)
{
    for (size_t i = 0; i < plan->inputs_count; i++) {
        struct plan_input *input = &plan->inputs[i];
        if (!plan_shape_is_set(input->var)) {
            const struct var_desc *desc = block_find_var(plan->block, input->name);
            bool persistable = desc != NULL && desc->persistable;
            return err_set(err, SL_EUSAGE, "block %d op %zu `%s`: variable %s has no value; %s",
                           plan->block->idx, input->op, plan->block->ops[input->op]->type,
                           input->name,
                           persistable ? "run the startup program or load it first" : "feed it");
        }
        if (plan_shape_matches(&input->seen, input->var))
            continue;
        plan->stale = true;
        int rc = plan_shape_remember(&input->seen, input->var, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int run_op(struct plan *plan, struct plan_op *op, struct err *err)
{
    bool changed = false;
    op->ctx.err = err;
    int rc = plan->stale && !op->host ? plan_shape_infer(op, err) : 0;
    if (rc == 0)
        rc = op->def->kernel(&op->ctx);
    if (rc > 0 && op->sub != NULL)
        rc = plan_run(op->sub, err);
    if (rc >= 0 && op->watched != NULL && plan->stale && !op->host)
        plan->reshapes |= plan_shape_is_in_place(op);
    if (rc >= 0 && op->watched != NULL)
        rc = plan_shape_watch(op, &changed, err);
    if (rc < 0)
        return op_failed(plan, op, rc, err);
    plan->stale |= changed;
    return 0;
}

// "X=fc_0.tmp_0 [20,13], Y=fc_0.w_0 [12,1]" as far as it fits.
static void format_args(const struct plan_op *op, struct buf *out)
{
    for (int s = 0; op->def->inputs[s].name != NULL; s++) {
        const struct op_slot *slot = op_desc_input(op->desc, op->def->inputs[s].name);
        for (size_t i = 0; slot != NULL && i < op->in[s].count && out->bytes < ARGS_TEXT_MAX; i++) {
            const struct variable *var = op->in[s].vars[i];
            char text[DIMS_TEXT_MAX] = "";
            if (var != NULL && var->kind == VARIABLE_TENSOR && plan_shape_is_set(var))
                dims_format(&var->tensor.dims, text);
            buf_printf(out, "%s%s=%s%s%s", out->bytes > 0 ? ", " : "", op->def->inputs[s].name,
                       slot->args.items[i], text[0] ? " " : "", text);
        }
    }
}

static int op_failed(const struct plan *plan, const struct plan_op *op, int rc, struct err *err)
{
    struct buf args;
    buf_init(&args, 0);
    format_args(op, &args);
    if (err != NULL && err->text[0] == '\0')
        err_set(err, rc, "%s", err_name(rc));
    if (args.bytes > 0)
        err_prefix(err, "block %d op %zu `%s` (%s)", plan->block->idx, op->index, op->def->type,
                   buf_text(&args));
    else
        err_prefix(err, "block %d op %zu `%s`", plan->block->idx, op->index, op->def->type);
    buf_deinit(&args);
    return rc;
}

static void free_op(struct plan_op *op)
{
    plan_free(op->sub);
    for (size_t i = 0; i < op->watched_count; i++)
        tensor_deinit(&op->watched[i].shape);
    for (int i = 0; op->ctx.temps != NULL && i < op->def->temps; i++)
        tensor_deinit(&op->ctx.temps[i]);
}
