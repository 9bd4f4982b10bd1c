// SPDX-License-Identifier: Apache-2.0
// Some rows of a tall tensor: Fluid's sparse gradient and table type.
#pragma once

#include <stdint.h>

#include "common/tensor/tensor.h"

struct selected_rows {
    int64_t height;                 // rows of the tall tensor
    int64_t *rows;                  // row index of each row of value; owned
    size_t rows_count;
    size_t rows_cap;
    struct tensor value;            // [rows_count, ...]
};

void selected_rows_init(struct selected_rows *sr);
void selected_rows_deinit(struct selected_rows *sr);
// Room for count indices; contents undefined. SL_ENOMEM.
int selected_rows_resize(struct selected_rows *sr, size_t count);
int selected_rows_copy(struct selected_rows *dst, const struct selected_rows *src);
