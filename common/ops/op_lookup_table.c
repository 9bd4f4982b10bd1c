// SPDX-License-Identifier: Apache-2.0
// Embedding: rows of the table W [rows, width] by Ids.
//
//   lookup_table     Ids [n.., 1]   Out [n.., width]
//   lookup_table_v2  Ids [n..]      Out [n.., width]
//
//   Out[i] = W[Ids[i]], 0 where Ids[i] is padding_idx (-1: none)
//   dW = 0, then dW[Ids[i]] += dOut[i] in the order of i; padding adds nothing
//
// Ids may hold the padding number even when the table has no such row: it is never looked up.
//
// With is_sparse dW is selected rows: rows = Ids in their order, values = dOut; of W only the shape
// is needed, so it may be elsewhere (fake_init). As in Fluid 1.8 the padding's rows are among them.

#include <string.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/row_index.h"
#include "common/ops/rows_update.h"

extern const struct op_def op_lookup_table, op_lookup_table_grad;
extern const struct op_def op_lookup_table_v2, op_lookup_table_v2_grad;

enum { LOOKUP_SPARSE, LOOKUP_DISTRIBUTED, LOOKUP_PADDING };
static const struct op_attr_def lookup_attrs[] = {
    OP_ATTR_BOOL("is_sparse", 0),
    OP_ATTR_BOOL("is_distributed", 0),
    OP_ATTR_LONG("padding_idx", -1),
    OP_ATTR_BOOL("grad_inplace", 0),
    OP_ATTR_BOOL("remote_prefetch", 0),
    OP_ATTR_INT("trainer_id", 0),
    OP_ATTR_LIST("height_sections", ATTR_LONGS),
    OP_ATTR_LIST("epmap", ATTR_STRINGS),
    OP_ATTR_LIST("table_names", ATTR_STRINGS),
    {.name = NULL},
};
static const struct op_attr_def lookup_v2_attrs[] = {
    OP_ATTR_BOOL("is_sparse", 0),
    OP_ATTR_BOOL("is_distributed", 0),
    OP_ATTR_LONG("padding_idx", -1),
    OP_ATTR_BOOL("remote_prefetch", 0),
    OP_ATTR_INT("trainer_id", 0),
    OP_ATTR_LIST("height_sections", ATTR_LONGS),
    OP_ATTR_LIST("epmap", ATTR_STRINGS),
    OP_ATTR_LIST("table_names", ATTR_STRINGS),
    {.name = NULL},
};
enum { LOOKUP_W, LOOKUP_IDS, LOOKUP_DOUT };
static const struct op_slot_def lookup_inputs[] = {{"W", 0}, {"Ids", 0}, {NULL, 0}};
static const struct op_slot_def lookup_grad_inputs[] = {
    {"W", OP_SLOT_ROWS}, {"Ids", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def lookup_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def lookup_grad_outputs[] = {{"W@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

#define AHEAD 12   // rows are prefetched so many ids ahead

static int lookup_infer(struct op_shape *shape)
{
    const struct op_var_dims *w = op_shape_in(shape, LOOKUP_W, 0);
    const struct op_var_dims *ids = op_shape_in(shape, LOOKUP_IDS, 0);
    struct dims out = ids->dims;
    char text[DIMS_TEXT_MAX];
    if (w->dims.rank != 2)
        return err_set(shape->err, SL_EINVAL, "W %s must be [rows, width]",
                       dims_format(&w->dims, text));
    if (shape->def == &op_lookup_table) {
        if (out.rank < 1 || !op_dims_fit(out.d[out.rank - 1], 1))
            return err_set(shape->err, SL_EINVAL, "Ids %s must be [n.., 1]",
                           dims_format(&out, text));
        out.rank--;
    }
    if (out.rank >= LIMIT_RANK)
        return err_set(shape->err, SL_ELIMIT, "Ids has more than %d dimensions", LIMIT_RANK - 1);
    out.d[out.rank++] = w->dims.d[1];
    op_shape_set(shape, 0, 0, &out, w->dtype, ids);
    return 0;
}

// Every id is a row of the table or the padding.
static int check_ids(const struct op_ctx *ctx, const struct tensor *ids, int64_t rows)
{
    int64_t padding = ctx->attr[LOOKUP_PADDING]->i;
    uint64_t n = tensor_count(ids);
    if (ids->dtype != DTYPE_INT64 && ids->dtype != DTYPE_INT32)
        return err_set(ctx->err, SL_EUNSUPPORTED, "Ids is %s; it must be int64 or int32",
                       dtype_name((int)ids->dtype));
    for (uint64_t i = 0; i < n; i++) {
        int64_t id = row_index_at(ids, i);
        if ((id < 0 || id >= rows) && (id != padding || padding == -1))
            return err_set(ctx->err, SL_EINVAL, "id %llu is %lld, not in [0,%lld)",
                           (unsigned long long)i, (long long)id, (long long)rows);
    }
    return 0;
}

static int lookup_forward(struct op_ctx *ctx)
{
    const struct tensor *w = op_in(ctx, LOOKUP_W), *ids = op_in(ctx, LOOKUP_IDS);
    struct tensor *out = op_out(ctx, 0);
    int64_t padding = ctx->attr[LOOKUP_PADDING]->i;
    size_t bytes = (size_t)w->dims.d[1] * dtype_bytes(w->dtype);
    int rc = check_ids(ctx, ids, w->dims.d[0]);
    if (rc < 0)
        return rc;
    uint64_t n = bytes > 0 ? tensor_count(ids) : 0;
    for (uint64_t i = 0; i < n; i++) {
        int64_t id = row_index_at(ids, i);
        char *to = (char *)out->data + i * bytes;
        if (i + AHEAD < n) {
            const char *row =
                (const char *)w->data + (uint64_t)row_index_at(ids, i + AHEAD) * bytes;
            __builtin_prefetch(row);
            __builtin_prefetch(row + bytes - 1);
        }
        if (padding != -1 && id == padding)
            memset(to, 0, bytes);
        else
            memcpy(to, (const char *)w->data + (uint64_t)id * bytes, bytes);
    }
    return 0;
}

// The gradient as selected rows. A padding number that is no row of the table is left out.
static int backward_rows(struct op_ctx *ctx, const struct dims *table)
{
    const struct tensor *ids = op_in(ctx, LOOKUP_IDS), *dout = op_in(ctx, LOOKUP_DOUT);
    size_t n = tensor_count(ids), kept = 0;
    size_t bytes = (size_t)table->d[1] * dtype_bytes(dout->dtype);
    struct selected_rows *dw = variable_rows(ctx->out[0].vars[0]);
    int rc = selected_rows_shape(dw, table->d[0], n, dout->dtype, table);
    if (rc < 0)
        return err_set(ctx->err, rc, "%zu selected rows: %s", n, err_name(rc));
    for (size_t i = 0; i < n; i++) {
        int64_t id = row_index_at(ids, i);
        if (id < 0 || id >= table->d[0])
            continue;
        if (bytes > 0)
            memcpy((char *)dw->value.data + kept * bytes, (const char *)dout->data + i * bytes,
                   bytes);
        dw->rows[kept++] = id;
    }
    rc = selected_rows_shape(dw, table->d[0], kept, dout->dtype, table);
    return rc < 0 ? err_set(ctx->err, rc, "%zu selected rows: %s", kept, err_name(rc)) : 0;
}

static int backward_dense(struct op_ctx *ctx, const struct dims *table)
{
    const struct tensor *ids = op_in(ctx, LOOKUP_IDS), *dout = op_in(ctx, LOOKUP_DOUT);
    struct tensor *dw = op_out(ctx, 0);
    if (tensor_bytes(dw) > 0)
        memset(dw->data, 0, tensor_bytes(dw));
    return row_index_add(dw, dout, ids, table->d[1], ctx->attr[LOOKUP_PADDING]->i)
               ? 0
               : op_bad_dtype(ctx, (int)dw->dtype);
}

static int lookup_backward(struct op_ctx *ctx)
{
    const struct selected_rows *elsewhere = rows_update_in(ctx, LOOKUP_W);
    const struct tensor *w = op_in(ctx, LOOKUP_W), *ids = op_in(ctx, LOOKUP_IDS);
    const struct tensor *dout = op_in(ctx, LOOKUP_DOUT);
    bool sparse = attr_bool(ctx->attr[LOOKUP_SPARSE]);
    struct dims table = elsewhere ? elsewhere->value.dims : w->dims;
    if (elsewhere != NULL && table.rank > 0)
        table.d[0] = elsewhere->height;
    if (ctx->out[0].count == 0 || ctx->out[0].vars[0] == NULL)
        return 0;
    if (table.rank != 2 || (elsewhere != NULL && !sparse))
        return err_set(ctx->err, SL_EINVAL,
                       table.rank != 2 ? "W must be [rows, width]"
                                       : "W is not here: is_sparse is needed");
    int rc = check_ids(ctx, ids, table.d[0]);
    if (rc == 0 && (tensor_count(dout) != tensor_count(ids) * (uint64_t)table.d[1] ||
                    (w != NULL && dout->dtype != w->dtype)))
        rc = err_set(ctx->err, SL_EMISMATCH, "Out@GRAD has not the size and type of Out");
    if (rc < 0)
        return rc;
    return sparse ? backward_rows(ctx, &table) : backward_dense(ctx, &table);
}

static int lookup_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *w = op_shape_in(shape, LOOKUP_W, 0);
    struct op_var_dims *dw = op_shape_out(shape, 0, 0);
    op_shape_set(shape, 0, 0, &w->dims, w->dtype, NULL);
    if (dw != NULL && attr_bool(shape->attr[LOOKUP_SPARSE]))
        dw->kind = VARIABLE_SELECTED_ROWS;
    return 0;
}

const struct op_def op_lookup_table = {
    .type = "lookup_table",
    .inputs = lookup_inputs,
    .outputs = lookup_outputs,
    .attrs = lookup_attrs,
    .grad = {.type = "lookup_table_grad", .inputs = "W Ids Out@GRAD", .outputs = "W@GRAD"},
    .infer_shape = lookup_infer,
    .kernel = lookup_forward,
};

const struct op_def op_lookup_table_grad = {
    .type = "lookup_table_grad",
    .inputs = lookup_grad_inputs,
    .outputs = lookup_grad_outputs,
    .attrs = lookup_attrs,
    .infer_shape = lookup_grad_infer,
    .kernel = lookup_backward,
};

const struct op_def op_lookup_table_v2 = {
    .type = "lookup_table_v2",
    .inputs = lookup_inputs,
    .outputs = lookup_outputs,
    .attrs = lookup_v2_attrs,
    .grad = {.type = "lookup_table_v2_grad", .inputs = "W Ids Out@GRAD", .outputs = "W@GRAD"},
    .infer_shape = lookup_infer,
    .kernel = lookup_forward,
};

const struct op_def op_lookup_table_v2_grad = {
    .type = "lookup_table_v2_grad",
    .inputs = lookup_grad_inputs,
    .outputs = lookup_grad_outputs,
    .attrs = lookup_v2_attrs,
    .infer_shape = lookup_grad_infer,
    .kernel = lookup_backward,
};
