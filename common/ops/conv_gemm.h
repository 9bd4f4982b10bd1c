// SPDX-License-Identifier: Apache-2.0
// Convolutions of NCHW images by matrix products. conv2d and conv2d_transpose are the same three
// functions with the roles of image and output exchanged.
//
//   out[n, o, y, x] = sum over c, i, j of filter[o, c, i, j] in[n, c, y(i), x(j)]
//
// in [n, in_c, h.in, w.in], filter [out_c, in_c / groups, kernel_h, kernel_w], out [n, out_c,
// h.out, w.out]; group g joins the g-th run of input channels with the g-th run of output channels.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ops/window.h"

struct conv_gemm {
    bool f32;   // floats, else doubles
    int64_t n, in_c, out_c, groups;
    struct window_axis axis[2];
};

// Can the sizes be given to BLAS? False for planes or filters of more than 2^31 elements.
bool conv_gemm_fits(const struct conv_gemm *conv);
// Elements of working memory that the functions below want; a number that no tensor has when it is
// too large.
size_t conv_gemm_work(const struct conv_gemm *conv);
// work is as large as conv_gemm_work says. No two arrays overlap. Results are overwritten.
void conv_gemm_forward(const struct conv_gemm *conv, void *out, const void *in, const void *filter,
                       void *work);
void conv_gemm_backward_in(const struct conv_gemm *conv, void *din, const void *dout,
                           const void *filter, void *work);
void conv_gemm_backward_filter(const struct conv_gemm *conv, void *dfilter, const void *dout,
                               const void *in, void *work);
