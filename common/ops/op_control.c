// SPDX-License-Identifier: Apache-2.0
// conditional_block runs another block when its condition holds. The kernel only answers the
// question; the plan runs the block that sub_block names (op_def.runs_block). With a scalar
// condition Cond is one boolean; without, the block runs when every Cond has elements.

#include "common/base/err.h"
#include "common/ops/op.h"

extern const struct op_def op_control_conditional_block;

enum { COND };
enum { SUB_BLOCK, IS_SCALAR };

static const struct op_slot_def inputs[] = {
    {"Cond", OP_SLOT_LIST},
    {"Input", OP_SLOT_LIST | OP_SLOT_RAW},   // the block's own plan looks at them, when it runs
    {NULL, 0},
};
static const struct op_slot_def outputs[] = {
    {"Out", OP_SLOT_LIST | OP_SLOT_OPTIONAL | OP_SLOT_ROWS},
    {"Scope", OP_SLOT_RAW},
    {NULL, 0},
};
static const struct op_attr_def attrs[] = {
    {.name = "sub_block", .type = ATTR_BLOCK, .required = true},
    OP_ATTR_BOOL("is_scalar_condition", 0),
    OP_ATTR_LIST("skip_eager_deletion_vars", ATTR_STRINGS),
    {.name = NULL},
};

static int conditional_block_infer(struct op_shape *shape)
{
    (void)shape;
    return 0;
}

static int conditional_block_forward(struct op_ctx *ctx)
{
    if (!attr_bool(ctx->attr[IS_SCALAR])) {
        for (size_t i = 0; i < ctx->in[COND].count; i++)
            if (tensor_count(op_in_at(ctx, COND, i)) == 0)
                return 0;
        return 1;
    }
    const struct tensor *cond = op_in(ctx, COND);
    if (ctx->in[COND].count != 1 || cond->dtype != DTYPE_BOOL || tensor_count(cond) != 1)
        return err_set(ctx->err, SL_EINVAL, "the condition must be one boolean");
    return *(const unsigned char *)cond->data != 0;
}

const struct op_def op_control_conditional_block = {
    .type = "conditional_block",
    .inputs = inputs,
    .outputs = outputs,
    .attrs = attrs,
    .infer_shape = conditional_block_infer,
    .kernel = conditional_block_forward,
    .kernel_resizes = true,
    .runs_block = true,
};
