// SPDX-License-Identifier: Apache-2.0
// Row by row, each in a few vectorised loops. With a clip the gradient of a state that was held at
// its bound is 0; peephole gradients are sums over rows in their order.

#include "common/ops/lstm_cell.h"

#include <stddef.h>

#include "common/ops/op_clones.h"

#define CELL_T float
#define CELL(name) name##_f32
#include "common/ops/lstm_cell_row.h"
#undef CELL_T
#undef CELL

#define CELL_T double
#define CELL(name) name##_f64
#include "common/ops/lstm_cell_row.h"
