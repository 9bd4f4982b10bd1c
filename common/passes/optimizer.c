// SPDX-License-Identifier: Apache-2.0
// Update operators. What an optimizer is made of stands in one table: its operator, its
// accumulators (slots, names, first value, one element or the parameter's shape) and its
// attributes. Fluid's order matters: all accumulators first, then the learning rate; each start-up
// operator goes in FRONT of the start-up program, so the last one made runs first.

#include "common/passes/optimizer.h"

#include <stddef.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/passes/expr.h"
#include "common/program/program.h"
#include "common/program/unique_name.h"

#define ACCUMULATORS_MAX 4
#define ATTRS_MAX 5

#define FIELD(member) offsetof(struct optimizer_spec, member)

struct accumulator {
    const char *in_slot;
    const char *out_slot;   // NULL: the operator only reads it
    const char *name;       // "<parameter>_<name>_0"
    size_t first;           // FIELD of its first value; 0: it begins with 0
    bool one_element;       // shape [1]
    bool on_cpu;
};

// A float attribute out of a FIELD, or a flag.
struct number {
    const char *name;
    size_t field;
    bool flag;
};

struct optimizer_def {
    const char *name;   // on the command line
    const char *op;
    struct accumulator accumulators[ACCUMULATORS_MAX + 1];
    struct number attrs[ATTRS_MAX + 1];
    void (*more_attrs)(struct op_desc *op);
    bool no_rate;           // the operator takes no learning rate
    const char *decay_of;   // an accumulator that a `scale` by beta1 behind all updates moves on
};

static void adam_attrs(struct op_desc *op);
static void dpsgd_attrs(struct op_desc *op);

static const struct optimizer_def defs[OPTIMIZER_KINDS] = {
    [OPTIMIZER_SGD] = {.name = "sgd", .op = "sgd"},
    [OPTIMIZER_MOMENTUM] =
        {.name = "momentum",
         .op = "momentum",
         .accumulators = {{.in_slot = "Velocity", .out_slot = "VelocityOut", .name = "velocity"}},
         .attrs = {{"mu", FIELD(momentum), false}, {"use_nesterov", FIELD(use_nesterov), true}}},
    [OPTIMIZER_ADAM] =
        {.name = "adam",
         .op = "adam",
         .accumulators = {{"Moment1", "Moment1Out", "moment1", 0, false, false},
                          {"Moment2", "Moment2Out", "moment2", 0, false, false},
                          {"Beta1Pow", "Beta1PowOut", "beta1_pow_acc", FIELD(beta1), true, true},
                          {"Beta2Pow", "Beta2PowOut", "beta2_pow_acc", FIELD(beta2), true, true}},
         .attrs = {{"beta1", FIELD(beta1), false},
                   {"beta2", FIELD(beta2), false},
                   {"epsilon", FIELD(epsilon), false},
                   {"lazy_mode", FIELD(lazy_mode), true}},
         .more_attrs = adam_attrs},
    [OPTIMIZER_LARS_MOMENTUM] =
        {.name = "lars_momentum",
         .op = "lars_momentum",
         .accumulators = {{.in_slot = "Velocity", .out_slot = "VelocityOut", .name = "velocity"}},
         .attrs = {{"mu", FIELD(momentum), false},
                   {"lars_coeff", FIELD(lars_coeff), false},
                   {"lars_weight_decay", FIELD(weight_decay), false}}},
    [OPTIMIZER_ADAGRAD] = {.name = "adagrad",
                           .op = "adagrad",
                           .accumulators = {{"Moment", "MomentOut", "moment",
                                             FIELD(initial_accumulator), false, false}},
                           .attrs = {{"epsilon", FIELD(epsilon), false}}},
    [OPTIMIZER_ADAMAX] = {.name = "adamax",
                          .op = "adamax",
                          .accumulators = {{"Moment", "MomentOut", "moment", 0, false, false},
                                           {"InfNorm", "InfNormOut", "inf_norm", 0, false, false},
                                           {"Beta1Pow", NULL, "beta1_pow_acc", FIELD(beta1), true,
                                            false}},
                          .attrs = {{"beta1", FIELD(beta1), false},
                                    {"beta2", FIELD(beta2), false},
                                    {"epsilon", FIELD(epsilon), false}},
                          .decay_of = "beta1_pow_acc"},
    [OPTIMIZER_DECAYED_ADAGRAD] =
        {.name = "decayed_adagrad",
         .op = "decayed_adagrad",
         .accumulators = {{.in_slot = "Moment", .out_slot = "MomentOut", .name = "moment"}},
         .attrs = {{"epsilon", FIELD(epsilon), false}, {"decay", FIELD(decay), false}}},
    [OPTIMIZER_ADADELTA] = {.name = "adadelta",
                            .op = "adadelta",
                            .accumulators = {{.in_slot = "AvgSquaredGrad",
                                              .out_slot = "AvgSquaredGradOut",
                                              .name = "_avg_squared_grad"},
                                             {.in_slot = "AvgSquaredUpdate",
                                              .out_slot = "AvgSquaredUpdateOut",
                                              .name = "_avg_squared_update"}},
                            .attrs = {{"epsilon", FIELD(epsilon), false},
                                      {"rho", FIELD(decay), false}},
                            .no_rate = true},
    [OPTIMIZER_RMSPROP] =
        {.name = "rmsprop",
         .op = "rmsprop",
         .accumulators = {{"Moment", "MomentOut", "momentum", 0, false, false},
                          {"MeanSquare", "MeanSquareOut", "mean_square", 0, false, false},
                          {"MeanGrad", "MeanGradOut", "mean_grad", 0, false, false}},
         .attrs = {{"epsilon", FIELD(epsilon), false},
                   {"decay", FIELD(decay), false},
                   {"momentum", FIELD(momentum), false},
                   {"centered", FIELD(centered), true}}},
    // Fluid 1.8.5 hands l1 to both attributes.
    [OPTIMIZER_FTRL] =
        {.name = "ftrl",
         .op = "ftrl",
         .accumulators = {{"SquaredAccumulator", "SquaredAccumOut", "squared", 0, false, false},
                          {"LinearAccumulator", "LinearAccumOut", "linear", 0, false, false}},
         .attrs = {{"l1", FIELD(l1), false},
                   {"l2", FIELD(l1), false},
                   {"lr_power", FIELD(lr_power), false}}},
    [OPTIMIZER_LAMB] =
        {.name = "lamb",
         .op = "lamb",
         .accumulators = {{"Moment1", "Moment1Out", "moment1", 0, false, false},
                          {"Moment2", "Moment2Out", "moment2", 0, false, false},
                          {"Beta1Pow", NULL, "beta1_pow_acc", FIELD(beta1), true, true},
                          {"Beta2Pow", NULL, "beta2_pow_acc", FIELD(beta2), true, true}},
         .attrs = {{"beta1", FIELD(beta1), false},
                   {"beta2", FIELD(beta2), false},
                   {"epsilon", FIELD(epsilon), false},
                   {"weight_decay", FIELD(weight_decay), false}}},
    [OPTIMIZER_DPSGD] = {.name = "dpsgd",
                         .op = "dpsgd",
                         .attrs = {{"clip", FIELD(dpsgd_clip), false},
                                   {"batch_size", FIELD(batch_size), false},
                                   {"sigma", FIELD(sigma), false}},
                         .more_attrs = dpsgd_attrs},
};

struct update {
    struct expr e;
    const struct optimizer_spec *spec;
    const struct optimizer_def *def;
    const char *rate;   // name of the learning rate variable
    int dtype;          // of the parameters
};

static void sort_pairs(const struct backward_result *pairs, struct backward_result *sorted);
static void add_accumulators(struct update *u, const char *param, struct str_list *out_names);
static void add_rate(struct update *u);
static const char *scaled_rate(struct update *u, const struct var_desc *param);
static void append_update(struct update *u, const char *param, const char *grad,
                          const struct str_list *states);
static void append_decay(struct update *u, const struct str_list *states);

struct optimizer_spec optimizer_spec_make(enum optimizer_kind kind, double learning_rate)
{
    struct optimizer_spec spec = {.kind = kind,
                                  .learning_rate = learning_rate,
                                  .momentum = kind == OPTIMIZER_RMSPROP ? 0.0 : 0.9,
                                  .beta1 = 0.9,
                                  .beta2 = 0.999,
                                  .epsilon = 1e-6,
                                  .lars_coeff = 0.001,
                                  .weight_decay = kind == OPTIMIZER_LAMB ? 0.01 : 0.0005,
                                  .decay = 0.95,
                                  .lr_power = -0.5,
                                  .dpsgd_clip = 0.9,
                                  .batch_size = 0.999,
                                  .sigma = 1e-8};
    if (kind == OPTIMIZER_ADAM || kind == OPTIMIZER_ADAMAX)
        spec.epsilon = 1e-8;
    return spec;
}

int optimizer_kind_parse(const char *name, enum optimizer_kind *out, struct err *err)
{
    struct buf list;
    for (size_t i = 0; i < OPTIMIZER_KINDS; i++) {
        if (str_eq(defs[i].name, name)) {
            *out = (enum optimizer_kind)i;
            return 0;
        }
    }
    buf_init(&list, 0);
    for (size_t i = 0; i < OPTIMIZER_KINDS; i++)
        buf_printf(&list, "%s%s",
                   i == 0                     ? ""
                   : i + 1 == OPTIMIZER_KINDS ? " or "
                                              : ", ",
                   defs[i].name);
    int rc = err_set(err, SL_EINVAL, "optimizer `%s` is not known: %s", name, buf_text(&list));
    buf_deinit(&list);
    return rc;
}

int optimizer_apply(struct program *main, struct program *startup, struct unique_name *names,
                    const struct optimizer_spec *spec, const struct backward_result *pairs,
                    struct err *err)
{
    struct update u = {.e = expr_make(main, startup, names, OP_ROLE_OPTIMIZE, err),
                       .spec = spec,
                       .def = &defs[spec->kind],
                       .dtype = DTYPE_FP32};
    struct backward_result sorted = {0};
    sort_pairs(pairs, &sorted);
    size_t count = sorted.params.count;
    struct str_list *states = mem_must_calloc(count + 1, sizeof *states);
    clip_append(&u.e, &spec->clip, &sorted);
    regularizer_append(&u.e, spec->regularizer, spec->regularizer_coeff, &sorted);
    for (size_t i = 0; i < count; i++)
        add_accumulators(&u, sorted.params.items[i], &states[i]);
    add_rate(&u);
    for (size_t i = 0; i < count; i++)
        append_update(&u, sorted.params.items[i], sorted.grads.items[i], &states[i]);
    for (size_t i = 0; i < count && u.def->decay_of != NULL; i++) {
        u.e.param = sorted.params.items[i];
        u.e.grad = sorted.grads.items[i];
        append_decay(&u, &states[i]);
    }
    for (size_t i = 0; i < count; i++)
        str_list_deinit(&states[i]);
    mem_free(states);
    backward_result_deinit(&sorted);
    return u.e.rc;
}

int optimizer_minimize(struct program *main, struct program *startup, struct unique_name *names,
                       const struct optimizer_spec *spec, const char *loss,
                       const struct str_list *no_grad, struct err *err)
{
    const struct block *block = program_block(main, 0);
    struct str_list params = {0};
    for (size_t i = 0; i < block->vars_count; i++) {
        const struct var_desc *var = block->vars[i];
        bool excluded = no_grad != NULL && str_list_has(no_grad, var->name);
        if (var->is_parameter && var->trainable && !excluded)
            str_list_add(&params, var->name);
    }
    struct backward_result pairs = {0};
    int rc = backward_append_recompute(main, names, loss, &params, no_grad, spec->checkpoints,
                                       &pairs, err);
    if (rc == 0 && pairs.params.count == 0)
        rc =
            err_set(err, SL_EINVAL, "optimizer: loss `%s` depends on no trainable parameter", loss);
    if (rc == 0)
        rc = optimizer_apply(main, startup, names, spec, &pairs, err);
    int updated = (int)pairs.params.count;
    backward_result_deinit(&pairs);
    str_list_deinit(&params);
    return rc < 0 ? rc : updated;
}

static void adam_attrs(struct op_desc *op)
{
    op_desc_set_long(op, "min_row_size_to_use_multithread", 1000);
}

static void dpsgd_attrs(struct op_desc *op)
{
    op_desc_set_int(op, "seed", 0);
}

// Insertion sort by the parameter's name: models have tens or hundreds of parameters.
static void sort_pairs(const struct backward_result *pairs, struct backward_result *sorted)
{
    size_t count = pairs->params.count;
    size_t *order = mem_must_calloc(count + 1, sizeof *order);
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0 && strcmp(pairs->params.items[order[at - 1]], pairs->params.items[i]) > 0;
             at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    for (size_t i = 0; i < count; i++) {
        str_list_add(&sorted->params, pairs->params.items[order[i]]);
        str_list_add(&sorted->grads, pairs->grads.items[order[i]]);
    }
    mem_free(order);
}

static double field(const struct optimizer_spec *spec, size_t at)
{
    double value;
    memcpy(&value, (const char *)spec + at, sizeof value);
    return value;
}

static bool flag(const struct optimizer_spec *spec, size_t at)
{
    bool value;
    memcpy(&value, (const char *)spec + at, sizeof value);
    return value;
}

static const struct dims one_element = {.rank = 1, .d = {1}};

static void add_accumulators(struct update *u, const char *param, struct str_list *out_names)
{
    if (u->e.rc < 0)
        return;
    const struct var_desc *var = block_var(program_block(u->e.main, 0), param);
    if (var == NULL) {
        u->e.rc = err_set(u->e.err, SL_EINVAL,
                          "optimizer: parameter `%s` is not a variable of block 0", param);
        return;
    }
    struct dims full = var->dims;
    u->dtype = var->dtype;
    for (const struct accumulator *a = u->def->accumulators; a->name != NULL; a++) {
        char *key = mem_must_printf("%s_%s", param, a->name);
        char *name = unique_name_next(u->e.names, key);
        expr_global(&u->e, name, a->one_element ? &one_element : &full, u->dtype,
                    a->first > 0 ? field(u->spec, a->first) : 0.0, false, a->on_cpu ? "cpu" : "");
        str_list_add(out_names, name);
        mem_free(name);
        mem_free(key);
    }
}

static void add_rate(struct update *u)
{
    u->rate = u->spec->learning_rate_var;
    if (u->rate != NULL || u->e.rc < 0)
        return;
    char *name = unique_name_next(u->e.names, "learning_rate");
    const struct var_desc *var =
        expr_global(&u->e, name, &one_element, u->dtype, u->spec->learning_rate, false, "");
    u->rate = var ? var->name : NULL;
    mem_free(name);
}

// A parameter's own factor: learning_rate_0 scaled, in the learning-rate schedule.
static const char *scaled_rate(struct update *u, const struct var_desc *param)
{
    if (param->learning_rate == 1.0f)
        return u->rate;
    const struct var_desc *rate = block_var(program_block(u->e.main, 0), u->rate);
    if (rate == NULL) {
        u->e.rc = err_set(u->e.err, SL_EINVAL,
                          "optimizer: learning rate `%s` is not a variable of block 0", u->rate);
        return NULL;
    }
    struct expr schedule = u->e;
    schedule.role = OP_ROLE_LR_SCHED | OP_ROLE_OPTIMIZE;
    schedule.param = schedule.grad = NULL;
    const struct var_desc *scaled = expr_scale(&schedule, rate, (double)param->learning_rate, 0.0);
    u->e.rc = schedule.rc;
    return scaled ? scaled->name : NULL;
}

static void append_update(struct update *u, const char *param, const char *grad,
                          const struct str_list *states)
{
    if (u->e.rc < 0)
        return;
    const char *rate = NULL;
    if (!u->def->no_rate)
        rate = scaled_rate(u, block_var(program_block(u->e.main, 0), param));
    struct op_desc *op = op_desc_new(u->def->op);
    op_desc_add_input(op, "Param", param);
    op_desc_add_input(op, "Grad", grad);
    if (!u->def->no_rate)
        op_desc_add_input(op, "LearningRate", rate);
    op_desc_add_output(op, "ParamOut", param);
    for (size_t i = 0; i < states->count; i++) {
        const struct accumulator *a = &u->def->accumulators[i];
        op_desc_add_input(op, a->in_slot, states->items[i]);
        if (a->out_slot != NULL)
            op_desc_add_output(op, a->out_slot, states->items[i]);
    }
    for (const struct number *n = u->def->attrs; n->name != NULL; n++) {
        if (n->flag)
            op_desc_set_bool(op, n->name, flag(u->spec, n->field));
        else
            op_desc_set_float(op, n->name, (float)field(u->spec, n->field));
    }
    if (u->def->more_attrs != NULL)
        u->def->more_attrs(op);
    u->e.param = param;
    u->e.grad = grad;
    expr_append(&u->e, op);
}

static void append_decay(struct update *u, const struct str_list *states)
{
    for (size_t i = 0; i < states->count && u->e.rc == 0; i++) {
        if (!str_eq(u->def->accumulators[i].name, u->def->decay_of))
            continue;
        struct op_desc *op = op_desc_new("scale");
        op_desc_add_input(op, "X", states->items[i]);
        op_desc_add_output(op, "Out", states->items[i]);
        op_desc_set_float(op, "scale", (float)u->spec->beta1);
        expr_append(&u->e, op);
    }
}
