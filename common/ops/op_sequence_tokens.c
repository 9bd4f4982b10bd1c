// SPDX-License-Identifier: Apache-2.0
// Sequences of int32 or int64 numbers [rows, 1]. No gradients.
//
//   sequence_enumerate  Out[t] = X[t], .., X[t + win_size - 1], pad_value behind the sequence's end
//   sequence_erase      X without the numbers in `tokens`; the last LoD level shrinks
//   ctc_align           Input without blanks, and with merge_repeated without a number that repeats
//                       the one before it (a blank in between makes it new). With InputLength it is
//                       padded: [N, T] -> Output [N, T] filled up with padding_value and
//                       OutputLength [N, 1]. With LoD, when nothing is left: Output [[-1]].

#include "common/base/err.h"
#include "common/ops/row_index.h"
#include "common/ops/sequence.h"

extern const struct op_def op_sequence_tokens_enumerate, op_sequence_tokens_erase;
extern const struct op_def op_sequence_tokens_ctc_align;

enum { ENUMERATE_WIN, ENUMERATE_PAD };
static const struct op_attr_def enumerate_attrs[] = {
    {.name = "win_size", .type = ATTR_INT, .required = true},
    OP_ATTR_INT("pad_value", 0),
    OP_ATTR_BOOL("@ALL_KERNELS_MUST_COMPUTE_RUNTIME_SHAPE@", 1),
    {.name = NULL},
};
static const struct op_attr_def erase_attrs[] = {
    {.name = "tokens", .type = ATTR_INTS, .required = true},
    {.name = NULL},
};
static const struct op_slot_def x_in[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def out_out[] = {{"Out", 0}, {NULL, 0}};

enum { CTC_BLANK, CTC_MERGE, CTC_PADDING };
static const struct op_attr_def ctc_attrs[] = {
    OP_ATTR_INT("blank", 0),
    OP_ATTR_BOOL("merge_repeated", 1),
    OP_ATTR_INT("padding_value", 0),
    {.name = NULL},
};
enum { CTC_INPUT, CTC_LENGTH };
enum { CTC_OUTPUT, CTC_OUTPUT_LENGTH };
static const struct op_slot_def ctc_inputs[] = {
    {"Input", 0}, {"InputLength", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def ctc_outputs[] = {
    {"Output", 0}, {"OutputLength", OP_SLOT_OPTIONAL}, {NULL, 0}};

static void put(struct tensor *t, uint64_t i, int64_t value)
{
    if (t->dtype == DTYPE_INT64)
        tensor_i64(t)[i] = value;
    else
        tensor_i32(t)[i] = (int32_t)value;
}

static int check_tokens(const struct op_ctx *ctx, const struct tensor *x)
{
    return x->dtype == DTYPE_INT64 || x->dtype == DTYPE_INT32 ? 0
                                                              : op_bad_dtype(ctx, (int)x->dtype);
}

static int check_column(const struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    char text[DIMS_TEXT_MAX];
    if (x->dims.rank != 2 || !op_dims_fit(x->dims.d[1], 1))
        return err_set(shape->err, SL_EMISMATCH, "%s %s must be [rows, 1]",
                       shape->def->inputs[0].name, dims_format(&x->dims, text));
    return 0;
}

// ---- enumerate

static int enumerate_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    int64_t win = shape->attr[ENUMERATE_WIN]->i;
    int rc = check_column(shape);
    if (rc == 0 && win < 1)
        rc = err_set(shape->err, SL_EINVAL, "win_size is %lld, less than 1", (long long)win);
    if (rc < 0)
        return rc;
    const struct dims out = {.rank = 2, .d = {x->dims.d[0], win}};
    op_shape_set(shape, 0, 0, &out, x->dtype, x);
    return 0;
}

static int enumerate_kernel(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out = op_out(ctx, 0);
    int64_t win = ctx->attr[ENUMERATE_WIN]->i, pad = ctx->attr[ENUMERATE_PAD]->i;
    struct sequences s;
    int rc = check_tokens(ctx, x);
    if (rc == 0)
        rc = sequence_read_only(ctx, "X", x, &s);
    if (rc < 0)
        return rc;
    rc = sequence_check_apart(ctx, out);
    if (rc < 0)
        return rc;
    uint64_t at = 0;
    for (size_t k = 0; k < s.count; k++)
        for (uint64_t t = s.offsets[k]; t < s.offsets[k + 1]; t++)
            for (int64_t j = 0; j < win; j++)
                put(out, at++,
                    t + (uint64_t)j < s.offsets[k + 1] ? row_index_at(x, t + (uint64_t)j) : pad);
    return 0;
}

// ---- erase

static int erase_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    int rc = check_column(shape);
    if (rc == 0)
        sequence_set_shape(shape, 0, &x->dims, x->dtype, x->lod_level);
    return rc;
}

static bool is_erased(const struct attr *tokens, int64_t number)
{
    for (size_t i = 0; i < tokens->count; i++)
        if (tokens->ints[i] == number)
            return true;
    return false;
}

static int erase_kernel(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    const struct attr *tokens = ctx->attr[0];
    struct tensor *out = op_out(ctx, 0);
    struct sequences s;
    uint64_t *offsets = NULL;
    int64_t left = 0;
    int rc = check_tokens(ctx, x);
    if (rc == 0)
        rc = sequence_read(ctx, "X", x, &s);
    if (rc < 0)
        return rc;
    for (uint64_t i = 0; i < tensor_count(x); i++)
        left += !is_erased(tokens, row_index_at(x, i));
    const struct dims dims = {.rank = 2, .d = {left, 1}};
    rc = sequence_size(ctx, out, x->dtype, &dims);
    if (rc == 0)
        rc = sequence_take_lod(ctx, out, x, x->lod_levels);
    if (rc == 0)
        rc = sequence_level(ctx, out, x->lod_levels, x->lod_levels - 1, s.count + 1, &offsets);
    if (rc < 0)
        return rc;
    for (size_t k = 0; k < s.count; k++) {
        offsets[k + 1] = offsets[k];
        for (uint64_t i = s.offsets[k]; i < s.offsets[k + 1]; i++)
            if (!is_erased(tokens, row_index_at(x, i)))
                put(out, offsets[k + 1]++, row_index_at(x, i));
    }
    return 0;
}

// ---- ctc_align

static int ctc_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, CTC_INPUT, 0),
                             *length = op_shape_in(shape, CTC_LENGTH, 0);
    if (x->dims.rank != 2)
        return err_set(shape->err, SL_EMISMATCH, "Input must have two dimensions");
    if (length == NULL && !op_dims_fit(x->dims.d[1], 1))
        return err_set(shape->err, SL_EMISMATCH, "Input with LoD must be [rows, 1]");
    if (length != NULL && (length->dims.rank < 1 || !op_dims_fit(length->dims.d[0], x->dims.d[0])))
        return err_set(shape->err, SL_EMISMATCH, "InputLength must have one number a row of Input");
    sequence_set_shape(shape, CTC_OUTPUT, &x->dims, x->dtype, 0);
    if (length != NULL)
        sequence_set_shape(shape, CTC_OUTPUT_LENGTH,
                           &(struct dims){.rank = 2, .d = {x->dims.d[0], 1}}, x->dtype, 0);
    return 0;
}

// Aligns x[from, to) to out from `at` on (out NULL: counts only). Returns how many are left.
static uint64_t align(const struct op_ctx *ctx, struct tensor *out, uint64_t at,
                      const struct tensor *x, uint64_t from, uint64_t to)
{
    int64_t blank = ctx->attr[CTC_BLANK]->i, before = -1;
    bool merge = attr_bool(ctx->attr[CTC_MERGE]), any = false;
    uint64_t left = 0;
    for (uint64_t i = from; i < to; i++) {
        int64_t number = row_index_at(x, i);
        if (number != blank && !(merge && any && number == before)) {
            if (out != NULL)
                put(out, at + left, number);
            left++;
        }
        before = number;
        any = true;
    }
    return left;
}

static int ctc_with_lod(struct op_ctx *ctx, const struct tensor *x, struct tensor *out)
{
    struct sequences s;
    uint64_t *offsets = NULL;
    int rc = sequence_read_only(ctx, "Input", x, &s);
    if (rc == 0)
        rc = sequence_check_apart(ctx, out);
    if (rc == 0)
        rc = sequence_level(ctx, out, 1, 0, s.count + 1, &offsets);
    if (rc < 0)
        return rc;
    offsets[0] = 0;
    for (size_t k = 0; k < s.count; k++)
        offsets[k + 1] = offsets[k] + align(ctx, NULL, 0, x, s.offsets[k], s.offsets[k + 1]);
    uint64_t left = offsets[s.count];
    const struct dims dims = {.rank = 2, .d = {left > 0 ? (int64_t)left : 1, 1}};
    rc = op_resize(out, x->dtype, &dims, ctx->err);
    if (rc < 0)
        return rc;
    for (size_t k = 0; k < s.count; k++)
        align(ctx, out, offsets[k], x, s.offsets[k], s.offsets[k + 1]);
    if (left == 0)
        put(out, 0, -1);
    return 0;
}

static int ctc_padded(struct op_ctx *ctx, const struct tensor *x, const struct tensor *length,
                      struct tensor *out, struct tensor *out_length)
{
    uint64_t count = (uint64_t)x->dims.d[0], columns = (uint64_t)x->dims.d[1];
    const struct dims lengths = {.rank = 2, .d = {(int64_t)count, 1}};
    if (out_length == NULL || tensor_count(length) != count)
        return err_set(ctx->err, SL_EMISMATCH,
                       "InputLength must have one number a row of Input, and needs OutputLength");
    int rc = check_tokens(ctx, length);
    for (uint64_t k = 0; rc == 0 && k < count; k++)
        if (row_index_at(length, k) < 0 || (uint64_t)row_index_at(length, k) > columns)
            rc = err_set(ctx->err, SL_EINVAL, "InputLength %llu is %lld, not within 0..%llu",
                         (unsigned long long)k, (long long)row_index_at(length, k),
                         (unsigned long long)columns);
    if (rc == 0)
        rc = sequence_size(ctx, out, x->dtype, &x->dims);
    if (rc == 0)
        rc = sequence_size(ctx, out_length, x->dtype, &lengths);
    if (rc < 0)
        return rc;
    for (uint64_t k = 0; k < count; k++) {
        uint64_t at = k * columns,
                 left = align(ctx, out, at, x, at, at + (uint64_t)row_index_at(length, k));
        put(out_length, k, (int64_t)left);
        for (uint64_t j = left; j < columns; j++)
            put(out, at + j, ctx->attr[CTC_PADDING]->i);
    }
    return 0;
}

static int ctc_kernel(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, CTC_INPUT), *length = op_in(ctx, CTC_LENGTH);
    struct tensor *out = op_out(ctx, CTC_OUTPUT);
    int rc = check_tokens(ctx, x);
    if (rc < 0)
        return rc;
    return length == NULL ? ctc_with_lod(ctx, x, out)
                          : ctc_padded(ctx, x, length, out, op_out(ctx, CTC_OUTPUT_LENGTH));
}

const struct op_def op_sequence_tokens_enumerate = {
    .type = "sequence_enumerate",
    .inputs = x_in,
    .outputs = out_out,
    .attrs = enumerate_attrs,
    .infer_shape = enumerate_infer,
    .kernel = enumerate_kernel,
};

const struct op_def op_sequence_tokens_erase = {
    .type = "sequence_erase",
    .inputs = x_in,
    .outputs = out_out,
    .attrs = erase_attrs,
    .infer_shape = erase_infer,
    .kernel = erase_kernel,
    .kernel_resizes = true,
};

const struct op_def op_sequence_tokens_ctc_align = {
    .type = "ctc_align",
    .inputs = ctc_inputs,
    .outputs = ctc_outputs,
    .attrs = ctc_attrs,
    .infer_shape = ctc_infer,
    .kernel = ctc_kernel,
    .kernel_resizes = true,
};
