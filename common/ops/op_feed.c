// SPDX-License-Identifier: Apache-2.0
// feed and fetch as they stand in inference programs. An executor feeds and fetches by variable
// name, so feed only checks that its variable was fed, and fetch only that its variable has a
// value.

#include "common/base/err.h"
#include "common/ops/op.h"

extern const struct op_def op_feed, op_feed_fetch;

static const struct op_attr_def col_attrs[] = {
    {.name = "col", .type = ATTR_INT, .required = true},
    {.name = NULL},
};
static const struct op_slot_def feed_inputs[] = {{"X", OP_SLOT_RAW}, {NULL, 0}};
static const struct op_slot_def feed_outputs[] = {{"Out", OP_SLOT_ROWS}, {NULL, 0}};
static const struct op_slot_def fetch_inputs[] = {{"X", OP_SLOT_ROWS}, {NULL, 0}};
static const struct op_slot_def fetch_outputs[] = {{"Out", OP_SLOT_RAW}, {NULL, 0}};

static int feed_forward(struct op_ctx *ctx)
{
    const struct variable *var = ctx->out[0].count > 0 ? ctx->out[0].vars[0] : NULL;
    if (var == NULL || var->kind == VARIABLE_EMPTY ||
        (var->kind == VARIABLE_TENSOR && var->tensor.data == NULL &&
         tensor_count(&var->tensor) > 0))
        return err_set(ctx->err, SL_EUSAGE, "this variable was not fed");
    return 0;
}

static int fetch_forward(struct op_ctx *ctx)
{
    (void)ctx;
    return 0;
}

static int no_shapes(struct op_shape *shape)
{
    (void)shape;
    return 0;
}

const struct op_def op_feed = {
    .type = "feed",
    .inputs = feed_inputs,
    .outputs = feed_outputs,
    .attrs = col_attrs,
    .infer_shape = no_shapes,
    .kernel = feed_forward,
    .kernel_resizes = true,
};

const struct op_def op_feed_fetch = {
    .type = "fetch",
    .inputs = fetch_inputs,
    .outputs = fetch_outputs,
    .attrs = col_attrs,
    .infer_shape = no_shapes,
    .kernel = fetch_forward,
    .kernel_resizes = true,
};
