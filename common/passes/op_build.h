// SPDX-License-Identifier: Apache-2.0
// Appending an operator the way Fluid's Block.append_op does: every input slot of the op's definition
// is present, absent attributes get the op maker's defaults, the four attributes that every op has
// (op_role, op_role_var, op_namescope, op_device) are there, and shapes and types of the outputs are
// inferred into the block's variables.
#pragma once

#include <stddef.h>

struct block;
struct err;
struct op_desc;

// Completes op's slots and attributes (those that are set stay). op_role is set when absent: role.
// SL_EUNSUPPORTED for an unknown type.
int op_build_complete(struct op_desc *op, int role, struct err *err);
// Infers dtype, dims and LoD level of op's outputs from its inputs' descriptions, at build time
// (-1 dimensions stay open). Variables must exist. Errors name the op's type and variables.
int op_build_infer(struct block *block, struct op_desc *op, struct err *err);
// The two together, then appended to block / inserted at an index. Takes op, also on failure.
int op_build_append(struct block *block, struct op_desc *take, int role, struct err *err);
int op_build_insert(struct block *block, size_t at, struct op_desc *take, int role, struct err *err);
