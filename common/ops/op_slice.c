// SPDX-License-Identifier: Apache-2.0
// A box of a tensor: along axes[k] the elements from starts[k] up to ends[k] (not itself), the
// other dimensions whole. Negative starts and ends count from the end; what sticks out is cut off.
//
//   slice          every element of the box
//   strided_slice  every |strides[k]|th; with a negative stride the box reaches from ends[k] (not
//                  itself) up to starts[k], is counted from its low end, and then turned round
//
// decrease_axis drops sides of 1 from Out ([1] is left when none remain). dX = 0 outside of the
// box, dOut inside. Starts, ends and strides may come from tensors; infer_flags marks such axes
// with -1.

#include <string.h>

#include "common/base/err.h"
#include "common/ops/int_input.h"
#include "common/ops/op.h"
#include "common/ops/strided.h"

extern const struct op_def op_slice, op_slice_grad, op_slice_strided, op_slice_strided_grad;

enum { SLICE_AXES, SLICE_STARTS, SLICE_ENDS, SLICE_FLAGS, SLICE_DECREASE, SLICE_STRIDES };
static const struct op_attr_def slice_attrs[] = {
    {.name = "axes", .type = ATTR_INTS, .required = true},
    OP_ATTR_LIST("starts", ATTR_INTS),
    OP_ATTR_LIST("ends", ATTR_INTS),
    OP_ATTR_LIST("infer_flags", ATTR_INTS),
    OP_ATTR_LIST("decrease_axis", ATTR_INTS),
    {.name = NULL},
};
static const struct op_attr_def strided_attrs[] = {
    {.name = "axes", .type = ATTR_INTS, .required = true},
    OP_ATTR_LIST("starts", ATTR_INTS),
    OP_ATTR_LIST("ends", ATTR_INTS),
    OP_ATTR_LIST("infer_flags", ATTR_INTS),
    OP_ATTR_LIST("decrease_axis", ATTR_INTS),
    OP_ATTR_LIST("strides", ATTR_INTS),
    {.name = NULL},
};

enum {
    SLICE_INPUT,
    SLICE_STARTS_TENSOR,
    SLICE_ENDS_TENSOR,
    SLICE_STARTS_LIST,
    SLICE_ENDS_LIST,
};
#define SLICE_TENSORS                                                                              \
    {"StartsTensor", OP_SLOT_OPTIONAL}, {"EndsTensor", OP_SLOT_OPTIONAL},                          \
        {"StartsTensorList", OP_SLOT_OPTIONAL | OP_SLOT_LIST},                                     \
    {                                                                                              \
        "EndsTensorList", OP_SLOT_OPTIONAL | OP_SLOT_LIST                                          \
    }
enum { SLICE_DOUT = 5 };
static const struct op_slot_def slice_inputs[] = {{"Input", 0}, SLICE_TENSORS, {NULL, 0}};
static const struct op_slot_def slice_grad_inputs[] = {
    {"Input", 0}, SLICE_TENSORS, {"Out@GRAD", 0}, {NULL, 0}};

enum { STRIDED_STRIDES_TENSOR = 5, STRIDED_STRIDES_LIST, STRIDED_DOUT };
#define STRIDES_TENSORS                                                                            \
    {"StridesTensor", OP_SLOT_OPTIONAL},                                                           \
    {                                                                                              \
        "StridesTensorList", OP_SLOT_OPTIONAL | OP_SLOT_LIST                                       \
    }
static const struct op_slot_def strided_inputs[] = {
    {"Input", 0}, SLICE_TENSORS, STRIDES_TENSORS, {NULL, 0}};
static const struct op_slot_def strided_grad_inputs[] = {
    {"Input", 0}, SLICE_TENSORS, STRIDES_TENSORS, {"Out@GRAD", 0}, {NULL, 0}};

static const struct op_slot_def out_output[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def input_grad_output[] = {{"Input@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

// What is asked for, as the attributes and tensors say it.
struct slice_request {
    struct int_input axes, starts, ends, strides;
    bool strided;
};

// The box that comes of it: `first` is the element that Out begins with.
struct slice_box {
    struct dims dims;   // with all dimensions
    int64_t first[LIMIT_RANK], step[LIMIT_RANK];
};

static int check_request(const struct slice_request *r, struct err *err)
{
    if (r->axes.count == 0 || r->starts.count != r->axes.count || r->ends.count != r->axes.count ||
        (r->strided && r->strides.count != r->axes.count))
        return err_set(err, SL_EINVAL, "axes, starts%s must be as many, and at least one",
                       r->strided ? ", ends and strides" : " and ends");
    return 0;
}

static int64_t clamp(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

// One axis of known side: elements low, low + |stride|, .. below high.
static int cut_axis(const struct slice_request *r, size_t k, int axis, struct slice_box *box,
                    struct err *err)
{
    int64_t side = box->dims.d[axis], stride = r->strided ? r->strides.v[k] : 1;
    int64_t start = r->starts.v[k], end = r->ends.v[k];
    start = clamp(start, INT32_MIN, INT32_MAX) + (start < 0 ? side : 0);
    end = clamp(end, INT32_MIN, INT32_MAX) + (end < 0 ? side : 0);
    if (stride == 0 || stride < INT32_MIN || stride > INT32_MAX)
        return err_set(err, SL_EINVAL, "stride %lld of axis %d is not possible", (long long)stride,
                       axis);
    int64_t low = stride < 0 ? end + 1 : start, high = stride < 0 ? start + 1 : end;
    int64_t step = stride < 0 ? -stride : stride;
    low = clamp(low, 0, side);
    high = clamp(high, 0, side);
    if (high <= low)
        return err_set(err, SL_EINVAL, "axis %d: nothing lies between start %lld and end %lld",
                       axis, (long long)r->starts.v[k], (long long)r->ends.v[k]);
    int64_t count = (high - low + step - 1) / step;
    box->dims.d[axis] = count;
    box->first[axis] = stride < 0 ? low + (count - 1) * step : low;
    box->step[axis] = stride;
    return 0;
}

static void box_start(struct slice_box *box, const struct dims *x)
{
    box->dims = *x;
    for (int i = 0; i < x->rank; i++) {
        box->first[i] = 0;
        box->step[i] = 1;
    }
}

static int cut(const struct slice_request *r, const struct dims *x, struct slice_box *box,
               struct err *err)
{
    bool seen[LIMIT_RANK] = {false};
    box_start(box, x);
    int rc = check_request(r, err);
    for (size_t k = 0; rc == 0 && k < r->axes.count; k++) {
        int axis = op_axis(r->axes.v[k], x->rank);
        if (axis < 0 || seen[axis])
            return err_set(err, SL_EINVAL, "axis %lld is not within X's rank %d, or named twice",
                           (long long)r->axes.v[k], x->rank);
        seen[axis] = true;
        rc = cut_axis(r, k, axis, box, err);
    }
    return rc;
}

// Out's shape: the box without the dropped dimensions.
static int decrease(const struct dims *box, const struct attr *axes, bool building,
                    struct dims *out, struct err *err)
{
    bool drop[LIMIT_RANK] = {false};
    for (size_t k = 0; k < axes->count; k++) {
        int axis = op_axis(axes->ints[k], box->rank);
        if (axis < 0 || (!building && box->d[axis] != 1))
            return err_set(err, SL_EINVAL, "decrease_axis %lld is no side of 1",
                           (long long)axes->ints[k]);
        drop[axis] = true;
    }
    *out = (struct dims){.rank = 0};
    for (int i = 0; i < box->rank; i++)
        if (!drop[i])
            out->d[out->rank++] = box->d[i];
    if (out->rank == 0 && axes->count > 0)
        out->d[out->rank++] = 1;
    return 0;
}

static bool is_strided(const struct op_def *def)
{
    return def == &op_slice_strided || def == &op_slice_strided_grad;
}

static int read_request(const struct op_ctx *ctx, struct slice_request *r)
{
    r->strided = is_strided(ctx->def);
    int rc = int_input_from_attr(ctx->attr[SLICE_AXES], &r->axes, ctx->err);
    if (rc == 0)
        rc = int_input_read(ctx, SLICE_STARTS_LIST, SLICE_STARTS_TENSOR, ctx->attr[SLICE_STARTS],
                            &r->starts);
    if (rc == 0)
        rc = int_input_read(ctx, SLICE_ENDS_LIST, SLICE_ENDS_TENSOR, ctx->attr[SLICE_ENDS],
                            &r->ends);
    if (rc == 0 && r->strided)
        rc = int_input_read(ctx, STRIDED_STRIDES_LIST, STRIDED_STRIDES_TENSOR,
                            ctx->attr[SLICE_STRIDES], &r->strides);
    return rc;
}

// The attribute, or -1 for every axis when it says nothing because a tensor does.
static int described(const struct op_shape *shape, int attr, size_t axes, struct int_input *out)
{
    int rc = int_input_from_attr(shape->attr[attr], out, shape->err);
    for (; rc == 0 && out->count < axes && shape->attr[attr]->count == 0; out->count++)
        out->v[out->count] = -1;
    return rc;
}

// Does a tensor say something about axis k? Then its side is not known.
static bool is_fed(const struct op_shape *shape, bool strided, size_t k)
{
    const struct attr *flags = shape->attr[SLICE_FLAGS];
    bool any = int_input_is_fed(shape, SLICE_STARTS_LIST, SLICE_STARTS_TENSOR) ||
               int_input_is_fed(shape, SLICE_ENDS_LIST, SLICE_ENDS_TENSOR) ||
               (strided && int_input_is_fed(shape, STRIDED_STRIDES_LIST, STRIDED_STRIDES_TENSOR));
    return any ? k >= flags->count || flags->ints[k] == -1 || !shape->building
               : k < flags->count && flags->ints[k] == -1;
}

static int slice_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, SLICE_INPUT, 0);
    struct slice_request r = {.strided = is_strided(shape->def)};
    struct slice_box box;
    struct dims out;
    int rc = int_input_from_attr(shape->attr[SLICE_AXES], &r.axes, shape->err);
    if (rc == 0)
        rc = described(shape, SLICE_STARTS, r.axes.count, &r.starts);
    if (rc == 0)
        rc = described(shape, SLICE_ENDS, r.axes.count, &r.ends);
    if (rc == 0 && r.strided)
        rc = described(shape, SLICE_STRIDES, r.axes.count, &r.strides);
    if (rc == 0)
        rc = check_request(&r, shape->err);
    box_start(&box, &x->dims);
    for (size_t k = 0; rc == 0 && k < r.axes.count; k++) {
        int axis = op_axis(r.axes.v[k], x->dims.rank);
        if (axis < 0)
            rc = err_set(shape->err, SL_EINVAL, "axis %lld is not within X's rank %d",
                         (long long)r.axes.v[k], x->dims.rank);
        else if (is_fed(shape, r.strided, k))
            box.dims.d[axis] = -1;
        else if (box.dims.d[axis] >= 0)
            rc = cut_axis(&r, k, axis, &box, shape->err);
    }
    bool described_only = shape->building;
    for (int i = 0; i < box.dims.rank; i++)
        described_only |= box.dims.d[i] < 0;
    if (rc == 0)
        rc = decrease(&box.dims, shape->attr[SLICE_DECREASE], described_only, &out, shape->err);
    if (rc == 0)
        op_shape_set(shape, 0, 0, &out, x->dtype,
                     out.rank > 0 && x->dims.rank > 0 && out.d[0] == x->dims.d[0] &&
                             (r.strided || r.axes.v[0] != 0)
                         ? x
                         : NULL);
    return rc;
}

// The copy between the box's place in X and a dense Out; *out_first is where the box begins in X.
static void plan_copy(const struct slice_box *box, const struct dims *x, bool to_x,
                      struct strided *out, int64_t *out_first)
{
    int64_t in_x[LIMIT_RANK], dense[LIMIT_RANK];
    *out = (struct strided){.rank = 0};
    *out_first = 0;
    strided_of(x, in_x);
    strided_of(&box->dims, dense);
    for (int i = 0; i < x->rank; i++) {
        int64_t stride = in_x[i] * box->step[i];
        *out_first += in_x[i] * box->first[i];
        strided_add_dim(out, box->dims.d[i], to_x ? stride : dense[i], to_x ? dense[i] : stride);
    }
}

static int slice_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, SLICE_INPUT);
    struct tensor *out = op_out(ctx, 0);
    struct slice_request r;
    struct slice_box box;
    struct strided s;
    struct dims dims;
    int64_t first;
    int rc = read_request(ctx, &r);
    if (rc == 0)
        rc = cut(&r, &x->dims, &box, ctx->err);
    if (rc == 0)
        rc = decrease(&box.dims, ctx->attr[SLICE_DECREASE], false, &dims, ctx->err);
    if (rc == 0)
        rc = op_resize(out, x->dtype, &dims, ctx->err);
    if (rc < 0)
        return rc;
    plan_copy(&box, &x->dims, false, &s, &first);
    if (!s.empty)
        strided_copy(&s, x->dtype, out->data,
                     (const char *)x->data + first * (int64_t)dtype_bytes(x->dtype));
    return 0;
}

static int slice_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, SLICE_INPUT);
    const struct tensor *dout = op_in(ctx, is_strided(ctx->def) ? STRIDED_DOUT : SLICE_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    struct slice_request r;
    struct slice_box box;
    struct strided s;
    int64_t first;
    int rc = dx == NULL ? 0 : read_request(ctx, &r);
    if (rc < 0 || dx == NULL)
        return rc;
    if ((rc = cut(&r, &x->dims, &box, ctx->err)) < 0)
        return rc;
    if (tensor_count(dout) != (uint64_t)dims_product(&box.dims, 0, box.dims.rank) ||
        dout->dtype != dx->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "Out@GRAD has not the size and type of Out");
    if (tensor_bytes(dx) > 0)
        memset(dx->data, 0, tensor_bytes(dx));
    plan_copy(&box, &x->dims, true, &s, &first);
    if (!s.empty)
        strided_copy(&s, dx->dtype, (char *)dx->data + first * (int64_t)dtype_bytes(dx->dtype),
                     dout->data);
    return 0;
}

// dX has X's shape and no LoD.
static int dx_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    op_shape_set(shape, 0, 0, &x->dims, x->dtype, NULL);
    return 0;
}

const struct op_def op_slice = {
    .type = "slice",
    .inputs = slice_inputs,
    .outputs = out_output,
    .attrs = slice_attrs,
    .grad = {.type = "slice_grad",
             .inputs = "Input StartsTensor EndsTensor StartsTensorList EndsTensorList Out@GRAD",
             .outputs = "Input@GRAD"},
    .infer_shape = slice_infer,
    .kernel = slice_forward,
    .kernel_resizes = true,
};

const struct op_def op_slice_grad = {
    .type = "slice_grad",
    .inputs = slice_grad_inputs,
    .outputs = input_grad_output,
    .attrs = slice_attrs,
    .infer_shape = dx_infer,
    .kernel = slice_backward,
};

const struct op_def op_slice_strided = {
    .type = "strided_slice",
    .inputs = strided_inputs,
    .outputs = out_output,
    .attrs = strided_attrs,
    .grad = {.type = "strided_slice_grad",
             .inputs = "Input StartsTensor EndsTensor StartsTensorList EndsTensorList "
                       "StridesTensor StridesTensorList Out@GRAD",
             .outputs = "Input@GRAD"},
    .infer_shape = slice_infer,
    .kernel = slice_forward,
    .kernel_resizes = true,
};

const struct op_def op_slice_strided_grad = {
    .type = "strided_slice_grad",
    .inputs = strided_grad_inputs,
    .outputs = input_grad_output,
    .attrs = strided_attrs,
    .infer_shape = dx_infer,
    .kernel = slice_backward,
};
