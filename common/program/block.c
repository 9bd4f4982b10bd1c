// SPDX-License-Identifier: Apache-2.0
// Blocks: ordered variables with an index by name, ordered operators. A block owns both.
#include <string.h>

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/program/program.h"

static size_t var_position(const struct block *block, const struct var_desc *var);

struct var_desc *block_var(const struct block *block, const char *name)
{
    return map_get(&block->var_by_name, name);
}

struct var_desc *block_find_var(const struct block *block, const char *name)
{
    // A parent comes before its block, so the walk ends.
    for (;;) {
        struct var_desc *var = block_var(block, name);
        if (var || block->parent_idx < 0 || block->parent_idx >= block->idx)
            return var;
        block = program_block(block->program, (size_t)block->parent_idx);
    }
}

struct var_desc *block_add_var(struct block *block, struct var_desc *take)
{
    struct var_desc *old = block_var(block, take->name);
    if (old) {
        block->vars[var_position(block, old)] = take;
    } else {
        MEM_GROW(block->vars, block->vars_count, block->vars_cap);
        block->vars[block->vars_count++] = take;
    }
    map_set(&block->var_by_name, take->name, take);
    if (old != take)
        var_desc_free(old);
    program_touch(block->program);
    return take;
}

void block_remove_var(struct block *block, const char *name)
{
    struct var_desc *var = block_var(block, name);
    if (!var)
        return;
    size_t at = var_position(block, var);
    memmove(&block->vars[at], &block->vars[at + 1],
            (block->vars_count - at - 1) * sizeof *block->vars);
    block->vars_count--;
    map_remove(&block->var_by_name, name);
    var_desc_free(var);
    program_touch(block->program);
}

struct op_desc *block_append_op(struct block *block, struct op_desc *take)
{
    block_insert_op(block, block->ops_count, take);
    return take;
}

void block_insert_op(struct block *block, size_t at, struct op_desc *take)
{
    ASSERT(at <= block->ops_count);
    MEM_GROW(block->ops, block->ops_count, block->ops_cap);
    memmove(&block->ops[at + 1], &block->ops[at], (block->ops_count - at) * sizeof *block->ops);
    block->ops[at] = take;
    block->ops_count++;
    program_touch(block->program);
}

void block_remove_op(struct block *block, size_t at)
{
    ASSERT(at < block->ops_count);
    op_desc_free(block->ops[at]);
    memmove(&block->ops[at], &block->ops[at + 1], (block->ops_count - at - 1) * sizeof *block->ops);
    block->ops_count--;
    program_touch(block->program);
}

static size_t var_position(const struct block *block, const struct var_desc *var)
{
    size_t at = 0;
    while (block->vars[at] != var)
        at++;
    return at;
}
