// SPDX-License-Identifier: Apache-2.0
// Checks of a description against itself. It only reads; it goes on after a problem, so that one
// run names them all.
#include "common/program/program_check.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/program/program.h"

#define EMPTY_ARG "@EMPTY@"

static bool *mark_used_blocks(const struct program *program);
static void check_block(const struct block *block, struct str_list *out);
static void check_vars(const struct block *block, struct str_list *out);
static void check_inputs(const struct block *block, size_t op, struct str_list *out);
static void check_block_attrs(const struct block *block, size_t op, struct str_list *out);

size_t program_check(const struct program *program, struct str_list *out_problems)
{
    size_t before = out_problems->count;
    bool *used = mark_used_blocks(program);
    for (size_t i = 0; i < program->blocks_count; i++)
        if (used[i])
            check_block(program->blocks[i], out_problems);
    mem_free(used);
    return out_problems->count - before;
}

// Block 0 and every block that an operator of a used block names. Passes leave the others behind,
// emptied of variables that their operators still mention; nothing ever runs those.
static bool *mark_used_blocks(const struct program *program)
{
    bool *used = mem_must_calloc(program->blocks_count, sizeof *used);
    size_t *queue = mem_must_calloc(program->blocks_count, sizeof *queue);
    size_t queued = program->blocks_count ? 1 : 0;
    if (queued)
        used[0] = true;
    for (size_t at = 0; at < queued; at++) {
        const struct block *block = program->blocks[queue[at]];
        for (size_t i = 0; i < block->ops_count; i++)
            for (size_t k = 0; k < block->ops[i]->attrs_count; k++) {
                const struct attr *attr = &block->ops[i]->attrs[k];
                size_t count = attr_blocks_count(attr);
                for (size_t n = 0; n < count; n++) {
                    int64_t idx = attr_block(attr, n);
                    if (idx >= 0 && (uint64_t)idx < program->blocks_count && !used[idx]) {
                        used[idx] = true;
                        queue[queued++] = (size_t)idx;
                    }
                }
            }
    }
    mem_free(queue);
    return used;
}

static void check_block(const struct block *block, struct str_list *out)
{
    if (block->idx ? block->parent_idx < 0 || block->parent_idx >= block->idx
                   : block->parent_idx != -1)
        str_list_addf(out, "block %d: parent %d does not come before it", block->idx,
                      block->parent_idx);
    check_vars(block, out);
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        if (!*op->type)
            str_list_addf(out, "block %d, op %zu: the type is empty", block->idx, i);
        check_inputs(block, i, out);
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
            str_list_addf(out, "block %d: variable %s has impossible dims %s", block->idx,
                          var->name, dims_format(&var->dims, text));
        if (var->persistable && !dtype_is_valid(var->dtype))
            str_list_addf(out, "block %d: variable %s has element type %d, which holds no numbers",
                          block->idx, var->name, var->dtype);
    }
}

// An output that nobody declares is one that nobody wants: Fluid's passes drop such variables.
static void check_inputs(const struct block *block, size_t op, struct str_list *out)
{
    const struct op_desc *desc = block->ops[op];
    for (size_t i = 0; i < desc->inputs_count; i++)
        for (size_t k = 0; k < desc->inputs[i].args.count; k++) {
            const char *arg = desc->inputs[i].args.items[k];
            if (strcmp(arg, EMPTY_ARG) && !block_find_var(block, arg))
                str_list_addf(out,
                              "block %d, op %zu, %s: input %s: variable %s is declared nowhere",
                              block->idx, op, desc->type, desc->inputs[i].name, arg);
        }
}

static void check_block_attrs(const struct block *block, size_t op, struct str_list *out)
{
    const struct op_desc *desc = block->ops[op];
    for (size_t i = 0; i < desc->attrs_count; i++) {
        const struct attr *attr = &desc->attrs[i];
        size_t count = attr_blocks_count(attr);
        for (size_t k = 0; k < count; k++) {
            int64_t idx = attr_block(attr, k);
            if (idx < 0 || (uint64_t)idx >= block->program->blocks_count)
                str_list_addf(out, "block %d, op %zu, %s: attribute %s names block %lld of %zu",
                              block->idx, op, desc->type, attr->name, (long long)idx,
                              block->program->blocks_count);
        }
    }
}
