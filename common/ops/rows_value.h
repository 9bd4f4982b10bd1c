// SPDX-License-Identifier: Apache-2.0
// Ops that work on each element and take selected rows as well as tensors: they work on the values.
#pragma once

#include "common/ops/op.h"

// What an op with input 0 and output 0 reads and writes. For a tensor: the two tensors. For
// selected rows: their values; output 0 becomes selected rows with the same rows. SL_EINVAL when
// the values are not as many as the rows.
int rows_value_open(struct op_ctx *ctx, const struct tensor **out_x, struct tensor **out_out);
// The same, but rows that repeat are merged first: into the output, which then is also what is
// read. work is a temp. SL_EUNSUPPORTED when the output is the input.
int rows_value_open_merged(struct op_ctx *ctx, struct tensor *work, const struct tensor **out_x,
                           struct tensor **out_out);
