// SPDX-License-Identifier: Apache-2.0
// print: Out = In, and a line about In in the log at debug level (name, type, shape, LoD and the
// first `summarize` numbers, -1: all that fit), for the first `first_n` runs (-1: always) of the
// phase that print_phase names. The gradient is a print of dOut with is_forward false.

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/ops/op.h"
#include "common/program/op_desc.h"

extern const struct op_def op_print;

#define PRINT_NUMBERS_MAX 1000

enum {
    PRINT_FIRST_N,
    PRINT_MESSAGE,
    PRINT_SUMMARIZE,
    PRINT_NAME,
    PRINT_TYPE,
    PRINT_SHAPE,
    PRINT_LOD,
    PRINT_PHASE,
    PRINT_IS_FORWARD
};
static const struct op_attr_def print_attrs[] = {
    {.name = "first_n", .type = ATTR_INT, .number = -1, .required = true},
    {.name = "message", .type = ATTR_STRING, .required = true},
    {.name = "summarize", .type = ATTR_INT, .number = 20, .required = true},
    {.name = "print_tensor_name", .type = ATTR_BOOLEAN, .number = 1, .required = true},
    {.name = "print_tensor_type", .type = ATTR_BOOLEAN, .number = 1, .required = true},
    {.name = "print_tensor_shape", .type = ATTR_BOOLEAN, .number = 1, .required = true},
    {.name = "print_tensor_lod", .type = ATTR_BOOLEAN, .number = 1, .required = true},
    OP_ATTR_STRING("print_phase", "BOTH"),
    OP_ATTR_BOOL("is_forward", 1),
    {.name = NULL},
};
static const struct op_slot_def print_inputs[] = {{"In", 0}, {NULL, 0}};
static const struct op_slot_def print_outputs[] = {{"Out", 0}, {NULL, 0}};

static void put_number(struct buf *line, const struct tensor *t, uint64_t i)
{
    switch (t->dtype) {
    case DTYPE_FP32:
        buf_printf(line, " %g", (double)tensor_f32(t)[i]);
        break;
    case DTYPE_FP64:
        buf_printf(line, " %g", tensor_f64(t)[i]);
        break;
    case DTYPE_INT32:
        buf_printf(line, " %d", tensor_i32(t)[i]);
        break;
    case DTYPE_INT64:
        buf_printf(line, " %lld", (long long)tensor_i64(t)[i]);
        break;
    case DTYPE_BOOL:
    case DTYPE_UINT8:
        buf_printf(line, " %d", ((const uint8_t *)t->data)[i]);
        break;
    default:
        break;
    }
}

static void put_line(const struct op_ctx *ctx, const struct tensor *t)
{
    const char *name = ctx->desc != NULL ? op_desc_input1(ctx->desc, "In") : NULL;
    int64_t most = ctx->attr[PRINT_SUMMARIZE]->i;
    uint64_t n = tensor_count(t);
    char text[DIMS_TEXT_MAX];
    struct buf line;
    buf_init(&line, 0);
    buf_printf(&line, "print: %s", ctx->attr[PRINT_MESSAGE]->s ? ctx->attr[PRINT_MESSAGE]->s : "");
    if (attr_bool(ctx->attr[PRINT_NAME]) && name != NULL)
        buf_printf(&line, " %s", name);
    if (attr_bool(ctx->attr[PRINT_TYPE]))
        buf_printf(&line, " %s", dtype_name((int)t->dtype));
    if (attr_bool(ctx->attr[PRINT_SHAPE]))
        buf_printf(&line, " %s", dims_format(&t->dims, text));
    for (int l = 0; attr_bool(ctx->attr[PRINT_LOD]) && l < t->lod_levels; l++) {
        buf_printf(&line, " LoD:");
        for (size_t i = 0; i < t->lod[l].count && i < PRINT_NUMBERS_MAX; i++)
            buf_printf(&line, " %llu", (unsigned long long)t->lod[l].offsets[i]);
    }
    buf_printf(&line, " data:");
    if (most < 0 || most > PRINT_NUMBERS_MAX)
        most = PRINT_NUMBERS_MAX;
    for (uint64_t i = 0; i < n && i < (uint64_t)most; i++)
        put_number(&line, t, i);
    log_debug("%s", buf_text(&line));
    buf_deinit(&line);
}

static bool is_wanted(const struct op_ctx *ctx)
{
    const char *phase = ctx->attr[PRINT_PHASE]->s;
    const char *unwanted = attr_bool(ctx->attr[PRINT_IS_FORWARD]) ? "BACKWARD" : "FORWARD";
    int64_t *runs = ctx->scratch, first_n = ctx->attr[PRINT_FIRST_N]->i;
    return log_enabled(LOG_DEBUG) && (phase == NULL || !str_eq(phase, unwanted)) &&
           (first_n <= 0 || (*runs)++ < first_n);
}

static int print_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out = op_out(ctx, 0);
    if (is_wanted(ctx))
        put_line(ctx, x);
    if (out->data != x->data && tensor_bytes(x) > 0)
        memcpy(out->data, x->data, tensor_bytes(x));
    return 0;
}

static int print_make_grad(const struct op_desc *forward, struct op_desc **out, int out_max)
{
    const char *x = op_desc_input1(forward, "In"), *y = op_desc_output1(forward, "Out");
    struct str_list names = {0};
    if (x == NULL || y == NULL || out_max < 1)
        return 0;
    str_list_addf(&names, "%s" GRAD_SUFFIX, y);
    str_list_addf(&names, "%s" GRAD_SUFFIX, x);
    out[0] = op_desc_new("print");
    op_desc_add_input(out[0], "In", names.items[0]);
    op_desc_add_output(out[0], "Out", names.items[1]);
    for (size_t i = 0; i < forward->attrs_count; i++)
        op_desc_set_attr(out[0], &forward->attrs[i]);
    op_desc_set_bool(out[0], "is_forward", false);
    str_list_deinit(&names);
    return 1;
}

const struct op_def op_print = {
    .type = "print",
    .inputs = print_inputs,
    .outputs = print_outputs,
    .attrs = print_attrs,
    .grad = {.make = print_make_grad},
    .kernel = print_forward,
    .scratch_bytes = sizeof(int64_t),
};
