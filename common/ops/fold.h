// SPDX-License-Identifier: Apache-2.0
// The sum over trainers and its scaling, in one pass. Bits are those of the ops `sum` and `scale`
// one after the other: out[i] = (((in0[i] + in1[i]) + in2[i]) + ...) * scale.
#pragma once

#include <stdint.h>

// inputs_count >= 1. out may be one of the inputs; otherwise no two arrays overlap. For scale 1 the
// multiplication changes nothing. Inputs may be partial sums: fold (in0, in1) with scale 1, then
// (out, in2) with 1/3 gives the same bits as all three at once.
void fold_f32(float *out, const float *const *inputs, int inputs_count, int64_t n, float scale);
void fold_f64(double *out, const double *const *inputs, int inputs_count, int64_t n, double scale);
void fold_i32(int32_t *out, const int32_t *const *inputs, int inputs_count, int64_t n,
              int32_t scale);
void fold_i64(int64_t *out, const int64_t *const *inputs, int inputs_count, int64_t n,
              int64_t scale);
