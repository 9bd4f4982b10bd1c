// SPDX-License-Identifier: Apache-2.0
// Checks of a description against itself. It only reads; it goes on after a problem, so that one run
// names them all.
#include "common/program/program_check.h"

#include <string.h>

#include "common/base/str.h"
#include "common/program/program.h"

#define EMPTY_ARG "@EMPTY@"

static void check_block(const struct block *block, struct str_list *out);
static void check_vars(const struct block *block, struct str_list *out);
static void check_args(const struct block *block, size_t op, const char *way, const struct op_slot *slots,
                       size_t count, struct str_list *out);
static void check_block_attrs(const struct block *block, size_t op, struct str_list *out);

size_t program_check(const struct program *program, struct str_list *out_problems)
{
    size_t before = out_problems->count;
    for (size_t i = 0; i < program->blocks_count; i++)
        check_block(program->blocks[i], out_problems);
    return out_problems->count - before;
}

static void check_block(const struct block *block, struct str_list *out)
{
    if (block->idx ? block->parent_idx < 0 || block->parent_idx >= block->idx : block->parent_idx != -1)
        str_list_addf(out, "block %d: parent %d does not come before it", block->idx, block->parent_idx);
    check_vars(block, out);
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        if (!*op->type)
            str_list_addf(out, "block %d, op %zu: the type is empty", block->idx, i);
        check_args(block, i, "input", op->inputs, op->inputs_count, out);
        check_args(block, i, "output", op->outputs, op->outputs_count, out);
        check_block_attrs(block, i, out);
    }
}

static void check_vars(const struct block *block, struct str_list *out)
{
    for (size_t i = 0; i < block->vars_count; i++) {
        const struct var_desc *var = block->vars[i];
        if (!*var->name)
            str_list_addf(out, "block %d: variable %zu has no name", block->idx, i);
        if (!var->has_tensor)
            continue;
        // -1 is a size not known yet; with 1 in its place the rest must be possible.
        struct dims dims = var->dims;
        uint64_t count;
        for (int d = 0; d < dims.rank; d++)
            if (dims.d[d] == -1)
                dims.d[d] = 1;
        char text[DIMS_TEXT_MAX];
        if (!dims_count(&dims, dtype_bytes((enum dtype)var->dtype), &count))
            str_list_addf(out, "block %d: variable %s has impossible dims %s", block->idx, var->name,
                          dims_format(&var->dims, text));
        if (var->persistable && !dtype_is_valid(var->dtype))
            str_list_addf(out, "block %d: variable %s has element type %d, which holds no numbers",
                          block->idx, var->name, var->dtype);
    }
}

static void check_args(const struct block *block, size_t op, const char *way, const struct op_slot *slots,
                       size_t count, struct str_list *out)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < slots[i].args.count; k++) {
            const char *arg = slots[i].args.items[k];
            if (strcmp(arg, EMPTY_ARG) && !block_find_var(block, arg))
                str_list_addf(out, "block %d, op %zu, %s: %s %s: variable %s is declared nowhere", block->idx,
                              op, block->ops[op]->type, way, slots[i].name, arg);
        }
}

static void check_block_attrs(const struct block *block, size_t op, struct str_list *out)
{
    const struct op_desc *desc = block->ops[op];
    for (size_t i = 0; i < desc->attrs_count; i++) {
        const struct attr *attr = &desc->attrs[i];
        size_t count = attr->type == ATTR_BLOCK ? 1 : attr->type == ATTR_BLOCKS ? attr->count : 0;
        for (size_t k = 0; k < count; k++) {
            int64_t idx = attr->type == ATTR_BLOCK ? attr->i : attr->ints[k];
            if (idx < 0 || (uint64_t)idx >= block->program->blocks_count)
                str_list_addf(out, "block %d, op %zu, %s: attribute %s names block %lld of %zu", block->idx,
                              op, desc->type, attr->name, (long long)idx, block->program->blocks_count);
        }
    }
}
