// SPDX-License-Identifier: Apache-2.0
// The element types that kernels compute in, as indices of kernel tables.
#pragma once

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
