// SPDX-License-Identifier: Apache-2.0
// `sluice ckpt diff`: how far two checkpoints are apart, variable by variable. Values are read in
// runs of rows, so that tables larger than memory are compared too.
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ckpt/ckpt_view.h"
#include "deploy/sluice/cmd_args.h"
#include "deploy/sluice/cmd_view.h"

#define CHUNK_BYTES (4u << 20)

// What was found about one variable.
struct difference {
    const char *name;
    const char *text;   // instead of numbers: "only in A", "shape [2] and [3]"
    char shape[2 * DIMS_TEXT_MAX + 40];
    uint64_t elements, unequal;
    double largest, absolute;   // of |a|; of |a - b|
};

static int diff(int argc, char **argv);
static int compare(struct ckpt_view *a, struct ckpt_view *b, double tolerance, bool json);
static bool compare_variable(struct ckpt_view *a, size_t i, struct ckpt_view *b, size_t j,
                             struct difference *out, struct err *err);
static bool same_description(const struct ckpt_view_var *x, const struct ckpt_view_var *y,
                             struct difference *out);
static void compare_values(enum dtype dtype, const void *a, const void *b, size_t count,
                           struct difference *out);
static double relative(const struct difference *d);
static void put_row(const struct difference *d, struct cmd_table *table, json_t *array);

const struct cmd cmd_ckpt_diff = {
    .name = "ckpt diff",
    .args = "A B [--tolerance X] [--filename FILE] [--program FILE] [--json]",
    .help = "Compares the variables of two checkpoints; exit code 0 equal, 1 different.",
    .details =
        "Each variable that differs has a row: elements that differ, the largest difference, and "
        "that\n"
        "relative to A's largest value. --tolerance X lets relative differences up to X pass as "
        "equal\n"
        "(default 0). Other files, manifests and LoD are not compared.\n" CMD_VIEW_DETAILS
        "\n\nexample:\n"
        "  sluice ckpt diff models/epoch_2 models/epoch_3",
    .run = diff,
};

static int diff(int argc, char **argv)
{
    bool json = false;
    const char *words[2], *limit = NULL;
    double tolerance = 0;
    struct cmd_view_from from = {0};
    const struct cmd_option options[] = {{"--filename", .text = &from.filename},
                                         {"--program", .text = &from.program},
                                         {"--tolerance", .text = &limit},
                                         {"--json", .flag = &json},
                                         {.name = NULL}};
    int code = cmd_args_parse(&cmd_ckpt_diff, argc, argv, options, words, 2, 2);
    if (code != CMD_OK)
        return code;
    if (limit != NULL && (!str_parse_f64(limit, &tolerance) || !(tolerance >= 0)))
        return cmd_usage(&cmd_ckpt_diff, "--tolerance %s: a number from 0 is expected", limit);
    struct ckpt_view a, b;
    code = cmd_view_open(words[0], &from, &a);
    if (code != CMD_OK)
        return code;
    code = cmd_view_open(words[1], &from, &b);
    if (code == CMD_OK) {
        code = compare(&a, &b, tolerance, json);
        ckpt_view_close(&b);
    }
    ckpt_view_close(&a);
    return code;
}

static int compare(struct ckpt_view *a, struct ckpt_view *b, double tolerance, bool json)
{
    static const char *const titles[] = {"variable",  ">unequal", ">of", ">largest difference",
                                         ">relative", "remark",   NULL};
    struct cmd_table table = {.titles = titles};
    json_t *array = json_array();
    size_t i = 0, j = 0, unequal = 0, variables = 0;
    struct err err = {0};
    int code = CMD_OK;
    while ((i < a->count || j < b->count) && code == CMD_OK) {
        int order = i == a->count   ? 1
                    : j == b->count ? -1
                                    : strcmp(a->vars[i].name, b->vars[j].name);
        struct difference d = {.name = order <= 0 ? a->vars[i].name : b->vars[j].name};
        if (order != 0)
            d.text = order < 0 ? "only in A" : "only in B";
        else if (!compare_variable(a, i, b, j, &d, &err))
            code = cmd_failed(&err);
        i += order <= 0, j += order >= 0, variables++;
        if (d.text == NULL && (d.unequal == 0 || relative(&d) <= tolerance))
            continue;
        unequal++;
        put_row(&d, &table, array);
    }
    struct buf text;
    buf_init(&text, 0);
    if (unequal > 0)
        cmd_args_table(&table, &text);
    buf_printf(&text, "%zu of %zu variables differ\n", unequal, variables);
    if (code == CMD_OK && json)
        code = cmd_view_print_json(array);
    else if (code == CMD_OK)
        code = cmd_write(text.data, text.bytes);
    buf_deinit(&text);
    json_decref(array);
    return code == CMD_OK && unequal > 0 ? CMD_FAILED : code;
}

static bool compare_variable(struct ckpt_view *a, size_t i, struct ckpt_view *b, size_t j,
                             struct difference *out, struct err *err)
{
    const struct ckpt_view_var *x = &a->vars[i];
    if (!same_description(x, &b->vars[j], out))
        return true;
    uint64_t row_bytes = ckpt_view_row_bytes(x);
    int64_t rows = row_bytes > 0 ? ckpt_view_rows(x) : 0;
    int64_t step =
        row_bytes < CHUNK_BYTES && row_bytes > 0 ? (int64_t)(CHUNK_BYTES / row_bytes) : 1;
    size_t bytes = (size_t)(row_bytes * (uint64_t)(rows < step ? rows : step));
    void *left = mem_alloc(bytes), *right = mem_alloc(bytes);
    int rc = left != NULL && right != NULL
                 ? 0
                 : err_set(err, SL_ENOMEM, "%s: no memory for a row of %zu bytes", x->name, bytes);
    for (int64_t row = 0; row < rows && rc == 0; row += step) {
        int64_t n = rows - row < step ? rows - row : step;
        rc = ckpt_view_read(a, i, row, n, left, err);
        if (rc == 0)
            rc = ckpt_view_read(b, j, row, n, right, err);
        if (rc == 0)
            compare_values(x->header.dtype, left, right,
                           (size_t)n * (size_t)row_bytes / dtype_bytes(x->header.dtype), out);
    }
    mem_free(left);
    mem_free(right);
    return rc == 0;
}

static bool same_description(const struct ckpt_view_var *x, const struct ckpt_view_var *y,
                             struct difference *out)
{
    char one[DIMS_TEXT_MAX], other[DIMS_TEXT_MAX];
    if (x->header.kind != y->header.kind) {
        out->text = "selected rows against a dense tensor";
    } else if (x->header.dtype != y->header.dtype) {
        snprintf(out->shape, sizeof out->shape, "%s against %s", dtype_name(x->header.dtype),
                 dtype_name(y->header.dtype));
        out->text = out->shape;
    } else if (!dims_equal(&x->header.dims, &y->header.dims)) {
        snprintf(out->shape, sizeof out->shape, "shape %s against %s",
                 dims_format(&x->header.dims, one), dims_format(&y->header.dims, other));
        out->text = out->shape;
    } else if (x->header.kind == VARIABLE_SELECTED_ROWS &&
               (x->header.rows_count != y->header.rows_count ||
                x->header.height != y->header.height ||
                memcmp(x->header.rows, y->header.rows,
                       x->header.rows_count * sizeof *x->header.rows) != 0)) {
        out->text = "other rows";
    }
    return out->text == NULL;
}

#define DEFINE_COMPARE(T, S)                                                                       \
    static void compare_##S(const T *a, const T *b, size_t count, struct difference *out)          \
    {                                                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            double x = (double)a[i], y = (double)b[i], d = fabs(x - y);                            \
            bool both_nan = isnan(x) && isnan(y);                                                  \
            out->unequal += !(x == y || both_nan);                                                 \
            if (fabs(x) > out->largest)                                                            \
                out->largest = fabs(x);                                                            \
            if (!both_nan && !(d <= out->absolute))                                                \
                out->absolute = isnan(d) ? (double)INFINITY : d;                                   \
        }                                                                                          \
    }
DEFINE_COMPARE(float, f32)
DEFINE_COMPARE(double, f64)
DEFINE_COMPARE(int64_t, i64)
DEFINE_COMPARE(int32_t, i32)
DEFINE_COMPARE(int16_t, i16)
DEFINE_COMPARE(uint8_t, u8)
DEFINE_COMPARE(int8_t, i8)

static void compare_values(enum dtype dtype, const void *a, const void *b, size_t count,
                           struct difference *out)
{
    out->elements += count;
    switch (dtype) {
    case DTYPE_FP32:
        compare_f32(a, b, count, out);
        break;
    case DTYPE_FP64:
        compare_f64(a, b, count, out);
        break;
    case DTYPE_INT64:
        compare_i64(a, b, count, out);
        break;
    case DTYPE_INT32:
        compare_i32(a, b, count, out);
        break;
    case DTYPE_INT16:
    case DTYPE_FP16:
        compare_i16(a, b, count, out);
        break;   // halves by their bits
    case DTYPE_INT8:
        compare_i8(a, b, count, out);
        break;
    case DTYPE_UINT8:
    case DTYPE_BOOL:
        compare_u8(a, b, count, out);
        break;
    }
}

static double relative(const struct difference *d)
{
    if (d->absolute == 0)
        return 0;
    return d->largest > 0 ? d->absolute / d->largest : (double)INFINITY;
}

static void put_row(const struct difference *d, struct cmd_table *table, json_t *array)
{
    char unequal[24] = "", elements[24] = "", absolute[32] = "", rel[32] = "";
    if (d->text == NULL) {
        snprintf(unequal, sizeof unequal, "%" PRIu64, d->unequal);
        snprintf(elements, sizeof elements, "%" PRIu64, d->elements);
        snprintf(absolute, sizeof absolute, "%.9g", d->absolute);
        snprintf(rel, sizeof rel, "%.3g", relative(d));
    }
    const char *const cells[] = {d->name, unequal, elements, absolute, rel, d->text};
    cmd_args_row(table, cells);
    // JSON has no infinity: such differences are null there.
    bool finite = d->text == NULL && isfinite(d->absolute) && isfinite(relative(d));
    json_array_append_new(
        array, json_pack("{s:s, s:I, s:I, s:o, s:o, s:s?}", "name", d->name, "unequal",
                         (json_int_t)d->unequal, "elements", (json_int_t)d->elements, "absolute",
                         finite ? json_real(d->absolute) : json_null(), "relative",
                         finite ? json_real(relative(d)) : json_null(), "remark", d->text));
}
