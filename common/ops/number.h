// SPDX-License-Identifier: Apache-2.0
// The element types that kernels compute in, as indices of kernel tables.
#pragma once

#include <stdint.h>

#include "common/tensor/dtype.h"

enum number { NUMBER_F32, NUMBER_F64, NUMBER_I32, NUMBER_I64, NUMBERS };

// -1 for other types (bool, bytes, half).
static inline int number_of(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_FP32:
        return NUMBER_F32;
    case DTYPE_FP64:
        return NUMBER_F64;
    case DTYPE_INT32:
        return NUMBER_I32;
    case DTYPE_INT64:
        return NUMBER_I64;
    default:
        return -1;
    }
}

// Cut to an integer; what does not fit (or is NaN) is the smallest one.
static inline int32_t number_to_i32(double value)
{
    return value > -2147483649.0 && value < 2147483648.0 ? (int32_t)value : INT32_MIN;
}

static inline int64_t number_to_i64(double value)
{
    return value >= -0x1p63 && value < 0x1p63 ? (int64_t)value : INT64_MIN;
}

// To the type of sample.
#define NUMBER_TO_INTEGER(sample, value)                                                           \
    _Generic((sample), int32_t : number_to_i32, int64_t : number_to_i64)(value)
