// SPDX-License-Identifier: Apache-2.0
// Saved variables are told by type and flag, as Fluid does. Learning rates are told by what reads
// them (a slot called LearningRate), by the slice map (a state that belongs to no parameter), and,
// since a start-up program has no optimizer, by Fluid's names learning_rate* and
// @LR_DECAY_COUNTER@. Being taken for a learning rate only makes a load more lenient; it never
// changes what is saved.
#include "common/ckpt/ckpt_vars.h"

#include <string.h>

#include "common/program/program.h"
#include "common/program/slice_map.h"

#define RATE_PREFIX "learning_rate"

static void collect_read_rates(const struct program *program, struct str_list *out);
static bool is_written(const struct program *program, const char *name);
static bool is_numbered_rate(const char *name);

void ckpt_vars_saved(const struct program *program, struct str_list *out)
{
    const struct block *block = program_block(program, 0);
    for (size_t i = 0; i < block->vars_count; i++)
        if (var_desc_is_saved(block->vars[i]))
            str_list_add(out, block->vars[i]->name);
    str_list_sort(out);
}

void ckpt_vars_rates(const struct program *program, const struct slice_map *slices,
                     struct str_list *out_rates, struct str_list *out_constant)
{
    struct str_list read = {0};
    collect_read_rates(program, &read);
    const struct block *block = program_block(program, 0);
    for (size_t i = 0; i < block->vars_count; i++) {
        const struct var_desc *var = block->vars[i];
        if (!var_desc_is_saved(var))
            continue;
        const struct slice_var *sliced = slices ? slice_map_find(slices, var->name) : NULL;
        bool is_read = str_list_has(&read, var->name);
        if (!is_read && !ckpt_vars_is_rate_name(var->name) &&
            !(sliced && sliced->role == SLICE_STATE && !sliced->param))
            continue;
        str_list_add(out_rates, var->name);
        bool one_float = (var->dtype == DTYPE_FP32 || var->dtype == DTYPE_FP64) &&
                         dims_product(&var->dims, 0, var->dims.rank) == 1;
        bool known = is_read || (read.count == 0 && is_numbered_rate(var->name));
        if (one_float && known && !is_written(program, var->name))
            str_list_add(out_constant, var->name);
    }
    str_list_deinit(&read);
}

bool ckpt_vars_is_rate_name(const char *name)
{
    return str_eq(name, CKPT_VARS_COUNTER) || str_starts_with(name, RATE_PREFIX);
}

static void collect_read_rates(const struct program *program, struct str_list *out)
{
    for (size_t b = 0; b < program->blocks_count; b++) {
        const struct block *block = program->blocks[b];
        for (size_t i = 0; i < block->ops_count; i++) {
            const struct op_slot *slot = op_desc_input(block->ops[i], "LearningRate");
            for (size_t k = 0; slot && k < slot->args.count; k++)
                if (!str_list_has(out, slot->args.items[k]))
                    str_list_add(out, slot->args.items[k]);
        }
    }
}

// fill_constant in block 0 is the start-up's writing.
static bool is_written(const struct program *program, const char *name)
{
    for (size_t b = 0; b < program->blocks_count; b++) {
        const struct block *block = program->blocks[b];
        for (size_t i = 0; i < block->ops_count; i++)
            if ((b > 0 || !str_eq(block->ops[i]->type, "fill_constant")) &&
                op_desc_writes(block->ops[i], name))
                return true;
    }
    return false;
}

static bool is_numbered_rate(const char *name)
{
    uint64_t number;
    return str_starts_with(name, RATE_PREFIX "_") &&
           str_parse_u64(name + strlen(RATE_PREFIX "_"), &number);
}
