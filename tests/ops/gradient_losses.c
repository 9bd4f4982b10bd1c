// SPDX-License-Identifier: Apache-2.0
// Losses, distances and reductions for the finite-difference test.

#include <string.h>

#include "tests/ops/gradient_subject.h"

static struct dims column(void)
{
    return (struct dims){.rank = 2, .d = {draw(1, 6), 1}};
}

static void make_plain(struct subject *s, struct dims dims, const char *x, enum kind x_kind,
                       const char *label, enum kind label_kind, const char *out)
{
    add_input(s, x, "x", x_kind, dims);
    add_input(s, label, "label", label_kind, dims);
    add_output(s, out, "out", true);
}

static void make_bce(struct subject *s)
{
    make_plain(s, draw_dims((int)draw(1, 3)), "X", PROBABILITY, "Label", TARGET, "Out");
}

static void make_sigmoid(struct subject *s)
{
    op_desc_set_bool(s->op, "normalize", draw(0, 1) == 1);
    op_desc_set_int(s->op, "ignore_index", draw(0, 2) - 1);
    make_plain(s, (struct dims){.rank = 2, .d = {draw(2, 5), 9}}, "X", WIDE, "Label",
               draw(0, 1) ? SIGN : BINARY, "Out");
}

static void make_log(struct subject *s)
{
    op_desc_set_float(s->op, "epsilon", 1e-3f);
    make_plain(s, column(), "Predicted", PROBABILITY, "Labels", TARGET, "Loss");
}

static void make_hinge(struct subject *s)
{
    make_plain(s, column(), "Logits", WIDE, "Labels", BINARY, "Loss");
}

static void make_modified_huber(struct subject *s)
{
    make_plain(s, column(), "X", WIDE, "Y", BINARY, "Out");
    add_output(s, "IntermediateVal", "value", false);
}

static void make_teacher(struct subject *s)
{
    make_plain(s, column(), "X", WIDE, "Label", draw(0, 1) ? TARGET : WIDE, "Y");
}

static void make_kldiv(struct subject *s)
{
    static const char *const reductions[] = {"none", "sum", "mean", "batchmean"};
    op_desc_set_string(s->op, "reduction", reductions[draw(0, 3)]);
    make_plain(s, draw_dims((int)draw(1, 4)), "X", WIDE, "Target", TARGET, "Loss");
}

static void make_two(struct subject *s, struct dims x, struct dims y)
{
    add_input(s, "X", "x", REAL, x);
    add_input(s, "Y", "y", REAL, y);
    add_output(s, "Out", "out", true);
}

static void make_huber(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 3));
    op_desc_set_float(s->op, "delta", 0.4f);
    make_two(s, x, x);
    add_output(s, "Residual", "residual", false);
}

static void make_smooth_l1(struct subject *s)
{
    struct dims x = draw_dims((int)draw(2, 4));
    op_desc_set_float(s->op, "sigma", 1.5f);
    make_two(s, x, x);
    if (draw(0, 1)) {
        add_input(s, "InsideWeight", "inside", TARGET, x);
        add_input(s, "OutsideWeight", "outside", TARGET, x);
    }
    add_output(s, "Diff", "diff", false);
}

static void make_squared_l2(struct subject *s)
{
    struct dims x = draw_dims((int)draw(2, 4)), y = x;
    if (draw(0, 1))
        y.d[0] = 1;
    make_two(s, x, y);
    add_output(s, "sub_result", "sub", false);
}

static void make_rank(struct subject *s)
{
    struct dims x = column();
    add_input(s, "Left", "left", WIDE, x);
    add_input(s, "Right", "right", WIDE, x);
    add_input(s, "Label", "label", TARGET, x);
    add_output(s, "Out", "out", true);
}

static void make_margin_rank(struct subject *s)
{
    struct dims x = column();
    op_desc_set_float(s->op, "margin", 0.3f);
    add_input(s, "X1", "x1", REAL, x);
    add_input(s, "X2", "x2", REAL, x);
    add_input(s, "Label", "label", SIGN, x);
    add_output(s, "Out", "out", true);
    add_output(s, "Activated", "activated", false);
}

static void make_bpr(struct subject *s)
{
    struct dims x = draw_dims((int)draw(2, 3)), label = x;
    x.d[x.rank - 1]++;
    s->classes = x.d[x.rank - 1];
    label.d[label.rank - 1] = 1;
    add_input(s, "X", "x", WIDE, x);
    add_input(s, "Label", "label", LABEL, label);
    add_output(s, "Y", "out", true);
}

static void make_softmax_loss(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 4)), label = x;
    int64_t axis = draw(-x.rank, x.rank - 1);
    bool soft = draw(0, 1);
    s->classes = x.d[op_axis(axis, x.rank)];
    label.d[op_axis(axis, x.rank)] = soft ? s->classes : 1;
    op_desc_set_int(s->op, "axis", axis);
    op_desc_set_bool(s->op, "soft_label", soft);
    add_input(s, "Logits", "x", WIDE, x);
    add_input(s, "Label", "label", soft ? SHARE : LABEL, label);
    add_output(s, "Loss", "out", true);
    add_output(s, "Softmax", "softmax", false);
}

// Some dimensions, some of them counted from the end.
static void make_reduce(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 5));
    int64_t dim[LIMIT_RANK], count = 0;
    for (int i = 0; i < x.rank; i++)
        if (draw(0, 1))
            dim[count++] = draw(0, 1) ? i : i - x.rank;
    if (count == 0)
        dim[count++] = 0;
    op_desc_set_ints(s->op, "dim", dim, (size_t)count);
    op_desc_set_bool(s->op, "keep_dim", draw(0, 1) == 1);
    op_desc_set_bool(s->op, "reduce_all", draw(0, 4) == 0);
    add_input(s, "X", "x", strcmp(s->type, "reduce_prod") == 0 ? PROBABILITY : REAL, x);
    add_output(s, "Out", "out", true);
}

const struct gradient_row gradient_losses_rows[] = {
    {"bce_loss", make_bce},
    {"bpr_loss", make_bpr},
    {"hinge_loss", make_hinge},
    {"huber_loss", make_huber},
    {"kldiv_loss", make_kldiv},
    {"log_loss", make_log},
    {"margin_rank_loss", make_margin_rank},
    {"modified_huber_loss", make_modified_huber},
    {"rank_loss", make_rank},
    {"reduce_max", make_reduce},
    {"reduce_mean", make_reduce},
    {"reduce_min", make_reduce},
    {"reduce_prod", make_reduce},
    {"reduce_sum", make_reduce},
    {"sigmoid_cross_entropy_with_logits", make_sigmoid},
    {"smooth_l1_loss", make_smooth_l1},
    {"softmax_with_cross_entropy", make_softmax_loss},
    {"squared_l2_distance", make_squared_l2},
    {"teacher_student_sigmoid_loss", make_teacher},
    {NULL, NULL},
};
