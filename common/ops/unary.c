// SPDX-License-Identifier: Apache-2.0
// Slots of the elementwise functions of one tensor, and the choice of a kernel by element type.

#include "common/ops/unary.h"

#include "common/base/err.h"

static void params_of(const struct op_ctx *ctx, float *param);

const struct op_slot_def unary_inputs[] = {{"X", 0}, {NULL, 0}};
const struct op_slot_def unary_outputs[] = {{"Out", 0}, {NULL, 0}};
const struct op_slot_def unary_grad_of_x[] = {{"X", 0}, {"Out@GRAD", 0}, {NULL, 0}};
const struct op_slot_def unary_grad_of_out[] = {{"Out", 0}, {"Out@GRAD", 0}, {NULL, 0}};
const struct op_slot_def unary_grad_of_none[] = {{"Out@GRAD", 0}, {NULL, 0}};
const struct op_slot_def unary_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

const struct op_attr_def unary_no_attrs[] = {{.name = NULL}};
const struct op_attr_def unary_common_attrs[] = {
    OP_ATTR_BOOL("use_mkldnn", 0),
    OP_ATTR_BOOL("use_cudnn", 0),
    {.name = NULL},
};

int unary_grad_infer(struct op_shape *shape)
{
    int s = shape->def->inputs == unary_grad_of_none ? 0 : 1;
    op_shape_copy(shape, 0, 0, op_shape_in(shape, s, 0));
    return 0;
}

int unary_forward(struct op_ctx *ctx, const struct unary_runs *runs)
{
    const struct tensor *x = op_in(ctx, 0);
    int number = number_of(x->dtype);
    float param[UNARY_PARAMS_MAX];
    if (number < 0 || runs->run[number] == NULL)
        return op_bad_dtype(ctx, (int)x->dtype);
    params_of(ctx, param);
    runs->run[number](op_out(ctx, 0)->data, x->data, tensor_count(x), param);
    return 0;
}

int unary_backward(struct op_ctx *ctx, const struct unary_grad_runs *runs)
{
    bool keeps = ctx->def->inputs != unary_grad_of_none;
    const struct tensor *kept = keeps ? op_in(ctx, 0) : NULL, *dout = op_in(ctx, keeps);
    struct tensor *dx = op_out(ctx, 0);
    int number = number_of(dout->dtype);
    float param[UNARY_PARAMS_MAX];
    if (dx == NULL)
        return 0;
    if (keeps && (kept->dtype != dout->dtype || tensor_count(kept) != tensor_count(dout)))
        return err_set(ctx->err, SL_EMISMATCH, "Out@GRAD has not the type and size of %s",
                       ctx->def->inputs[0].name);
    if (number < 0 || runs->run[number] == NULL)
        return op_bad_dtype(ctx, (int)dout->dtype);
    params_of(ctx, param);
    runs->run[number](dx->data, keeps ? kept->data : NULL, dout->data, tensor_count(dout), param);
    return 0;
}

// The leading float attributes; 0 beyond them.
static void params_of(const struct op_ctx *ctx, float *param)
{
    const struct op_attr_def *attrs = ctx->def->attrs;
    int count = 0;
    while (count < UNARY_PARAMS_MAX && attrs[count].name != NULL && attrs[count].type == ATTR_FLOAT)
        count++;
    for (int i = 0; i < UNARY_PARAMS_MAX; i++)
        param[i] = i < count ? ctx->attr[i]->f : 0;
}
