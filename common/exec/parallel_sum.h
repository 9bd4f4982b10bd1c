// SPDX-License-Identifier: Apache-2.0
// A gradient summed over the workers, in ascending order. Private.
#pragma once

#include "common/tensor/variable.h"

struct err;

// Are the workers' gradients there, and alike? After this parallel_sum_part needs no checks.
int parallel_sum_check(struct variable *const *parts, int count, struct err *err);
// Part piece of pieces of the work, to be done once each, in any order and at once: the sum goes
// into parts[0], with spread into all. Selected rows are joined by the piece that is `by`: all rows
// of worker 0, then those of worker 1, ..., through spare, which keeps its memory for next time.
int parallel_sum_part(struct variable *const *parts, int count, int piece, int pieces, int by,
                      bool spread, struct variable *spare, struct err *err);
