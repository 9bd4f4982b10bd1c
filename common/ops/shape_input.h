// SPDX-License-Identifier: Apache-2.0
// The shape of an op that makes a tensor from nothing: its `shape` attribute, unless the optional
// inputs ShapeTensor (one tensor of sides) or ShapeTensorList (a one-element tensor a side) say it
// at run time.
#pragma once

#include "common/ops/op.h"

// Slots and attribute of the op; a slot is -1 when the op does not have it.
struct shape_input {
    int tensor, list, attr;
};

// infer_shape for output 0 of such an op: sides that only a tensor knows are -1.
int shape_input_infer(struct op_shape *shape, const struct shape_input *input, int dtype);
// Sizes output 0 (for kernels with kernel_resizes).
int shape_input_resize(struct op_ctx *ctx, const struct shape_input *input, enum dtype dtype);
