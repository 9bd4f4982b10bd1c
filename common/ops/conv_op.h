// SPDX-License-Identifier: Apache-2.0
// What the operators conv2d and conv2d_transpose check and prepare alike.
#pragma once

#include <stdbool.h>

#include "common/ops/conv_gemm.h"
#include "common/ops/op.h"

// Output@GRAD has the shape that the output has. SL_EMISMATCH.
int conv_op_check_gradient(const struct op_shape *shape, const struct dims *dout,
                           const struct dims *out);
// Input is floats or doubles, and Filter is the same. SL_EUNSUPPORTED, SL_EMISMATCH.
int conv_op_check_types(const struct op_ctx *ctx, const struct tensor *in,
                        const struct tensor *filter);
// Completes conv for in's type; sizes work for conv_gemm unless *depthwise. SL_ELIMIT, SL_ENOMEM.
int conv_op_prepare(const struct op_ctx *ctx, const struct tensor *in, struct conv_gemm *conv,
                    struct tensor *work, bool *depthwise);
