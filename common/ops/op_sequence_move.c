// SPDX-License-Identifier: Apache-2.0
// Ops that only move rows of sequences; any element type that numbers have. All take one LoD level.
//
//   sequence_concat   sequence k of Out: sequence k of X_0, then of X_1, ..   dX_i: its part of
//   dOut sequence_reverse  each sequence from its end to its start                 dX = dY reversed
//   sequence_slice    Length[k] rows of sequence k from its row Offset[k] on  dX: 0 elsewhere
//   sequence_reshape  the elements of each sequence as rows of new_dim        dX = dOut as X's rows
//
// sequence_reverse is its own gradient, so it needs dY to have Y's LoD.

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/ops/number.h"
#include "common/ops/row_index.h"
#include "common/ops/sequence.h"
#include "common/program/op_desc.h"

extern const struct op_def op_sequence_move_concat, op_sequence_move_concat_grad;
extern const struct op_def op_sequence_move_reverse;
extern const struct op_def op_sequence_move_slice, op_sequence_move_slice_grad;
extern const struct op_def op_sequence_move_reshape, op_sequence_move_reshape_grad;

static const struct op_attr_def no_attrs[] = {{.name = NULL}};
static const struct op_slot_def x_out[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def dx_out[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

enum { CONCAT_X, CONCAT_DOUT };
static const struct op_slot_def concat_inputs[] = {{"X", OP_SLOT_LIST}, {NULL, 0}};
static const struct op_slot_def concat_grad_inputs[] = {
    {"X", OP_SLOT_LIST}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def concat_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_LIST | OP_SLOT_OPTIONAL}, {NULL, 0}};

static const struct op_slot_def reverse_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def reverse_outputs[] = {{"Y", 0}, {NULL, 0}};

enum { SLICE_X, SLICE_OFFSET, SLICE_LENGTH, SLICE_DOUT };
static const struct op_slot_def slice_inputs[] = {
    {"X", 0}, {"Offset", 0}, {"Length", 0}, {NULL, 0}};
static const struct op_slot_def slice_grad_inputs[] = {
    {"X", 0}, {"Offset", 0}, {"Length", 0}, {"Out@GRAD", 0}, {NULL, 0}};

enum { RESHAPE_NEW_DIM };
static const struct op_attr_def reshape_attrs[] = {
    {.name = "new_dim", .type = ATTR_INT, .required = true},
    {.name = NULL},
};
enum { RESHAPE_X, RESHAPE_DOUT };
static const struct op_slot_def reshape_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def reshape_grad_inputs[] = {{"X", 0}, {"Out@GRAD", 0}, {NULL, 0}};

// ---- concat

static int concat_infer(struct op_shape *shape)
{
    const struct op_var_dims *first = op_shape_in(shape, CONCAT_X, 0);
    int level = 0;
    struct dims out = first->dims;
    out.d[0] = 0;
    for (size_t i = 0; i < shape->in[CONCAT_X].count; i++) {
        const struct op_var_dims *x = op_shape_in(shape, CONCAT_X, i);
        bool fits = x != NULL && x->dims.rank >= 1 && x->dims.rank == first->dims.rank;
        for (int d = 1; fits && d < x->dims.rank; d++)
            fits = op_dims_fit(x->dims.d[d], first->dims.d[d]);
        if (!fits)
            return err_set(shape->err, SL_EMISMATCH, "argument %zu of X has not rows like X 0", i);
        out.d[0] = x->dims.d[0] < 0 || out.d[0] < 0 ? -1 : out.d[0] + x->dims.d[0];
        level = x->lod_level > level ? x->lod_level : level;
    }
    sequence_set_shape(shape, 0, &out, first->dtype, level);
    return 0;
}

static int concat_grad_infer(struct op_shape *shape)
{
    for (size_t i = 0; i < shape->in[CONCAT_X].count; i++) {
        const struct op_var_dims *x = op_shape_in(shape, CONCAT_X, i);
        if (x == NULL)
            return err_set(shape->err, SL_EINVAL, "argument %zu of X is missing", i);
        op_shape_set(shape, 0, i, &x->dims, x->dtype, shape->building ? NULL : x);
    }
    return 0;
}

// The sequences of X_i; all must have as many, and rows like those of X_0 and type `dtype`.
static int concat_part(const struct op_ctx *ctx, size_t i, enum dtype dtype,
                       const struct sequences *first, struct sequences *out)
{
    const struct tensor *x = op_in_at(ctx, CONCAT_X, i);
    int rc = sequence_read_only(ctx, "X", x, out);
    if (rc == 0 && (x->dtype != dtype || out->count != first->count || out->width != first->width))
        rc = err_set(ctx->err, SL_EMISMATCH,
                     "argument %zu of X is %zu sequences of %s rows, X 0 is %zu of %s", i,
                     out->count, dtype_name((int)x->dtype), first->count, dtype_name((int)dtype));
    return rc < 0 ? err_prefix(ctx->err, "argument %zu", i) : 0;
}

static int concat_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, CONCAT_X);
    struct tensor *out = op_out(ctx, 0);
    struct sequences first, s;
    struct dims dims = x->dims;
    int rc = sequence_read_only(ctx, "X", x, &first);
    if (rc < 0)
        return rc;
    dims.d[0] = 0;
    for (size_t i = 0; i < ctx->in[CONCAT_X].count; i++) {
        rc = concat_part(ctx, i, x->dtype, &first, &s);
        if (rc < 0)
            return rc;
        dims.d[0] += op_in_at(ctx, CONCAT_X, i)->dims.d[0];
    }
    rc = sequence_size(ctx, out, x->dtype, &dims);
    uint64_t *offsets = NULL;
    if (rc == 0)
        rc = sequence_level(ctx, out, 1, 0, first.count + 1, &offsets);
    if (rc < 0)
        return rc;
    size_t row = (size_t)first.width * dtype_bytes(x->dtype);
    char *to = out->data;
    offsets[0] = 0;
    for (size_t k = 0; k < first.count; k++) {
        offsets[k + 1] = offsets[k];
        for (size_t i = 0; i < ctx->in[CONCAT_X].count; i++) {
            const struct tensor *part = op_in_at(ctx, CONCAT_X, i);
            const uint64_t *at = part->lod[0].offsets;
            size_t bytes = (at[k + 1] - at[k]) * row;
            if (bytes > 0)
                memcpy(to, (const char *)part->data + at[k] * row, bytes);
            to += bytes;
            offsets[k + 1] += at[k + 1] - at[k];
        }
    }
    return 0;
}

static int concat_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, CONCAT_X), *dout = op_in(ctx, CONCAT_DOUT);
    struct sequences first, s;
    int64_t rows = 0;
    int rc = sequence_read_only(ctx, "X", x, &first);
    for (size_t i = 0; rc == 0 && i < ctx->in[CONCAT_X].count; i++) {
        rc = concat_part(ctx, i, x->dtype, &first, &s);
        rows += op_in_at(ctx, CONCAT_X, i)->dims.d[0];
    }
    if (rc == 0)
        rc = sequence_check_rows(ctx, "Out@GRAD", dout, &first, rows);
    for (size_t i = 0; rc == 0 && i < ctx->out[0].count; i++)
        if (op_out_at(ctx, 0, i) != NULL)
            rc = sequence_check_apart(ctx, op_out_at(ctx, 0, i));
    if (rc == 0 && dout->dtype != x->dtype)
        rc = err_set(ctx->err, SL_EMISMATCH, "Out@GRAD must have X's element type");
    if (rc < 0)
        return rc;
    size_t row = (size_t)first.width * dtype_bytes(x->dtype);
    const char *from = dout->data;
    for (size_t k = 0; k < first.count; k++) {
        for (size_t i = 0; i < ctx->in[CONCAT_X].count; i++) {
            struct tensor *dx = op_out_at(ctx, 0, i);
            const uint64_t *at = op_in_at(ctx, CONCAT_X, i)->lod[0].offsets;
            size_t bytes = (at[k + 1] - at[k]) * row;
            if (dx != NULL && bytes > 0)
                memcpy((char *)dx->data + at[k] * row, from, bytes);
            from += bytes;
        }
    }
    return 0;
}

// ---- reverse

static int reverse_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    if (x->dims.rank < 2)
        return err_set(shape->err, SL_EINVAL, "X must have two dimensions or more");
    op_shape_copy(shape, 0, 0, x);
    return 0;
}

static int reverse_kernel(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *y = op_out(ctx, 0);
    struct sequences s;
    int rc = sequence_read_only(ctx, "X", x, &s);
    if (rc < 0)
        return rc;
    rc = sequence_check_apart(ctx, y);
    if (rc < 0)
        return rc;
    size_t row = (size_t)s.width * dtype_bytes(x->dtype);
    char *to = y->data;
    for (size_t k = 0; row > 0 && k < s.count; k++)
        for (uint64_t i = s.offsets[k + 1]; i > s.offsets[k]; i--, to += row)
            memcpy(to, (const char *)x->data + (i - 1) * row, row);
    return 0;
}

static int reverse_make_grad(const struct op_desc *forward, struct op_desc **out, int out_max)
{
    const char *x = op_desc_input1(forward, "X"), *y = op_desc_output1(forward, "Y");
    if (out_max < 1 || x == NULL || y == NULL)
        return 0;
    struct op_desc *op = op_desc_new("sequence_reverse");
    char *dy = mem_must_printf("%s" GRAD_SUFFIX, y), *dx = mem_must_printf("%s" GRAD_SUFFIX, x);
    op_desc_add_input(op, "X", dy);
    op_desc_add_output(op, "Y", dx);
    for (size_t i = 0; i < forward->attrs_count; i++)
        op_desc_set_attr(op, &forward->attrs[i]);
    mem_free(dy);
    mem_free(dx);
    out[0] = op;
    return 1;
}

// ---- slice

static int slice_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, SLICE_X, 0);
    for (int s = SLICE_OFFSET; s <= SLICE_LENGTH; s++) {
        const struct op_var_dims *number = op_shape_in(shape, s, 0);
        if (number->dims.rank != 2 || !op_dims_fit(number->dims.d[1], 1))
            return err_set(shape->err, SL_EMISMATCH, "%s must be [sequences, 1]",
                           shape->def->inputs[s].name);
    }
    if (x->dims.rank < 1)
        return err_set(shape->err, SL_EMISMATCH, "X must have rows");
    if (shape->def == &op_sequence_move_slice)
        sequence_set_shape(shape, 0, &x->dims, x->dtype, 0);
    else
        op_shape_set(shape, 0, 0, &x->dims, x->dtype, shape->building ? NULL : x);
    return 0;
}

// X's sequences, and all offsets and lengths judged. Returns how many rows the slices have.
static int64_t slice_read(const struct op_ctx *ctx, struct sequences *s)
{
    const struct tensor *x = op_in(ctx, SLICE_X);
    int rc = sequence_read_only(ctx, "X", x, s);
    if (rc < 0)
        return rc;
    int64_t rows = 0;
    for (int slot = SLICE_OFFSET; slot <= SLICE_LENGTH; slot++) {
        const struct tensor *t = op_in(ctx, slot);
        if (t->dtype != DTYPE_INT64 && t->dtype != DTYPE_INT32)
            return op_bad_dtype(ctx, (int)t->dtype);
        if (tensor_count(t) != s->count)
            return err_set(ctx->err, SL_EMISMATCH, "%s has %llu numbers for %zu sequences",
                           ctx->def->inputs[slot].name, (unsigned long long)tensor_count(t),
                           s->count);
    }
    for (size_t k = 0; k < s->count; k++) {
        int64_t offset = row_index_at(op_in(ctx, SLICE_OFFSET), k),
                length = row_index_at(op_in(ctx, SLICE_LENGTH), k), has = sequence_length(s, k);
        if (offset < 0 || length < 0 || offset > has || length > has - offset)
            return err_set(ctx->err, SL_EINVAL,
                           "sequence %zu has %lld rows; %lld rows from %lld on are asked for", k,
                           (long long)has, (long long)length, (long long)offset);
        rows += length;
    }
    return rows;
}

static int slice_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, SLICE_X), *offset = op_in(ctx, SLICE_OFFSET),
                        *length = op_in(ctx, SLICE_LENGTH);
    struct tensor *out = op_out(ctx, 0);
    struct sequences s;
    int64_t rows = slice_read(ctx, &s);
    if (rows < 0)
        return (int)rows;
    struct dims dims = x->dims;
    dims.d[0] = rows;
    int rc = sequence_size(ctx, out, x->dtype, &dims);
    uint64_t *offsets = NULL;
    if (rc == 0)
        rc = sequence_level(ctx, out, 1, 0, s.count + 1, &offsets);
    if (rc < 0)
        return rc;
    size_t row = (size_t)s.width * dtype_bytes(x->dtype);
    char *to = out->data;
    offsets[0] = 0;
    for (size_t k = 0; k < s.count; k++) {
        uint64_t from = s.offsets[k] + (uint64_t)row_index_at(offset, k);
        size_t bytes = (size_t)row_index_at(length, k) * row;
        if (bytes > 0)
            memcpy(to, (const char *)x->data + from * row, bytes);
        to += bytes;
        offsets[k + 1] = offsets[k] + (uint64_t)row_index_at(length, k);
    }
    return 0;
}

static int slice_backward(struct op_ctx *ctx)
{
    const struct tensor *offset = op_in(ctx, SLICE_OFFSET), *length = op_in(ctx, SLICE_LENGTH),
                        *dout = op_in(ctx, SLICE_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    struct sequences s;
    if (dx == NULL)
        return 0;
    int64_t rows = slice_read(ctx, &s);
    int rc = rows < 0 ? (int)rows : sequence_check_rows(ctx, "Out@GRAD", dout, &s, rows);
    if (rc == 0)
        rc = sequence_check_apart(ctx, dx);
    if (rc == 0 && dout->dtype != dx->dtype)
        rc = err_set(ctx->err, SL_EMISMATCH, "Out@GRAD must have X's element type");
    if (rc < 0)
        return rc;
    size_t row = (size_t)s.width * dtype_bytes(dx->dtype);
    const char *from = dout->data;
    if (tensor_bytes(dx) > 0)
        memset(dx->data, 0, tensor_bytes(dx));
    for (size_t k = 0; k < s.count; k++) {
        uint64_t at = s.offsets[k] + (uint64_t)row_index_at(offset, k);
        size_t bytes = (size_t)row_index_at(length, k) * row;
        if (bytes > 0)
            memcpy((char *)dx->data + at * row, from, bytes);
        from += bytes;
    }
    return 0;
}

// ---- reshape

static int reshape_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, RESHAPE_X, 0);
    int64_t new_dim = shape->attr[RESHAPE_NEW_DIM]->i;
    if (x->dims.rank != 2 || new_dim < 1)
        return err_set(shape->err, SL_EINVAL,
                       "X must be [rows, width] and new_dim positive, not %lld",
                       (long long)new_dim);
    struct dims out = {.rank = 2, .d = {-1, new_dim}};
    sequence_set_shape(shape, 0, &out, x->dtype, x->lod_level);
    return 0;
}

static int reshape_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, RESHAPE_X);
    struct tensor *out = op_out(ctx, 0);
    int64_t new_dim = ctx->attr[RESHAPE_NEW_DIM]->i;
    struct sequences s;
    int rc = sequence_read_only(ctx, "X", x, &s);
    if (rc < 0)
        return rc;
    for (size_t k = 0; k < s.count; k++)
        if (sequence_length(&s, k) * s.width % new_dim != 0)
            return err_set(ctx->err, SL_EMISMATCH,
                           "sequence %zu has %lld rows of %lld elements: no rows of %lld", k,
                           (long long)sequence_length(&s, k), (long long)s.width,
                           (long long)new_dim);
    struct dims dims = {.rank = 2, .d = {x->dims.d[0] * s.width / new_dim, new_dim}};
    rc = sequence_size(ctx, out, x->dtype, &dims);
    uint64_t *offsets = NULL;
    if (rc == 0)
        rc = sequence_level(ctx, out, 1, 0, s.count + 1, &offsets);
    if (rc < 0)
        return rc;
    for (size_t k = 0; k <= s.count; k++)
        offsets[k] = s.offsets[k] * (uint64_t)s.width / (uint64_t)new_dim;
    if (tensor_bytes(x) > 0)
        memcpy(out->data, x->data, tensor_bytes(x));
    return 0;
}

static int reshape_backward(struct op_ctx *ctx)
{
    return sequence_back_same(ctx, op_in(ctx, RESHAPE_DOUT), op_out(ctx, 0));
}

const struct op_def op_sequence_move_concat = {
    .type = "sequence_concat",
    .inputs = concat_inputs,
    .outputs = x_out,
    .attrs = no_attrs,
    .grad = {.type = "sequence_concat_grad", .inputs = "X Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = concat_infer,
    .kernel = concat_forward,
    .kernel_resizes = true,
};

const struct op_def op_sequence_move_concat_grad = {
    .type = "sequence_concat_grad",
    .inputs = concat_grad_inputs,
    .outputs = concat_grad_outputs,
    .attrs = no_attrs,
    .infer_shape = concat_grad_infer,
    .kernel = concat_backward,
};

const struct op_def op_sequence_move_reverse = {
    .type = "sequence_reverse",
    .inputs = reverse_inputs,
    .outputs = reverse_outputs,
    .attrs = no_attrs,
    .grad = {.make = reverse_make_grad},
    .infer_shape = reverse_infer,
    .kernel = reverse_kernel,
};

const struct op_def op_sequence_move_slice = {
    .type = "sequence_slice",
    .inputs = slice_inputs,
    .outputs = x_out,
    .attrs = no_attrs,
    .grad = {.type = "sequence_slice_grad",
             .inputs = "X Offset Length Out@GRAD",
             .outputs = "X@GRAD"},
    .infer_shape = slice_infer,
    .kernel = slice_forward,
    .kernel_resizes = true,
};

const struct op_def op_sequence_move_slice_grad = {
    .type = "sequence_slice_grad",
    .inputs = slice_grad_inputs,
    .outputs = dx_out,
    .attrs = no_attrs,
    .infer_shape = slice_infer,
    .kernel = slice_backward,
};

const struct op_def op_sequence_move_reshape = {
    .type = "sequence_reshape",
    .inputs = reshape_inputs,
    .outputs = x_out,
    .attrs = reshape_attrs,
    .grad = {.type = "sequence_reshape_grad", .inputs = "X Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = reshape_infer,
    .kernel = reshape_forward,
    .kernel_resizes = true,
};

const struct op_def op_sequence_move_reshape_grad = {
    .type = "sequence_reshape_grad",
    .inputs = reshape_grad_inputs,
    .outputs = dx_out,
    .attrs = reshape_attrs,
    .kernel = reshape_backward,
};
