// SPDX-License-Identifier: Apache-2.0
// One number of any element type, and filling a tensor with it.
#pragma once

#include <stdint.h>

#include "common/tensor/tensor.h"

struct err;

// The number in the two forms that no element type loses digits from.
struct constant {
    double f;
    int64_t i;
};

// From an attribute pair: text, when not empty, has more digits than value and wins. SL_EINVAL when
// it is no number or does not fit an integer type.
int constant_parse(float value, const char *text, enum dtype dtype, struct constant *out,
                   struct err *err);
// Every element becomes the number (bool: whether it is not 0). SL_EUNSUPPORTED for float16.
int constant_fill(struct tensor *t, struct constant value, struct err *err);
