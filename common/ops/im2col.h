// SPDX-License-Identifier: Apache-2.0
// Patches of images as the columns of a matrix, so that a convolution is a matrix product. Images
// are padded first (or need no padding), so that a patch is never cut.
#pragma once

#include <stdint.h>

#include "common/ops/window.h"

// Some images of one group of channels, and of them some output rows. The matrix is
// [channels kernel_h kernel_w] x [images rows out_w].
struct im2col_chunk {
    int64_t channels;
    int64_t images, first_row, rows;
    int64_t width, plane, image;   // elements of a row, a channel and all channels in the images
};

// The side of an image that all windows of an axis see together: (out - 1) stride + reach.
int64_t im2col_side(const struct window_axis *axis);

// to [images, channels, side_h, side_w] = what the windows see of from (rows in_w, planes in_h
// in_w, images image_stride elements apart), zeros where that is padding.
void im2col_pad_f32(float *to, const float *from, int64_t images, int64_t channels,
                    int64_t image_stride, const struct window_axis axis[2]);
void im2col_pad_f64(double *to, const double *from, int64_t images, int64_t channels,
                    int64_t image_stride, const struct window_axis axis[2]);
// The way back: to is overwritten with what lies inside of it, zeros where no window looks.
void im2col_crop_f32(float *to, const float *from, int64_t images, int64_t channels,
                     int64_t image_stride, const struct window_axis axis[2]);
void im2col_crop_f64(double *to, const double *from, int64_t images, int64_t channels,
                     int64_t image_stride, const struct window_axis axis[2]);

// col[(c, i, j), (image, y, x)] = in[image, c, y stride + i dilation, x stride + j dilation]
void im2col_f32(float *col, const float *in, const struct im2col_chunk *chunk,
                const struct window_axis axis[2]);
void im2col_f64(double *col, const double *in, const struct im2col_chunk *chunk,
                const struct window_axis axis[2]);
// The way back: adds every element of col to the element of in that it came from.
void im2col_add_f32(float *in, const float *col, const struct im2col_chunk *chunk,
                    const struct window_axis axis[2]);
void im2col_add_f64(double *in, const double *col, const struct im2col_chunk *chunk,
                    const struct window_axis axis[2]);
