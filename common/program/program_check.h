// SPDX-License-Identifier: Apache-2.0
// Is a program well formed? Only what the description itself can show; whether operators exist and
// have their slots is the op table's business.
#pragma once

#include <stddef.h>

struct program;
struct str_list;

// Appends one sentence a problem, with block, op index, op type and variable: inputs that no
// visible block declares, BLOCK attributes that name no block, a parent that does not come before
// its block, impossible shapes. Blocks that no operator refers to are left alone. Returns how many
// were found.
size_t program_check(const struct program *program, struct str_list *out_problems);
