// SPDX-License-Identifier: Apache-2.0
// The forward pass of softmax for other ops (softmax_with_cross_entropy).
#pragma once

#include "common/ops/op.h"

// out (of x's type and shape, sized) = softmax of x along axis, which is within x's rank.
// SL_EUNSUPPORTED for a type that is no floating one.
int op_softmax_run(struct op_ctx *ctx, struct tensor *out, const struct tensor *x, int64_t axis);
