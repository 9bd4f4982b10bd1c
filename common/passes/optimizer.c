// SPDX-License-Identifier: Apache-2.0
// Update operators. What an optimizer is made of stands in one table: its operator, its
// accumulators (slots, names, first value, one element or the parameter's shape) and its
// attributes. Fluid's order matters: all accumulators first, then the learning rate; each start-up
// operator goes in FRONT of the start-up program, so the last one made runs first.

#include "common/passes/optimizer.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/passes/op_build.h"
#include "common/program/program.h"
#include "common/program/unique_name.h"

#define ACCUMULATORS_MAX 4

struct accumulator {
    const char *in_slot, *out_slot;
    const char *name;                                     // "<parameter>_<name>_0"
    double (*first)(const struct optimizer_spec *spec);   // NULL: 0
    bool one_element;                                     // shape [1], kept on the CPU
};

struct optimizer_def {
    const char *name;   // on the command line
    const char *op;
    struct accumulator accumulators[ACCUMULATORS_MAX + 1];
    void (*set_attrs)(const struct optimizer_spec *spec, struct op_desc *op);
};

static double first_beta1(const struct optimizer_spec *spec);
static double first_beta2(const struct optimizer_spec *spec);
static void momentum_attrs(const struct optimizer_spec *spec, struct op_desc *op);
static void adam_attrs(const struct optimizer_spec *spec, struct op_desc *op);

static const struct optimizer_def defs[] = {
    [OPTIMIZER_SGD] = {.name = "sgd", .op = "sgd"},
    [OPTIMIZER_MOMENTUM] = {.name = "momentum",
                            .op = "momentum",
                            .accumulators = {{"Velocity", "VelocityOut", "velocity", NULL, false}},
                            .set_attrs = momentum_attrs},
    [OPTIMIZER_ADAM] =
        {.name = "adam",
         .op = "adam",
         .accumulators = {{"Moment1", "Moment1Out", "moment1", NULL, false},
                          {"Moment2", "Moment2Out", "moment2", NULL, false},
                          {"Beta1Pow", "Beta1PowOut", "beta1_pow_acc", first_beta1, true},
                          {"Beta2Pow", "Beta2PowOut", "beta2_pow_acc", first_beta2, true}},
         .set_attrs = adam_attrs},
};
#define DEFS_COUNT (sizeof defs / sizeof *defs)

struct update {
    struct program *main, *startup;
    struct unique_name *names;
    const struct optimizer_spec *spec;
    const struct optimizer_def *def;
    char *rate;   // name of the learning rate variable
    int dtype;    // of the parameters
    struct err *err;
};

static size_t *sorted_order(const struct str_list *params);
static int add_accumulators(struct update *u, const char *param, struct str_list *out_names);
static int add_rate(struct update *u);
static int add_filled(struct update *u, const char *name, const struct dims *dims, int dtype,
                      double value, const char *device);
static int scaled_rate(struct update *u, const struct var_desc *param, char **out_name);
static int append_update(struct update *u, const char *param, const char *grad,
                         const struct str_list *states);

struct optimizer_spec optimizer_spec_make(enum optimizer_kind kind, double learning_rate)
{
    return (struct optimizer_spec){.kind = kind,
                                   .learning_rate = learning_rate,
                                   .momentum = 0.9,
                                   .beta1 = 0.9,
                                   .beta2 = 0.999,
                                   .epsilon = 1e-8};
}

int optimizer_kind_parse(const char *name, enum optimizer_kind *out, struct err *err)
{
    for (size_t i = 0; i < DEFS_COUNT; i++) {
        if (str_eq(defs[i].name, name)) {
            *out = (enum optimizer_kind)i;
            return 0;
        }
    }
    return err_set(err, SL_EINVAL, "optimizer `%s` is not known: sgd, momentum or adam", name);
}

int optimizer_apply(struct program *main, struct program *startup, struct unique_name *names,
                    const struct optimizer_spec *spec, const struct backward_result *pairs,
                    struct err *err)
{
    struct update u = {.main = main,
                       .startup = startup,
                       .names = names,
                       .spec = spec,
                       .def = &defs[spec->kind],
                       .dtype = DTYPE_FP32,
                       .err = err};
    size_t count = pairs->params.count;
    size_t *order = sorted_order(&pairs->params);
    struct str_list *states = mem_must_calloc(count + 1, sizeof *states);
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = add_accumulators(&u, pairs->params.items[order[i]], &states[i]);
    if (rc == 0)
        rc = add_rate(&u);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = append_update(&u, pairs->params.items[order[i]], pairs->grads.items[order[i]],
                           &states[i]);
    for (size_t i = 0; i < count; i++)
        str_list_deinit(&states[i]);
    mem_free(states);
    mem_free(order);
    mem_free(u.rate);
    return rc;
}

int optimizer_minimize(struct program *main, struct program *startup, struct unique_name *names,
                       const struct optimizer_spec *spec, const char *loss, struct err *err)
{
    const struct block *block = program_block(main, 0);
    struct str_list params = {0};
    for (size_t i = 0; i < block->vars_count; i++)
        if (block->vars[i]->is_parameter && block->vars[i]->trainable)
            str_list_add(&params, block->vars[i]->name);
    struct backward_result pairs = {0};
    int rc = backward_append(main, loss, &params, NULL, &pairs, err);
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

static double first_beta1(const struct optimizer_spec *spec)
{
    return spec->beta1;
}

static double first_beta2(const struct optimizer_spec *spec)
{
    return spec->beta2;
}

static void momentum_attrs(const struct optimizer_spec *spec, struct op_desc *op)
{
    op_desc_set_float(op, "mu", (float)spec->momentum);
    op_desc_set_bool(op, "use_nesterov", spec->use_nesterov);
}

static void adam_attrs(const struct optimizer_spec *spec, struct op_desc *op)
{
    op_desc_set_float(op, "beta1", (float)spec->beta1);
    op_desc_set_float(op, "beta2", (float)spec->beta2);
    op_desc_set_float(op, "epsilon", (float)spec->epsilon);
    op_desc_set_bool(op, "lazy_mode", spec->lazy_mode);
    op_desc_set_long(op, "min_row_size_to_use_multithread", 1000);
}

// Indices of params, sorted by name. Insertion sort: models have tens or hundreds of parameters.
static size_t *sorted_order(const struct str_list *params)
{
    size_t *order = mem_must_calloc(params->count + 1, sizeof *order);
    for (size_t i = 0; i < params->count; i++) {
        size_t at = i;
        for (; at > 0 && strcmp(params->items[order[at - 1]], params->items[i]) > 0; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return order;
}

static int add_accumulators(struct update *u, const char *param, struct str_list *out_names)
{
    const struct var_desc *var = block_var(program_block(u->main, 0), param);
    if (var == NULL)
        return err_set(u->err, SL_EINVAL, "optimizer: parameter `%s` is not a variable of block 0",
                       param);
    struct dims full = var->dims;
    u->dtype = var->dtype;
    const struct dims one = {.rank = 1, .d = {1}};
    int rc = 0;
    for (const struct accumulator *a = u->def->accumulators; a->name != NULL && rc == 0; a++) {
        char *key = mem_must_printf("%s_%s", param, a->name);
        char *name = unique_name_next(u->names, key);
        rc = add_filled(u, name, a->one_element ? &one : &full, u->dtype,
                        a->first ? a->first(u->spec) : 0.0, a->one_element ? "cpu" : "");
        str_list_add(out_names, name);
        mem_free(name);
        mem_free(key);
    }
    return rc;
}

static int add_rate(struct update *u)
{
    if (u->spec->learning_rate_var != NULL) {
        u->rate = mem_must_strdup(u->spec->learning_rate_var);
        return 0;
    }
    const struct dims one = {.rank = 1, .d = {1}};
    u->rate = unique_name_next(u->names, "learning_rate");
    return add_filled(u, u->rate, &one, u->dtype, u->spec->learning_rate, "");
}

static struct var_desc *make_var(const char *name, const struct dims *dims, int dtype,
                                 bool persistable)
{
    struct var_desc *var = var_desc_new(name);
    var->has_tensor = true;
    var->dims = *dims;
    var->dtype = dtype;
    var->has_persistable = true;
    var->persistable = persistable;
    return var;
}

// A persistable in both programs, filled by an operator in front of the start-up program.
static int add_filled(struct update *u, const char *name, const struct dims *dims, int dtype,
                      double value, const char *device)
{
    block_add_var(program_block(u->main, 0), make_var(name, dims, dtype, true));
    block_add_var(program_block(u->startup, 0), make_var(name, dims, dtype, true));
    struct op_desc *op = op_desc_new("fill_constant");
    op_desc_add_output(op, "Out", name);
    op_desc_set_longs(op, "shape", dims->d, (size_t)dims->rank);
    op_desc_set_int(op, "dtype", dtype);
    op_desc_set_float(op, "value", (float)value);
    op_desc_set_bool(op, "force_cpu", false);
    op_desc_set_string(op, "op_device", device);
    return op_build_insert(program_block(u->startup, 0), 0, op, OP_ROLE_FORWARD, u->err);
}

// A parameter's own factor: learning_rate_0 scaled, in the learning-rate schedule.
static int scaled_rate(struct update *u, const struct var_desc *param, char **out_name)
{
    struct block *block = program_block(u->main, 0);
    if (param->learning_rate == 1.0f) {
        *out_name = mem_must_strdup(u->rate);
        return 0;
    }
    const struct var_desc *rate = block_var(block, u->rate);
    if (rate == NULL)
        return err_set(u->err, SL_EINVAL,
                       "optimizer: learning rate `%s` is not a variable of block 0", u->rate);
    *out_name = unique_name_next(u->names, "tmp");
    struct var_desc *var = make_var(*out_name, &rate->dims, rate->dtype, false);
    var->has_lod_level = true;
    block_add_var(block, var);
    struct op_desc *op = op_desc_new("scale");
    op_desc_add_input(op, "X", u->rate);
    op_desc_add_output(op, "Out", *out_name);
    op_desc_set_float(op, "scale", param->learning_rate);
    return op_build_append(block, op, OP_ROLE_LR_SCHED | OP_ROLE_OPTIMIZE, u->err);
}

static int append_update(struct update *u, const char *param, const char *grad,
                         const struct str_list *states)
{
    struct block *block = program_block(u->main, 0);
    char *rate = NULL;
    int rc = scaled_rate(u, block_var(block, param), &rate);
    if (rc < 0) {
        mem_free(rate);
        return rc;
    }
    struct op_desc *op = op_desc_new(u->def->op);
    op_desc_add_input(op, "Param", param);
    op_desc_add_input(op, "Grad", grad);
    op_desc_add_input(op, "LearningRate", rate);
    op_desc_add_output(op, "ParamOut", param);
    for (size_t i = 0; i < states->count; i++) {
        op_desc_add_input(op, u->def->accumulators[i].in_slot, states->items[i]);
        op_desc_add_output(op, u->def->accumulators[i].out_slot, states->items[i]);
    }
    if (u->def->set_attrs != NULL)
        u->def->set_attrs(u->spec, op);
    struct str_list pair = {0};
    str_list_add(&pair, param);
    str_list_add(&pair, grad);
    op_desc_set_strings(op, OP_ROLE_VAR_ATTR, &pair);
    str_list_deinit(&pair);
    mem_free(rate);
    return op_build_append(block, op, OP_ROLE_OPTIMIZE, u->err);
}
