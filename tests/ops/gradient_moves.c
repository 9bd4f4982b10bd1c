// SPDX-License-Identifier: Apache-2.0
// Ops that move, choose, repeat and drop elements for the finite-difference test.

#include <string.h>

#include "tests/ops/gradient_subject.h"

static const char *const x_names[] = {"x0", "x1", "x2", "x3"};
static const char *const y_names[] = {"y0", "y1", "y2", "y3", "y4"};

static bool type_is(const struct subject *s, const char *type)
{
    return strcmp(s->type, type) == 0;
}

// X and Out, and XShape for the second era.
static void add_x_out(struct subject *s, struct dims x)
{
    add_input(s, "X", "x", REAL, x);
    add_output(s, "Out", "out", true);
    if (s->type[strlen(s->type) - 1] == '2')
        add_output(s, "XShape", "x_shape", false);
}

static void make_reshape(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 4));
    int64_t shape[3] = {0, -1, 1};
    op_desc_set_ints(s->op, "shape", shape, (size_t)draw(x.rank == 1 ? 1 : 2, 3));
    add_x_out(s, x);
}

static void make_squeeze(struct subject *s)
{
    struct dims x = draw_dims((int)draw(2, 4));
    int64_t axis = draw(0, x.rank - 1);
    x.d[axis] = 1;
    axis -= draw(0, 1) * x.rank;
    op_desc_set_ints(s->op, "axes", &axis, (size_t)draw(0, 1));
    add_x_out(s, x);
}

static void make_unsqueeze(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 3));
    int64_t axes[2] = {draw(-x.rank - 1, x.rank), draw(-x.rank - 2, x.rank + 1)};
    op_desc_set_ints(s->op, "axes", axes, 2);
    add_x_out(s, x);
}

static void make_flatten(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 4));
    op_desc_set_int(s->op, "axis", draw(0, x.rank));
    add_x_out(s, x);
}

static void make_transpose(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 5));
    int64_t axis[LIMIT_RANK];
    for (int i = 0; i < x.rank; i++) {
        int at = (int)draw(0, i);
        axis[i] = axis[at];
        axis[at] = i;
    }
    op_desc_set_ints(s->op, "axis", axis, (size_t)x.rank);
    add_x_out(s, x);
}

static void make_expand(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 3)), target = x;
    int64_t times[LIMIT_RANK];
    for (int i = 0; i < x.rank; i++) {
        times[i] = draw(1, 3);
        target.d[i] *= times[i];
    }
    add_x_out(s, x);
    if (type_is(s, "expand_as"))
        add_input(s, "target_tensor", "target", TARGET, target);
    else
        op_desc_set_ints(s->op, "expand_times", times, (size_t)x.rank);
}

// Some dimensions: from start to end, by step when there are strides.
static void make_slice(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 4));
    int64_t axes[LIMIT_RANK], starts[LIMIT_RANK], ends[LIMIT_RANK], strides[LIMIT_RANK], n = 0;
    for (int i = 0; i < x.rank; i++) {
        if (i > 0 && draw(0, 1))
            continue;
        int64_t start = draw(0, x.d[i] - 1), end = draw(start + 1, x.d[i] + 1);
        bool turned = type_is(s, "strided_slice") && draw(0, 1);
        axes[n] = i;
        starts[n] = turned ? end - 1 : start - draw(0, 1) * x.d[i];
        ends[n] = turned ? start - 1 - x.d[i] * (start == 0 ? 2 : draw(0, 1)) : end;
        strides[n++] = turned ? -draw(1, 3) : draw(1, 3);
    }
    op_desc_set_ints(s->op, "axes", axes, (size_t)n);
    op_desc_set_ints(s->op, "starts", starts, (size_t)n);
    op_desc_set_ints(s->op, "ends", ends, (size_t)n);
    if (type_is(s, "strided_slice"))
        op_desc_set_ints(s->op, "strides", strides, (size_t)n);
    add_input(s, "Input", "x", REAL, x);
    add_output(s, "Out", "out", true);
}

static void make_stack(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 3));
    int64_t count = draw(1, 4);
    op_desc_set_int(s->op, "axis", draw(-x.rank - 1, x.rank));
    for (int64_t i = 0; i < count; i++)
        add_input(s, "X", x_names[i], REAL, x);
    add_output(s, "Y", "y", true);
}

static void make_unstack(struct subject *s)
{
    struct dims x = draw_dims((int)draw(2, 4));
    int64_t axis = draw(-x.rank, x.rank - 1), count = x.d[axis < 0 ? axis + x.rank : axis];
    op_desc_set_int(s->op, "axis", axis);
    if (type_is(s, "unstack"))
        op_desc_set_int(s->op, "num", count);
    add_input(s, "X", "x", REAL, x);
    for (int64_t i = 0; i < count; i++)
        add_output(s, type_is(s, "unstack") ? "Y" : "Out", y_names[i], true);
}

// Rows that come twice get both gradients only when they are added.
static void make_gather(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 3)), index = {.rank = 1, .d = {draw(1, 5)}};
    bool add = draw(0, 1);
    if (!add)
        index.d[0] = 1;
    op_desc_set_bool(s->op, "overwrite", !add);
    s->classes = x.d[0];
    add_input(s, "X", "x", REAL, x);
    add_input(s, "Index", "index", LABEL, index);
    add_output(s, "Out", "out", true);
}

static void make_gather_nd(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 4));
    struct dims index = {.rank = 2, .d = {draw(1, 4), draw(1, x.rank)}}, updates = {.rank = 1};
    s->classes = x.d[0];
    for (int64_t i = 0; i < index.d[1]; i++)
        x.d[i] = x.d[0];
    updates.d[0] = index.d[0];
    for (int64_t i = index.d[1]; i < x.rank; i++)
        updates.d[updates.rank++] = x.d[i];
    add_input(s, "X", "x", REAL, x);
    add_input(s, "Index", "index", LABEL, index);
    if (type_is(s, "scatter_nd_add"))
        add_input(s, "Updates", "updates", REAL, updates);
    add_output(s, "Out", "out", true);
}

// The gradient of X keeps what is written over, as in Fluid: only that of Updates is compared.
static void make_scatter(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 3)), ids = {.rank = 1, .d = {draw(1, 5)}}, updates = x;
    bool add = draw(0, 1);
    if (!add)
        ids.d[0] = 1;
    updates.d[0] = ids.d[0];
    op_desc_set_bool(s->op, "overwrite", !add);
    s->classes = x.d[0];
    add_input(s, "X", "x", TARGET, x);
    add_input(s, "Ids", "ids", LABEL, ids);
    add_input(s, "Updates", "updates", REAL, updates);
    add_output(s, "Out", "out", true);
}

static void make_lookup(struct subject *s)
{
    struct dims w = {.rank = 2, .d = {draw(2, 5), draw(1, 4)}}, ids = draw_dims((int)draw(1, 2));
    if (type_is(s, "lookup_table"))
        ids.d[ids.rank++] = 1;
    s->classes = w.d[0];
    op_desc_set_long(s->op, "padding_idx", draw(-1, 1));
    add_input(s, "W", "w", REAL, w);
    add_input(s, "Ids", "ids", LABEL, ids);
    add_output(s, "Out", "out", true);
}

static void make_pad(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 4));
    int64_t paddings[2 * LIMIT_RANK];
    for (int i = 0; i < 2 * x.rank; i++)
        paddings[i] = draw(0, 2);
    op_desc_set_ints(s->op, "paddings", paddings, 2 * (size_t)x.rank);
    op_desc_set_float(s->op, "pad_value", 0.5f);
    add_x_out(s, x);
}

static void make_pad_like(struct subject *s)
{
    struct dims y = draw_dims((int)draw(1, 3)), x = y;
    for (int i = 0; i < x.rank; i++)
        x.d[i] += draw(0, 2);
    add_input(s, "X", "x", TARGET, x);
    add_input(s, "Y", "y", REAL, y);
    add_output(s, "Out", "out", true);
}

static void make_pad2d(struct subject *s)
{
    static const char *const modes[] = {"constant", "reflect", "edge"};
    struct dims x = {.rank = 4, .d = {draw(1, 2), draw(3, 4), draw(3, 4), draw(3, 4)}};
    int64_t paddings[4] = {draw(-1, 2), draw(0, 2), draw(0, 2), draw(-1, 2)};
    op_desc_set_ints(s->op, "paddings", paddings, 4);
    op_desc_set_string(s->op, "mode", modes[draw(0, 2)]);
    op_desc_set_string(s->op, "data_format", draw(0, 1) ? "NCHW" : "NHWC");
    add_input(s, "X", "x", REAL, x);
    add_output(s, "Out", "out", true);
}

static void make_crop(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 4));
    int64_t offsets[LIMIT_RANK], shape[LIMIT_RANK];
    for (int i = 0; i < x.rank; i++) {
        offsets[i] = draw(0, x.d[i] - 1);
        shape[i] = draw(1, x.d[i] - offsets[i]);
    }
    op_desc_set_ints(s->op, "offsets", offsets, (size_t)x.rank);
    op_desc_set_ints(s->op, "shape", shape, (size_t)x.rank);
    add_input(s, "X", "x", REAL, x);
    add_output(s, "Out", "out", true);
}

static void make_reverse(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 4));
    int64_t axes[2] = {draw(-x.rank, x.rank - 1), draw(0, x.rank - 1)};
    op_desc_set_ints(s->op, type_is(s, "flip") ? "dims" : "axis", axes, (size_t)draw(1, 2));
    add_input(s, "X", "x", REAL, x);
    add_output(s, "Out", "out", true);
}

static void make_multiplex(struct subject *s)
{
    struct dims x = draw_dims((int)draw(2, 3)), ids = {.rank = 2, .d = {x.d[0], 1}};
    s->classes = draw(2, 4);
    add_input(s, "Ids", "ids", LABEL32, ids);
    for (int64_t i = 0; i < s->classes; i++)
        add_input(s, "X", x_names[i], REAL, x);
    add_output(s, "Out", "out", true);
}

static void make_where(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 3));
    add_input(s, "Condition", "condition", CONDITION, x);
    add_input(s, "X", "x", REAL, x);
    add_input(s, "Y", "y", REAL, x);
    add_output(s, "Out", "out", true);
}

static void make_argsort(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 3));
    op_desc_set_int(s->op, "axis", draw(-x.rank, x.rank - 1));
    op_desc_set_bool(s->op, "descending", draw(0, 1));
    add_input(s, "X", "x", REAL, x);
    add_output(s, "Out", "out", true);
    add_output(s, "Indices", "indices", false);
}

static void make_print(struct subject *s)
{
    op_desc_set_string(s->op, "message", "gradient");
    add_input(s, "In", "x", REAL, draw_dims(2));
    add_output(s, "Out", "out", true);
}

const struct gradient_row gradient_moves_rows[] = {
    {"argsort", make_argsort},
    {"crop", make_crop},
    {"crop_tensor", make_crop},
    {"expand", make_expand},
    {"expand_as", make_expand},
    {"flatten", make_flatten},
    {"flatten2", make_flatten},
    {"flip", make_reverse},
    {"gather", make_gather},
    {"gather_nd", make_gather_nd},
    {"lookup_table", make_lookup},
    {"lookup_table_v2", make_lookup},
    {"multiplex", make_multiplex},
    {"pad", make_pad},
    {"pad2d", make_pad2d},
    {"pad_constant_like", make_pad_like},
    {"print", make_print},
    {"reshape", make_reshape},
    {"reshape2", make_reshape},
    {"reverse", make_reverse},
    {"scatter", make_scatter},
    {"scatter_nd_add", make_gather_nd},
    {"slice", make_slice},
    {"squeeze", make_squeeze},
    {"squeeze2", make_squeeze},
    {"stack", make_stack},
    {"strided_slice", make_slice},
    {"transpose", make_transpose},
    {"transpose2", make_transpose},
    {"unbind", make_unstack},
    {"unsqueeze", make_unsqueeze},
    {"unsqueeze2", make_unsqueeze},
    {"unstack", make_unstack},
    {"where", make_where},
    {NULL, NULL},
};
