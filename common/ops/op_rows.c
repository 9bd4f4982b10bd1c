// SPDX-License-Identifier: Apache-2.0
// Ops around selected rows (gradients of embeddings):
//
//   merge_selected_rows             Out = X with each row once, sorted; values added in order
//   get_tensor_from_selected_rows   Out = the values of X, a tensor [rows of X, ...]
//   split_selected_rows             Out[i] = the rows of X within section i of height_sections, in
//                                   their order, counted from the section's first row
//   fake_init                       Out = selected rows of the whole shape and none of them: a
//   table
//                                   that lives on servers; its shape is all that is needed here

#include <string.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/rows_merge.h"
#include "common/ops/rows_update.h"

extern const struct op_def op_rows_merge, op_rows_tensor, op_rows_split, op_rows_fake_init;

static const struct op_attr_def no_attrs[] = {{.name = NULL}};
static const struct op_slot_def rows_input[] = {{"X", OP_SLOT_ROWS}, {NULL, 0}};
static const struct op_slot_def out_slot[] = {{"Out", 0}, {NULL, 0}};

enum { SPLIT_SECTIONS };
static const struct op_attr_def split_attrs[] = {
    OP_ATTR_LIST("height_sections", ATTR_LONGS),
    {.name = NULL},
};
static const struct op_slot_def split_outputs[] = {{"Out", OP_SLOT_LIST}, {NULL, 0}};

enum { FAKE_SHAPE };
static const struct op_attr_def fake_attrs[] = {
    OP_ATTR_LIST("shape", ATTR_LONGS),
    {.name = NULL},
};
static const struct op_slot_def no_inputs[] = {{NULL, 0}};

static int only_rows(const struct op_shape *shape)
{
    if (shape->building || op_shape_in(shape, 0, 0)->kind == VARIABLE_SELECTED_ROWS)
        return 0;
    return err_set(shape->err, SL_EINVAL, "X is a tensor, not selected rows");
}

static int merge_infer(struct op_shape *shape)
{
    op_shape_copy(shape, 0, 0, op_shape_in(shape, 0, 0));
    return only_rows(shape);
}

static int merge_forward(struct op_ctx *ctx)
{
    const struct selected_rows *x = rows_update_in(ctx, 0);
    if (ctx->out[0].vars[0] == ctx->in[0].vars[0])
        return rows_merge_in_place(&ctx->out[0].vars[0]->rows, ctx->temps, &x, 1, ctx->err);
    return rows_merge_into(variable_rows(ctx->out[0].vars[0]), &ctx->temps[0], &x, 1, ctx->err);
}

// As many rows as there will be are known only when it runs; the description says the height.
static int tensor_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    op_shape_set(shape, 0, 0, &x->dims, x->dtype, NULL);
    return only_rows(shape);
}

static int tensor_forward(struct op_ctx *ctx)
{
    const struct tensor *value = &rows_update_in(ctx, 0)->value;
    struct tensor *out = op_out(ctx, 0);
    int rc = op_resize(out, value->dtype, &value->dims, ctx->err);
    if (rc == 0 && tensor_bytes(value) > 0)
        memcpy(out->data, value->data, tensor_bytes(value));
    return rc;
}

static int split_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    const struct attr *sections = shape->attr[SPLIT_SECTIONS];
    int64_t height = 0;
    if (sections->count != shape->out[0].count)
        return err_set(shape->err, SL_EINVAL, "%zu outputs for %zu height_sections",
                       shape->out[0].count, sections->count);
    for (size_t i = 0; i < sections->count; i++) {
        struct dims dims = x->dims;
        if (sections->ints[i] < 0 || __builtin_add_overflow(height, sections->ints[i], &height))
            return err_set(shape->err, SL_EINVAL, "height_sections[%zu] is %lld", i,
                           (long long)sections->ints[i]);
        if (dims.rank > 0)
            dims.d[0] = sections->ints[i];
        op_shape_set(shape, 0, i, &dims, x->dtype, NULL);
        shape->out[0].vars[i].kind = VARIABLE_SELECTED_ROWS;
    }
    if (!shape->building && x->dims.rank > 0 && height != x->dims.d[0])
        return err_set(shape->err, SL_EMISMATCH,
                       "height_sections make %lld rows, X has height %lld", (long long)height,
                       (long long)x->dims.d[0]);
    return only_rows(shape);
}

// The section of a row, and the first row of that section; last is where to begin to look.
static size_t section_of(const struct attr *sections, int64_t row, size_t last, int64_t *first)
{
    while (row < *first)
        *first -= sections->ints[--last];
    while (row >= *first + sections->ints[last])
        *first += sections->ints[last++];
    return last;
}

// How many rows each section gets, into counts.
static int count_rows(const struct op_ctx *ctx, const struct selected_rows *x, int64_t *counts)
{
    const struct attr *sections = ctx->attr[SPLIT_SECTIONS];
    int64_t first = 0;
    size_t at = 0;
    memset(counts, 0, sections->count * sizeof *counts);
    for (size_t k = 0; k < x->rows_count; k++) {
        if (x->rows[k] < 0 || x->rows[k] >= x->height)
            return err_set(ctx->err, SL_EINVAL, "row %zu of X is %lld, not in [0,%lld)", k,
                           (long long)x->rows[k], (long long)x->height);
        at = section_of(sections, x->rows[k], at, &first);
        counts[at]++;
    }
    return 0;
}

static int split_forward(struct op_ctx *ctx)
{
    const struct selected_rows *x = rows_update_in(ctx, 0);
    const struct attr *sections = ctx->attr[SPLIT_SECTIONS];
    const struct dims dims = {.rank = 1, .d = {(int64_t)sections->count}};
    const struct tensor *value = &x->value;
    int rc = op_resize(&ctx->temps[0], DTYPE_INT64, &dims, ctx->err);
    if (rc == 0 && x->rows_count > 0 &&
        (value->dims.rank < 1 || value->dims.d[0] != (int64_t)x->rows_count))
        rc = err_set(ctx->err, SL_EINVAL, "X has %zu rows and another number of values",
                     x->rows_count);
    int64_t *counts = tensor_i64(&ctx->temps[0]), first = 0;
    if (rc == 0)
        rc = count_rows(ctx, x, counts);
    for (size_t i = 0; rc == 0 && i < sections->count; i++) {
        if (ctx->out[0].vars[i] == ctx->in[0].vars[0] || ctx->out[0].vars[i] == NULL)
            return err_set(ctx->err, SL_EUNSUPPORTED, "output %zu is X or missing", i);
        rc = selected_rows_shape(variable_rows(ctx->out[0].vars[i]), sections->ints[i],
                                 (size_t)counts[i], value->dtype, &value->dims);
        if (rc < 0)
            err_set(ctx->err, rc, "%lld selected rows: %s", (long long)counts[i], err_name(rc));
        counts[i] = 0;
    }
    size_t bytes = x->rows_count > 0 ? tensor_bytes(value) / x->rows_count : 0, at = 0;
    for (size_t k = 0; rc == 0 && k < x->rows_count; k++) {
        at = section_of(sections, x->rows[k], at, &first);
        struct selected_rows *out = &ctx->out[0].vars[at]->rows;
        size_t to = (size_t)counts[at]++;
        out->rows[to] = x->rows[k] - first;
        if (bytes > 0)
            memcpy((char *)out->value.data + to * bytes, (const char *)value->data + k * bytes,
                   bytes);
    }
    return rc;
}

static int fake_infer(struct op_shape *shape)
{
    const struct attr *list = shape->attr[FAKE_SHAPE];
    struct dims dims = {.rank = (int)list->count};
    if (list->count < 1 || list->count > LIMIT_RANK)
        return err_set(shape->err, SL_EINVAL, "shape has %zu sides", list->count);
    for (size_t i = 0; i < list->count; i++) {
        dims.d[i] = list->ints[i];
        if (dims.d[i] < 0)
            return err_set(shape->err, SL_EINVAL, "side %zu of shape is %lld", i,
                           (long long)dims.d[i]);
    }
    // The description is the tensor's that it stands for; what it holds here is not one.
    if (shape->building)
        op_shape_set(shape, 0, 0, &dims, -1, NULL);
    return 0;
}

static int fake_forward(struct op_ctx *ctx)
{
    const struct attr *list = ctx->attr[FAKE_SHAPE];
    struct dims dims = dims_make((int)list->count, list->ints);
    int rc =
        selected_rows_shape(variable_rows(ctx->out[0].vars[0]), dims.d[0], 0, DTYPE_FP32, &dims);
    return rc < 0 ? err_set(ctx->err, rc, "shape: %s", err_name(rc)) : 0;
}

const struct op_def op_rows_merge = {
    .type = "merge_selected_rows",
    .inputs = rows_input,
    .outputs = out_slot,
    .attrs = no_attrs,
    .infer_shape = merge_infer,
    .kernel = merge_forward,
    .temps = 2,
};

const struct op_def op_rows_tensor = {
    .type = "get_tensor_from_selected_rows",
    .inputs = rows_input,
    .outputs = out_slot,
    .attrs = no_attrs,
    .infer_shape = tensor_infer,
    .kernel = tensor_forward,
    .kernel_resizes = true,
};

const struct op_def op_rows_split = {
    .type = "split_selected_rows",
    .inputs = rows_input,
    .outputs = split_outputs,
    .attrs = split_attrs,
    .infer_shape = split_infer,
    .kernel = split_forward,
    .temps = 1,
};

const struct op_def op_rows_fake_init = {
    .type = "fake_init",
    .inputs = no_inputs,
    .outputs = out_slot,
    .attrs = fake_attrs,
    .infer_shape = fake_infer,
    .kernel = fake_forward,
};
