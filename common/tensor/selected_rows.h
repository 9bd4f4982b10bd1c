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
// sr becomes count rows of a tall tensor whose shape is `tall` (its first dimension does not
// count); rows and values are undefined. Room grows by half at least, so a number of rows that
// changes from step to step soon needs no memory. SL_EINVAL when tall has no dimension, SL_ELIMIT,
// SL_ENOMEM.
int selected_rows_shape(struct selected_rows *sr, int64_t height, size_t count, enum dtype dtype,
                        const struct dims *tall);
int selected_rows_copy(struct selected_rows *dst, const struct selected_rows *src);
