// SPDX-License-Identifier: Apache-2.0
// Runs one op without a program: for tests of the ops layer alone.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/ops/op.h"

struct op_runner;

struct op_runner *op_runner_new(const char *type);   // asserts that the op exists
void op_runner_free(struct op_runner *run);
void op_runner_int(struct op_runner *run, const char *attr, int64_t value);   // INT, LONG, BOOLEAN
void op_runner_float(struct op_runner *run, const char *attr, float value);
void op_runner_string(struct op_runner *run, const char *attr, const char *value);
void op_runner_ints(struct op_runner *run, const char *attr, const int64_t *values, size_t count);
// Adds an argument to an input slot. Dims may hold -1 when only op_runner_infer follows.
void op_runner_shape(struct op_runner *run, const char *slot, int dtype, int rank,
                     const int64_t *d);
struct tensor *op_runner_input(struct op_runner *run, const char *slot, enum dtype dtype, int rank,
                               const int64_t *d);
// The same with selected rows: count of them, values of rank - 1 sides d[1..].
struct selected_rows *op_runner_rows(struct op_runner *run, const char *slot, enum dtype dtype,
                                     int rank, const int64_t *d, const int64_t *rows, size_t count);
// Adds an output; var NULL: the runner's own variable.
void op_runner_output(struct op_runner *run, const char *slot, struct variable *var);
// Makes the output slot's argument 0 the very variable of an input slot's.
void op_runner_in_place(struct op_runner *run, const char *output, const char *input);

// Shapes only; the result of output i of slot through op_runner_dims.
int op_runner_infer(struct op_runner *run, struct err *err);
const struct op_var_dims *op_runner_dims(const struct op_runner *run, const char *slot, size_t i);
// Shapes, sizes and kernel.
int op_runner_run(struct op_runner *run, struct err *err);
struct tensor *op_runner_result(struct op_runner *run, const char *slot, size_t i);
struct variable *op_runner_variable(struct op_runner *run, const char *slot, size_t i);
