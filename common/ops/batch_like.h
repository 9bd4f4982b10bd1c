// SPDX-License-Identifier: Apache-2.0
// The shape of the *_batch_size_like ops: `shape` with side output_dim_idx replaced by Input's side
// input_dim_idx. Input is their only input, Out their only output, and these are their first
// attributes.
#pragma once

#include "common/ops/op.h"

enum { BATCH_LIKE_SHAPE, BATCH_LIKE_INPUT_DIM, BATCH_LIKE_OUTPUT_DIM, BATCH_LIKE_ATTRS };
#define BATCH_LIKE_ATTR_ROWS                                                                       \
    {.name = "shape", .type = ATTR_INTS, .required = true}, OP_ATTR_INT("input_dim_idx", 0),       \
        OP_ATTR_INT("output_dim_idx", 0)

int batch_like_infer(struct op_shape *shape, int dtype);
// Sizes Out (for kernels with kernel_resizes). by_sequence: side 0 of a tensor with LoD counts its
// sequences on the lowest level.
int batch_like_resize(struct op_ctx *ctx, enum dtype dtype, bool by_sequence);
