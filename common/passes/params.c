// SPDX-License-Identifier: Apache-2.0
// Finds a program's Parameters: from what the builder knows, or else from how operators use them.

#include "common/passes/params.h"

#include "common/program/program.h"

static bool builder_knows(const struct block *block);
static bool named_by_optimizer(const struct block *block, const char *name);
static bool read_by_forward(const struct block *block, const char *name);
static bool in_pair_attr(const struct op_desc *op, const char *name);
static bool is_update(const struct op_desc *op);

bool params_list(const struct program *program, struct str_list *out)
{
    const struct block *block = program_block(program, 0);
    bool inferred = !builder_knows(block);
    for (size_t i = 0; i < block->vars_count; i++) {
        const struct var_desc *var = block->vars[i];
        bool is_param = inferred
                            ? var_desc_is_saved(var) && (named_by_optimizer(block, var->name) ||
                                                         read_by_forward(block, var->name))
                            : var->is_parameter;
        if (is_param)
            str_list_add(out, var->name);
    }
    return inferred;
}

bool params_has_update_ops(const struct program *program)
{
    for (size_t b = 0; b < program->blocks_count; b++) {
        const struct block *block = program_block(program, b);
        for (size_t i = 0; i < block->ops_count; i++)
            if (is_update(block->ops[i]))
                return true;
    }
    return false;
}

static bool builder_knows(const struct block *block)
{
    for (size_t i = 0; i < block->vars_count; i++)
        if (block->vars[i]->is_parameter)
            return true;
    return false;
}

static bool is_update(const struct op_desc *op)
{
    return (op_desc_role(op) & OP_ROLE_OPTIMIZE) != 0 && op_desc_input1(op, "Param") != NULL &&
           op_desc_output1(op, "ParamOut") != NULL;
}

static bool named_by_optimizer(const struct block *block, const char *name)
{
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        int role = op_desc_role(op);
        bool sends = role == OP_ROLE_BACKWARD ||
                     role == OP_ROLE_RPC;   // a trainer's program has no optimizer ops
        if (((role & OP_ROLE_OPTIMIZE) != 0 || sends) && in_pair_attr(op, name))
            return true;
    }
    return false;
}

// op_role_var holds pairs: parameter, gradient. A schedule's counter sent in asynchronous mode is
// paired with itself.
static bool in_pair_attr(const struct op_desc *op, const char *name)
{
    const struct attr *pairs = op_desc_attr(op, OP_ROLE_VAR_ATTR);
    if (pairs == NULL || pairs->type != ATTR_STRINGS)
        return false;
    for (size_t i = 0; i + 1 < pairs->count; i += 2)
        if (str_eq(pairs->strings[i], name) && !str_eq(pairs->strings[i], pairs->strings[i + 1]))
            return true;
    return false;
}

// Read by a forward op. What the same op also writes is a state (auc), except batch_norm's
// statistics, which Fluid makes Parameters.
static bool read_by_forward(const struct block *block, const char *name)
{
    bool reads = false;
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        int role = op_desc_role(op) & ~OP_ROLE_LOSS;
        if (role != OP_ROLE_FORWARD)
            continue;
        if (op_desc_writes(op, name) && !str_eq(op->type, "batch_norm"))
            return false;
        reads = reads || op_desc_reads(op, name);
    }
    return reads;
}
