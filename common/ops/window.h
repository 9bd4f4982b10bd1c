// SPDX-License-Identifier: Apache-2.0
// A window that slides over the two spatial axes of an image: what convolutions and pools share.
// Output o of an axis looks at inputs o stride - before + i dilation, i < kernel; those outside of
// [0, in) are padding.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct attr;
struct dims;
struct err;

// Sides, strides, dilations and paddings are at most this, so that products of two of them, and of
// what comes of them, stay within 64 bits.
#define WINDOW_SIDE_MAX (1 << 28)

// Sizes in elements; in and out are -1 while a program is built and they are not known.
struct window_axis {
    int64_t in, out, kernel, stride, before, after, dilation;
};

enum { WINDOW_H, WINDOW_W };

// The attributes as Fluid names them; dilations may be NULL (no dilation).
struct window_attrs {
    const struct attr *strides, *paddings, *algorithm, *dilations;
};

// Fills stride, dilation and the padding of both axes; in and kernel are given. SAME pads so that
// out is in / stride rounded up, and drops the dilation; VALID does not pad. SL_EINVAL,
// SL_ELIMIT.
int window_read(struct window_axis *axis, const struct window_attrs *attrs, struct err *err);
// Fills out from the rest. SL_EINVAL when no output is left.
int window_count(struct window_axis *axis, bool ceil_mode, struct err *err);
// Outputs [*first, *last) of the axis see an element of the image at place i of the kernel.
void window_inside(const struct window_axis *axis, int64_t i, int64_t *first, int64_t *last);
// Is the data format (NCHW, NHWC, AnyLayout; "" counts as NCHW) channels-last? SL_EINVAL.
int window_layout(const struct attr *format, bool *out_channels_last, struct err *err);
// Indices of channels, height and width in dims of rank 4.
struct window_places {
    int c, h, w;
};
struct window_places window_places(bool channels_last);
