// SPDX-License-Identifier: Apache-2.0
// Floats are written from the double, integers from the 64-bit number.

#include "common/ops/constant.h"

#include <stddef.h>

#include "common/base/err.h"
#include "common/base/str.h"

int constant_parse(float value, const char *text, enum dtype dtype, struct constant *out,
                   struct err *err)
{
    bool said = text != NULL && text[0] != '\0';
    if (said && dtype == DTYPE_INT64 && str_parse_i64(text, &out->i)) {
        out->f = (double)out->i;
        return 0;
    }
    out->f = (double)value;
    if (said && !str_parse_f64(text, &out->f))
        return err_set(err, SL_EINVAL, "str_value \"%s\" is not a number", text);
    bool whole = out->f > -9.2e18 && out->f < 9.2e18;
    if (!whole && dtype != DTYPE_FP32 && dtype != DTYPE_FP64)
        return err_set(err, SL_EINVAL, "value %g does not fit %s", out->f, dtype_name((int)dtype));
    out->i = whole ? (int64_t)out->f : 0;
    return 0;
}

#define FILL(T, value)                                                                             \
    do {                                                                                           \
        T each_ = (T)(value), *data_ = t->data;                                                    \
        for (uint64_t i_ = 0; i_ < n; i_++)                                                        \
            data_[i_] = each_;                                                                     \
    } while (0)

int constant_fill(struct tensor *t, struct constant value, struct err *err)
{
    uint64_t n = tensor_count(t);
    switch (t->dtype) {
    case DTYPE_FP32:
        FILL(float, value.f);
        return 0;
    case DTYPE_FP64:
        FILL(double, value.f);
        return 0;
    case DTYPE_INT32:
        FILL(int32_t, value.i);
        return 0;
    case DTYPE_INT64:
        FILL(int64_t, value.i);
        return 0;
    case DTYPE_INT16:
        FILL(int16_t, value.i);
        return 0;
    case DTYPE_INT8:
        FILL(int8_t, value.i);
        return 0;
    case DTYPE_UINT8:
        FILL(uint8_t, value.i);
        return 0;
    case DTYPE_BOOL:
        FILL(uint8_t, value.f != 0);
        return 0;
    default:
        return err_set(err, SL_EUNSUPPORTED, "element type %s is not supported",
                       dtype_name((int)t->dtype));
    }
}
