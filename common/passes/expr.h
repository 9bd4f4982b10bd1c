// SPDX-License-Identifier: Apache-2.0
// Small computations written as operators, with the names and attributes that Fluid's Python gives
// them: arithmetic of variables with numbers (results tmp_N), layers (results relu_0.tmp_0), global
// variables with their start-up operators, and Switch over conditional blocks. Learning-rate
// schedules, clipping, regularisation and averaging are built of these.
//
// The first failure stays in rc and err; from then on every function does nothing and returns NULL,
// and NULL arguments are fine, so that a formula is written without checks and judged once.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct block;
struct dims;
struct err;
struct op_desc;
struct program;
struct unique_name;
struct var_desc;

struct expr {
    struct program *main, *startup;
    struct unique_name *names;
    struct block *block;        // where operators go now
    int role;                   // enum op_role
    const char *param, *grad;   // op_role_var of the operators; NULL: empty
    struct err *err;
    int rc;
};

// Operators go to block 0 of main.
struct expr expr_make(struct program *main, struct program *startup, struct unique_name *names,
                      int role, struct err *err);
// Completes, infers and appends an operator made by the caller (taken).
void expr_append(struct expr *e, struct op_desc *take);

// New variables of the current block, not persistable: "tmp_<n>", "<layer>_<n>.tmp_0" and
// "_generated_var_<n>" (of like's type and shape).
struct var_desc *expr_tmp(struct expr *e, int dtype);
struct var_desc *expr_layer_tmp(struct expr *e, const char *layer, int dtype);
struct var_desc *expr_generated(struct expr *e, const struct var_desc *like);

// ---- operators of Python's Variable: tmp_N
struct var_desc *expr_scale(struct expr *e, const struct var_desc *x, double scale, double bias);
struct var_desc *expr_number(struct expr *e, double value, int dtype);   // shape [1]
// elementwise_*, and comparisons, whose result is bool. y is aligned at its first dimension when
// that is the batch.
struct var_desc *expr_math(struct expr *e, const char *type, const struct var_desc *x,
                           const struct var_desc *y);

// ---- layers: <type>_N.tmp_0
// An operator of X and (unless NULL) Y.
struct var_desc *expr_layer(struct expr *e, const char *type, const struct var_desc *x,
                            const struct var_desc *y);
struct var_desc *expr_sum(struct expr *e, const struct var_desc *const *x, size_t count);
struct var_desc *expr_cast(struct expr *e, const struct var_desc *x, int dtype);
struct var_desc *expr_fill(struct expr *e, double value, int dtype, bool force_cpu);   // shape [1]
struct var_desc *expr_fill_shape(struct expr *e, const struct dims *dims, double value, int dtype,
                                 bool force_cpu);
// Python's str() of a number of that type: 0.1, 1.0, 1e-05, 3. mem_free it.
char *expr_number_text(double value, int dtype);
void expr_assign(struct expr *e, const struct var_desc *from, const struct var_desc *to);

// ---- global variables
// A persistable of block 0 in both programs, filled by an operator in front of the start-up
// program.
struct var_desc *expr_global(struct expr *e, const char *name, const struct dims *dims, int dtype,
                             double value, bool force_cpu, const char *device);
// An int64 counter that an operator in front of the main program increments: begin in the first
// run. An existing one is shared.
struct var_desc *expr_counter(struct expr *e, const char *name, int64_t begin);

// ---- Switch: the first case whose condition holds. Initialise with {0}.
struct expr_switch {
    struct var_desc *none;   // none of the conditions so far holds
    struct var_desc *condition;
    struct block *parent;
};
void expr_case(struct expr *e, struct expr_switch *s, struct var_desc *condition);
void expr_default(struct expr *e, struct expr_switch *s);
void expr_case_end(struct expr *e, struct expr_switch *s);
