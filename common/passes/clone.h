// SPDX-License-Identifier: Apache-2.0
// Copies of a program for other uses than training.
#pragma once

struct program;

// Fluid's Program.clone(for_test=True): operators with a backward or optimize role are dropped,
// is_test is set where an op has it, and variables that no remaining operator names are dropped.
// The caller frees it.
struct program *clone_for_test(const struct program *program);
