// SPDX-License-Identifier: Apache-2.0
// What all optimizer ops have in common: Param, Grad and the states have one shape; the learning
// rate and the powers are one element; every tensor has Param's element type.
#pragma once

#include "common/ops/op.h"

// infer_shape of an optimizer: checks, then SOut follows S. Inputs of the list same_shape must have
// the shape of input 0 (Param), those of one_element one element. Both lists end with -1.
int optimizer_shape_infer(struct op_shape *shape, const int *same_shape, const int *one_element);
// SL_EMISMATCH when a present input has another element type than input 0, SL_EUNSUPPORTED when
// that is neither float32 nor float64.
int optimizer_shape_check_dtype(const struct op_ctx *ctx);
