// SPDX-License-Identifier: Apache-2.0
// One table of element types.
#include "common/tensor/dtype.h"

static const struct {
    int number;
    size_t bytes;
    const char *name;
} table[] = {
    {DTYPE_BOOL, 1, "bool"},    {DTYPE_INT16, 2, "int16"},  {DTYPE_INT32, 4, "int32"},
    {DTYPE_INT64, 8, "int64"},  {DTYPE_FP16, 2, "float16"}, {DTYPE_FP32, 4, "float32"},
    {DTYPE_FP64, 8, "float64"}, {DTYPE_UINT8, 1, "uint8"},  {DTYPE_INT8, 1, "int8"},
};

static int row(int number)
{
    for (int i = 0; i < (int)(sizeof table / sizeof table[0]); i++)
        if (table[i].number == number)
            return i;
    return -1;
}

bool dtype_is_valid(int number)
{
    return row(number) >= 0;
}

size_t dtype_bytes(enum dtype dtype)
{
    int i = row((int)dtype);
    return i < 0 ? 0 : table[i].bytes;
}

const char *dtype_name(int dtype)
{
    int i = row(dtype);
    return i < 0 ? "unknown dtype" : table[i].name;
}
