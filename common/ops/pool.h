// SPDX-License-Identifier: Apache-2.0
// The loops of pool2d and max_pool2d_with_index over NCHW images; formulas stand in op_pool.c.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/ops/window.h"

// The inputs [first, last) that output o of an axis sees; or the outputs of a place.
struct pool_range {
    int64_t first, last;
};

#define POOL_PLACES_MAX 16   // widest kernel for by_places

struct pool {
    bool max, exclusive, channels_last;
    bool adaptive;   // the windows are
    int64_t n, c;
    struct window_axis axis[2];
    bool by_places;   // several outputs of a row are done at once
    // by_places: the outputs that see the image at a column of the kernel; else the windows of the
    // first outputs of a row.
    struct pool_range columns[POOL_PLACES_MAX];
};

// Fills the last two fields from the rest.
void pool_plan(struct pool *pool);

void pool_forward_f32(const struct pool *pool, float *out, const float *x);
void pool_forward_f64(const struct pool *pool, double *out, const double *x);
void pool_backward_f32(const struct pool *pool, float *dx, const float *x, const float *out,
                       const float *dout);
void pool_backward_f64(const struct pool *pool, double *dx, const double *x, const double *out,
                       const double *dout);
// mask: the place of each largest element in its plane, -1 when a window is empty.
void pool_index_forward_f32(const struct pool *pool, float *out, int32_t *mask, const float *x);
void pool_index_forward_f64(const struct pool *pool, double *out, int32_t *mask, const double *x);
// False when a place of mask is outside of its plane.
bool pool_index_backward_f32(const struct pool *pool, float *dx, const int32_t *mask,
                             const float *dout);
bool pool_index_backward_f64(const struct pool *pool, double *dx, const int32_t *mask,
                             const double *dout);
