// SPDX-License-Identifier: Apache-2.0
// What the building functions of sluice.h share: the net (two programs, unique names, the first
// error) and how an operator is appended. The functions themselves are declared in api/sluice.h.
#pragma once

#include <stdbool.h>

#include "common/api/sluice.h"
#include "common/base/err.h"
#include "common/passes/optimizer.h"
#include "common/program/unique_name.h"

struct expr;
struct op_desc;

struct layers_net {
    struct program *main;      // borrowed
    struct program *startup;   // borrowed
    struct unique_name names;
    struct err error;   // code 0 until the first failure
};

struct layers_optimizer {
    struct optimizer_spec spec;
    bool scheduled;   // sl_optimizer_set_rate was called
    struct str_list checkpoints;
};

// May this call go on? False after an error and when one of its variables is missing.
bool layers_ok(struct layers_net *net, const char *layer, const sl_var *const *vars, size_t count);
// Keeps the first error with "layers: <layer>: " in front of it.
void layers_fail(struct layers_net *net, const char *layer, int code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
// A temporary variable "<name>.tmp_<n>" in the main program.
struct var_desc *layers_tmp(struct layers_net *net, const char *name, int dtype);
// The same, called "_generated_var_<n>".
struct var_desc *layers_generated(struct layers_net *net, int dtype);
// Completes, infers and appends op (taken) to the main program. False after keeping the error.
bool layers_append(struct layers_net *net, const char *layer, struct op_desc *take);
// A parameter "<name>.<suffix>_<n>" (or attr's own name: then an existing one of the same shape is
// shared) with its start-up operator; default_init stands for SL_INIT_DEFAULT. NULL after an error.
struct var_desc *layers_parameter(struct layers_net *net, const char *layer, const char *name,
                                  const char *suffix, const struct sl_param_attr *attr,
                                  const struct sl_shape *shape, int dtype,
                                  struct sl_initializer default_init);
// For what passes build of expressions: an expr over the net's programs and names, and afterwards
// whether it went well; its error is kept.
struct expr layers_expr(struct layers_net *net, int role, struct err *err);
bool layers_judge(struct layers_net *net, const char *layer, const struct expr *e);
