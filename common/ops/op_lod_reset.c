// SPDX-License-Identifier: Apache-2.0
// lod_reset: Out is X with another LoD.
//
//   Y with LoD       Y's levels
//   Y without        one level: the offsets that Y (int32 or int64) holds
//   no Y             one level: target_lod, offsets
//   append           X's levels stay, and that one level comes below them (not with Y's own LoD)
//   dX = dOut, with X's LoD
//
// A level that comes new must start with 0, not fall, and end with X's rows. With append, X's own
// levels are not judged: they need not fit the new one, as in Fluid.

#include <string.h>

#include "common/base/err.h"
#include "common/ops/row_index.h"
#include "common/ops/sequence.h"

extern const struct op_def op_lod_reset, op_lod_reset_grad;

enum { RESET_TARGET, RESET_APPEND };
static const struct op_attr_def reset_attrs[] = {
    OP_ATTR_LIST("target_lod", ATTR_INTS),
    OP_ATTR_BOOL("append", 0),
    {.name = NULL},
};
enum { RESET_X, RESET_Y };
static const struct op_slot_def reset_inputs[] = {{"X", 0}, {"Y", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def reset_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def reset_grad_inputs[] = {{"X", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def reset_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

static int reset_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, RESET_X, 0),
                             *y = op_shape_in(shape, RESET_Y, 0);
    if (y == NULL && shape->attr[RESET_TARGET]->count < 2)
        return err_set(shape->err, SL_EINVAL, "neither Y nor a target_lod of two offsets or more");
    if (x->dims.rank < 1)
        return err_set(shape->err, SL_EINVAL, "X must have rows");
    int level = y != NULL && y->lod_level > 0          ? y->lod_level
                : attr_bool(shape->attr[RESET_APPEND]) ? x->lod_level + 1
                                                       : 1;
    sequence_set_shape(shape, 0, &x->dims, x->dtype, level);
    return 0;
}

static int64_t offset_at(const struct op_ctx *ctx, const struct tensor *y, size_t i)
{
    return y != NULL ? row_index_at(y, i) : ctx->attr[RESET_TARGET]->ints[i];
}

// The offsets as the lowest of `levels` levels of out, judged first.
static int take_offsets(const struct op_ctx *ctx, struct tensor *out, const struct tensor *y,
                        int levels, int64_t rows)
{
    size_t count = y != NULL ? (size_t)tensor_count(y) : ctx->attr[RESET_TARGET]->count;
    const char *name = y != NULL ? "Y" : "target_lod";
    uint64_t *offsets = NULL;
    if (y != NULL && y->dtype != DTYPE_INT32 && y->dtype != DTYPE_INT64)
        return err_set(ctx->err, SL_EMISMATCH, "Y has no LoD, and is %s: no offsets",
                       dtype_name((int)y->dtype));
    if (count < 2 || offset_at(ctx, y, 0) != 0 || offset_at(ctx, y, count - 1) != rows)
        return err_set(ctx->err, SL_EINVAL, "%s must begin with 0 and end with %lld, the rows of X",
                       name, (long long)rows);
    for (size_t i = 1; i < count; i++)
        if (offset_at(ctx, y, i) < offset_at(ctx, y, i - 1))
            return err_set(ctx->err, SL_EINVAL, "%s: offset %zu falls from %lld to %lld", name, i,
                           (long long)offset_at(ctx, y, i - 1), (long long)offset_at(ctx, y, i));
    int rc = sequence_level(ctx, out, levels, levels - 1, count, &offsets);
    for (size_t i = 0; rc == 0 && i < count; i++)
        offsets[i] = (uint64_t)offset_at(ctx, y, i);
    return rc;
}

static int reset_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, RESET_X), *y = op_in(ctx, RESET_Y);
    struct tensor *out = op_out(ctx, 0);
    int kept = attr_bool(ctx->attr[RESET_APPEND]) ? x->lod_levels : 0, rc = 0;
    if (out != x)
        rc = op_resize(out, x->dtype, &x->dims, ctx->err);
    if (rc < 0)
        return rc;
    if (tensor_bytes(x) > 0 && out->data != x->data)
        memcpy(out->data, x->data, tensor_bytes(x));
    if (y != NULL && y->lod_levels > 0) {
        struct sequences s;
        rc = sequence_read(ctx, "Y", y, &s);
        if (rc == 0 && (int64_t)s.offsets[s.count] != x->dims.d[0])
            rc = err_set(ctx->err, SL_EMISMATCH, "Y's LoD is of %llu rows, X has %lld",
                         (unsigned long long)s.offsets[s.count], (long long)x->dims.d[0]);
        return rc < 0 ? rc : sequence_take_lod(ctx, out, y, y->lod_levels);
    }
    rc = sequence_take_lod(ctx, out, x, kept);
    return rc < 0 ? rc : take_offsets(ctx, out, y, kept + 1, x->dims.d[0]);
}

static int reset_backward(struct op_ctx *ctx)
{
    return sequence_back_same(ctx, op_in(ctx, 1), op_out(ctx, 0));
}

const struct op_def op_lod_reset = {
    .type = "lod_reset",
    .inputs = reset_inputs,
    .outputs = reset_outputs,
    .attrs = reset_attrs,
    .grad = {.type = "lod_reset_grad", .inputs = "X Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = reset_infer,
    .kernel = reset_forward,
    .kernel_resizes = true,
};

const struct op_def op_lod_reset_grad = {
    .type = "lod_reset_grad",
    .inputs = reset_grad_inputs,
    .outputs = reset_grad_outputs,
    .attrs = reset_attrs,
    .kernel = reset_backward,
};
