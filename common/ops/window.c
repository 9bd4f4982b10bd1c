// SPDX-License-Identifier: Apache-2.0
// The arithmetic of sliding windows. Divisions of negative numbers round as Fluid's do (towards 0):
// a window that is longer than the padded image by less than a stride still gives one output.

#include "common/ops/window.h"

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/program/attr.h"

static int64_t ceil_div(int64_t a, int64_t b);

static int read_pair(const struct attr *attr, const char *name, int64_t out[2], struct err *err)
{
    if (attr->count != 2)
        return err_set(err, SL_EINVAL, "%s must have 2 numbers, not %zu", name, attr->count);
    for (int i = 0; i < 2; i++) {
        out[i] = attr->ints[i];
        if (out[i] < 1 || out[i] > WINDOW_SIDE_MAX)
            return err_set(err, SL_EINVAL, "%s has %lld; at least 1 is wanted", name,
                           (long long)out[i]);
    }
    return 0;
}

static int read_paddings(struct window_axis *axis, const struct attr *attr, struct err *err)
{
    if (attr->count != 2 && attr->count != 4)
        return err_set(err, SL_EINVAL, "paddings must have 2 or 4 numbers, not %zu", attr->count);
    for (size_t i = 0; i < attr->count; i++)
        if (attr->ints[i] < 0 || attr->ints[i] > WINDOW_SIDE_MAX)
            return err_set(err, SL_EINVAL, "paddings has %lld; at least 0 is wanted",
                           (long long)attr->ints[i]);
    size_t both = attr->count == 2 ? 1 : 2;
    for (size_t i = 0; i < 2; i++) {
        axis[i].before = attr->ints[i * both];
        axis[i].after = attr->ints[i * both + both - 1];
    }
    return 0;
}

int window_read(struct window_axis *axis, const struct window_attrs *attrs, struct err *err)
{
    int64_t strides[2], dilations[2] = {1, 1};
    int rc = read_pair(attrs->strides, "strides", strides, err);
    if (rc == 0 && attrs->dilations != NULL)
        rc = read_pair(attrs->dilations, "dilations", dilations, err);
    if (rc == 0)
        rc = read_paddings(axis, attrs->paddings, err);
    if (rc < 0)
        return rc;
    const char *algorithm = attrs->algorithm->s;
    bool same = str_eq(algorithm, "SAME"), valid = str_eq(algorithm, "VALID");
    if (!same && !valid && !str_eq(algorithm, "EXPLICIT"))
        return err_set(err, SL_EINVAL, "padding_algorithm `%s` is not EXPLICIT, SAME or VALID",
                       algorithm);
    for (int i = 0; i < 2; i++) {
        struct window_axis *a = &axis[i];
        if (a->in > WINDOW_SIDE_MAX || a->kernel > WINDOW_SIDE_MAX)
            return err_set(err, SL_ELIMIT, "an image or a kernel has a side of more than %d",
                           WINDOW_SIDE_MAX);
        a->stride = strides[i];
        a->dilation = same ? 1 : dilations[i];
        if (same || valid)
            a->before = a->after = 0;
        if (same && a->in >= 0) {
            int64_t sum = (ceil_div(a->in, a->stride) - 1) * a->stride + a->kernel - a->in;
            a->before = sum > 0 ? sum / 2 : 0;
            a->after = sum > 0 ? sum - a->before : 0;
        }
    }
    return 0;
}

int window_count(struct window_axis *axis, bool ceil_mode, struct err *err)
{
    for (int i = 0; i < 2; i++) {
        struct window_axis *a = &axis[i];
        a->out = -1;
        if (a->in < 0 || a->kernel < 0)
            continue;
        int64_t reach = a->dilation * (a->kernel - 1) + 1;
        int64_t room = a->in + a->before + a->after - reach;
        a->out = (room + (ceil_mode ? a->stride - 1 : 0)) / a->stride + 1;
        if (a->out < 1 || a->kernel < 1 || a->in < 1)
            return err_set(err, SL_EINVAL,
                           "%s: a kernel of %lld does not fit an image of %lld with padding %lld "
                           "and %lld",
                           i == WINDOW_H ? "height" : "width", (long long)reach, (long long)a->in,
                           (long long)a->before, (long long)a->after);
    }
    return 0;
}

void window_inside(const struct window_axis *axis, int64_t i, int64_t *first, int64_t *last)
{
    int64_t shift = axis->before - i * axis->dilation;
    *first = ceil_div(shift, axis->stride);
    *last = ceil_div(axis->in + shift, axis->stride);
    *first = *first < 0 ? 0 : *first > axis->out ? axis->out : *first;
    *last = *last < *first ? *first : *last > axis->out ? axis->out : *last;
}

int window_layout(const struct attr *format, bool *out_channels_last, struct err *err)
{
    const char *s = format->s;
    *out_channels_last = str_eq(s, "NHWC");
    if (!*out_channels_last && !str_eq(s, "NCHW") && !str_eq(s, "AnyLayout") && !str_eq(s, ""))
        return err_set(err, SL_EINVAL, "%s `%s` is not NCHW or NHWC", format->name, s);
    return 0;
}

struct window_places window_places(bool channels_last)
{
    return channels_last ? (struct window_places){.c = 3, .h = 1, .w = 2}
                         : (struct window_places){.c = 1, .h = 2, .w = 3};
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return a > 0 ? (a + b - 1) / b : -(-a / b);
}
