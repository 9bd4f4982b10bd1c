// SPDX-License-Identifier: Apache-2.0
// The same elements under another shape; Out = X and dX = dOut element by element.
//
//   reshape    sides from `shape`: 0 is X's side at that place, one -1 is what remains
//   squeeze    without the sides of 1 that `axes` names (all of them when it names none)
//   unsqueeze  a side of 1 put in at each of `axes`, one after the other
//   flatten    [product before `axis`, product from `axis` on]
//
// The second era of each op (reshape2, ...) has XShape = [0, X's sides..], which has no elements:
// its gradient learns X's shape from it and needs no X. LoD stays when the number of rows does.
//
// Out may be X itself (reshape in place): then only the shape changes.

#include <string.h>

#include "common/base/err.h"
#include "common/ops/int_input.h"
#include "common/ops/op.h"

extern const struct op_def op_reshape, op_reshape_v2, op_reshape_grad, op_reshape_v2_grad;
extern const struct op_def op_reshape_squeeze, op_reshape_squeeze2;
extern const struct op_def op_reshape_squeeze_grad, op_reshape_squeeze2_grad;
extern const struct op_def op_reshape_unsqueeze, op_reshape_unsqueeze2;
extern const struct op_def op_reshape_unsqueeze_grad, op_reshape_unsqueeze2_grad;
extern const struct op_def op_reshape_flatten, op_reshape_flatten2;
extern const struct op_def op_reshape_flatten_grad, op_reshape_flatten2_grad;

static const struct op_attr_def reshape_attrs[] = {
    OP_ATTR_LIST("shape", ATTR_INTS),
    {.name = NULL},
};
static const struct op_attr_def reshape2_attrs[] = {
    OP_ATTR_LIST("shape", ATTR_INTS),
    OP_ATTR_BOOL("use_quantizer", 0),
    {.name = NULL},
};
static const struct op_attr_def axes_attrs[] = {
    OP_ATTR_LIST("axes", ATTR_INTS),
    {.name = NULL},
};
static const struct op_attr_def flatten_attrs[] = {
    OP_ATTR_INT("axis", 1),
    {.name = NULL},
};

enum { RESHAPE_X, RESHAPE_SHAPE, RESHAPE_SHAPE_LIST };
static const struct op_slot_def reshape_inputs[] = {
    {"X", 0},
    {"Shape", OP_SLOT_OPTIONAL},
    {"ShapeTensor", OP_SLOT_OPTIONAL | OP_SLOT_LIST},
    {NULL, 0}};
enum { UNSQUEEZE_X, UNSQUEEZE_AXES, UNSQUEEZE_AXES_LIST };
static const struct op_slot_def unsqueeze_inputs[] = {
    {"X", 0},
    {"AxesTensor", OP_SLOT_OPTIONAL},
    {"AxesTensorList", OP_SLOT_OPTIONAL | OP_SLOT_LIST},
    {NULL, 0}};
static const struct op_slot_def x_input[] = {{"X", 0}, {NULL, 0}};

enum { RESHAPE_OUT, RESHAPE_XSHAPE };
static const struct op_slot_def out_output[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def xshape_outputs[] = {
    {"Out", 0}, {"XShape", OP_SLOT_EXTRA}, {NULL, 0}};

enum { GRAD_SHAPE_FROM, GRAD_DOUT };
static const struct op_slot_def reshape_grad_inputs[] = {
    {"X", 0},
    {"Out@GRAD", 0},
    {"Out", OP_SLOT_OPTIONAL},
    {"Shape", OP_SLOT_OPTIONAL},
    {"ShapeTensor", OP_SLOT_OPTIONAL | OP_SLOT_LIST},
    {NULL, 0}};
static const struct op_slot_def reshape_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_OPTIONAL},
    {"Shape@GRAD", OP_SLOT_OPTIONAL | OP_SLOT_EXTRA},
    {"ShapeTensor@GRAD", OP_SLOT_OPTIONAL | OP_SLOT_EXTRA | OP_SLOT_LIST},
    {NULL, 0}};
static const struct op_slot_def x_grad_inputs[] = {{"X", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def unsqueeze_grad_inputs[] = {
    {"X", 0},
    {"Out@GRAD", 0},
    {"AxesTensor", OP_SLOT_OPTIONAL},
    {"AxesTensorList", OP_SLOT_OPTIONAL | OP_SLOT_LIST},
    {NULL, 0}};
static const struct op_slot_def xshape_grad_inputs[] = {{"XShape", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

// out = dims with sides [from..to) multiplied; unknown sides count as -1, as in Fluid's
// descriptions.
static bool product_of(const struct dims *dims, int from, int to, int64_t *out)
{
    *out = 1;
    for (int i = from; i < to; i++)
        if (__builtin_mul_overflow(*out, dims->d[i], out))
            return false;
    return true;
}

// Solves `shape` for a tensor of shape x; unknown sides of x leave the remaining side unknown.
static int reshape_dims(const struct dims *x, const struct int_input *shape, struct dims *out,
                        struct err *err)
{
    char text[DIMS_TEXT_MAX], x_text[DIMS_TEXT_MAX];
    int64_t known = 1, total = 0;
    int rest = -1;
    bool fits = shape->count <= LIMIT_RANK, total_known = product_of(x, 0, x->rank, &total);
    *out = (struct dims){.rank = fits ? (int)shape->count : 0};
    for (int i = 0; fits && i < out->rank; i++) {
        out->d[i] = shape->v[i] == 0 && i < x->rank ? x->d[i] : shape->v[i];
        fits = shape->v[i] >= -1 && (shape->v[i] != 0 || i < x->rank);
        if (shape->v[i] == -1) {
            fits = fits && rest < 0;
            rest = i;
        } else if (fits && __builtin_mul_overflow(known, out->d[i], &known)) {
            fits = false;
        }
    }
    for (int i = 0; i < x->rank; i++)
        total_known = total_known && x->d[i] >= 0;
    if (fits && total_known && rest >= 0) {
        out->d[rest] = known != 0 ? total / known : 0;
        fits = out->d[rest] * known == total;
    } else if (fits && total_known) {
        fits = known == total;
    }
    if (!fits)
        return err_set(err, SL_EINVAL,
                       "X %s cannot take `shape` %s: 0 is X's side at the same place, at most one "
                       "side is -1, and the elements must be as many",
                       dims_format(x, x_text), dims_format(out, text));
    return 0;
}

static int squeeze_dims(const struct dims *x, const struct int_input *axes, bool building,
                        struct dims *out, struct err *err)
{
    bool drop[LIMIT_RANK] = {false};
    for (int i = 0; i < x->rank; i++)
        drop[i] = axes->count == 0 && x->d[i] == 1;
    for (size_t i = 0; i < axes->count; i++) {
        int axis = op_axis(axes->v[i], x->rank);
        if (axis < 0 || (!building && x->d[axis] != 1))
            return err_set(err, SL_EINVAL, "axis %lld of X is no side of 1", (long long)axes->v[i]);
        drop[axis] = true;
    }
    *out = (struct dims){.rank = 0};
    for (int i = 0; i < x->rank; i++)
        if (!drop[i])
            out->d[out->rank++] = x->d[i];
    return 0;
}

static int unsqueeze_dims(const struct dims *x, const struct int_input *axes, struct dims *out,
                          struct err *err)
{
    *out = *x;
    if (axes->count + (size_t)x->rank > LIMIT_RANK)
        return err_set(err, SL_ELIMIT, "X would have more than %d dimensions", LIMIT_RANK);
    for (size_t i = 0; i < axes->count; i++) {
        int axis = op_axis(axes->v[i], out->rank + 1);
        if (axis < 0)
            return err_set(err, SL_EINVAL, "axis %lld is not a place among %d sides",
                           (long long)axes->v[i], out->rank);
        memmove(&out->d[axis + 1], &out->d[axis], (size_t)(out->rank - axis) * sizeof out->d[0]);
        out->d[axis] = 1;
        out->rank++;
    }
    return 0;
}

static int flatten_dims(const struct dims *x, int64_t axis, struct dims *out, struct err *err)
{
    *out = (struct dims){.rank = 2};
    if (axis < 0 || axis > x->rank)
        return err_set(err, SL_EINVAL, "axis %lld is not from 0 to X's rank %d", (long long)axis,
                       x->rank);
    if (!product_of(x, 0, (int)axis, &out->d[0]) || !product_of(x, (int)axis, x->rank, &out->d[1]))
        return err_set(err, SL_ELIMIT, "X is too large");
    return 0;
}

static int xshape_dims(const struct dims *x, struct dims *out, struct err *err)
{
    if (x->rank >= LIMIT_RANK)
        return err_set(err, SL_ELIMIT, "X has more than %d dimensions", LIMIT_RANK - 1);
    *out = (struct dims){.rank = x->rank + 1};
    memcpy(&out->d[1], x->d, (size_t)x->rank * sizeof x->d[0]);
    return 0;
}

// Out with this shape, and XShape if the op has it.
static int set_shapes(struct op_shape *shape, const struct dims *out, bool lod)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    struct dims xshape;
    op_shape_set(shape, RESHAPE_OUT, 0, out, x->dtype,
                 lod && x->dims.rank > 0 && out->rank > 0 && x->dims.d[0] == out->d[0] ? x : NULL);
    if (shape->def->outputs[1].name == NULL)
        return 0;
    int rc = xshape_dims(&x->dims, &xshape, shape->err);
    if (rc == 0)
        op_shape_set(shape, RESHAPE_XSHAPE, 0, &xshape, x->dtype, x);
    return rc;
}

static int reshape_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, RESHAPE_X, 0);
    const struct op_var_dims *by = op_shape_in(shape, RESHAPE_SHAPE, 0);
    struct int_input sides;
    struct dims out = {.rank = 0};
    bool listed = shape->in[RESHAPE_SHAPE_LIST].count > 0;
    int rc = int_input_from_attr(shape->attr[0], &sides, shape->err);
    if (rc < 0)
        return rc;
    if (listed || by != NULL) {
        // What only tensors know is -1; a run sizes Out in the kernel, rows may stay as they are.
        int64_t count = listed            ? (int64_t)shape->in[RESHAPE_SHAPE_LIST].count
                        : sides.count > 0 ? (int64_t)sides.count
                        : by->dims.rank == 1 && by->dims.d[0] > 0 ? by->dims.d[0]
                                                                  : 1;
        if (count > LIMIT_RANK)
            return err_set(shape->err, SL_ELIMIT, "more than %d sides", LIMIT_RANK);
        for (out.rank = 0; out.rank < count; out.rank++) {
            int i = out.rank;
            out.d[i] = (size_t)i < sides.count && sides.v[i] > 0 ? sides.v[i] : -1;
            if ((size_t)i < sides.count && sides.v[i] == 0 && i < x->dims.rank)
                out.d[i] = x->dims.d[i];
        }
        return set_shapes(shape, &out, !listed);
    }
    if (sides.count == 0)
        return err_set(shape->err, SL_EINVAL, "`shape` is empty and there is no Shape");
    rc = reshape_dims(&x->dims, &sides, &out, shape->err);
    return rc < 0 ? rc : set_shapes(shape, &out, true);
}

static int squeeze_infer(struct op_shape *shape)
{
    struct int_input axes;
    struct dims out;
    int rc = int_input_from_attr(shape->attr[0], &axes, shape->err);
    if (rc == 0)
        rc =
            squeeze_dims(&op_shape_in(shape, 0, 0)->dims, &axes, shape->building, &out, shape->err);
    return rc < 0 ? rc : set_shapes(shape, &out, true);
}

static int unsqueeze_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, UNSQUEEZE_X, 0);
    const struct op_var_dims *by = op_shape_in(shape, UNSQUEEZE_AXES, 0);
    struct int_input axes;
    struct dims out;
    int rc = int_input_from_attr(shape->attr[0], &axes, shape->err);
    if (rc < 0)
        return rc;
    if (axes.count == 0 && int_input_is_fed(shape, UNSQUEEZE_AXES_LIST, UNSQUEEZE_AXES)) {
        int64_t more = (int64_t)shape->in[UNSQUEEZE_AXES_LIST].count;
        if (more == 0)
            more = by->dims.rank == 1 && by->dims.d[0] > 0 ? by->dims.d[0] : 1;
        if (more + x->dims.rank > LIMIT_RANK)
            return err_set(shape->err, SL_ELIMIT, "X would have more than %d dimensions",
                           LIMIT_RANK);
        out.rank = x->dims.rank + (int)more;
        for (int i = 0; i < out.rank; i++)
            out.d[i] = -1;
        return set_shapes(shape, &out, false);
    }
    rc = unsqueeze_dims(&x->dims, &axes, &out, shape->err);
    return rc < 0 ? rc : set_shapes(shape, &out, true);
}

static int flatten_infer(struct op_shape *shape)
{
    struct dims out;
    int rc = flatten_dims(&op_shape_in(shape, 0, 0)->dims, shape->attr[0]->i, &out, shape->err);
    return rc < 0 ? rc : set_shapes(shape, &out, true);
}

// to becomes from's elements under dims.
static int put(struct op_ctx *ctx, struct tensor *to, struct tensor *from, const struct dims *dims)
{
    uint64_t count;
    if (!dims_count(dims, dtype_bytes(from->dtype), &count) || count != tensor_count(from))
        return err_set(ctx->err, SL_EMISMATCH, "the new shape has not as many elements");
    if (to == from) {
        to->dims = *dims;
        return 0;
    }
    int rc = op_resize(to, from->dtype, dims, ctx->err);
    if (rc == 0 && to->data != from->data && tensor_bytes(from) > 0)
        memcpy(to->data, from->data, tensor_bytes(from));
    return rc;
}

static int forward(struct op_ctx *ctx, const struct dims *dims)
{
    struct tensor *x = op_in(ctx, 0);
    struct tensor *xshape = ctx->def->outputs[1].name ? op_out(ctx, RESHAPE_XSHAPE) : NULL;
    struct dims shape;
    int rc = 0;
    if (xshape != NULL && (rc = xshape_dims(&x->dims, &shape, ctx->err)) == 0)
        rc = op_resize(xshape, x->dtype, &shape, ctx->err);
    return rc < 0 ? rc : put(ctx, op_out(ctx, RESHAPE_OUT), x, dims);
}

static int reshape_forward(struct op_ctx *ctx)
{
    struct int_input sides;
    struct dims out;
    int rc = int_input_read(ctx, RESHAPE_SHAPE_LIST, RESHAPE_SHAPE, ctx->attr[0], &sides);
    if (rc == 0)
        rc = reshape_dims(&op_in(ctx, 0)->dims, &sides, &out, ctx->err);
    return rc < 0 ? rc : forward(ctx, &out);
}

static int squeeze_forward(struct op_ctx *ctx)
{
    struct int_input axes;
    struct dims out;
    int rc = int_input_from_attr(ctx->attr[0], &axes, ctx->err);
    if (rc == 0)
        rc = squeeze_dims(&op_in(ctx, 0)->dims, &axes, false, &out, ctx->err);
    return rc < 0 ? rc : forward(ctx, &out);
}

static int unsqueeze_forward(struct op_ctx *ctx)
{
    struct int_input axes;
    struct dims out;
    int rc = ctx->attr[0]->count > 0
                 ? int_input_from_attr(ctx->attr[0], &axes, ctx->err)
                 : int_input_read(ctx, UNSQUEEZE_AXES_LIST, UNSQUEEZE_AXES, ctx->attr[0], &axes);
    if (rc == 0)
        rc = unsqueeze_dims(&op_in(ctx, 0)->dims, &axes, &out, ctx->err);
    return rc < 0 ? rc : forward(ctx, &out);
}

static int flatten_forward(struct op_ctx *ctx)
{
    struct dims out;
    int rc = flatten_dims(&op_in(ctx, 0)->dims, ctx->attr[0]->i, &out, ctx->err);
    return rc < 0 ? rc : forward(ctx, &out);
}

// X's shape behind XShape's leading 0.
static int x_of_xshape(const struct dims *xshape, struct dims *out, struct err *err)
{
    if (xshape->rank < 1)
        return err_set(err, SL_EINVAL, "XShape has no dimensions");
    *out = dims_make(xshape->rank - 1, &xshape->d[1]);
    return 0;
}

static int from_x_backward(struct op_ctx *ctx)
{
    struct tensor *dx = op_out(ctx, 0);
    const struct dims x = op_in(ctx, GRAD_SHAPE_FROM)->dims;
    return dx == NULL ? 0 : put(ctx, dx, op_in(ctx, GRAD_DOUT), &x);
}

static int from_xshape_backward(struct op_ctx *ctx)
{
    struct tensor *dx = op_out(ctx, 0);
    struct dims x;
    int rc = x_of_xshape(&op_in(ctx, GRAD_SHAPE_FROM)->dims, &x, ctx->err);
    return rc < 0 || dx == NULL ? rc : put(ctx, dx, op_in(ctx, GRAD_DOUT), &x);
}

static int from_x_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, GRAD_SHAPE_FROM, 0);
    op_shape_set(shape, 0, 0, &x->dims, op_shape_in(shape, GRAD_DOUT, 0)->dtype,
                 shape->def == &op_reshape_grad ? NULL : x);
    return 0;
}

static int from_xshape_infer(struct op_shape *shape)
{
    const struct op_var_dims *xshape = op_shape_in(shape, GRAD_SHAPE_FROM, 0);
    struct dims x;
    int rc = x_of_xshape(&xshape->dims, &x, shape->err);
    if (rc == 0)
        op_shape_set(shape, 0, 0, &x, op_shape_in(shape, GRAD_DOUT, 0)->dtype, xshape);
    return rc;
}

#define FORWARD(t, in, out, at, k, ...)                                                            \
    {                                                                                              \
        .type = t, .inputs = in, .outputs = out, .attrs = at, .grad = __VA_ARGS__,                 \
        .infer_shape = k##_infer, .kernel = k##_forward, .kernel_resizes = true,                   \
    }
#define GRAD_OF(t, in, out, at, k)                                                                 \
    {                                                                                              \
        .type = t, .inputs = in, .outputs = out, .attrs = at, .infer_shape = k##_infer,            \
        .kernel = k##_backward, .kernel_resizes = true,                                            \
    }
#define FROM_X(t)                                                                                  \
    {                                                                                              \
        .type = t, .inputs = "X Out@GRAD", .outputs = "X@GRAD"                                     \
    }
#define FROM_XSHAPE(t)                                                                             \
    {                                                                                              \
        .type = t, .inputs = "XShape Out@GRAD", .outputs = "X@GRAD"                                \
    }

const struct op_def op_reshape =
    FORWARD("reshape", reshape_inputs, out_output, reshape_attrs, reshape,
            {.type = "reshape_grad",
             .inputs = "X Shape ShapeTensor Out Out@GRAD",
             .outputs = "X@GRAD Shape@GRAD ShapeTensor@GRAD"});
const struct op_def op_reshape_v2 = FORWARD("reshape2", reshape_inputs, xshape_outputs,
                                            reshape2_attrs, reshape, FROM_XSHAPE("reshape2_grad"));
const struct op_def op_reshape_squeeze =
    FORWARD("squeeze", x_input, out_output, axes_attrs, squeeze, FROM_X("squeeze_grad"));
const struct op_def op_reshape_squeeze2 =
    FORWARD("squeeze2", x_input, xshape_outputs, axes_attrs, squeeze, FROM_XSHAPE("squeeze2_grad"));
const struct op_def op_reshape_unsqueeze = FORWARD("unsqueeze", unsqueeze_inputs, out_output,
                                                   axes_attrs, unsqueeze, FROM_X("unsqueeze_grad"));
const struct op_def op_reshape_unsqueeze2 =
    FORWARD("unsqueeze2", unsqueeze_inputs, xshape_outputs, axes_attrs, unsqueeze,
            FROM_XSHAPE("unsqueeze2_grad"));
const struct op_def op_reshape_flatten =
    FORWARD("flatten", x_input, out_output, flatten_attrs, flatten, FROM_X("flatten_grad"));
const struct op_def op_reshape_flatten2 = FORWARD(
    "flatten2", x_input, xshape_outputs, flatten_attrs, flatten, FROM_XSHAPE("flatten2_grad"));

const struct op_def op_reshape_grad =
    GRAD_OF("reshape_grad", reshape_grad_inputs, reshape_grad_outputs, reshape_attrs, from_x);
const struct op_def op_reshape_squeeze_grad =
    GRAD_OF("squeeze_grad", x_grad_inputs, grad_outputs, axes_attrs, from_x);
const struct op_def op_reshape_unsqueeze_grad =
    GRAD_OF("unsqueeze_grad", unsqueeze_grad_inputs, grad_outputs, axes_attrs, from_x);
const struct op_def op_reshape_flatten_grad =
    GRAD_OF("flatten_grad", x_grad_inputs, grad_outputs, flatten_attrs, from_x);
const struct op_def op_reshape_v2_grad =
    GRAD_OF("reshape2_grad", xshape_grad_inputs, grad_outputs, reshape2_attrs, from_xshape);
const struct op_def op_reshape_squeeze2_grad =
    GRAD_OF("squeeze2_grad", xshape_grad_inputs, grad_outputs, axes_attrs, from_xshape);
const struct op_def op_reshape_unsqueeze2_grad =
    GRAD_OF("unsqueeze2_grad", xshape_grad_inputs, grad_outputs, axes_attrs, from_xshape);
const struct op_def op_reshape_flatten2_grad =
    GRAD_OF("flatten2_grad", xshape_grad_inputs, grad_outputs, flatten_attrs, from_xshape);
