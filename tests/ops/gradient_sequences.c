// SPDX-License-Identifier: Apache-2.0
// Ops of sequences for the finite-difference test: LoD drawn at random, empty sequences among them.

#include "tests/ops/gradient_subject.h"

static struct sequences other;   // a second LoD of one op; what draw_sequences gave before

// Sequences for s and as many for `other`.
static void draw_two(struct subject *s, int64_t shortest)
{
    draw_sequences(s, shortest);
    other = s->sequences;
    for (size_t i = 0; i < other.count; i++)
        other.offsets[i + 1] = other.offsets[i] + (uint64_t)draw(shortest, 3);
}

static void add_other(struct subject *s, const char *slot, const char *name, enum kind kind,
                      int64_t width)
{
    int64_t rows = (int64_t)other.offsets[other.count];
    add_input(s, slot, name, kind, (struct dims){.rank = 2, .d = {rows, width}});
    s->inputs[s->inputs_count - 1].lod = &other;
}

static void make_pool(struct subject *s)
{
    static const char *const kinds[] = {"AVERAGE", "SUM", "SQRT", "MAX", "LAST", "FIRST"};
    op_desc_set_string(s->op, "pooltype", kinds[draw(0, 5)]);
    op_desc_set_float(s->op, "pad_value", 0.5f);
    draw_sequences(s, 0);
    add_sequences(s, "X", "x", REAL, draw(1, 4));
    add_output(s, "Out", "out", true);
    add_output(s, "MaxIndex", "max_index", false);
}

static void make_conv(struct subject *s)
{
    int64_t length = draw(1, 4), start = draw(-4, 2), width = draw(1, 3);
    int64_t up = start < 0 ? -start : 0, down = start + length > 1 ? start + length - 1 : 0;
    draw_sequences(s, 0);
    op_desc_set_int(s->op, "contextLength", length);
    op_desc_set_int(s->op, "contextStart", start);
    op_desc_set_int(s->op, "contextStride", 1);
    add_sequences(s, "X", "x", REAL, width);
    if (up + down > 0 && draw(0, 1)) {
        op_desc_set_bool(s->op, "paddingTrainable", true);
        add_input(s, "PaddingData", "padding", REAL,
                  (struct dims){.rank = 2, .d = {up + down, width}});
    }
    add_input(s, "Filter", "filter", REAL,
              (struct dims){.rank = 2, .d = {length * width, draw(1, 3)}});
    add_output(s, "Out", "out", true);
}

static void make_row_conv(struct subject *s)
{
    int64_t width = draw(1, 4);
    if (draw(0, 1)) {
        draw_sequences(s, 0);
        add_sequences(s, "X", "x", REAL, width);
    } else {
        add_input(s, "X", "x", REAL,
                  (struct dims){.rank = 3, .d = {draw(1, 3), draw(1, 4), width}});
    }
    add_input(s, "Filter", "filter", REAL, (struct dims){.rank = 2, .d = {draw(1, 5), width}});
    add_output(s, "Out", "out", true);
}

static void make_softmax(struct subject *s)
{
    draw_sequences(s, 0);
    add_sequences(s, "X", "x", WIDE, 1);
    add_output(s, "Out", "out", true);
}

static void make_concat(struct subject *s)
{
    int64_t width = draw(1, 4);
    draw_two(s, 0);
    add_sequences(s, "X", "x0", REAL, width);
    add_other(s, "X", "x1", REAL, width);
    if (draw(0, 1))
        add_sequences(s, "X", "x2", REAL, width);
    add_output(s, "Out", "out", true);
}

static void make_expand(struct subject *s)
{
    draw_two(s, 0);
    if (draw(0, 1))
        add_sequences(s, "X", "x", REAL, draw(1, 4));
    else
        add_input(s, "X", "x", REAL,
                  (struct dims){.rank = 2, .d = {(int64_t)other.count, draw(1, 4)}});
    add_other(s, "Y", "y", LABEL, 1);
    s->classes = 2;
    op_desc_set_int(s->op, "ref_level", draw(-1, 0));
    add_output(s, "Out", "out", true);
}

static void make_expand_as(struct subject *s)
{
    draw_two(s, 0);
    add_input(s, "X", "x", REAL, (struct dims){.rank = 2, .d = {(int64_t)other.count, draw(1, 4)}});
    add_other(s, "Y", "y", LABEL, 1);
    s->classes = 2;
    add_output(s, "Out", "out", true);
}

// PadValue has no gradient: it is an integer's kind, but of X's type.
static void make_pad(struct subject *s)
{
    int64_t width = draw(1, 4);
    draw_sequences(s, 0);
    op_desc_set_int(s->op, "padded_length", draw(0, 1) ? -1 : draw(4, 6));
    add_sequences(s, "X", "x", REAL, width);
    add_input(s, "PadValue", "pad_value", SHARE,
              (struct dims){.rank = 1, .d = {draw(0, 1) ? 1 : width}});
    s->classes = 2;
    add_output(s, "Out", "out", true);
    add_output(s, "Length", "length", false);
}

static void make_unpad(struct subject *s)
{
    struct dims x = draw_dims((int)draw(2, 4));
    add_input(s, "X", "x", REAL, x);
    add_input(s, "Length", "length", LABEL, (struct dims){.rank = 1, .d = {x.d[0]}});
    s->classes = x.d[1] + 1;
    add_output(s, "Out", "out", true);
}

static void make_reshape(struct subject *s)
{
    int64_t width = draw(1, 3), new_dim = draw(1, 2) * width;
    s->sequences = (struct sequences){.count = (size_t)draw(1, SEQUENCES_MAX)};
    for (size_t i = 0; i < s->sequences.count; i++)
        s->sequences.offsets[i + 1] = s->sequences.offsets[i] + (uint64_t)(2 * draw(0, 2));
    op_desc_set_int(s->op, "new_dim", new_dim);
    add_sequences(s, "X", "x", REAL, width);
    add_output(s, "Out", "out", true);
}

static void make_reverse(struct subject *s)
{
    draw_sequences(s, 0);
    add_sequences(s, "X", "x", REAL, draw(1, 4));
    add_output(s, "Y", "y", true);
}

static void make_slice(struct subject *s)
{
    draw_sequences(s, 2);
    struct dims numbers = {.rank = 2, .d = {(int64_t)s->sequences.count, 1}};
    add_sequences(s, "X", "x", REAL, draw(1, 4));
    add_input(s, "Offset", "offset", LABEL, numbers);
    add_input(s, "Length", "length", LABEL, numbers);
    s->classes = 2;
    add_output(s, "Out", "out", true);
}

static void make_scatter(struct subject *s)
{
    draw_sequences(s, 0);
    s->classes = draw(1, 5);
    add_input(s, "X", "x", REAL,
              (struct dims){.rank = 2, .d = {(int64_t)s->sequences.count, s->classes}});
    add_sequences(s, "Ids", "ids", LABEL, 1);
    add_sequences(s, "Updates", "updates", REAL, 1);
    add_output(s, "Out", "out", true);
}

static void make_lod_reset(struct subject *s)
{
    int64_t rows = draw_sequences(s, 0), target[] = {0, draw(0, rows), rows};
    op_desc_set_ints(s->op, "target_lod", target, 3);
    add_sequences(s, "X", "x", REAL, draw(1, 4));
    add_output(s, "Out", "out", true);
}

static void make_im2sequence(struct subject *s)
{
    struct dims x = {.rank = 4, .d = {draw(1, 2), draw(1, 2), draw(2, 5), draw(2, 5)}};
    int64_t kernels[] = {draw(1, 2), draw(1, 2)}, strides[] = {draw(1, 3), draw(1, 3)};
    int64_t paddings[] = {draw(0, 2), draw(0, 2), draw(0, 2), draw(0, 2)};
    op_desc_set_ints(s->op, "kernels", kernels, 2);
    op_desc_set_ints(s->op, "strides", strides, 2);
    op_desc_set_ints(s->op, "paddings", paddings, 4);
    add_input(s, "X", "x", REAL, x);
    add_output(s, "Out", "out", true);
}

const struct gradient_row gradient_sequences_rows[] = {
    {"sequence_pool", make_pool},
    {"sequence_conv", make_conv},
    {"row_conv", make_row_conv},
    {"sequence_softmax", make_softmax},
    {"sequence_concat", make_concat},
    {"sequence_expand", make_expand},
    {"sequence_expand_as", make_expand_as},
    {"sequence_pad", make_pad},
    {"sequence_unpad", make_unpad},
    {"sequence_reshape", make_reshape},
    {"sequence_reverse", make_reverse},
    {"sequence_slice", make_slice},
    {"sequence_scatter", make_scatter},
    {"lod_reset", make_lod_reset},
    {"im2sequence", make_im2sequence},
    {NULL, NULL},
};
