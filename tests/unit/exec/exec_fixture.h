// SPDX-License-Identifier: Apache-2.0
// Small programs and values for the tests of exec/.
#pragma once

#include "common/base/err.h"
#include "common/exec/executor.h"
#include "common/program/program.h"

// A float32 variable of a block; dims may hold -1.
void exec_fixture_var(struct block *block, const char *name, bool persistable, int rank,
                      const int64_t *d);
// An op whose slots are told as "X=a,b Y=c"; the text is split at blanks, '=' and ','.
struct op_desc *exec_fixture_op(struct block *block, const char *type, const char *inputs,
                                const char *outputs);
// fill_constant of `value` into a variable.
void exec_fixture_fill(struct block *block, const char *out, float value, size_t rank,
                       const int64_t *d);
// A float32 tensor 0, 1, 2, ...
void exec_fixture_value(struct variable *out, int rank, const int64_t *d);
