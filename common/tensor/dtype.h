// SPDX-License-Identifier: Apache-2.0
// Element types, with the numbers of Fluid's VarType.Type.
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum dtype {
    DTYPE_BOOL = 0,
    DTYPE_INT16 = 1,
    DTYPE_INT32 = 2,
    DTYPE_INT64 = 3,
    DTYPE_FP16 = 4,
    DTYPE_FP32 = 5,
    DTYPE_FP64 = 6,
    DTYPE_UINT8 = 20,
    DTYPE_INT8 = 21,
};

bool dtype_is_valid(int number);
size_t dtype_bytes(enum dtype dtype);        // 1, 2, 4 or 8; 0 for an invalid one
const char *dtype_name(int dtype);   // "float32", "int64", ...; "unknown dtype" for the rest
