// SPDX-License-Identifier: Apache-2.0
// The loops of batch_norm, over x as [n, c, inner] (channels last: inner 1). Formulas stand in
// op_batch_norm.c. Each function comes for float and double; every per-channel array has c
// elements.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct batch_norm_sizes {
    int64_t n, c, inner;
};

// Writes mean and inv = 1 / sqrt(variance + epsilon), the variance, and y. work has 2 c elements.
void batch_norm_train_f32(float *y, float *mean, float *variance, float *inv, const float *x,
                          const float *scale, const float *bias, float epsilon, float *work,
                          struct batch_norm_sizes s);
void batch_norm_train_f64(double *y, double *mean, double *variance, double *inv, const double *x,
                          const double *scale, const double *bias, double epsilon, double *work,
                          struct batch_norm_sizes s);
// y = (x - mean) / sqrt(variance + epsilon) scale + bias. work has 2 c elements.
void batch_norm_apply_f32(float *y, const float *x, const float *scale, const float *bias,
                          const float *mean, const float *variance, float epsilon, float *work,
                          struct batch_norm_sizes s);
void batch_norm_apply_f64(double *y, const double *x, const double *scale, const double *bias,
                          const double *mean, const double *variance, double epsilon, double *work,
                          struct batch_norm_sizes s);
// All three results are written; dx may be NULL. global: mean and inv did not come from x. work has
// 4 c elements.
void batch_norm_backward_f32(float *dx, float *dscale, float *dbias, const float *x,
                             const float *dy, const float *scale, const float *mean,
                             const float *inv, bool global, float *work, struct batch_norm_sizes s);
void batch_norm_backward_f64(double *dx, double *dscale, double *dbias, const double *x,
                             const double *dy, const double *scale, const double *mean,
                             const double *inv, bool global, double *work,
                             struct batch_norm_sizes s);
