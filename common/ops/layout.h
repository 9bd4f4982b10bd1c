// SPDX-License-Identifier: Apache-2.0
// Images with channels last and channels first. Kernels are written for NCHW; an op with
// data_format NHWC turns its images into temporaries first, as Fluid does.
#pragma once

#include <stdbool.h>

struct op_ctx;
struct tensor;

// *out is t itself, or when channels_last a temporary (ctx->temps[temp]) that holds it as
// [n, c, h, w]. t has rank 4.
int layout_input(struct op_ctx *ctx, int temp, const struct tensor *t, bool channels_last,
                 const struct tensor **out);
// *out is where an NCHW kernel writes what is to become t: t itself or a sized temporary. NULL for
// NULL. layout_finish then moves a temporary to t.
int layout_output(struct op_ctx *ctx, int temp, struct tensor *t, bool channels_last,
                  struct tensor **out);
int layout_finish(struct op_ctx *ctx, struct tensor *t, const struct tensor *out);
