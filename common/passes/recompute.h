// SPDX-License-Identifier: Apache-2.0
// What fluid.optimizer.RecomputeOptimizer keeps and what it computes again: between two checkpoints
// lies a segment of the forward operators, whose results the backward pass makes anew (under names
// with ".subprog_<i>") instead of keeping them. backward.c writes the operators.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/map.h"

struct block;
struct op_desc;
struct str_list;
struct unique_name;

struct recompute_segment {
    size_t begin, end;   // forward operators [begin, end) of the path
};

// Initialise with recompute_plan_make.
struct recompute_plan {
    struct recompute_segment *segments;   // in the order of the forward operators
    size_t count;
    struct map kept;   // names that stay: checkpoints, inputs, seeds, what crosses segments
};

// ops: the operators of block on the way to the loss. Names that they do not use are no
// checkpoints.
void recompute_plan_make(const struct block *block, struct op_desc *const *ops, size_t count,
                         const struct str_list *checkpoints, struct recompute_plan *out);
void recompute_plan_deinit(struct recompute_plan *plan);
// Is this variable made anew (and renamed) in a segment?
bool recompute_plan_renames(const struct recompute_plan *plan, const struct block *block,
                            const char *name);

// A dropout must drop the same elements twice: in front of each of the path's dropouts goes a
// `seed` operator whose result they read. *ops (a heap array with room for twice *count) takes the
// new operators in.
void recompute_seed_dropouts(struct block *block, struct unique_name *names, struct op_desc **ops,
                             size_t *count);
