// SPDX-License-Identifier: Apache-2.0
// The operators save, load, save_combine and load_combine of Fluid programs, as host operators
// (plan_host; self is not used).
#pragma once

struct op_def;

extern const struct op_def *const op_save_load_table[];
