// SPDX-License-Identifier: Apache-2.0
// Copies of a program for other uses than training.
#pragma once

struct err;
struct program;
struct str_list;

// Fluid's Program.clone(for_test=True): operators with a backward or optimize role are dropped,
// is_test is set where an op has it, and variables that no remaining operator names are dropped.
// The caller frees it.
struct program *clone_for_test(const struct program *program);

// Fluid's Program._prune: those operators of block 0 that make a target, or what such an operator
// reads (feeds, which may be NULL, count as given), with the blocks and variables that they name.
// SL_ENOENT for a target that is no variable of block 0, SL_EINVAL for one that is neither made,
// fed nor persistable.
int clone_pruned(const struct program *program, const struct str_list *feeds,
                 const struct str_list *targets, struct program **out, struct err *err);
