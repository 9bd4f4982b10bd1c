// SPDX-License-Identifier: Apache-2.0
// Integers that an op takes from a list of one-element tensors, else from one tensor, else from an
// attribute: shapes, axes, starts, repeats. A tensor must hold int32 or int64.
#pragma once

#include "common/ops/op.h"

#define INT_INPUT_MAX (2 * LIMIT_RANK)

struct int_input {
    size_t count;
    int64_t v[INT_INPUT_MAX];
};

// Slots are -1 when the op does not have them. SL_EINVAL and SL_ELIMIT say which argument is wrong.
int int_input_read(const struct op_ctx *ctx, int list, int tensor, const struct attr *attr,
                   struct int_input *out);
// The attribute alone, for infer_shape.
int int_input_from_attr(const struct attr *attr, struct int_input *out, struct err *err);
// Will a tensor say the numbers at run time?
bool int_input_is_fed(const struct op_shape *shape, int list, int tensor);
