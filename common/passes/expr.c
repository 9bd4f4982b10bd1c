// SPDX-License-Identifier: Apache-2.0
// See expr.h. Two families of names: what Python's operators on variables make is tmp_N and writes
// a number without its text; what a layer makes is <layer>_N.tmp_0.

#include "common/passes/expr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/passes/hash_order.h"
#include "common/passes/op_build.h"
#include "common/program/program.h"
#include "common/program/unique_name.h"

#define NUMBER_TEXT_MAX 40

static struct var_desc *add_var(struct block *block, const char *name, int dtype,
                                const struct dims *dims, bool persistable);
static void set_pair(const struct expr *e, struct op_desc *op);
static bool is_question(const char *type);
static void number_text(double value, int dtype, char *text);
static void open_block(struct expr *e, struct expr_switch *s, struct var_desc *condition);
static void list_uses(const struct block *block, struct str_list *reads, struct str_list *writes);

struct expr expr_make(struct program *main, struct program *startup, struct unique_name *names,
                      int role, struct err *err)
{
    return (struct expr){.main = main,
                         .startup = startup,
                         .names = names,
                         .block = program_block(main, 0),
                         .role = role,
                         .err = err};
}

void expr_append(struct expr *e, struct op_desc *take)
{
    if (e->rc < 0) {
        op_desc_free(take);
        return;
    }
    set_pair(e, take);
    int rc = op_build_append(e->block, take, e->role, e->err);
    e->rc = rc < 0 ? rc : 0;
}

struct var_desc *expr_tmp(struct expr *e, int dtype)
{
    char *name = unique_name_next(e->names, "tmp");
    struct var_desc *var = add_var(e->block, name, dtype, NULL, false);
    mem_free(name);
    return var;
}

struct var_desc *expr_layer_tmp(struct expr *e, const char *layer, int dtype)
{
    char *of = unique_name_next(e->names, layer);
    char *key = mem_must_printf("%s.tmp", of);
    char *name = unique_name_next(e->names, key);
    struct var_desc *var = add_var(e->block, name, dtype, NULL, false);
    mem_free(name);
    mem_free(key);
    mem_free(of);
    return var;
}

struct var_desc *expr_generated(struct expr *e, const struct var_desc *like)
{
    if (e->rc < 0 || like == NULL)
        return NULL;
    char *name = unique_name_next(e->names, "_generated_var");
    struct var_desc *var = add_var(e->block, name, like->dtype, &like->dims, false);
    var->lod_level = like->lod_level;
    mem_free(name);
    return var;
}

struct var_desc *expr_scale(struct expr *e, const struct var_desc *x, double scale, double bias)
{
    if (e->rc < 0 || x == NULL)
        return NULL;
    struct var_desc *out = expr_tmp(e, x->dtype);
    struct op_desc *op = op_desc_new("scale");
    op_desc_add_input(op, "X", x->name);
    op_desc_add_output(op, "Out", out->name);
    op_desc_set_float(op, "scale", (float)scale);
    op_desc_set_float(op, "bias", (float)bias);
    expr_append(e, op);
    return out;
}

static struct op_desc *make_fill(const char *out, const struct dims *dims, int dtype, double value,
                                 bool force_cpu)
{
    struct op_desc *op = op_desc_new("fill_constant");
    op_desc_add_output(op, "Out", out);
    op_desc_set_longs(op, "shape", dims->d, (size_t)dims->rank);
    op_desc_set_int(op, "dtype", dtype);
    op_desc_set_float(op, "value", (float)value);
    op_desc_set_bool(op, "force_cpu", force_cpu);
    return op;
}

static const struct dims one_element = {.rank = 1, .d = {1}};

struct var_desc *expr_number(struct expr *e, double value, int dtype)
{
    if (e->rc < 0)
        return NULL;
    struct var_desc *out = expr_tmp(e, dtype);
    expr_append(e, make_fill(out->name, &one_element, dtype, value, false));
    return out;
}

static struct op_desc *make_binary(const char *type, const struct var_desc *x,
                                   const struct var_desc *y, const struct var_desc *out)
{
    struct op_desc *op = op_desc_new(type);
    op_desc_add_input(op, "X", x->name);
    if (y != NULL)
        op_desc_add_input(op, "Y", y->name);
    op_desc_add_output(op, "Out", out->name);
    return op;
}

struct var_desc *expr_math(struct expr *e, const char *type, const struct var_desc *x,
                           const struct var_desc *y)
{
    if (e->rc < 0 || x == NULL || y == NULL)
        return NULL;
    if (x->dtype != y->dtype) {
        struct var_desc *same = expr_tmp(e, x->dtype);
        struct op_desc *cast = make_binary("cast", y, NULL, same);
        op_desc_set_int(cast, "in_dtype", y->dtype);
        op_desc_set_int(cast, "out_dtype", x->dtype);
        expr_append(e, cast);
        y = same;
    }
    struct var_desc *out = expr_tmp(e, is_question(type) ? (int)DTYPE_BOOL : x->dtype);
    struct op_desc *op = make_binary(type, x, y, out);
    op_desc_set_int(op, "axis", y->dims.rank > 0 && y->dims.d[0] < 0 ? 0 : -1);
    expr_append(e, op);
    return out;
}

struct var_desc *expr_layer(struct expr *e, const char *type, const struct var_desc *x,
                            const struct var_desc *y)
{
    if (e->rc < 0 || x == NULL)
        return NULL;
    struct var_desc *out = expr_layer_tmp(e, type, is_question(type) ? (int)DTYPE_BOOL : x->dtype);
    expr_append(e, make_binary(type, x, y, out));
    return out;
}

struct var_desc *expr_sum(struct expr *e, const struct var_desc *const *x, size_t count)
{
    if (e->rc < 0 || count == 0 || x[0] == NULL)
        return NULL;
    struct var_desc *out = expr_layer_tmp(e, "sum", x[0]->dtype);
    struct op_desc *op = op_desc_new("sum");
    for (size_t i = 0; i < count; i++)
        op_desc_add_input(op, "X", x[i]->name);
    op_desc_add_output(op, "Out", out->name);
    op_desc_set_bool(op, "use_mkldnn", false);
    expr_append(e, op);
    return out;
}

struct var_desc *expr_cast(struct expr *e, const struct var_desc *x, int dtype)
{
    if (e->rc < 0 || x == NULL)
        return NULL;
    struct var_desc *out = expr_layer_tmp(e, "cast", dtype);
    struct op_desc *op = make_binary("cast", x, NULL, out);
    op_desc_set_int(op, "in_dtype", x->dtype);
    op_desc_set_int(op, "out_dtype", dtype);
    expr_append(e, op);
    return out;
}

struct var_desc *expr_fill(struct expr *e, double value, int dtype, bool force_cpu)
{
    return expr_fill_shape(e, &one_element, value, dtype, force_cpu);
}

struct var_desc *expr_fill_shape(struct expr *e, const struct dims *dims, double value, int dtype,
                                 bool force_cpu)
{
    if (e->rc < 0)
        return NULL;
    struct var_desc *out = expr_layer_tmp(e, "fill_constant", dtype);
    struct op_desc *op = make_fill(out->name, dims, dtype, value, force_cpu);
    char *text = expr_number_text(value, dtype);
    op_desc_set_string(op, "str_value", text);
    mem_free(text);
    expr_append(e, op);
    return out;
}

char *expr_number_text(double value, int dtype)
{
    char text[NUMBER_TEXT_MAX];
    number_text(value, dtype, text);
    return mem_must_strdup(text);
}

void expr_assign(struct expr *e, const struct var_desc *from, const struct var_desc *to)
{
    if (e->rc < 0 || from == NULL || to == NULL)
        return;
    mem_free(unique_name_next(e->names, "assign"));
    expr_append(e, make_binary("assign", from, NULL, to));
}

struct var_desc *expr_global(struct expr *e, const char *name, const struct dims *dims, int dtype,
                             double value, bool force_cpu, const char *device)
{
    if (e->rc < 0)
        return NULL;
    struct block *startup = program_block(e->startup, 0);
    struct var_desc *var = add_var(program_block(e->main, 0), name, dtype, dims, true);
    add_var(startup, name, dtype, dims, true);
    struct op_desc *op = make_fill(name, dims, dtype, value, force_cpu);
    op_desc_set_string(op, "op_device", device);
    int rc = op_build_insert(startup, 0, op, OP_ROLE_FORWARD, e->err);
    e->rc = rc < 0 ? rc : 0;
    return var;
}

struct var_desc *expr_counter(struct expr *e, const char *name, int64_t begin)
{
    struct block *block = program_block(e->main, 0);
    if (e->rc < 0 || block_var(block, name) != NULL)
        return block_var(block, name);
    struct var_desc *counter =
        expr_global(e, name, &one_element, DTYPE_INT64, (double)(begin - 1), true, "");
    if (counter == NULL || e->rc < 0)
        return NULL;
    counter->stop_gradient = true;
    struct op_desc *op = make_binary("increment", counter, NULL, counter);
    op_desc_set_float(op, "step", 1.0f);
    int rc = op_build_insert(block, 0, op, e->role, e->err);
    e->rc = rc < 0 ? rc : 0;
    return counter;
}

void expr_case(struct expr *e, struct expr_switch *s, struct var_desc *condition)
{
    if (e->rc < 0 || condition == NULL)
        return;
    struct var_desc *before = s->none;
    struct var_desc *here = condition;
    struct var_desc *negated = expr_layer(e, "logical_not", condition, NULL);
    s->none = before ? expr_layer(e, "logical_and", before, negated) : negated;
    if (before != NULL)
        here = expr_layer(e, "logical_and", before, condition);
    open_block(e, s, here);
}

void expr_default(struct expr *e, struct expr_switch *s)
{
    if (e->rc == 0 && s->none != NULL)
        open_block(e, s, s->none);
}

void expr_case_end(struct expr *e, struct expr_switch *s)
{
    struct block *inside = e->block;
    if (s->parent == NULL)
        return;
    e->block = s->parent;
    s->parent = NULL;
    if (e->rc < 0)
        return;
    struct str_list reads = {0}, writes = {0};
    list_uses(inside, &reads, &writes);
    struct op_desc *op = op_desc_new("conditional_block");
    op_desc_add_input(op, "Cond", s->condition->name);
    for (size_t i = 0; i < reads.count; i++)
        op_desc_add_input(op, "Input", reads.items[i]);
    for (size_t i = 0; i < writes.count; i++)
        if (block_find_var(e->block, writes.items[i]) != NULL)
            op_desc_add_output(op, "Out", writes.items[i]);
    char *scope = unique_name_next(e->names, "_generated_var");
    struct var_desc *var = var_desc_new(scope);
    var->kind = VAR_STEP_SCOPES;
    var->has_tensor = false;
    block_add_var(e->block, var);
    op_desc_add_output(op, "Scope", scope);
    op_desc_set_block(op, "sub_block", inside->idx);
    op_desc_set_bool(op, "is_scalar_condition", true);
    expr_append(e, op);
    mem_free(scope);
    str_list_deinit(&reads);
    str_list_deinit(&writes);
}

static struct var_desc *add_var(struct block *block, const char *name, int dtype,
                                const struct dims *dims, bool persistable)
{
    struct var_desc *var = var_desc_new(name);
    var->has_tensor = true;
    var->dtype = dtype;
    if (dims != NULL)
        var->dims = *dims;
    var->has_lod_level = true;
    var->has_persistable = true;
    var->persistable = persistable;
    var->stop_gradient = persistable;
    return block_add_var(block, var);
}

static void set_pair(const struct expr *e, struct op_desc *op)
{
    if (e->param == NULL)
        return;
    struct str_list pair = {0};
    str_list_add(&pair, e->param);
    str_list_add(&pair, e->grad);
    op_desc_set_strings(op, OP_ROLE_VAR_ATTR, &pair);
    str_list_deinit(&pair);
}

static bool is_question(const char *type)
{
    static const char *const types[] = {
        "equal",         "not_equal",   "less_than",   "less_equal", "greater_than",
        "greater_equal", "logical_not", "logical_and", "logical_or", "logical_xor"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (str_eq(types[i], type))
            return true;
    return false;
}

// Python's str(): the shortest digits that give the number back, as 0.1, 1.0, 1e-05 or 3.
static void number_text(double value, int dtype, char *text)
{
    if (dtype == (int)DTYPE_INT64 || dtype == (int)DTYPE_INT32) {
        snprintf(text, NUMBER_TEXT_MAX, "%lld", (long long)value);
        return;
    }
    int digits = 1;
    for (; digits < 17; digits++) {
        snprintf(text, NUMBER_TEXT_MAX, "%.*e", digits - 1, value);
        if (strtod(text, NULL) == value)
            break;
    }
    const char *e = strchr(text, 'e');
    int exponent = e != NULL ? (int)strtol(e + 1, NULL, 10) : 0;
    if (exponent < -4 || exponent >= 16) {
        snprintf(text, NUMBER_TEXT_MAX, "%.*g", digits, value);
        return;
    }
    int decimals = digits - 1 - exponent;
    snprintf(text, NUMBER_TEXT_MAX, "%.*f", decimals > 1 ? decimals : 1, value);
}

static void open_block(struct expr *e, struct expr_switch *s, struct var_desc *condition)
{
    if (e->rc < 0)
        return;
    s->condition = condition;
    s->parent = e->block;
    e->block = program_append_block(e->main, e->block->idx);
}

// What comes into the block and what it writes, in the order of CPython's sets, as Fluid lists it.
static void list_uses(const struct block *block, struct str_list *reads, struct str_list *writes)
{
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        for (size_t s = 0; s < op->inputs_count; s++)
            for (size_t k = 0; k < op->inputs[s].args.count; k++)
                if (!str_list_has(writes, op->inputs[s].args.items[k]))
                    str_list_add(reads, op->inputs[s].args.items[k]);
        for (size_t s = 0; s < op->outputs_count; s++)
            for (size_t k = 0; k < op->outputs[s].args.count; k++)
                str_list_add(writes, op->outputs[s].args.items[k]);
    }
    hash_order_sort(reads);
    hash_order_sort(writes);
}
