// SPDX-License-Identifier: Apache-2.0
// The conversion of cast for other ops.
#pragma once

#include "common/tensor/tensor.h"

// out[i] = x[i] converted to out's type; out is sized, and neither of the two is float16.
void op_cast_run(struct tensor *out, const struct tensor *x);
