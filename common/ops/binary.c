// SPDX-License-Identifier: Apache-2.0
// Shapes and walks of the ops of two operands. A gradient nobody asks for is not computed.

#include "common/ops/binary.h"

#include <string.h>

#include "common/base/err.h"

struct walk {
    struct binary_grad_run run;
    size_t bytes;   // of an element
    bool of_x;      // d is X's gradient
};

static int infer(struct op_shape *shape, int dtype);
static void operand_grad(const struct broadcast *b, struct walk *walk, binary_grad_row *row);

const struct op_slot_def binary_inputs[] = {{"X", 0}, {"Y", 0}, {NULL, 0}};
const struct op_slot_def binary_outputs[] = {{"Out", 0}, {NULL, 0}};
const struct op_slot_def binary_grad_inputs[] = {{"X", 0}, {"Y", 0}, {"Out@GRAD", 0}, {NULL, 0}};
const struct op_slot_def binary_grad_inputs_with_out[] = {
    {"X", 0}, {"Y", 0}, {"Out", 0}, {"Out@GRAD", 0}, {NULL, 0}};
const struct op_slot_def binary_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_OPTIONAL}, {"Y@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

int binary_infer(struct op_shape *shape)
{
    return infer(shape, op_shape_in(shape, BINARY_X, 0)->dtype);
}

int binary_infer_bool(struct op_shape *shape)
{
    return infer(shape, DTYPE_BOOL);
}

int binary_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, BINARY_X, 0);
    const struct op_var_dims *y = op_shape_in(shape, BINARY_Y, 0);
    bool has_out = shape->def->inputs == binary_grad_inputs_with_out;
    const struct op_var_dims *dout = op_shape_in(shape, has_out ? 3 : 2, 0);
    struct dims out;
    bool fits = broadcast_dims(&x->dims, &y->dims, shape->attr[BINARY_AXIS]->i, &out);
    for (int k = 0; k <= (int)has_out && fits; k++) {
        const struct dims *dims = k == 0 ? &dout->dims : &op_shape_in(shape, 2, 0)->dims;
        fits = out.rank == dims->rank;
        for (int i = 0; fits && i < out.rank; i++)
            fits = op_dims_fit(out.d[i], dims->d[i]);
    }
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH,
                       "Out@GRAD (or Out) has not the shape of X and Y together");
    op_shape_default(shape);
    return 0;
}

int binary_forward(struct op_ctx *ctx, const struct binary_rows *rows)
{
    const struct tensor *x = op_in(ctx, BINARY_X), *y = op_in(ctx, BINARY_Y);
    struct tensor *out = op_out(ctx, 0);
    int number = number_of(x->dtype);
    struct broadcast b;
    if (number < 0 || rows->row[number] == NULL)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (x->dtype != y->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "X is %s but Y is %s", dtype_name((int)x->dtype),
                       dtype_name((int)y->dtype));
    broadcast_plan(&x->dims, &y->dims, ctx->attr[BINARY_AXIS]->i, &b);
    size_t bytes = dtype_bytes(x->dtype), out_bytes = dtype_bytes(out->dtype);
    struct broadcast_at at = {0};
    bool exchange = rows->exchanges && x->dims.rank < y->dims.rank;
    if (b.empty)
        return 0;
    do {
        int last = b.rank - 1;
        void *to = (char *)out->data + at.out * (int64_t)out_bytes;
        const void *from_x = (const char *)x->data + at.x * (int64_t)bytes;
        const void *from_y = (const char *)y->data + at.y * (int64_t)bytes;
        if (exchange)
            rows->row[number](to, from_y, from_x, b.d[last], b.y[last], b.x[last]);
        else
            rows->row[number](to, from_x, from_y, b.d[last], b.x[last], b.y[last]);
    } while (broadcast_next(&b, &at));
    return 0;
}

int binary_backward(struct op_ctx *ctx, const struct binary_grads *dx,
                    const struct binary_grads *dy)
{
    bool has_out = ctx->def->inputs == binary_grad_inputs_with_out;
    const struct tensor *x = op_in(ctx, BINARY_X), *y = op_in(ctx, BINARY_Y);
    const struct tensor *out = has_out ? op_in(ctx, 2) : NULL, *dout = op_in(ctx, has_out ? 3 : 2);
    int number = number_of(dout->dtype);
    struct broadcast b;
    if (number < 0 || dx->row[number] == NULL)
        return op_bad_dtype(ctx, (int)dout->dtype);
    if (x->dtype != dout->dtype || y->dtype != dout->dtype ||
        (has_out && out->dtype != dout->dtype))
        return err_set(ctx->err, SL_EMISMATCH, "X, Y and Out@GRAD have different element types");
    broadcast_plan(&x->dims, &y->dims, ctx->attr[BINARY_AXIS]->i, &b);
    for (int k = 0; k < 2; k++) {
        struct tensor *d = op_out(ctx, k);
        if (d == NULL || tensor_count(d) == 0)
            continue;
        struct walk walk = {.bytes = dtype_bytes(dout->dtype), .of_x = k == 0};
        walk.run =
            (struct binary_grad_run){.d = d->data, .dout = dout->data, .x = x->data, .y = y->data};
        walk.run.out = has_out ? out->data : dout->data;
        walk.run.add = k == 0 ? b.x_repeats : b.y_repeats;
        if (walk.run.add || b.empty)
            memset(d->data, 0, tensor_bytes(d));
        operand_grad(&b, &walk, (k == 0 ? dx : dy)->row[number]);
    }
    return 0;
}

static int infer(struct op_shape *shape, int dtype)
{
    const struct op_var_dims *x = op_shape_in(shape, BINARY_X, 0);
    const struct op_var_dims *y = op_shape_in(shape, BINARY_Y, 0);
    char x_text[DIMS_TEXT_MAX], y_text[DIMS_TEXT_MAX];
    struct dims out;
    if (!broadcast_dims(&x->dims, &y->dims, shape->attr[BINARY_AXIS]->i, &out))
        return err_set(shape->err, SL_EMISMATCH, "Y %s does not go along X %s from axis %lld",
                       dims_format(&y->dims, y_text), dims_format(&x->dims, x_text),
                       (long long)shape->attr[BINARY_AXIS]->i);
    op_shape_set(shape, 0, 0, &out, dtype, x->dims.rank >= y->dims.rank ? x : y);
    return 0;
}

static void operand_grad(const struct broadcast *b, struct walk *walk, binary_grad_row *row)
{
    const struct binary_grad_run base = walk->run;
    struct binary_grad_run *run = &walk->run;
    struct broadcast_at at = {0};
    int last = b->rank - 1;
    if (b->empty)
        return;
    run->n = b->d[last];
    run->x_moves = b->x[last] != 0;
    run->y_moves = b->y[last] != 0;
    run->d_moves = walk->of_x ? run->x_moves : run->y_moves;
    do {
        int64_t bytes = (int64_t)walk->bytes;
        run->d = (char *)base.d + (walk->of_x ? at.x : at.y) * bytes;
        run->dout = (const char *)base.dout + at.out * bytes;
        run->out = (const char *)base.out + at.out * bytes;
        run->x = (const char *)base.x + at.x * bytes;
        run->y = (const char *)base.y + at.y * bytes;
        row(run);
    } while (broadcast_next(b, &at));
}
