// SPDX-License-Identifier: Apache-2.0
// Every gradient op against central differences in float64, on shapes drawn at random.
//
// For outputs Y_k and random weights W_k the loss is sum(W_k Y_k); dY_k = W_k is fed to the
// gradient ops, which are made by the forward op's own gradient rule, so the rule is tested too.

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/exec/executor.h"
#include "common/exec/scope.h"
#include "common/ops/op.h"
#include "common/program/program.h"
#include "tests/ops/gradient_subject.h"

#define ROUNDS 25

uint64_t gradient_subject_seed = 20240611;

static void make_mul(struct subject *s)
{
    struct dims x = draw_dims((int)draw(2, 4)), y = draw_dims((int)draw(2, 3));
    int64_t x_cols = draw(1, x.rank - 1), y_cols = y.rank - 1, inner = 1;
    for (int64_t i = x_cols; i < x.rank; i++)
        inner *= x.d[i];
    for (int64_t i = 0; i < y_cols; i++)
        y.d[i] = 1;
    y.d[draw(0, y_cols - 1)] = inner;
    op_desc_set_int(s->op, "x_num_col_dims", x_cols);
    op_desc_set_int(s->op, "y_num_col_dims", y_cols);
    add_input(s, "X", "x", REAL, x);
    add_input(s, "Y", "y", REAL, y);
    add_output(s, "Out", "out", true);
}

// Y lies along [axis, axis + its rank) of X; some of its sides are 1.
static void make_broadcast(struct subject *s, enum kind x_kind, enum kind y_kind)
{
    struct dims x = draw_dims((int)draw(1, 4)), y = {.rank = (int)draw(1, x.rank)};
    int64_t axis = draw(0, x.rank - y.rank);
    for (int i = 0; i < y.rank; i++)
        y.d[i] = draw(0, 3) == 0 ? 1 : x.d[axis + i];
    op_desc_set_int(s->op, "axis", axis == x.rank - y.rank && draw(0, 1) ? -1 : axis);
    add_input(s, "X", "x", x_kind, x);
    add_input(s, "Y", "y", y_kind, y);
    add_output(s, "Out", "out", true);
}

static void make_elementwise(struct subject *s)
{
    make_broadcast(s, REAL, REAL);
}

static void make_division(struct subject *s)
{
    make_broadcast(s, REAL, PROBABILITY);
}

static void make_power(struct subject *s)
{
    make_broadcast(s, PROBABILITY, REAL);
}

static void make_unary(struct subject *s)
{
    add_input(s, "X", "x", AWAY_FROM_0, draw_dims((int)draw(1, 4)));
    add_output(s, "Out", "out", true);
}

static void make_positive(struct subject *s)
{
    add_input(s, "X", "x", PROBABILITY, draw_dims((int)draw(1, 4)));
    add_output(s, "Out", "out", true);
}

static void make_clip(struct subject *s)
{
    op_desc_set_float(s->op, "min", -0.3f);
    op_desc_set_float(s->op, "max", 0.4f);
    make_unary(s);
}

static void make_pow(struct subject *s)
{
    op_desc_set_float(s->op, "factor", (float)draw(-2, 3) + 0.5f * (float)draw(0, 1));
    make_positive(s);
}

static void make_prelu(struct subject *s)
{
    static const char *const modes[] = {"all", "channel", "element"};
    int64_t mode = draw(0, 2);
    struct dims x = draw_dims((int)draw(2, 4)), alpha = {.rank = 1, .d = {1}};
    if (mode > 0)
        alpha.d[0] = mode == 1 ? x.d[1] : dims_product(&x, 1, x.rank);
    op_desc_set_string(s->op, "mode", modes[mode]);
    add_input(s, "X", "x", AWAY_FROM_0, x);
    add_input(s, "Alpha", "alpha", REAL, alpha);
    add_output(s, "Out", "out", true);
}

static void make_maxout(struct subject *s)
{
    struct dims x = draw_dims(4);
    int64_t groups = draw(1, 3), axis = draw(0, 1) ? 1 : 3;
    x.d[axis] *= groups;
    op_desc_set_int(s->op, "groups", groups);
    op_desc_set_int(s->op, "axis", axis == 3 && draw(0, 1) ? -1 : axis);
    add_input(s, "X", "x", REAL, x);
    add_output(s, "Out", "out", true);
}

static void make_cumsum(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 4));
    op_desc_set_int(s->op, "axis", draw(-x.rank, x.rank - 1));
    op_desc_set_bool(s->op, "exclusive", draw(0, 1));
    op_desc_set_bool(s->op, "reverse", draw(0, 1));
    add_input(s, "X", "x", REAL, x);
    add_output(s, "Out", "out", true);
}

static void make_label_smooth(struct subject *s)
{
    op_desc_set_float(s->op, "epsilon", 0.1f);
    make_unary(s);
}

static void make_two_alike(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 2));
    add_input(s, "X", "x", REAL, x);
    add_input(s, "Y", "y", REAL, x);
    add_output(s, "Out", "out", true);
}

static void make_cos_sim(struct subject *s)
{
    struct dims x = draw_dims((int)draw(2, 3)), y = x;
    if (draw(0, 1))
        y.d[0] = 1;
    add_input(s, "X", "x", PROBABILITY, x);
    add_input(s, "Y", "y", PROBABILITY, y);
    add_output(s, "Out", "out", true);
    add_output(s, "XNorm", "x_norm", false);
    add_output(s, "YNorm", "y_norm", false);
}

static void make_affine_channel(struct subject *s)
{
    struct dims x = draw_dims((int)draw(2, 4)), channels = {.rank = 1};
    bool second = draw(0, 1) == 1;
    x.d[x.rank - 1] = draw(1, 40);
    channels.d[0] = x.d[second ? 1 : x.rank - 1];
    op_desc_set_string(s->op, "data_layout", second ? "NCHW" : "NHWC");
    add_input(s, "X", "x", REAL, x);
    add_input(s, "Scale", "scale", REAL, channels);
    add_input(s, "Bias", "bias", REAL, channels);
    add_output(s, "Out", "out", true);
}

static void make_softmax(struct subject *s)
{
    struct dims x = draw_dims((int)draw(1, 4));
    op_desc_set_int(s->op, "axis", draw(-x.rank, x.rank - 1));
    add_input(s, "X", "x", REAL, x);
    add_output(s, "Out", "out", true);
}

static void make_hard_loss(struct subject *s)
{
    struct dims x = draw_dims((int)draw(2, 3)), label = x;
    s->classes = x.d[x.rank - 1];
    label.d[label.rank - 1] = 1;
    add_input(s, "X", "x", PROBABILITY, x);
    add_input(s, "Label", "label", LABEL, label);
    add_output(s, "Y", "out", true);
    if (strcmp(s->type, "cross_entropy2") == 0) {
        add_output(s, "MatchX", "match", false);
        add_output(s, "XShape", "x_shape", false);
    }
}

static void make_soft_loss(struct subject *s)
{
    struct dims x = draw_dims((int)draw(2, 3));
    op_desc_set_bool(s->op, "soft_label", true);
    add_input(s, "X", "x", PROBABILITY, x);
    add_input(s, "Label", "label", PROBABILITY, x);
    add_output(s, "Y", "out", true);
}

static void make_sum(struct subject *s)
{
    static const char *const names[] = {"x0", "x1", "x2", "x3", "x4", "x5"};
    struct dims x = draw_dims((int)draw(1, 3));
    int64_t count = draw(1, 6);
    for (int64_t i = 0; i < count; i++)
        add_input(s, "X", names[i], REAL, x);
    add_output(s, "Out", "out", true);
}

static void make_scale(struct subject *s)
{
    op_desc_set_float(s->op, "scale", 1.75f);
    op_desc_set_float(s->op, "bias", -0.5f);
    op_desc_set_bool(s->op, "bias_after_scale", draw(0, 1) == 1);
    make_unary(s);
}

static void make_concat(struct subject *s)
{
    static const char *const names[] = {"x0", "x1", "x2", "x3"};
    struct dims x = draw_dims((int)draw(1, 3));
    int64_t axis = draw(-x.rank, x.rank - 1), count = draw(1, 4);
    op_desc_set_int(s->op, "axis", axis);
    for (int64_t i = 0; i < count; i++) {
        x.d[op_axis(axis, x.rank)] = draw(1, 4);
        add_input(s, "X", names[i], REAL, x);
    }
    add_output(s, "Out", "out", true);
}

static void make_split(struct subject *s)
{
    static const char *const names[] = {"out0", "out1", "out2", "out3"};
    struct dims x = draw_dims((int)draw(1, 3));
    int64_t axis = draw(0, x.rank - 1), count = draw(1, 4), sections[4], sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += sections[i] = draw(1, 3);
    x.d[axis] = sum;
    sections[draw(0, count - 1)] = -1;
    op_desc_set_int(s->op, "axis", axis);
    op_desc_set_ints(s->op, "sections", sections, (size_t)count);
    add_input(s, "X", "x", REAL, x);
    for (int64_t i = 0; i < count; i++)
        add_output(s, "Out", names[i], true);
}

static void make_top_k(struct subject *s)
{
    struct dims x = draw_dims(2);
    op_desc_set_int(s->op, "k", draw(1, x.d[1]));
    add_input(s, "X", "x", REAL, x);
    add_output(s, "Out", "out", true);
    add_output(s, "Indices", "indices", false);
}

static void make_cast(struct subject *s)
{
    op_desc_set_int(s->op, "in_dtype", DTYPE_FP64);
    op_desc_set_int(s->op, "out_dtype", DTYPE_FP64);
    make_unary(s);
}

static const struct gradient_row subjects[] = {
    {"mul", make_mul},
    {"elementwise_add", make_elementwise},
    {"elementwise_sub", make_elementwise},
    {"elementwise_mul", make_elementwise},
    {"elementwise_div", make_division},
    {"elementwise_max", make_elementwise},
    {"elementwise_min", make_elementwise},
    {"elementwise_pow", make_power},
    {"minus", make_two_alike},
    {"dot", make_two_alike},
    {"cos_sim", make_cos_sim},
    {"affine_channel", make_affine_channel},
    {"clip", make_clip},
    {"pow", make_pow},
    {"prelu", make_prelu},
    {"maxout", make_maxout},
    {"cumsum", make_cumsum},
    {"label_smooth", make_label_smooth},
    {"relu", make_unary},
    {"square", make_unary},
    {"abs", make_unary},
    {"atan", make_unary},
    {"ceil", make_unary},
    {"cos", make_unary},
    {"erf", make_unary},
    {"exp", make_unary},
    {"floor", make_unary},
    {"log1p", make_unary},
    {"round", make_unary},
    {"sign", make_unary},
    {"sin", make_unary},
    {"brelu", make_unary},
    {"elu", make_unary},
    {"gelu", make_unary},
    {"hard_shrink", make_unary},
    {"hard_sigmoid", make_unary},
    {"hard_swish", make_unary},
    {"leaky_relu", make_unary},
    {"logsigmoid", make_unary},
    {"relu6", make_unary},
    {"selu", make_unary},
    {"sigmoid", make_unary},
    {"soft_relu", make_unary},
    {"softplus", make_unary},
    {"softshrink", make_unary},
    {"softsign", make_unary},
    {"stanh", make_unary},
    {"swish", make_unary},
    {"tanh", make_unary},
    {"tanh_shrink", make_unary},
    {"thresholded_relu", make_unary},
    {"acos", make_positive},
    {"asin", make_positive},
    {"log", make_positive},
    {"reciprocal", make_positive},
    {"rsqrt", make_positive},
    {"sqrt", make_positive},
    {"mean", make_unary},
    {"assign", make_unary},
    {"cast", make_cast},
    {"softmax", make_softmax},
    {"cross_entropy", make_hard_loss},
    {"cross_entropy", make_soft_loss},
    {"cross_entropy2", make_hard_loss},
    {"sum", make_sum},
    {"scale", make_scale},
    {"concat", make_concat},
    {"split", make_split},
    {"top_k", make_top_k},
    {NULL, NULL},
};

static const struct gradient_row *const tables[] = {
    subjects, gradient_images_rows, gradient_losses_rows, gradient_moves_rows,
    gradient_recurrent_rows, gradient_sequences_rows};
#define TABLES (sizeof tables / sizeof *tables)

// x in (-1,1) as a value of a kind.
static double gradient_value(enum kind kind, double x)
{
    switch (kind) {
    case AWAY_FROM_0:
        return fabs(x) < 0.01 ? 0.55 : x;
    case PROBABILITY:
    case TARGET:
        return 0.1 + 0.4 * (x + 1);
    case WIDE:
        return 4 * x;
    case BINARY:
        return x < 0 ? 0 : 1;
    case SIGN:
        return x < 0 ? -1 : 1;
    case REAL:
    case LABEL:
    case LABEL32:
    case CONDITION:
    case SHARE:
        break;
    }
    return x;
}

static bool has_gradient(const struct input *input)
{
    return input->kind < LABEL && strcmp(input->slot, "Label") != 0;
}

static void fill(const struct subject *s, const struct input *input, struct variable *out)
{
    struct tensor *t = variable_tensor(out);
    enum dtype dtype = input->kind == LABEL       ? DTYPE_INT64
                       : input->kind == LABEL32   ? DTYPE_INT32
                       : input->kind == CONDITION ? DTYPE_BOOL
                                                  : DTYPE_FP64;
    assert_int_equal(tensor_resize(t, dtype, &input->dims), 0);
    if (input->lod != NULL) {
        uint64_t offsets[SEQUENCES_MAX + 1];
        memcpy(offsets, input->lod->offsets, sizeof offsets);
        const struct lod_level level = {.offsets = offsets, .count = input->lod->count + 1};
        assert_int_equal(tensor_set_lod(t, 1, &level), 0);
    }
    for (uint64_t i = 0; i < tensor_count(t); i++) {
        double x = draw_real();
        if (input->kind == LABEL)
            tensor_i64(t)[i] = draw(0, s->classes - 1);
        else if (input->kind == LABEL32)
            tensor_i32(t)[i] = (int32_t)draw(0, s->classes - 1);
        else if (input->kind == CONDITION)
            ((uint8_t *)t->data)[i] = x < 0;
        else if (input->kind == SHARE)
            tensor_f64(t)[i] = 1 / (double)s->classes;
        else
            tensor_f64(t)[i] = gradient_value(input->kind, x);
    }
}

static void declare(struct block *block, const char *name)
{
    struct var_desc *var = var_desc_new(name);
    var->has_tensor = false;
    block_add_var(block, var);
}

static void copy_args(struct op_desc *to, bool input, const char *slot, const struct op_slot *from,
                      bool grads)
{
    for (size_t i = 0; from != NULL && i < from->args.count; i++) {
        char *name = mem_must_printf("%s%s", from->args.items[i], grads ? GRAD_SUFFIX : "");
        (input ? op_desc_add_input : op_desc_add_output)(to, slot, name);
        mem_free(name);
    }
}

// The gradient op of a rule that is told by slot names.
static struct op_desc *grad_from_rule(const struct op_def *def, const struct op_desc *forward)
{
    struct op_desc *op = op_desc_new(def->grad.type);
    for (int output = 0; output < 2; output++) {
        struct str_list slots = {0};
        str_list_split(&slots, output ? def->grad.outputs : def->grad.inputs, ' ');
        for (size_t i = 0; i < slots.count; i++) {
            char *base = mem_must_strdup(slots.items[i]);
            bool grads = str_ends_with(base, GRAD_SUFFIX);
            if (grads)
                base[strlen(base) - strlen(GRAD_SUFFIX)] = '\0';
            const struct op_slot *from = op_desc_input(forward, base);
            copy_args(op, !output, slots.items[i], from ? from : op_desc_output(forward, base),
                      grads);
            mem_free(base);
        }
        str_list_deinit(&slots);
    }
    for (size_t i = 0; !def->grad.drop_attrs && i < forward->attrs_count; i++)
        op_desc_set_attr(op, &forward->attrs[i]);
    return op;
}

static void append_grads(struct block *block, const struct op_desc *forward)
{
    const struct op_def *def = op_table_find(forward->type);
    struct op_desc *made[FEEDS_MAX];
    int count = 1;
    if (def->grad.make != NULL)
        count = def->grad.make(forward, made, FEEDS_MAX);
    else
        made[0] = grad_from_rule(def, forward);
    assert_true(count > 0);
    for (int i = 0; i < count; i++)
        block_append_op(block, made[i]);
}

static struct program *make_program(const struct subject *s, bool with_grads)
{
    struct program *program = program_new();
    struct block *block = program_block(program, 0);
    for (size_t i = 0; i < s->inputs_count; i++)
        declare(block, s->inputs[i].name);
    for (size_t i = 0; with_grads && i < s->loss_outputs; i++) {
        char *name = mem_must_printf("%s" GRAD_SUFFIX, s->outputs[i].name);
        declare(block, name);
        mem_free(name);
    }
    struct op_desc *op = block_append_op(block, op_desc_clone(s->op));
    if (with_grads)
        append_grads(block, op);
    return program;
}

static double loss_of(struct executor *exe, const struct program *program, const struct subject *s,
                      const struct executor_feed *feeds, const struct variable *weights)
{
    struct err err = {0};
    struct executor_fetch fetches[FEEDS_MAX];
    for (size_t k = 0; k < s->loss_outputs; k++)
        fetches[k].name = s->outputs[k].name;
    if (executor_run(exe, program, feeds, s->inputs_count, fetches, s->loss_outputs, &err) < 0)
        fail_msg("%s: %s", s->type, err.text);
    double loss = 0;
    for (size_t k = 0; k < s->loss_outputs; k++)
        for (uint64_t i = 0; i < tensor_count(&weights[k].tensor); i++)
            loss += tensor_f64(&weights[k].tensor)[i] * tensor_f64(&fetches[k].value->tensor)[i];
    return loss;
}

// Runs forward once to learn the outputs' shapes, then draws a weight for every element.
static void draw_weights(struct executor *exe, const struct program *forward,
                         const struct subject *s, const struct executor_feed *feeds,
                         struct variable *weights)
{
    struct err err = {0};
    struct executor_fetch fetches[FEEDS_MAX];
    for (size_t k = 0; k < s->loss_outputs; k++)
        fetches[k].name = s->outputs[k].name;
    if (executor_run(exe, forward, feeds, s->inputs_count, fetches, s->loss_outputs, &err) < 0)
        fail_msg("%s: %s", s->type, err.text);
    for (size_t k = 0; k < s->loss_outputs; k++) {
        variable_init(&weights[k]);
        assert_int_equal(
            tensor_resize(variable_tensor(&weights[k]), DTYPE_FP64, &fetches[k].value->tensor.dims),
            0);
        assert_int_equal(tensor_set_lod(&weights[k].tensor, fetches[k].value->tensor.lod_levels,
                                        fetches[k].value->tensor.lod),
                         0);
        for (uint64_t i = 0; i < tensor_count(&weights[k].tensor); i++)
            tensor_f64(&weights[k].tensor)[i] = draw_real();
    }
}

static void check_round(struct subject *s)
{
    struct err err = {0};
    struct variable values[FEEDS_MAX], weights[FEEDS_MAX];
    struct executor_feed feeds[2 * FEEDS_MAX];
    struct executor_fetch grads[FEEDS_MAX];
    char *names[2 * FEEDS_MAX];
    size_t n = s->inputs_count, names_count = 0, grads_count = 0;
    struct program *forward = make_program(s, false), *backward = make_program(s, true);
    struct scope *scope = scope_new();
    struct executor *exe = executor_new(scope, NULL, 0);
    for (size_t i = 0; i < n; i++) {
        variable_init(&values[i]);
        fill(s, &s->inputs[i], &values[i]);
        feeds[i] = (struct executor_feed){s->inputs[i].name, &values[i]};
    }
    draw_weights(exe, forward, s, feeds, weights);
    for (size_t k = 0; k < s->loss_outputs; k++) {
        names[names_count] = mem_must_printf("%s" GRAD_SUFFIX, s->outputs[k].name);
        feeds[n + k] = (struct executor_feed){names[names_count++], &weights[k]};
    }
    for (size_t i = 0; i < n; i++) {
        if (!has_gradient(&s->inputs[i]))
            continue;
        names[names_count] = mem_must_printf("%s" GRAD_SUFFIX, s->inputs[i].name);
        grads[grads_count++] = (struct executor_fetch){.name = names[names_count++]};
    }
    if (executor_run(exe, backward, feeds, n + s->loss_outputs, grads, grads_count, &err) < 0)
        fail_msg("%s: %s", s->type, err.text);
    for (size_t i = 0, g = 0; i < n; i++) {
        if (!has_gradient(&s->inputs[i]))
            continue;
        const struct tensor *grad = &grads[g++].value->tensor;
        struct tensor *x = &values[i].tensor;
        assert_true(dims_equal(&grad->dims, &x->dims));
        for (uint64_t e = 0; e < tensor_count(x); e++) {
            const double h = 1e-6, kept = tensor_f64(x)[e];
            tensor_f64(x)[e] = kept + h;
            double above = loss_of(exe, forward, s, feeds, weights);
            tensor_f64(x)[e] = kept - h;
            double below = loss_of(exe, forward, s, feeds, weights);
            tensor_f64(x)[e] = kept;
            double numeric = (above - below) / (2 * h), got = tensor_f64(grad)[e];
            if (!(fabs(numeric - got) <= 1e-6 * (1 + fabs(numeric))))
                fail_msg("%s: gradient of %s element %llu is %.9g, differences say %.9g", s->type,
                         s->inputs[i].name, (unsigned long long)e, got, numeric);
        }
    }
    for (size_t i = 0; i < n; i++)
        variable_deinit(&values[i]);
    for (size_t k = 0; k < s->loss_outputs; k++)
        variable_deinit(&weights[k]);
    for (size_t i = 0; i < names_count; i++)
        mem_free(names[i]);
    executor_free(exe);
    scope_free(scope);
    program_free(forward);
    program_free(backward);
}

static void test_gradients_equal_differences(void **state)
{
    (void)state;
    for (size_t t = 0; t < TABLES; t++) {
        for (const struct gradient_row *row = tables[t]; row->type != NULL; row++) {
            for (int round = 0; round < ROUNDS; round++) {
                struct subject s = {.type = row->type, .op = op_desc_new(row->type)};
                row->make(&s);
                check_round(&s);
                op_desc_free(s.op);
            }
        }
    }
}

// A new op with a gradient must get a row above.
static void test_every_op_with_a_gradient_is_tried(void **state)
{
    (void)state;
    for (size_t t = 0; t < op_table_count(); t++) {
        const struct op_def *def = op_table_at(t);
        bool tried = def->grad.type == NULL && def->grad.make == NULL;
        tried = tried || strcmp(def->type, "increment") == 0;   // counts back: no derivative
        tried = tried || strcmp(def->type, "cvm") == 0;         // hands counts back: no derivative
        for (size_t k = 0; k < TABLES && !tried; k++)
            for (const struct gradient_row *row = tables[k]; row->type != NULL && !tried; row++)
                tried = strcmp(row->type, def->type) == 0;
        if (!tried)
            fail_msg("%s has a gradient but no row in this test", def->type);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_equal_differences),
        cmocka_unit_test(test_every_op_with_a_gradient_is_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
