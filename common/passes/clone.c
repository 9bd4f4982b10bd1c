// SPDX-License-Identifier: Apache-2.0
// Copies that leave something out. The copy is built anew from what stays: operators (the forward
// ones, or those that targets need), the blocks they refer to (numbered anew, so BLOCK attributes
// are rewritten) and the variables they name.

#include "common/passes/clone.h"

#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/program/program.h"

struct pruning {
    const struct program *from;
    const bool *kept;   // per operator of block 0; NULL: all but the training's, in every block
    bool *used;         // per block: does a remaining operator refer to it?
    int *renumbered;    // per block: its index in the clone
    struct map names;   // variables that remaining operators name
};

static struct program *build(struct pruning *p);
static bool stays(const struct pruning *p, const struct block *block, size_t op);
static bool is_training_op(const struct op_desc *op);
static int check_targets(const struct block *block, const struct str_list *feeds,
                         const struct str_list *targets, const bool *kept, struct err *err);
static void mark(struct pruning *p, size_t idx);
static void mark_args(struct pruning *p, const struct op_slot *slots, size_t count);
static void mark_attr_blocks(struct pruning *p, const struct attr *attr);
static void copy_block(const struct pruning *p, const struct block *from, struct block *to);
static struct op_desc *copy_op(const struct pruning *p, const struct op_desc *op);

struct program *clone_for_test(const struct program *program)
{
    struct pruning p = {.from = program};
    return build(&p);
}

int clone_pruned(const struct program *program, const struct str_list *feeds,
                 const struct str_list *targets, struct program **out, struct err *err)
{
    const struct block *block = program_block(program, 0);
    bool *kept = mem_must_calloc(block->ops_count + 1, sizeof *kept);
    struct map needed;
    map_init(&needed);
    for (size_t i = 0; i < targets->count; i++)
        map_set(&needed, targets->items[i], kept);
    for (size_t i = 0; feeds != NULL && i < feeds->count; i++)
        map_remove(&needed, feeds->items[i]);
    for (size_t i = block->ops_count; i-- > 0;) {
        const struct op_desc *op = block->ops[i];
        for (size_t s = 0; s < op->outputs_count; s++)
            for (size_t k = 0; k < op->outputs[s].args.count; k++)
                kept[i] = kept[i] || map_get(&needed, op->outputs[s].args.items[k]) != NULL;
        for (size_t s = 0; kept[i] && s < op->inputs_count; s++)
            for (size_t k = 0; k < op->inputs[s].args.count; k++)
                if (feeds == NULL || !str_list_has(feeds, op->inputs[s].args.items[k]))
                    map_set(&needed, op->inputs[s].args.items[k], kept);
    }
    int rc = check_targets(block, feeds, targets, kept, err);
    struct pruning p = {.from = program, .kept = kept};
    if (rc == 0)
        *out = build(&p);
    map_deinit(&needed);
    mem_free(kept);
    return rc;
}

static struct program *build(struct pruning *p)
{
    const struct program *program = p->from;
    p->used = mem_must_calloc(program->blocks_count, sizeof *p->used);
    p->renumbered = mem_must_calloc(program->blocks_count, sizeof *p->renumbered);
    map_init(&p->names);
    mark(p, 0);

    struct program *clone = program_new();
    clone->has_version = program->has_version;
    clone->version = program->version;
    clone->random_seed = program->random_seed;
    int next = 0;
    for (size_t b = 0; b < program->blocks_count; b++)
        p->renumbered[b] = p->used[b] ? next++ : -1;
    for (size_t b = 0; b < program->blocks_count; b++) {
        if (!p->used[b])
            continue;
        int parent = program_block(program, b)->parent_idx;
        struct block *to =
            b == 0 ? program_block(clone, 0)
                   : program_append_block(clone, parent < 0 ? parent : p->renumbered[parent]);
        copy_block(p, program_block(program, b), to);
    }
    map_deinit(&p->names);
    mem_free(p->renumbered);
    mem_free(p->used);
    return clone;
}

static bool stays(const struct pruning *p, const struct block *block, size_t op)
{
    if (p->kept != NULL)
        return block->idx != 0 || p->kept[op];
    return !is_training_op(block->ops[op]);
}

static bool is_training_op(const struct op_desc *op)
{
    return (op_desc_role(op) & (OP_ROLE_BACKWARD | OP_ROLE_OPTIMIZE | OP_ROLE_LR_SCHED)) != 0;
}

static int check_targets(const struct block *block, const struct str_list *feeds,
                         const struct str_list *targets, const bool *kept, struct err *err)
{
    for (size_t i = 0; i < targets->count; i++) {
        const char *name = targets->items[i];
        const struct var_desc *var = block_var(block, name);
        if (var == NULL)
            return err_set(err, SL_ENOENT, "prune: target `%s` is not a variable of block 0", name);
        bool made = var->persistable || (feeds != NULL && str_list_has(feeds, name));
        for (size_t k = 0; k < block->ops_count && !made; k++)
            made = kept[k] && op_desc_writes(block->ops[k], name);
        if (!made)
            return err_set(err, SL_EINVAL, "prune: no operator of block 0 makes target `%s`", name);
    }
    return 0;
}

// Marks a block, the blocks that its remaining operators refer to, and its ancestors.
static void mark(struct pruning *p, size_t idx)
{
    if (idx >= p->from->blocks_count || p->used[idx])
        return;
    p->used[idx] = true;
    const struct block *block = program_block(p->from, idx);
    if (block->parent_idx >= 0)
        mark(p, (size_t)block->parent_idx);
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        if (!stays(p, block, i))
            continue;
        mark_args(p, op->inputs, op->inputs_count);
        mark_args(p, op->outputs, op->outputs_count);
        for (size_t a = 0; a < op->attrs_count; a++)
            mark_attr_blocks(p, &op->attrs[a]);
    }
}

static void mark_args(struct pruning *p, const struct op_slot *slots, size_t count)
{
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < slots[s].args.count; i++)
            map_set(&p->names, slots[s].args.items[i], p);
}

static void mark_attr_blocks(struct pruning *p, const struct attr *attr)
{
    if (attr->type == ATTR_BLOCK && attr->i >= 0)
        mark(p, (size_t)attr->i);
    for (size_t k = 0; attr->type == ATTR_BLOCKS && k < attr->count; k++)
        if (attr->ints[k] >= 0)
            mark(p, (size_t)attr->ints[k]);
}

static void copy_block(const struct pruning *p, const struct block *from, struct block *to)
{
    to->has_forward_block_idx = from->has_forward_block_idx;
    to->forward_block_idx = from->forward_block_idx;
    for (size_t i = 0; i < from->vars_count; i++)
        if (map_get(&p->names, from->vars[i]->name) != NULL)
            block_add_var(to, var_desc_clone(from->vars[i]));
    for (size_t i = 0; i < from->ops_count; i++)
        if (stays(p, from, i))
            block_append_op(to, copy_op(p, from->ops[i]));
}

static struct op_desc *copy_op(const struct pruning *p, const struct op_desc *op)
{
    struct op_desc *copy = op_desc_clone(op);
    if (p->kept == NULL && op_desc_attr(copy, "is_test") != NULL)
        op_desc_set_bool(copy, "is_test", true);
    for (size_t a = 0; a < copy->attrs_count; a++) {
        struct attr *attr = &copy->attrs[a];
        if (attr->type == ATTR_BLOCK && attr->i >= 0 && (size_t)attr->i < p->from->blocks_count)
            attr->i = p->renumbered[attr->i];
        for (size_t k = 0; attr->type == ATTR_BLOCKS && k < attr->count; k++)
            if (attr->ints[k] >= 0 && (size_t)attr->ints[k] < p->from->blocks_count)
                attr->ints[k] = p->renumbered[attr->ints[k]];
    }
    return copy;
}
