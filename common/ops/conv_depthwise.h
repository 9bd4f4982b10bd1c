// SPDX-License-Identifier: Apache-2.0
// Convolutions in which every output channel sees one input channel (groups = in_c; out_c is a
// multiple of it), by loops over rows. Shapes are those of conv_gemm.h; results are overwritten.
#pragma once

#include "common/ops/conv_gemm.h"

void conv_depthwise_forward(const struct conv_gemm *conv, void *out, const void *in,
                            const void *filter);
void conv_depthwise_backward_in(const struct conv_gemm *conv, void *din, const void *dout,
                                const void *filter);
void conv_depthwise_backward_filter(const struct conv_gemm *conv, void *dfilter, const void *dout,
                                    const void *in);
