// SPDX-License-Identifier: Apache-2.0
// Rows or sequences repeated as often as the sequences of Y are long.
//
//   sequence_expand     r_k = length of sequence k of Y's level ref_level (-1: the last)
//     X without LoD     Out: row k of X, r_k times; Out has no LoD
//     X with one level  Out: sequence k of X, r_k times, each a sequence of Out
//   sequence_expand_as  Y has one level; Out: row k of X, r_k times, with Y's LoD
//
//   dX = the sum of dOut over the repetitions, in their order
//
// Elements of Y are not looked at.

#include <string.h>

#include "common/base/err.h"
#include "common/ops/number.h"
#include "common/ops/op_clones.h"
#include "common/ops/sequence.h"

extern const struct op_def op_sequence_expand, op_sequence_expand_grad;
extern const struct op_def op_sequence_expand_as, op_sequence_expand_as_grad;

enum { EXPAND_REF_LEVEL };
static const struct op_attr_def expand_attrs[] = {
    OP_ATTR_INT("ref_level", -1),
    {.name = NULL},
};
static const struct op_attr_def no_attrs[] = {{.name = NULL}};
enum { EXPAND_X, EXPAND_Y, EXPAND_DOUT };
static const struct op_slot_def expand_inputs[] = {{"X", 0}, {"Y", 0}, {NULL, 0}};
static const struct op_slot_def expand_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def expand_grad_inputs[] = {
    {"X", 0}, {"Y", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def expand_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

static int expand_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, EXPAND_X, 0),
                             *y = op_shape_in(shape, EXPAND_Y, 0);
    bool as = shape->def == &op_sequence_expand_as;
    int64_t level = as ? 0 : shape->attr[EXPAND_REF_LEVEL]->i;
    int rc = sequence_check_level(shape, EXPAND_Y, 1);
    if (rc < 0)
        return rc;
    if (x->dims.rank < 2)
        return err_set(shape->err, SL_EINVAL, "X must have two dimensions or more");
    if (level < -1 || (shape->building && level >= y->lod_level))
        return err_set(shape->err, SL_EINVAL, "ref_level is %lld; Y has %d LoD levels",
                       (long long)level, y->lod_level);
    struct dims out = x->dims;
    out.d[0] = -1;
    sequence_set_shape(shape, 0, &out, x->dtype, as ? y->lod_level : x->lod_level);
    return 0;
}

static int expand_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, EXPAND_X, 0);
    bool as = shape->def == &op_sequence_expand_as_grad;
    op_shape_set(shape, 0, 0, &x->dims, x->dtype, shape->building && !as ? NULL : x);
    return 0;
}

// What is repeated, and how often: piece k of X has length(k) rows and occurs times(k) times.
struct expand {
    struct sequences times;
    struct sequences pieces;   // offsets NULL: pieces are rows
    int64_t rows_out;
    size_t sequences_out;
    int64_t width;
};

static inline int64_t piece_rows(const struct expand *e, size_t k)
{
    return e->pieces.offsets ? sequence_length(&e->pieces, k) : 1;
}

static int read_expand(const struct op_ctx *ctx, bool as, struct expand *e)
{
    const struct tensor *x = op_in(ctx, EXPAND_X), *y = op_in(ctx, EXPAND_Y);
    *e = (struct expand){.width = dims_product(&x->dims, 1, x->dims.rank)};
    int rc = as ? sequence_read_only(ctx, "Y", y, &e->times)
                : sequence_read_level(ctx, "Y", y, (int)ctx->attr[EXPAND_REF_LEVEL]->i, &e->times);
    if (rc == 0 && !as && x->lod_levels > 0)
        rc = sequence_read_only(ctx, "X", x, &e->pieces);
    if (rc < 0)
        return rc;
    size_t pieces = e->pieces.offsets ? e->pieces.count : (size_t)x->dims.d[0];
    if (pieces != e->times.count)
        return err_set(ctx->err, SL_EMISMATCH, "X has %zu %s for %zu sequences of Y", pieces,
                       e->pieces.offsets ? "sequences" : "rows", e->times.count);
    for (size_t k = 0; k < pieces; k++) {
        int64_t rows;
        if (__builtin_mul_overflow(sequence_length(&e->times, k), piece_rows(e, k), &rows) ||
            __builtin_add_overflow(e->rows_out, rows, &e->rows_out))
            return err_set(ctx->err, SL_ELIMIT, "Out would have too many rows");
        e->sequences_out += (size_t)sequence_length(&e->times, k);
    }
    return 0;
}

// Out's LoD: every repetition is a sequence.
static int set_lod(const struct op_ctx *ctx, struct tensor *out, const struct expand *e)
{
    uint64_t *offsets;
    if (e->pieces.offsets == NULL) {
        tensor_clear_lod(out);
        return 0;
    }
    int rc = sequence_level(ctx, out, 1, 0, e->sequences_out + 1, &offsets);
    if (rc < 0)
        return rc;
    *offsets = 0;
    for (size_t k = 0; k < e->times.count; k++)
        for (int64_t i = 0; i < sequence_length(&e->times, k); i++, offsets++)
            offsets[1] = offsets[0] + (uint64_t)piece_rows(e, k);
    return 0;
}

static int expand_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, EXPAND_X);
    struct tensor *out = op_out(ctx, 0);
    bool as = ctx->def == &op_sequence_expand_as;
    struct expand e;
    int rc = read_expand(ctx, as, &e);
    if (rc < 0)
        return rc;
    struct dims dims = x->dims;
    dims.d[0] = e.rows_out;
    rc = sequence_size(ctx, out, x->dtype, &dims);
    if (rc == 0)
        rc = as ? sequence_take_lod(ctx, out, op_in(ctx, EXPAND_Y), 1) : set_lod(ctx, out, &e);
    if (rc < 0)
        return rc;
    size_t row = (size_t)e.width * dtype_bytes(x->dtype);
    const char *from = x->data;
    char *to = out->data;
    for (size_t k = 0; row > 0 && k < e.times.count; k++) {
        size_t bytes = (size_t)piece_rows(&e, k) * row;
        for (int64_t i = 0; bytes > 0 && i < sequence_length(&e.times, k); i++, to += bytes)
            memcpy(to, from, bytes);
        from += bytes;
    }
    return 0;
}

#define DEFINE_EXPAND(T, S)                                                                        \
    OP_CLONES static void add_##S(T *restrict to, const T *restrict from, int64_t n)               \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            to[i] += from[i];                                                                      \
    }                                                                                              \
    static void expand_back_##S(T *dx, const T *dout, const struct expand *e)                      \
    {                                                                                              \
        for (size_t k = 0; k < e->times.count; k++) {                                              \
            int64_t n = piece_rows(e, k) * e->width, times = sequence_length(&e->times, k);        \
            if (n > 0 && times > 0)                                                                \
                memcpy(dx, dout, (size_t)n * sizeof *dx);                                          \
            else if (n > 0)                                                                        \
                memset(dx, 0, (size_t)n * sizeof *dx);                                             \
            for (int64_t i = 1; i < times; i++)                                                    \
                add_##S(dx, dout + i * n, n);                                                      \
            dout += times * n;                                                                     \
            dx += n;                                                                               \
        }                                                                                          \
    }

DEFINE_EXPAND(float, f32)
DEFINE_EXPAND(double, f64)
DEFINE_EXPAND(int32_t, i32)
DEFINE_EXPAND(int64_t, i64)

static int expand_backward(struct op_ctx *ctx)
{
    const struct tensor *dout = op_in(ctx, EXPAND_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    struct expand e;
    if (dx == NULL)
        return 0;
    int rc = sequence_check_apart(ctx, dx);
    if (rc == 0)
        rc = read_expand(ctx, ctx->def == &op_sequence_expand_as_grad, &e);
    if (rc < 0)
        return rc;
    e.times.width = e.width;
    rc = sequence_check_rows(ctx, "Out@GRAD", dout, &e.times, e.rows_out);
    if (rc < 0 || tensor_count(dx) == 0)
        return rc;
    if (dout->dtype != dx->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "Out@GRAD must have X's element type");
    switch (number_of(dx->dtype)) {
    case NUMBER_F32:
        expand_back_f32(tensor_f32(dx), tensor_f32(dout), &e);
        return 0;
    case NUMBER_F64:
        expand_back_f64(tensor_f64(dx), tensor_f64(dout), &e);
        return 0;
    case NUMBER_I32:
        expand_back_i32(tensor_i32(dx), tensor_i32(dout), &e);
        return 0;
    case NUMBER_I64:
        expand_back_i64(tensor_i64(dx), tensor_i64(dout), &e);
        return 0;
    default:
        return op_bad_dtype(ctx, (int)dx->dtype);
    }
}

const struct op_def op_sequence_expand = {
    .type = "sequence_expand",
    .inputs = expand_inputs,
    .outputs = expand_outputs,
    .attrs = expand_attrs,
    .grad = {.type = "sequence_expand_grad", .inputs = "X Y Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = expand_infer,
    .kernel = expand_forward,
    .kernel_resizes = true,
};

const struct op_def op_sequence_expand_grad = {
    .type = "sequence_expand_grad",
    .inputs = expand_grad_inputs,
    .outputs = expand_grad_outputs,
    .attrs = expand_attrs,
    .infer_shape = expand_grad_infer,
    .kernel = expand_backward,
};

const struct op_def op_sequence_expand_as = {
    .type = "sequence_expand_as",
    .inputs = expand_inputs,
    .outputs = expand_outputs,
    .attrs = no_attrs,
    .grad = {.type = "sequence_expand_as_grad", .inputs = "X Y Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = expand_infer,
    .kernel = expand_forward,
    .kernel_resizes = true,
};

const struct op_def op_sequence_expand_as_grad = {
    .type = "sequence_expand_as_grad",
    .inputs = expand_grad_inputs,
    .outputs = expand_grad_outputs,
    .attrs = no_attrs,
    .infer_shape = expand_grad_infer,
    .kernel = expand_backward,
};
