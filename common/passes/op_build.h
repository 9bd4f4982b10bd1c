// SPDX-License-Identifier: Apache-2.0
// Appending an operator the way Fluid's Block.append_op does: the input slots of the op's
// definition are all present, absent attributes get the op maker's defaults, the four attributes
// that every op has (op_role, op_role_var, op_namescope, op_device) are there, and shapes and types
// of the outputs are inferred into the block's variables.
#pragma once

#include <stddef.h>

struct block;
struct err;
struct op_desc;

// Sets those of the four common attributes that are absent.
void op_build_common(struct op_desc *op, int role);
// Completes op's slots and attributes from the op table (those that are set stay).
// SL_EUNSUPPORTED for an unknown type.
int op_build_complete(struct op_desc *op, int role, struct err *err);
// Infers dtype, dims and LoD level of op's outputs from its inputs' descriptions, at build time
// (-1 dimensions stay open). Variables must exist. Errors name the op's type and variables.
int op_build_infer(struct block *block, const struct op_desc *op, struct err *err);
// Completes, infers, then appends / inserts. Takes op, also on failure.
int op_build_append(struct block *block, struct op_desc *take, int role, struct err *err);
int op_build_insert(struct block *block, size_t at, struct op_desc *take, int role,
                    struct err *err);
