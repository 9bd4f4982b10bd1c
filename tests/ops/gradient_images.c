// SPDX-License-Identifier: Apache-2.0
// Rows of the finite-difference test: convolutions, pools, normalisations, products, resizing.
// Small epsilons make normalisations too curved for differences, so theirs are large.

#include "tests/ops/gradient_subject.h"

#include <string.h>

#include "common/base/str.h"

static void set_pair(struct subject *s, const char *name, int64_t low, int64_t high)
{
    const int64_t pair[] = {draw(low, high), draw(low, high)};
    op_desc_set_ints(s->op, name, pair, 2);
}

static void set_paddings(struct subject *s, int64_t high)
{
    static const char *const algorithms[] = {"EXPLICIT", "EXPLICIT", "SAME", "VALID"};
    const int64_t pads[] = {draw(0, high), draw(0, high), draw(0, high), draw(0, high)};
    op_desc_set_ints(s->op, "paddings", pads, draw(0, 1) ? 2 : 4);
    op_desc_set_string(s->op, "padding_algorithm", algorithms[draw(0, 3)]);
}

// [n, c, h, w], or channels last when the attribute says so.
static struct dims image(struct subject *s, const char *format, int64_t channels, int64_t least,
                         int64_t most)
{
    bool last = format != NULL && draw(0, 2) == 0;
    int64_t n = draw(1, 3), h = draw(least, most), w = draw(least, most);
    const int64_t first_order[] = {n, channels, h, w}, last_order[] = {n, h, w, channels};
    if (format != NULL)
        op_desc_set_string(s->op, format, last ? "NHWC" : "NCHW");
    return dims_make(4, last ? last_order : first_order);
}

static void make_conv(struct subject *s)
{
    bool depthwise = str_eq(s->type, "depthwise_conv2d");
    int64_t groups = depthwise ? draw(2, 3) : draw(1, 2), each = depthwise ? 1 : draw(1, 3);
    const int64_t filter[] = {groups * draw(1, 3), each, draw(1, 3), draw(1, 3)};
    op_desc_set_int(s->op, "groups", groups);
    set_pair(s, "strides", 1, 2);
    set_pair(s, "dilations", 1, 2);
    set_paddings(s, 2);
    add_input(s, "Input", "x", REAL, image(s, "data_format", groups * each, 5, 6));
    add_input(s, "Filter", "f", REAL, dims_make(4, filter));
    add_output(s, "Output", "out", true);
}

static void make_conv_transpose(struct subject *s)
{
    bool depthwise = str_eq(s->type, "depthwise_conv2d_transpose");
    int64_t groups = depthwise ? draw(2, 3) : draw(1, 2), each = depthwise ? 1 : draw(1, 2);
    const int64_t filter[] = {groups * each, depthwise ? 1 : draw(1, 3), draw(2, 3), draw(2, 3)};
    const int64_t pads[] = {draw(0, 1), draw(0, 1), draw(0, 1), draw(0, 1)};
    op_desc_set_int(s->op, "groups", groups);
    set_pair(s, "strides", 1, 2);
    set_pair(s, "dilations", 1, 2);
    op_desc_set_ints(s->op, "paddings", pads, draw(0, 1) ? 2 : 4);
    add_input(s, "Input", "x", REAL, image(s, "data_format", groups * each, 3, 4));
    add_input(s, "Filter", "f", REAL, dims_make(4, filter));
    add_output(s, "Output", "out", true);
}

static void make_pool(struct subject *s)
{
    const int64_t halves[] = {2, 2}, none[] = {0, 0};
    bool halving = draw(0, 3) == 0;
    op_desc_set_string(s->op, "pooling_type", draw(0, 1) ? "max" : "avg");
    set_pair(s, "ksize", 2, 3);
    set_pair(s, "strides", 1, 3);
    set_paddings(s, 1);
    if (halving) {
        op_desc_set_ints(s->op, "ksize", halves, 2);
        op_desc_set_ints(s->op, "strides", halves, 2);
        op_desc_set_ints(s->op, "paddings", none, 2);
    }
    op_desc_set_bool(s->op, "ceil_mode", draw(0, 1));
    op_desc_set_bool(s->op, "exclusive", draw(0, 1));
    op_desc_set_bool(s->op, "adaptive", draw(0, 5) == 0);
    op_desc_set_bool(s->op, "global_pooling", draw(0, 5) == 0);
    struct dims x = image(s, "data_format", draw(1, 3), 3, 6);
    // Long rows go another way than short ones.
    if (draw(0, 4) == 0)
        x.d[str_eq(op_desc_attr(s->op, "data_format")->s, "NHWC") ? 2 : 3] = 36;
    add_input(s, "X", "x", REAL, x);
    add_output(s, "Out", "out", true);
}

static void make_pool_with_index(struct subject *s)
{
    bool adaptive = draw(0, 1);
    op_desc_set_bool(s->op, "adaptive", adaptive);
    set_pair(s, "ksize", 2, 3);
    set_pair(s, "strides", 1, 2);
    set_pair(s, "paddings", 0, adaptive ? 0 : 1);
    add_input(s, "X", "x", REAL, image(s, NULL, draw(1, 3), 3, 6));
    add_output(s, "Out", "out", true);
    add_output(s, "Mask", "mask", false);
}

static void make_batch_norm(struct subject *s)
{
    bool last = draw(0, 1) == 1;
    struct dims x = draw_dims((int)draw(2, 5));
    x.d[0] = draw(2, 4);
    struct dims c = dims_make(1, &x.d[last ? x.rank - 1 : 1]);
    op_desc_set_string(s->op, "data_layout", last ? "NHWC" : "NCHW");
    op_desc_set_float(s->op, "epsilon", 0.25f);
    op_desc_set_bool(s->op, "use_global_stats", draw(0, 2) == 0);
    add_input(s, "X", "x", REAL, x);
    add_input(s, "Scale", "scale", REAL, c);
    add_input(s, "Bias", "bias", REAL, c);
    add_input(s, "Mean", "mean", TARGET, c);
    add_input(s, "Variance", "variance", TARGET, c);
    add_output(s, "Y", "out", true);
    add_output(s, "MeanOut", "mean_out", false);
    add_output(s, "VarianceOut", "variance_out", false);
    add_output(s, "SavedMean", "saved_mean", false);
    add_output(s, "SavedVariance", "saved_variance", false);
}

static void add_affine(struct subject *s, const struct dims *row, bool always)
{
    if (always || draw(0, 2) > 0)
        add_input(s, "Scale", "scale", REAL, *row);
    if (always || draw(0, 2) > 0)
        add_input(s, "Bias", "bias", REAL, *row);
}

static void make_layer_norm(struct subject *s)
{
    struct dims x = draw_dims((int)draw(2, 4));
    int axis = (int)draw(1, x.rank - 1);
    // Rows longer than a vector are summed in another way.
    if (draw(0, 3) == 0)
        x.d[x.rank - 1] = 19;
    int64_t right = dims_product(&x, axis, x.rank);
    struct dims row = dims_make(1, &right);
    op_desc_set_int(s->op, "begin_norm_axis", axis);
    op_desc_set_float(s->op, "epsilon", 0.25f);
    add_input(s, "X", "x", REAL, x);
    add_affine(s, &row, false);
    add_output(s, "Y", "out", true);
    add_output(s, "Mean", "mean", false);
    add_output(s, "Variance", "variance", false);
}

// Always with Scale: without it Fluid's gradient, and so ours, lacks a term. Scale stays away from
// 0, since the gradient divides by it.
static void make_group_norm(struct subject *s)
{
    int64_t channels = draw(2, 6), groups = draw(1, 2);
    struct dims row = dims_make(1, &channels);
    op_desc_set_int(s->op, "groups", groups);
    op_desc_set_float(s->op, "epsilon", 0.25f);
    add_input(s, "X", "x", REAL, image(s, "data_layout", channels, 1, 3));
    add_input(s, "Scale", "scale", PROBABILITY, row);
    add_input(s, "Bias", "bias", REAL, row);
    add_output(s, "Y", "out", true);
    add_output(s, "Mean", "mean", false);
    add_output(s, "Variance", "variance", false);
}

static void make_instance_norm(struct subject *s)
{
    struct dims x = draw_dims((int)draw(3, 5)), row = dims_make(1, &x.d[1]);
    op_desc_set_float(s->op, "epsilon", 0.25f);
    add_input(s, "X", "x", REAL, x);
    add_affine(s, &row, true);
    add_output(s, "Y", "out", true);
    add_output(s, "SavedMean", "mean", false);
    add_output(s, "SavedVariance", "variance", false);
}

// n is odd: for an even one Fluid's gradient looks at the wrong side.
static void make_lrn(struct subject *s)
{
    op_desc_set_int(s->op, "n", draw(0, 3) * 2 + 1);
    op_desc_set_float(s->op, "k", 1.5f);
    op_desc_set_float(s->op, "alpha", 0.5f);
    add_input(s, "X", "x", REAL, image(s, "data_format", draw(1, 6), 1, 3));
    add_output(s, "Out", "out", true);
    add_output(s, "MidOut", "mid", false);
}

static void make_dropout(struct subject *s)
{
    op_desc_set_float(s->op, "dropout_prob", 0.375f);
    op_desc_set_bool(s->op, "fix_seed", true);
    op_desc_set_int(s->op, "seed", draw(0, 1000));
    op_desc_set_string(s->op, "dropout_implementation",
                       draw(0, 1) ? "downgrade_in_infer" : "upscale_in_train");
    add_input(s, "X", "x", REAL, draw_dims((int)draw(1, 4)));
    add_output(s, "Out", "out", true);
    add_output(s, "Mask", "mask", false);
}

// The last two dimensions of an operand behind the batch.
static struct dims matrix(struct dims batch, int64_t rows, int64_t cols, bool transposed)
{
    batch.d[batch.rank++] = transposed ? cols : rows;
    batch.d[batch.rank++] = transposed ? rows : cols;
    return batch;
}

static void make_matmul(struct subject *s)
{
    struct dims batch = draw_dims((int)draw(0, 2)), none = {.rank = 0};
    bool tx = draw(0, 1), ty = draw(0, 1);
    int64_t m = draw(1, 4), k = draw(1, 4), n = draw(1, 4), single = draw(0, 3);
    op_desc_set_bool(s->op, "transpose_X", tx);
    op_desc_set_bool(s->op, "transpose_Y", ty);
    op_desc_set_float(s->op, "alpha", -1.5f);
    add_input(s, "X", "x", REAL, matrix(single == 1 ? none : batch, m, k, tx));
    add_input(s, "Y", "y", REAL, matrix(single == 2 ? none : batch, k, n, ty));
    add_output(s, "Out", "out", true);
}

static void make_vector_product(struct subject *s)
{
    int64_t k = draw(1, 5), which = draw(0, 2);
    struct dims vector = dims_make(1, &k), batch = draw_dims((int)draw(0, 2));
    add_input(s, "X", "x", REAL, which != 1 ? vector : matrix(batch, draw(1, 4), k, false));
    add_input(s, "Y", "y", REAL, which != 2 ? vector : matrix(batch, k, draw(1, 4), false));
    add_output(s, "Out", "out", true);
}

static void make_bmm(struct subject *s)
{
    struct dims batch = draw_dims(1);
    int64_t m = draw(1, 4), k = draw(1, 4), n = draw(1, 4);
    add_input(s, "X", "x", REAL, matrix(batch, m, k, false));
    add_input(s, "Y", "y", REAL, matrix(batch, k, n, false));
    add_output(s, "Out", "out", true);
}

static void make_bilinear(struct subject *s)
{
    int64_t b = draw(1, 4), m = draw(1, 4), n = draw(1, 4), k = draw(1, 4);
    const int64_t x[] = {b, m}, y[] = {b, n}, weight[] = {k, m, n}, bias[] = {1, k};
    add_input(s, "X", "x", REAL, dims_make(2, x));
    add_input(s, "Y", "y", REAL, dims_make(2, y));
    add_input(s, "Weight", "weight", REAL, dims_make(3, weight));
    if (draw(0, 1))
        add_input(s, "Bias", "bias", REAL, dims_make(2, bias));
    add_output(s, "Out", "out", true);
}

static void make_interp(struct subject *s)
{
    op_desc_set_bool(s->op, "align_corners", draw(0, 1));
    op_desc_set_int(s->op, "align_mode", draw(0, 1));
    op_desc_set_int(s->op, "out_h", draw(1, 6));
    op_desc_set_int(s->op, "out_w", draw(1, 6));
    if (draw(0, 3) == 0)
        op_desc_set_float(s->op, "scale", 1.5f);
    add_input(s, "X", "x", REAL, image(s, "data_layout", draw(1, 3), 1, 4));
    add_output(s, "Out", "out", true);
}

static void make_norm(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 4));
    op_desc_set_int(s->op, "axis", draw(-x.rank, x.rank - 1));
    op_desc_set_float(s->op, "epsilon", 0.25f);
    add_input(s, "X", "x", REAL, x);
    add_output(s, "Out", "out", true);
    add_output(s, "Norm", "norm", false);
}

static void make_number(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 4));
    add_input(s, "X", "x", AWAY_FROM_0, x);
    add_output(s, "Out", "out", true);
}

const struct gradient_row gradient_images_rows[] = {
    {"conv2d", make_conv},
    {"depthwise_conv2d", make_conv},
    {"conv2d_transpose", make_conv_transpose},
    {"depthwise_conv2d_transpose", make_conv_transpose},
    {"pool2d", make_pool},
    {"max_pool2d_with_index", make_pool_with_index},
    {"batch_norm", make_batch_norm},
    {"layer_norm", make_layer_norm},
    {"group_norm", make_group_norm},
    {"instance_norm", make_instance_norm},
    {"lrn", make_lrn},
    {"dropout", make_dropout},
    {"matmul", make_matmul},
    {"matmul", make_vector_product},
    {"bmm", make_bmm},
    {"bilinear_tensor_product", make_bilinear},
    {"bilinear_interp", make_interp},
    {"nearest_interp", make_interp},
    {"norm", make_norm},
    {"l1_norm", make_number},
    {"squared_l2_norm", make_number},
    {NULL, NULL},
};
