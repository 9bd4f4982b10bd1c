// SPDX-License-Identifier: Apache-2.0
// A trainer program's ops with I/O: send, recv, send_barrier, fetch_barrier and
// distributed_lookup_table; host = struct comm *. Names are the programs' own: a slice of the
// slice_map, a gradient with ".trainer_<i>" behind it.
//
//   distributed_lookup_table  Outputs[k][i] = W[Ids[k][i]], 0 where the id is padding_idx (-1:
//   none)
//
// W is a variable of the slice map whose rows lie on the servers; the trainer holds no values of
// it. All Ids of the op are one round trip: each distinct row travels once, in ascending order, and
// is copied from there to wherever it is wanted. height_sections, endpoints and table_names say
// what the slice map says.
#include <inttypes.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/base/mem.h"
#include "common/ops/op.h"
#include "common/ops/row_index.h"
#include "common/ops/rows_merge.h"
#include "common/program/op_desc.h"
#include "common/program/slice_map.h"
#include "common/ps/comm.h"
#include "common/ps/shard.h"

static int send_kernel(struct op_ctx *ctx)
{
    const struct op_slot *x = op_desc_input(ctx->desc, "X");
    for (size_t i = 0; x && i < ctx->in[0].count; i++) {
        const struct variable *var = ctx->in[0].vars[i];
        if (!var || var->kind == VARIABLE_EMPTY)
            return err_set(ctx->err, SL_EUSAGE, "%s has no value", x->args.items[i]);
        int rc = var->kind == VARIABLE_SELECTED_ROWS
                     ? comm_push_rows(ctx->host, x->args.items[i], &var->rows, ctx->err)
                     : comm_push(ctx->host, x->args.items[i], &var->tensor, ctx->err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int recv_kernel(struct op_ctx *ctx)
{
    const struct op_slot *out = op_desc_output(ctx->desc, "Out");
    for (size_t i = 0; out && i < ctx->out[0].count; i++) {
        int rc = comm_pull(ctx->host, out->args.items[i], variable_tensor(ctx->out[0].vars[i]),
                           ctx->err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int send_barrier_kernel(struct op_ctx *ctx)
{
    return comm_send_barrier(ctx->host, ctx->err);
}

static int fetch_barrier_kernel(struct op_ctx *ctx)
{
    return comm_fetch_barrier(ctx->host, ctx->err);
}

// ---- distributed_lookup_table

enum { LOOKUP_IDS, LOOKUP_W };
enum { LOOKUP_PADDING, LOOKUP_VERSION };
// Temps: the ids but for padding; work of the merge; the row that each id has among the distinct
// ones; those rows.
enum { TEMP_IDS, TEMP_WORK, TEMP_PLACES, TEMP_ROWS, TEMPS };

static const struct slice_var *table_of(const struct op_ctx *ctx)
{
    const char *name = op_desc_input1(ctx->desc, "W");
    const struct slice_var *var = name ? slice_map_find(comm_slices(ctx->host), name) : NULL;
    if (!var || var->role != SLICE_PARAM || var->replicated || var->dims.rank != 2) {
        err_set(ctx->err, SL_EINVAL, "W: the servers have no table %s", name ? name : "");
        return NULL;
    }
    return var;
}

static int check_ids(struct op_ctx *ctx, const struct slice_var *table, const struct tensor *ids,
                     size_t k)
{
    const struct op_slot *slot = op_desc_input(ctx->desc, "Ids");
    int64_t height = table->dims.d[0], padding = ctx->attr[LOOKUP_PADDING]->i;
    if (!ids || (!ids->data && tensor_count(ids) > 0))
        return err_set(ctx->err, SL_EUSAGE, "%s has no value", slot->args.items[k]);
    if (ids->dtype != DTYPE_INT64 && ids->dtype != DTYPE_INT32)
        return err_set(ctx->err, SL_EUNSUPPORTED, "%s is %s; ids must be int64 or int32",
                       slot->args.items[k], dtype_name((int)ids->dtype));
    uint64_t n = tensor_count(ids);
    for (uint64_t i = 0; i < n; i++) {
        int64_t id = row_index_at(ids, i);
        if ((id < 0 || id >= height) && (id != padding || padding == -1))
            return err_set(ctx->err, SL_EINVAL,
                           "%s: id %" PRIu64 " is %" PRId64 ", but table %s has rows 0..%" PRId64,
                           slot->args.items[k], i, id, table->name, height - 1);
    }
    return 0;
}

// The shape of Outputs[k], with the LoD of its ids.
static int shape_output(struct op_ctx *ctx, const struct slice_var *table, size_t k)
{
    const struct tensor *ids = op_in_at(ctx, LOOKUP_IDS, k);
    struct tensor *out = op_out_at(ctx, 0, k);
    struct dims dims = ids->dims;
    bool v2 = str_eq(ctx->attr[LOOKUP_VERSION]->s, "lookup_table_v2");
    char text[DIMS_TEXT_MAX];
    if (!v2 && (dims.rank < 1 || dims.d[dims.rank - 1] != 1))
        return err_set(ctx->err, SL_EINVAL, "%s has shape %s; lookup_table takes [n.., 1]",
                       op_desc_input(ctx->desc, "Ids")->args.items[k], dims_format(&dims, text));
    dims.rank -= !v2;
    if (dims.rank >= LIMIT_RANK)
        return err_set(ctx->err, SL_ELIMIT, "%s has too many dimensions",
                       op_desc_input(ctx->desc, "Ids")->args.items[k]);
    dims.d[dims.rank++] = table->dims.d[1];
    int rc = op_resize(out, table->dtype, &dims, ctx->err);
    return rc < 0 ? rc : tensor_set_lod(out, ids->lod_levels, ids->lod);
}

// Temps of n 8-byte numbers (rows: n values of that row).
static int size_temp(struct op_ctx *ctx, int temp, enum dtype dtype, uint64_t n, int64_t width)
{
    struct dims dims = {.rank = 2, .d = {(int64_t)n, width}};
    int rc = tensor_resize(&ctx->temps[temp], dtype, &dims);
    return rc < 0 ? err_set(ctx->err, rc, "no memory for %" PRIu64 " ids", n) : 0;
}

// All ids but for padding, one behind the other. Returns their number.
static size_t gather_ids(struct op_ctx *ctx, int64_t padding)
{
    int64_t *out = tensor_i64(&ctx->temps[TEMP_IDS]);
    size_t count = 0;
    for (size_t k = 0; k < ctx->in[LOOKUP_IDS].count; k++) {
        const struct tensor *ids = op_in_at(ctx, LOOKUP_IDS, k);
        for (uint64_t i = 0, n = tensor_count(ids); i < n; i++) {
            int64_t id = row_index_at(ids, i);
            if (padding == -1 || id != padding)
                out[count++] = id;
        }
    }
    return count;
}

static void scatter(struct op_ctx *ctx, int64_t padding, size_t row_bytes)
{
    const int64_t *place = tensor_i64(&ctx->temps[TEMP_PLACES]);
    const uint8_t *rows = ctx->temps[TEMP_ROWS].data;
    for (size_t k = 0; k < ctx->in[LOOKUP_IDS].count; k++) {
        const struct tensor *ids = op_in_at(ctx, LOOKUP_IDS, k);
        uint8_t *out = op_out_at(ctx, 0, k)->data;
        for (uint64_t i = 0, n = tensor_count(ids); i < n; i++, out += row_bytes) {
            if (padding != -1 && row_index_at(ids, i) == padding)
                memset(out, 0, row_bytes);
            else
                memcpy(out, rows + (size_t)*place++ * row_bytes, row_bytes);
        }
    }
}

static int distributed_lookup_table_kernel(struct op_ctx *ctx)
{
    const struct slice_var *table = table_of(ctx);
    int64_t padding = ctx->attr[LOOKUP_PADDING]->i;
    uint64_t total = 0;
    if (!table)
        return ctx->err->code;
    if (ctx->in[LOOKUP_IDS].count != ctx->out[0].count)
        return err_set(ctx->err, SL_EINVAL, "%zu Ids and %zu Outputs", ctx->in[LOOKUP_IDS].count,
                       ctx->out[0].count);
    int rc = 0;
    for (size_t k = 0; rc >= 0 && k < ctx->out[0].count; k++) {
        rc = check_ids(ctx, table, op_in_at(ctx, LOOKUP_IDS, k), k);
        if (rc >= 0)
            rc = shape_output(ctx, table, k);
        total += rc >= 0 ? tensor_count(op_in_at(ctx, LOOKUP_IDS, k)) : 0;
    }
    if (rc >= 0)
        rc = size_temp(ctx, TEMP_IDS, DTYPE_INT64, total, 1);
    if (rc >= 0)
        rc = size_temp(ctx, TEMP_PLACES, DTYPE_INT64, total, 1);
    if (rc < 0)
        return rc;
    struct rows_merge_in in = {.rows = tensor_i64(&ctx->temps[TEMP_IDS])};
    struct rows_merge merge;
    in.count = gather_ids(ctx, padding);
    rc = rows_merge_find_order(&ctx->temps[TEMP_WORK], &in, 1, table->dims.d[0], &merge, ctx->err);
    if (rc >= 0)
        rc = size_temp(ctx, TEMP_ROWS, table->dtype, merge.count, table->dims.d[1]);
    if (rc < 0)
        return rc;
    int64_t *place = tensor_i64(&ctx->temps[TEMP_PLACES]);
    for (size_t r = 0; r < merge.count; r++)
        for (uint32_t at = merge.starts[r]; at < merge.starts[r + 1]; at++)
            place[merge.order[at]] = (int64_t)r;
    struct comm_rows want = {.var = table->name,
                             .ids = merge.rows,
                             .count = merge.count,
                             .out = ctx->temps[TEMP_ROWS].data};
    rc = comm_lookup(ctx->host, &want, 1, ctx->err);
    if (rc >= 0)
        scatter(ctx, padding, (size_t)shard_row_bytes(table));
    return rc;
}

// Control variables order the ops in Fluid; here the order of the block does, so they are optional.
static const struct op_slot_def x_inputs[] = {{"X", OP_SLOT_LIST | OP_SLOT_OPTIONAL | OP_SLOT_ROWS},
                                              {NULL, 0}};
static const struct op_slot_def out_outputs[] = {{"Out", OP_SLOT_LIST | OP_SLOT_OPTIONAL},
                                                 {NULL, 0}};
static const struct op_attr_def no_attrs[] = {{.name = NULL}};

#define COMM_OP(name)                                                                              \
    static const struct op_def op_comm_##name = {                                                  \
        .type = #name,                                                                             \
        .inputs = x_inputs,                                                                        \
        .outputs = out_outputs,                                                                    \
        .attrs = no_attrs,                                                                         \
        .kernel = name##_kernel,                                                                   \
        .kernel_resizes = true,                                                                    \
    };

COMM_OP(send)
COMM_OP(recv)
COMM_OP(send_barrier)
COMM_OP(fetch_barrier)

// W is described, but has no value here.
static const struct op_slot_def lookup_inputs[] = {
    {"Ids", OP_SLOT_LIST}, {"W", OP_SLOT_OPTIONAL | OP_SLOT_RAW}, {NULL, 0}};
static const struct op_slot_def lookup_outputs[] = {{"Outputs", OP_SLOT_LIST}, {NULL, 0}};
static const struct op_attr_def lookup_attrs[] = {
    OP_ATTR_LONG("padding_idx", -1),
    OP_ATTR_STRING("lookup_table_version", "lookup_table"),
    {.name = NULL},
};
static const struct op_def op_comm_distributed_lookup_table = {
    .type = "distributed_lookup_table",
    .inputs = lookup_inputs,
    .outputs = lookup_outputs,
    .attrs = lookup_attrs,
    .kernel = distributed_lookup_table_kernel,
    .temps = TEMPS,
    .kernel_resizes = true,
};

const struct op_def *const op_comm_table[] = {&op_comm_send,
                                              &op_comm_recv,
                                              &op_comm_send_barrier,
                                              &op_comm_fetch_barrier,
                                              &op_comm_distributed_lookup_table,
                                              NULL};
