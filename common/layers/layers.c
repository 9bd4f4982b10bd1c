// SPDX-License-Identifier: Apache-2.0
// The net: where layers put operators, Fluid's unique names, and the first error. Every building
// function goes through layers_ok first and returns NULL once something went wrong, so a network is
// written without checks and asked once.

#include "common/layers/layers.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/layers/layer_init.h"
#include "common/passes/expr.h"
#include "common/passes/op_build.h"
#include "common/program/program.h"

#define CONTINUE_MAX 1000000   // a counter in a name beyond this is not one of ours

static void continue_names(struct unique_name *names, const struct program *program);
static void continue_key(struct unique_name *names, const char *name, size_t bytes);
static bool add_parameter(struct layers_net *net, const char *name,
                          const struct sl_param_attr *attr, const struct dims *dims, int dtype,
                          const struct sl_initializer *init);

sl_net *sl_net_new(sl_program *main_program, sl_program *startup)
{
    struct layers_net *net = MEM_NEW(struct layers_net);
    net->main = main_program ? main_program : sl_default_main_program();
    net->startup = startup ? startup : sl_default_startup_program();
    unique_name_init(&net->names);
    continue_names(&net->names, net->main);
    return net;
}

void sl_net_free(sl_net *net)
{
    if (net == NULL)
        return;
    unique_name_deinit(&net->names);
    mem_free(net);
}

int sl_net_error(const sl_net *net, struct sl_error *err)
{
    if (err != NULL) {
        err->code = net->error.code;
        memcpy(err->text, net->error.text, sizeof err->text);
    }
    return net->error.code;
}

struct sl_param_attr sl_param_attr_defaults(void)
{
    return (struct sl_param_attr){.learning_rate = 1.0, .trainable = true};
}

bool layers_ok(struct layers_net *net, const char *layer, const sl_var *const *vars, size_t count)
{
    if (net->error.code != 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (vars[i] != NULL)
            continue;
        layers_fail(net, layer, SL_EINVAL, "input %zu is missing (NULL)", i);
        return false;
    }
    return true;
}

void layers_fail(struct layers_net *net, const char *layer, int code, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;
    if (net->error.code != 0)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    err_set(&net->error, code, "layers: %s: %s", layer, text);
}

static struct var_desc *add_temporary(struct layers_net *net, const char *key, int dtype)
{
    char *unique = unique_name_next(&net->names, key);
    struct var_desc *var = var_desc_new(unique);
    var->has_tensor = true;
    var->dtype = dtype;
    var->has_lod_level = true;
    var->has_persistable = true;
    mem_free(unique);
    return block_add_var(program_block(net->main, 0), var);
}

struct var_desc *layers_tmp(struct layers_net *net, const char *name, int dtype)
{
    char *key = mem_must_printf("%s.tmp", name);
    struct var_desc *var = add_temporary(net, key, dtype);
    mem_free(key);
    return var;
}

struct var_desc *layers_generated(struct layers_net *net, int dtype)
{
    return add_temporary(net, "_generated_var", dtype);
}

bool layers_append(struct layers_net *net, const char *layer, struct op_desc *take)
{
    struct err err = {0};
    int rc = op_build_append(program_block(net->main, 0), take, OP_ROLE_FORWARD, &err);
    if (rc < 0)
        layers_fail(net, layer, rc, "%s", err.text);
    return rc == 0;
}

struct var_desc *layers_parameter(struct layers_net *net, const char *layer, const char *name,
                                  const char *suffix, const struct sl_param_attr *attr,
                                  const struct sl_shape *shape, int dtype,
                                  struct sl_initializer default_init)
{
    const struct sl_param_attr defaults = sl_param_attr_defaults();
    attr = attr ? attr : &defaults;
    struct block *main = program_block(net->main, 0);
    struct dims dims = {.rank = shape->rank};
    for (int i = 0; i < shape->rank && i < LIMIT_RANK; i++)
        dims.d[i] = shape->d[i];
    uint64_t count;
    char text[DIMS_TEXT_MAX];
    if (shape->rank < 1 || shape->rank > LIMIT_RANK ||
        !dims_count(&dims, dtype_bytes((enum dtype)dtype), &count)) {
        layers_fail(net, layer, SL_EINVAL, "a parameter cannot have shape %s",
                    dims_format(&dims, text));
        return NULL;
    }
    char *key = mem_must_printf("%s.%s", name, suffix);
    char *unique = attr->name ? mem_must_strdup(attr->name) : unique_name_next(&net->names, key);
    const struct sl_initializer *init =
        attr->initializer.kind == SL_INIT_DEFAULT ? &default_init : &attr->initializer;
    struct var_desc *var = block_var(main, unique);
    if (var != NULL &&
        (!var->is_parameter || !dims_equal(&var->dims, &dims) || var->dtype != dtype)) {
        layers_fail(net, layer, SL_EINVAL,
                    "`%s` is already there with shape %s; a shared parameter must have the same",
                    unique, dims_format(&var->dims, text));
        var = NULL;
    } else if (var == NULL && add_parameter(net, unique, attr, &dims, dtype, init)) {
        var = block_var(main, unique);
    }
    mem_free(unique);
    mem_free(key);
    return var;
}

struct expr layers_expr(struct layers_net *net, int role, struct err *err)
{
    return expr_make(net->main, net->startup, &net->names, role, err);
}

bool layers_judge(struct layers_net *net, const char *layer, const struct expr *e)
{
    if (e->rc < 0)
        layers_fail(net, layer, e->rc, "%s", e->err->text);
    return e->rc == 0;
}

static struct var_desc *make_parameter(const char *name, const struct sl_param_attr *attr,
                                       const struct dims *dims, int dtype)
{
    struct var_desc *var = var_desc_new(name);
    var->has_tensor = true;
    var->dims = *dims;
    var->dtype = dtype;
    var->has_persistable = true;
    var->persistable = true;
    var->is_parameter = true;
    var->trainable = attr->trainable;
    var->learning_rate = (float)attr->learning_rate;
    var->regularizer = (int)attr->regularizer.kind;
    var->regularizer_coeff = (float)attr->regularizer.coeff;
    var->not_averaged = attr->not_averaged;
    return var;
}

// In both programs; the initializer goes in front of the start-up program, as Fluid does it.
static bool add_parameter(struct layers_net *net, const char *name,
                          const struct sl_param_attr *attr, const struct dims *dims, int dtype,
                          const struct sl_initializer *init)
{
    struct err err = {0};
    struct block *startup = program_block(net->startup, 0);
    block_add_var(program_block(net->main, 0), make_parameter(name, attr, dims, dtype));
    if (block_var(startup, name) !=
        NULL)   // initialised by another network over this start-up program
        return true;
    block_add_var(startup, make_parameter(name, attr, dims, dtype));
    int rc = layer_init_prepend(net->startup, name, init, &err);
    if (rc < 0)
        layers_fail(net, "parameter", rc, "%s", err.text);
    return rc == 0;
}

static void continue_names(struct unique_name *names, const struct program *program)
{
    const struct block *block = program_block(program, 0);
    for (size_t i = 0; i < block->vars_count; i++) {
        const char *name = block->vars[i]->name;
        const char *dot = strchr(name, '.');
        continue_key(names, name, strlen(name));
        if (dot != NULL)
            continue_key(names, name, (size_t)(dot - name));
    }
}

// "fc_3": the next name of "fc" is fc_4 or a later one.
static void continue_key(struct unique_name *names, const char *name, size_t bytes)
{
    size_t digits = bytes;
    while (digits > 0 && name[digits - 1] >= '0' && name[digits - 1] <= '9')
        digits--;
    if (digits == bytes || digits < 2 || name[digits - 1] != '_')
        return;
    char *key = mem_must_strndup(name, digits - 1);
    char *number = mem_must_strndup(name + digits, bytes - digits);
    int64_t taken;
    if (str_parse_i64(number, &taken) && taken < CONTINUE_MAX)
        unique_name_skip(names, key, taken);
    mem_free(number);
    mem_free(key);
}
