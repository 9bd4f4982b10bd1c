// SPDX-License-Identifier: Apache-2.0
// Checks of input shapes and element types that many ops need, each with one clear error. A missing
// optional input passes.
#pragma once

#include "common/ops/op.h"

// SL_EMISMATCH unless inputs a and b have the same shape (a -1 fits everything).
int shape_check_same(const struct op_shape *shape, int a, int b);
// SL_EMISMATCH unless input s has the shape [N, 1].
int shape_check_column(const struct op_shape *shape, int s);
// SL_EMISMATCH unless input s is a matrix [rows, columns] (a -1 fits everything).
int shape_check_matrix(const struct op_shape *shape, int s, int64_t rows, int64_t columns);
// At run time: SL_EUNSUPPORTED unless input 0 is float32 or float64, SL_EMISMATCH when another
// input of the list (ended by -1) has another type.
int shape_check_floats(const struct op_ctx *ctx, const int *others);
