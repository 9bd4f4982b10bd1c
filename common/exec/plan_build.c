// SPDX-License-Identifier: Apache-2.0
// From descriptions to addresses: finds each op's definition, puts its arguments and attributes in
// the order of the definition's tables, and notes which variables come from outside the block.
// Memory comes from the plan's pool, so a failure half-way needs no care here.

#include <string.h>

#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/exec/plan_op.h"
#include "common/program/program.h"

#define EMPTY_ARG "@EMPTY@"

struct builder {
    struct plan *plan;
    const struct builder *outer;   // of the block with the op that runs this one; NULL: none
    const struct plan_binder *binder;
    const struct plan_host *hosts;
    size_t hosts_count;
    struct map written;   // names that an earlier op of the block writes
    struct map listed;    // names that are among the plan's inputs
    size_t *subs;         // plans of blocks made so far, over all depths
    struct err *err;
};

static int build_block(struct builder *b, const size_t *ops, size_t count);
static int build_op(struct builder *b, struct plan_op *op);
static int build_sub(struct builder *b, struct plan_op *op);
static int build_inputs(struct builder *b, struct plan_op *op);
static int build_outputs(struct builder *b, struct plan_op *op);
static int build_attrs(struct builder *b, struct plan_op *op);

int plan_build(struct plan *plan, const size_t *ops, size_t count, const struct plan_binder *binder,
               const struct plan_host *hosts, size_t hosts_count, struct err *err)
{
    size_t subs = 0;
    struct builder b = {.plan = plan,
                        .binder = binder,
                        .hosts = hosts,
                        .hosts_count = hosts_count,
                        .subs = &subs,
                        .err = err};
    return build_block(&b, ops, count);
}

const struct op_def *plan_build_find(const char *type, const struct plan_host *hosts,
                                     size_t hosts_count, const struct plan_host **out_host)
{
    for (size_t h = 0; h < hosts_count; h++) {
        for (const struct op_def *const *def = hosts[h].ops; def != NULL && *def != NULL; def++) {
            if (str_eq((*def)->type, type)) {
                *out_host = &hosts[h];
                return *def;
            }
        }
    }
    *out_host = NULL;
    return op_table_find(type);
}

static int no_memory(const struct builder *b)
{
    return err_set(b->err, SL_ENOMEM, "out of memory");
}

// The ops of these indices; ops NULL: all.
static int build_block(struct builder *b, const size_t *ops, size_t count)
{
    struct plan *plan = b->plan;
    const struct block *block = plan->block;
    if (ops == NULL)
        count = block->ops_count;
    plan->ops = plan_calloc(plan, count, sizeof *plan->ops);
    if (plan->ops == NULL)
        return no_memory(b);
    map_init(&b->written);
    map_init(&b->listed);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct plan_op *op = &plan->ops[plan->ops_count++];
        op->index = ops != NULL ? ops[i] : i;
        op->desc = block->ops[op->index];
        rc = build_op(b, op);
        if (rc < 0)
            err_prefix(b->err, "block %d op %zu `%s`", block->idx, op->index, op->desc->type);
    }
    map_deinit(&b->written);
    map_deinit(&b->listed);
    return rc;
}

// Did an earlier op of this block, or of one around it, write the variable?
static bool is_written(const struct builder *b, const char *name)
{
    for (; b != NULL; b = b->outer)
        if (map_get(&b->written, name) != NULL)
            return true;
    return false;
}

static int build_op(struct builder *b, struct plan_op *op)
{
    const struct plan_host *host;
    op->def = plan_build_find(op->desc->type, b->hosts, b->hosts_count, &host);
    if (op->def == NULL)
        return err_set(b->err, SL_EUNSUPPORTED, "not supported");
    op->host = host != NULL;
    op->ctx.host = host != NULL ? host->self : NULL;
    op->ctx.def = op->def;
    op->ctx.desc = op->desc;
    if (op->def->scratch_bytes > 0 &&
        (op->ctx.scratch = plan_calloc(b->plan, 1, op->def->scratch_bytes)) == NULL)
        return no_memory(b);
    if (op->def->temps > 0) {
        op->ctx.temps = plan_calloc(b->plan, (size_t)op->def->temps, sizeof *op->ctx.temps);
        if (op->ctx.temps == NULL)
            return no_memory(b);
        for (int i = 0; i < op->def->temps; i++)
            tensor_init(&op->ctx.temps[i]);
    }
    int rc = build_inputs(b, op);
    if (rc == 0 && op->def->runs_block)
        rc = build_sub(b, op);
    if (rc == 0)
        rc = build_outputs(b, op);
    return rc == 0 ? build_attrs(b, op) : rc;
}

// The block behind sub_block. It comes behind this one, so blocks cannot run each other in circles;
// a block that many ops share would make plans without end, so there are not more than blocks.
static int build_sub(struct builder *b, struct plan_op *op)
{
    const struct program *program = b->plan->block->program;
    const struct attr *sub = op_desc_attr(op->desc, "sub_block");
    if (sub == NULL || sub->i <= b->plan->block->idx || (size_t)sub->i >= program->blocks_count)
        return err_set(b->err, SL_EINVAL, "attribute sub_block names no later block");
    if (++*b->subs > program->blocks_count)
        return err_set(b->err, SL_EINVAL, "block %lld is run by several ops", (long long)sub->i);
    op->sub = plan_make(program_block(program, (size_t)sub->i));
    struct builder inner = {.plan = op->sub,
                            .outer = b,
                            .binder = b->binder,
                            .hosts = b->hosts,
                            .hosts_count = b->hosts_count,
                            .subs = b->subs,
                            .err = b->err};
    return build_block(&inner, NULL, 0);
}

static size_t slots_count(const struct op_slot_def *slots)
{
    size_t n = 0;
    while (slots[n].name != NULL)
        n++;
    return n;
}

// A slot of the description that the definition does not have would silently lose its meaning.
static int check_slots(const struct builder *b, const struct op_slot *slots, size_t count,
                       const struct op_slot_def *known, const char *what)
{
    for (size_t i = 0; i < count; i++) {
        bool found = slots[i].args.count == 0;
        for (size_t s = 0; known[s].name != NULL && !found; s++)
            found = str_eq(known[s].name, slots[i].name);
        if (!found)
            return err_set(b->err, SL_EUNSUPPORTED, "%s %s is not known", what, slots[i].name);
    }
    return 0;
}

// Notes a variable that comes from outside the block, once.
static void list_input(struct builder *b, const struct plan_op *op, const char *name,
                       struct variable *var)
{
    struct plan *plan = b->plan;
    if (map_get(&b->listed, name) != NULL)
        return;
    MEM_GROW(plan->inputs, plan->inputs_count, plan->inputs_cap);
    struct plan_input *input = &plan->inputs[plan->inputs_count++];
    *input = (struct plan_input){.var = var, .name = name, .op = op->index};
    tensor_init(&input->seen.shape);
    map_set(&b->listed, name, var);
}

// One slot's arguments as variables; write says which side it is.
static int bind_slot(struct builder *b, struct plan_op *op, const struct op_slot_def *known,
                     const struct op_slot *slot, bool write, struct op_args *args,
                     struct op_args_dims *dims)
{
    size_t count = slot != NULL ? slot->args.count : 0;
    const char *side = write ? "output" : "input";
    bool any = false;
    if (count > 1 && !(known->flags & OP_SLOT_LIST))
        return err_set(b->err, SL_EINVAL, "%s %s takes one argument, not %zu", side, known->name,
                       count);
    args->count = dims->count = count;
    args->vars = plan_calloc(b->plan, count, sizeof *args->vars);
    dims->vars = plan_calloc(b->plan, count, sizeof *dims->vars);
    if (args->vars == NULL || dims->vars == NULL)
        return no_memory(b);
    for (size_t i = 0; i < count; i++) {
        const char *name = slot->args.items[i];
        if (name[0] == '\0' || str_eq(name, EMPTY_ARG) || (known->flags & OP_SLOT_RAW))
            continue;
        args->vars[i] = b->binder->bind(b->binder->self, name, write, is_written(b, name));
        if (args->vars[i] == NULL)
            return err_set(b->err, SL_ENOENT, "%s %s: there is no variable %s", side, known->name,
                           name);
        any = true;
        if (!write && map_get(&b->written, name) == NULL && !op->host)
            list_input(b, op, name, args->vars[i]);
    }
    unsigned may_lack =
        write ? OP_SLOT_OPTIONAL | OP_SLOT_EXTRA | OP_SLOT_RAW : OP_SLOT_OPTIONAL | OP_SLOT_RAW;
    if (!any && !op->host && !(known->flags & may_lack))
        return err_set(b->err, SL_EINVAL, "%s %s is missing", side, known->name);
    return 0;
}

static int build_inputs(struct builder *b, struct plan_op *op)
{
    size_t count = slots_count(op->def->inputs);
    op->in = plan_calloc(b->plan, count, sizeof *op->in);
    op->in_dims = plan_calloc(b->plan, count, sizeof *op->in_dims);
    if (op->in == NULL || op->in_dims == NULL)
        return no_memory(b);
    op->ctx.in = op->in;
    int rc = check_slots(b, op->desc->inputs, op->desc->inputs_count, op->def->inputs, "input");
    for (size_t s = 0; rc == 0 && s < count; s++)
        rc = bind_slot(b, op, &op->def->inputs[s], op_desc_input(op->desc, op->def->inputs[s].name),
                       false, &op->in[s], &op->in_dims[s]);
    return rc;
}

static int build_outputs(struct builder *b, struct plan_op *op)
{
    size_t count = slots_count(op->def->outputs), flat = 0;
    op->out = plan_calloc(b->plan, count, sizeof *op->out);
    op->out_dims = plan_calloc(b->plan, count, sizeof *op->out_dims);
    if (op->out == NULL || op->out_dims == NULL)
        return no_memory(b);
    op->ctx.out = op->out;
    int rc = check_slots(b, op->desc->outputs, op->desc->outputs_count, op->def->outputs, "output");
    for (size_t s = 0; rc == 0 && s < count; s++) {
        rc = bind_slot(b, op, &op->def->outputs[s],
                       op_desc_output(op->desc, op->def->outputs[s].name), true, &op->out[s],
                       &op->out_dims[s]);
        flat += op->out[s].count;
    }
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < op->desc->outputs_count; i++)
        for (size_t k = 0; k < op->desc->outputs[i].args.count; k++)
            map_set(&b->written, op->desc->outputs[i].args.items[k], b->plan);
    if (!op->host && !op->def->kernel_resizes)
        return 0;
    op->watched = plan_calloc(b->plan, flat, sizeof *op->watched);
    if (op->watched == NULL)
        return no_memory(b);
    op->watched_count = flat;
    for (size_t i = 0; i < flat; i++)
        tensor_init(&op->watched[i].shape);
    return 0;
}

static bool is_int(enum attr_type type)
{
    return type == ATTR_INT || type == ATTR_LONG || type == ATTR_BOOLEAN || type == ATTR_BLOCK;
}

static bool is_ints(enum attr_type type)
{
    return type == ATTR_INTS || type == ATTR_LONGS || type == ATTR_BOOLEANS || type == ATTR_BLOCKS;
}

// Writers of different years disagree about the type of some attributes; the meaning is clear.
// Returns true when `from` can be used as it is, or was converted into *to (then *out_converted).
static bool fit_attr(const struct attr *from, enum attr_type want, struct attr *to,
                     bool *out_converted)
{
    *out_converted = false;
    if (from->type == want || (is_int(from->type) && is_int(want)) ||
        (is_ints(from->type) && is_ints(want)))
        return true;
    bool list = is_ints(from->type) || from->type == ATTR_FLOATS || from->type == ATTR_STRINGS;
    bool want_list = is_ints(want) || want == ATTR_FLOATS || want == ATTR_STRINGS;
    if (is_int(from->type) && want == ATTR_FLOAT) {
        *to = (struct attr){.name = mem_must_strdup(from->name), .type = want, .f = (float)from->i};
    } else if (list && want_list && from->count == 0) {
        *to = (struct attr){.name = mem_must_strdup(from->name), .type = want};
    } else if (is_ints(from->type) && want == ATTR_FLOATS) {
        *to =
            (struct attr){.name = mem_must_strdup(from->name), .type = want, .count = from->count};
        to->floats = mem_must_calloc(from->count, sizeof *to->floats);
        for (size_t i = 0; i < from->count; i++)
            to->floats[i] = (float)from->ints[i];
    } else {
        return false;
    }
    *out_converted = true;
    return true;
}

// Keeps an attribute that the plan made itself; *own is moved.
static const struct attr *keep_attr(struct plan *plan, struct attr *own)
{
    struct attr *kept = plan_calloc(plan, 1, sizeof *kept);
    if (kept == NULL) {
        attr_deinit(own);
        return NULL;
    }
    *kept = *own;
    MEM_GROW(plan->made_attrs, plan->made_attrs_count, plan->made_attrs_cap);
    plan->made_attrs[plan->made_attrs_count++] = kept;
    return kept;
}

static int build_attrs(struct builder *b, struct plan_op *op)
{
    size_t count = 0;
    while (op->def->attrs != NULL && op->def->attrs[count].name != NULL)
        count++;
    const struct attr **attrs = plan_calloc(b->plan, count, sizeof *attrs);
    if (attrs == NULL)
        return no_memory(b);
    for (size_t a = 0; a < count; a++) {
        const struct op_attr_def *def = &op->def->attrs[a];
        const struct attr *given = op_desc_attr(op->desc, def->name);
        struct attr own;
        bool made = true;
        if (given == NULL)
            op_attr_default(def, &own);
        else if (!fit_attr(given, def->type, &own, &made))
            return err_set(b->err, SL_EINVAL, "attribute %s has type %d, the op takes %d",
                           def->name, (int)given->type, (int)def->type);
        attrs[a] = made ? keep_attr(b->plan, &own) : given;
        if (attrs[a] == NULL)
            return no_memory(b);
    }
    op->ctx.attr = attrs;
    return 0;
}
