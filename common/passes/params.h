// SPDX-License-Identifier: Apache-2.0
// Which variables of a program are Parameters. While a network is being built the variables know
// it; a program that was read from a file does not say, and it is inferred: a persistable that the
// op_role_var of an optimizer op names, or one that a forward op (role 0 or 256) reads; never
// counters, learning rates and states of metrics (auc), which the op that reads them also writes.
#pragma once

#include <stdbool.h>

#include "common/base/str.h"

struct program;

// Names in order of block 0's variables. Returns true when they were inferred.
bool params_list(const struct program *program, struct str_list *out);
// Does block 0 (or a server's block) hold an operator that updates a parameter?
bool params_has_update_ops(const struct program *program);
