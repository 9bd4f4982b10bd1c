// SPDX-License-Identifier: Apache-2.0
// Which variables of a program are saved, and which of those are learning rates. (Which are
// Parameters: passes/params.h; callers give that list.)
#pragma once

#include <stdbool.h>

#include "common/base/str.h"

#define CKPT_VARS_COUNTER "@LR_DECAY_COUNTER@"     // of learning-rate schedules

struct program;
struct slice_map;

// Names of all variables that Fluid saves (block 0, var_desc_is_saved), sorted.
void ckpt_vars_saved(const struct program *program, struct str_list *out);
// Among the variables of block 0 (of a server: on it): learning rates and their counter, which a
// folder of Paddle's distributed save may lack; and of those the constant ones: one float that
// optimizers read and that nothing but the start-up writes. slices may be NULL.
void ckpt_vars_rates(const struct program *program, const struct slice_map *slices,
                     struct str_list *out_rates, struct str_list *out_constant);
// Is that a name that Fluid gives to learning rates and their counter?
bool ckpt_vars_is_rate_name(const char *name);
