// SPDX-License-Identifier: Apache-2.0
// How an optimizer meets its gradient, dense or selected rows. An optimizer is written once, as a
// dense update of a run of elements; a gradient of selected rows is merged, and the update runs
// over the rows that it names, or over all, with gradients of 0 in between.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/ops/op.h"

#define ROWS_UPDATE_TEMPS 2   // temps that rows_update uses
#define ROWS_UPDATE_TABLES_MAX 8

struct rows_update {
    // Updates elements [first, first + n) of Param and the states; grad[0] belongs to `first`. The
    // bits must not depend on where runs begin and end.
    void (*dense)(const void *args, const void *grad, uint64_t first, uint64_t n);
    const void *args;
    bool rows_only;   // leave rows alone that the gradient does not name
};

// For infer_shape and kernels: Grad is input `grad`, Param input 0; temps points at
// ROWS_UPDATE_TEMPS temps of the op. SL_EMISMATCH when the gradient does not fit Param; SL_EINVAL
// when a row is not one of Param's.
int rows_update_run(struct op_ctx *ctx, int grad, struct tensor *temps,
                    const struct rows_update *update);
// The selected rows of argument 0 of input slot s; NULL when it is something else.
const struct selected_rows *rows_update_in(const struct op_ctx *ctx, int s);
// For op_def.rows_only: always.
bool rows_update_always(const struct op_desc *op);
