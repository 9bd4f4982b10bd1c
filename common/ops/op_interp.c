// SPDX-License-Identifier: Apache-2.0
// bilinear_interp and nearest_interp: images resized. X [n, c, h, w] (or channels last) becomes
// [n, c, H, W]. H and W come from the tensors SizeTensor, else OutSize, else from Scale or scale
// (int(side scale)), else from out_h and out_w.
//
//   ratio    align_corners: (h - 1) / (H - 1), else h / H; 0 for H = 1
//   nearest  source row int(ratio y + 0.5) with align_corners, else int(ratio y)
//   bilinear s = ratio (y + 0.5) - 0.5, not below 0, for align_mode 0 without align_corners, else
//            ratio y; the rows int(s) and the next one that exists, weighted by 1 - (s - int(s))
//            and s - int(s); columns alike
//
// The gradient sends dOut back along the same weights, in memory order of dOut. All in float.

#include <string.h>

#include "common/base/err.h"
#include "common/ops/layout.h"
#include "common/ops/op.h"
#include "common/ops/shape_check.h"
#include "common/ops/window.h"

extern const struct op_def op_interp_bilinear, op_interp_bilinear_grad;
extern const struct op_def op_interp_nearest, op_interp_nearest_grad;

enum { INTERP_LAYOUT, INTERP_H, INTERP_W, INTERP_SCALE, INTERP_ALIGN_CORNERS, INTERP_ALIGN_MODE };
static const struct op_attr_def interp_attrs[] = {
    OP_ATTR_STRING("data_layout", "NCHW"),
    OP_ATTR_INT("out_h", 0),
    OP_ATTR_INT("out_w", 0),
    OP_ATTR_FLOAT("scale", 0),
    OP_ATTR_BOOL("align_corners", 1),
    OP_ATTR_INT("align_mode", 1),
    OP_ATTR_INT("out_d", 0),
    OP_ATTR_STRING("interp_method", "bilinear"),
    {.name = NULL},
};

enum { INTERP_X, INTERP_OUT_SIZE, INTERP_SIZE_TENSOR, INTERP_SCALE_TENSOR, INTERP_DOUT };
static const struct op_slot_def interp_inputs[] = {{"X", 0},
                                                   {"OutSize", OP_SLOT_OPTIONAL},
                                                   {"SizeTensor", OP_SLOT_OPTIONAL | OP_SLOT_LIST},
                                                   {"Scale", OP_SLOT_OPTIONAL},
                                                   {NULL, 0}};
static const struct op_slot_def interp_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def interp_grad_inputs[] = {
    {"X", 0},
    {"OutSize", OP_SLOT_OPTIONAL},
    {"SizeTensor", OP_SLOT_OPTIONAL | OP_SLOT_LIST},
    {"Scale", OP_SLOT_OPTIONAL},
    {"Out@GRAD", 0},
    {NULL, 0}};
static const struct op_slot_def interp_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};
enum { TEMP_X, TEMP_OUT, TEMP_LINES, TEMPS };

#define SIDE_MAX (1 << 24)

// Where one output line (row or column) comes from: w0 line a + w1 line b.
struct line {
    int64_t a, b;
    float w0, w1;
};

// Fills the lines of one axis.
static void fill_lines(struct line *lines, int64_t in, int64_t out, bool nearest,
                       const struct attr *const *attr)
{
    bool corners = attr_bool(attr[INTERP_ALIGN_CORNERS]);
    bool half = attr[INTERP_ALIGN_MODE]->i == 0 && !corners;
    float ratio = 0;
    if (out > 1)
        ratio = corners ? (float)(in - 1) / (float)(out - 1) : (float)in / (float)out;
    for (int64_t i = 0; i < out; i++) {
        // Fluid adds and takes away the halves in double.
        double place = (double)(ratio * (float)i);
        if (half && !nearest)
            place = (double)ratio * ((double)i + 0.5) - 0.5;
        else if (nearest && corners)
            place += 0.5;
        place = place > 0 ? place : 0;
        float at = (float)place;
        int64_t a = (int64_t)place;
        a = a < in ? a : in - 1;
        struct line *line = &lines[i];
        line->a = a;
        line->b = nearest ? a : a + 1 < in ? a + 1 : in - 1;
        line->w1 = nearest ? 0 : at - (float)a;
        line->w0 = 1 - line->w1;
    }
}

#define DEFINE_INTERP(T, S)                                                                        \
    static void nearest_##S(T *out, const T *x, const struct line *rows, const struct line *cols,  \
                            int64_t h, int64_t w, int64_t in_w)                                    \
    {                                                                                              \
        for (int64_t y = 0; y < h; y++)                                                            \
            for (int64_t i = 0; i < w; i++)                                                        \
                out[y * w + i] = x[rows[y].a * in_w + cols[i].a];                                  \
    }                                                                                              \
    static void nearest_back_##S(T *dx, const T *dout, const struct line *rows,                    \
                                 const struct line *cols, int64_t h, int64_t w, int64_t in_w)      \
    {                                                                                              \
        for (int64_t y = 0; y < h; y++)                                                            \
            for (int64_t i = 0; i < w; i++)                                                        \
                dx[rows[y].a * in_w + cols[i].a] += dout[y * w + i];                               \
    }                                                                                              \
    static void bilinear_##S(T *out, const T *x, const struct line *rows, const struct line *cols, \
                             int64_t h, int64_t w, int64_t in_w)                                   \
    {                                                                                              \
        for (int64_t y = 0; y < h; y++) {                                                          \
            const struct line *r = &rows[y];                                                       \
            const T *a = x + r->a * in_w, *b = x + r->b * in_w;                                    \
            for (int64_t i = 0; i < w; i++) {                                                      \
                const struct line *c = &cols[i];                                                   \
                out[y * w + i] = a[c->a] * (T)r->w0 * (T)c->w0 + b[c->a] * (T)r->w1 * (T)c->w0 +   \
                                 a[c->b] * (T)r->w0 * (T)c->w1 + b[c->b] * (T)r->w1 * (T)c->w1;    \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    static void bilinear_back_##S(T *dx, const T *dout, const struct line *rows,                   \
                                  const struct line *cols, int64_t h, int64_t w, int64_t in_w)     \
    {                                                                                              \
        for (int64_t y = 0; y < h; y++) {                                                          \
            const struct line *r = &rows[y];                                                       \
            T *a = dx + r->a * in_w, *b = dx + r->b * in_w;                                        \
            for (int64_t i = 0; i < w; i++) {                                                      \
                const struct line *c = &cols[i];                                                   \
                T g = dout[y * w + i];                                                             \
                a[c->a] += g * (T)r->w0 * (T)c->w0;                                                \
                b[c->a] += g * (T)r->w1 * (T)c->w0;                                                \
                a[c->b] += g * (T)r->w0 * (T)c->w1;                                                \
                b[c->b] += g * (T)r->w1 * (T)c->w1;                                                \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_INTERP(float, f32)
DEFINE_INTERP(double, f64)

static bool is_nearest(const struct op_def *def)
{
    return def == &op_interp_nearest || def == &op_interp_nearest_grad;
}

static int check_side(int64_t side, const char *which, struct err *err)
{
    if (side >= 1 && side <= SIDE_MAX)
        return 0;
    return err_set(err, SL_EINVAL, "the %s of Out would be %lld", which, (long long)side);
}

static int read_sizes(const struct op_ctx *ctx, const struct tensor *t, int64_t *first,
                      int64_t *second)
{
    if (t->dtype != DTYPE_INT32 || tensor_count(t) < (second != NULL ? 2u : 1u))
        return err_set(ctx->err, SL_EINVAL, "OutSize and SizeTensor must hold int32 numbers");
    *first = tensor_i32(t)[0];
    if (second != NULL)
        *second = tensor_i32(t)[1];
    return 0;
}

// H and W at run time, with x in NCHW or as window_places says.
static int out_size(const struct op_ctx *ctx, int64_t h, int64_t w, int64_t *out_h, int64_t *out_w)
{
    const struct op_args *list = &ctx->in[INTERP_SIZE_TENSOR];
    const struct tensor *size = op_in(ctx, INTERP_OUT_SIZE),
                        *scales = op_in(ctx, INTERP_SCALE_TENSOR);
    int rc = 0;
    float scale = ctx->attr[INTERP_SCALE]->f;
    *out_h = ctx->attr[INTERP_H]->i;
    *out_w = ctx->attr[INTERP_W]->i;
    if (list->count > 0) {
        if (list->count != 2)
            return err_set(ctx->err, SL_EINVAL, "SizeTensor must be 2 tensors, not %zu",
                           list->count);
        rc = read_sizes(ctx, op_in_at(ctx, INTERP_SIZE_TENSOR, 0), out_h, NULL);
        if (rc == 0)
            rc = read_sizes(ctx, op_in_at(ctx, INTERP_SIZE_TENSOR, 1), out_w, NULL);
    } else {
        if (scales != NULL && scales->dtype == DTYPE_FP32 && tensor_count(scales) > 0)
            scale = tensor_f32(scales)[0];
        else if (scales != NULL)
            return err_set(ctx->err, SL_EINVAL, "Scale must be one float32 number");
        if (scale > 0 && (float)h * scale <= SIDE_MAX && (float)w * scale <= SIDE_MAX) {
            *out_h = (int64_t)((float)h * scale);
            *out_w = (int64_t)((float)w * scale);
        }
        if (size != NULL)
            rc = read_sizes(ctx, size, out_h, out_w);
    }
    if (rc == 0)
        rc = check_side(*out_h, "height", ctx->err);
    return rc < 0 ? rc : check_side(*out_w, "width", ctx->err);
}

static int read_image(const struct attr *const *attr, const struct dims *x, bool *channels_last,
                      struct err *err)
{
    char text[DIMS_TEXT_MAX];
    int rc = window_layout(attr[INTERP_LAYOUT], channels_last, err);
    if (rc < 0)
        return rc;
    if (x->rank != 4)
        return err_set(err, SL_EINVAL, "X %s must have 4 dimensions", dims_format(x, text));
    struct window_places place = window_places(*channels_last);
    if (x->d[place.h] == 0 || x->d[place.w] == 0)
        return err_set(err, SL_EINVAL, "X %s has images without elements", dims_format(x, text));
    return 0;
}

static int interp_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, INTERP_X, 0);
    bool last, fed = op_shape_in(shape, INTERP_OUT_SIZE, 0) != NULL ||
                     shape->in[INTERP_SIZE_TENSOR].count > 0 ||
                     op_shape_in(shape, INTERP_SCALE_TENSOR, 0) != NULL;
    int rc = read_image(shape->attr, &x->dims, &last, shape->err);
    if (rc < 0)
        return rc;
    struct window_places place = window_places(last);
    const int axes[] = {place.h, place.w};
    struct dims out = x->dims;
    float scale = shape->attr[INTERP_SCALE]->f;
    for (int i = 0; i < 2; i++) {
        int64_t side = x->dims.d[axes[i]], given = shape->attr[INTERP_H + i]->i;
        out.d[axes[i]] = -1;
        if (fed && shape->building && given > 0 && given <= SIDE_MAX)
            out.d[axes[i]] = given;   // Fluid describes what the attributes say
        if (fed)
            continue;
        if (scale > 0 && side >= 0 && (float)side * scale <= SIDE_MAX)
            given = (int64_t)((float)side * scale);
        if (scale > 0 && side < 0)
            continue;
        if ((rc = check_side(given, i == 0 ? "height" : "width", shape->err)) < 0)
            return rc;
        out.d[axes[i]] = given;
    }
    op_shape_set(shape, 0, 0, &out, x->dtype, NULL);
    return 0;
}

static int interp_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, INTERP_X, 0);
    bool last;
    int rc = read_image(shape->attr, &x->dims, &last, shape->err);
    if (rc == 0 && op_shape_in(shape, INTERP_DOUT, 0)->dims.rank != 4)
        rc = err_set(shape->err, SL_EMISMATCH, "Out@GRAD must have 4 dimensions");
    if (rc == 0)
        op_shape_copy(shape, 0, 0, x);
    return rc;
}

// Sources of all rows and columns, in a temporary that is kept.
static int lines_of(struct op_ctx *ctx, const struct tensor *x, int64_t h, int64_t w,
                    struct line **rows, struct line **cols)
{
    bool nearest = is_nearest(ctx->def);
    const int64_t bytes[] = {(h + w) * (int64_t)sizeof(struct line)};
    struct dims dims = dims_make(1, bytes);
    int rc = op_resize(&ctx->temps[TEMP_LINES], DTYPE_UINT8, &dims, ctx->err);
    if (rc < 0)
        return rc;
    *rows = ctx->temps[TEMP_LINES].data;
    *cols = *rows + h;
    fill_lines(*rows, x->dims.d[2], h, nearest, ctx->attr);
    fill_lines(*cols, x->dims.d[3], w, nearest, ctx->attr);
    return 0;
}

static int interp_forward(struct op_ctx *ctx)
{
    static const int others[] = {-1};
    const struct tensor *x = op_in(ctx, INTERP_X);
    struct tensor *out;
    struct line *rows, *cols;
    bool last, nearest = is_nearest(ctx->def);
    int64_t h, w;
    int rc = shape_check_floats(ctx, others);
    if (rc < 0 || (rc = read_image(ctx->attr, &x->dims, &last, ctx->err)) < 0)
        return rc;
    struct window_places place = window_places(last);
    if ((rc = out_size(ctx, x->dims.d[place.h], x->dims.d[place.w], &h, &w)) < 0)
        return rc;
    struct dims dims = x->dims;
    dims.d[place.h] = h;
    dims.d[place.w] = w;
    if ((rc = op_resize(op_out(ctx, 0), x->dtype, &dims, ctx->err)) < 0 ||
        (rc = layout_input(ctx, TEMP_X, x, last, &x)) < 0 ||
        (rc = layout_output(ctx, TEMP_OUT, op_out(ctx, 0), last, &out)) < 0 ||
        (rc = lines_of(ctx, x, h, w, &rows, &cols)) < 0)
        return rc;
    int64_t plane = x->dims.d[2] * x->dims.d[3], in_w = x->dims.d[3];
    for (int64_t i = 0; i < x->dims.d[0] * x->dims.d[1]; i++) {
        if (x->dtype == DTYPE_FP32)
            (nearest ? nearest_f32 : bilinear_f32)(
                tensor_f32(out) + i * h * w, tensor_f32(x) + i * plane, rows, cols, h, w, in_w);
        else
            (nearest ? nearest_f64 : bilinear_f64)(
                tensor_f64(out) + i * h * w, tensor_f64(x) + i * plane, rows, cols, h, w, in_w);
    }
    return layout_finish(ctx, op_out(ctx, 0), out);
}

static int interp_backward(struct op_ctx *ctx)
{
    static const int others[] = {INTERP_DOUT, -1};
    const struct tensor *x = op_in(ctx, INTERP_X), *dout = op_in(ctx, INTERP_DOUT);
    struct tensor *dx;
    struct line *rows, *cols;
    bool last, nearest = is_nearest(ctx->def);
    int64_t h, w;
    int rc = shape_check_floats(ctx, others);
    if (rc < 0 || op_out(ctx, 0) == NULL ||
        (rc = read_image(ctx->attr, &x->dims, &last, ctx->err)) < 0)
        return rc;
    struct window_places place = window_places(last);
    if ((rc = out_size(ctx, x->dims.d[place.h], x->dims.d[place.w], &h, &w)) < 0)
        return rc;
    struct dims want = x->dims;
    want.d[place.h] = h;
    want.d[place.w] = w;
    if (!dims_equal(&want, &dout->dims))
        return err_set(ctx->err, SL_EMISMATCH, "Out@GRAD has not the shape of Out");
    if ((rc = op_resize(op_out(ctx, 0), x->dtype, &x->dims, ctx->err)) < 0 ||
        (rc = layout_input(ctx, TEMP_OUT, dout, last, &dout)) < 0 ||
        (rc = layout_output(ctx, TEMP_X, op_out(ctx, 0), last, &dx)) < 0 ||
        (rc = lines_of(ctx, dx, h, w, &rows, &cols)) < 0)
        return rc;
    if (tensor_count(dx) > 0)
        memset(dx->data, 0, tensor_bytes(dx));
    int64_t plane = dx->dims.d[2] * dx->dims.d[3], in_w = dx->dims.d[3];
    for (int64_t i = 0; i < dx->dims.d[0] * dx->dims.d[1]; i++) {
        if (x->dtype == DTYPE_FP32)
            (nearest ? nearest_back_f32 : bilinear_back_f32)(
                tensor_f32(dx) + i * plane, tensor_f32(dout) + i * h * w, rows, cols, h, w, in_w);
        else
            (nearest ? nearest_back_f64 : bilinear_back_f64)(
                tensor_f64(dx) + i * plane, tensor_f64(dout) + i * h * w, rows, cols, h, w, in_w);
    }
    return layout_finish(ctx, op_out(ctx, 0), dx);
}

#define INTERP_OP(NAME, TYPE)                                                                      \
    const struct op_def NAME = {                                                                   \
        .type = TYPE,                                                                              \
        .inputs = interp_inputs,                                                                   \
        .outputs = interp_outputs,                                                                 \
        .attrs = interp_attrs,                                                                     \
        .grad = {.type = TYPE "_grad",                                                             \
                 .inputs = "X OutSize SizeTensor Scale Out@GRAD",                                  \
                 .outputs = "X@GRAD"},                                                             \
        .infer_shape = interp_infer,                                                               \
        .kernel = interp_forward,                                                                  \
        .temps = TEMPS,                                                                            \
        .kernel_resizes = true,                                                                    \
    };                                                                                             \
    const struct op_def NAME##_grad = {                                                            \
        .type = TYPE "_grad",                                                                      \
        .inputs = interp_grad_inputs,                                                              \
        .outputs = interp_grad_outputs,                                                            \
        .attrs = interp_attrs,                                                                     \
        .infer_shape = interp_grad_infer,                                                          \
        .kernel = interp_backward,                                                                 \
        .no_lod = true,                                                                            \
        .temps = TEMPS,                                                                            \
    };

INTERP_OP(op_interp_bilinear, "bilinear_interp")
INTERP_OP(op_interp_nearest, "nearest_interp")
