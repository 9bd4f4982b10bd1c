// SPDX-License-Identifier: Apache-2.0
// Which variables of a program are saved, which of those are Parameters and which are learning rates.
// A ProgramDesc does not say; flags of a built network win, else the rules of ckpt_params.c infer it.
#pragma once

#include <stdbool.h>

#include "common/base/str.h"

struct program;

// Names of all variables that Fluid saves (block 0, var_desc_is_saved), sorted.
void ckpt_params_saved(const struct program *program, struct str_list *out);
// Names of the Parameters among them, sorted; *out_inferred tells that no flags were there (may be NULL).
void ckpt_params_list(const struct program *program, struct str_list *out, bool *out_inferred);
// Names of what a folder of Paddle's distributed save may lack: learning rates and their counter.
void ckpt_params_rates(const struct program *program, struct str_list *out);
// The constant learning rates: one-element floats that optimizers read and nothing in the program writes.
void ckpt_params_constant_rates(const struct program *program, struct str_list *out);
// The first operator that updates a Parameter ("block 0 op 12 adam"), into text; false when there is none.
bool ckpt_params_updates(const struct program *program, char *text, size_t text_bytes);
