// SPDX-License-Identifier: Apache-2.0
// Dense gradients: element i of the sum is ((g0[i] + g1[i]) + g2[i]) + ..., whoever adds it, so the
// bits do not depend on how many threads share the work. Selected rows are put one behind the
// other and not merged: the optimizer, or the send, merges what it gets.

#include "common/exec/parallel_sum.h"

#include <string.h>

#include "common/base/err.h"
#include "common/exec/parallel_cut.h"
#include "common/exec/parallel_executor.h"
#include "common/exec/plan_op.h"
#include "common/ops/fold.h"

#define PIECE_ALIGN 64   // elements: pieces share no cache line

static void sum_dense(struct variable *const *parts, int count, uint64_t from, uint64_t to,
                      bool spread);
static int sum_rows(struct variable *const *parts, int count, bool spread, struct variable *spare,
                    struct err *err);

int parallel_sum_check(struct variable *const *parts, int count, struct err *err)
{
    const struct variable *first = parts[0];
    char a[DIMS_TEXT_MAX], b[DIMS_TEXT_MAX];
    for (int w = 0; w < count; w++) {
        if (!plan_shape_is_set(parts[w]))
            return err_set(err, SL_EUSAGE, "no op gave it a value on worker %d", w);
        if (parts[w]->kind != first->kind)
            return err_set(err, SL_EMISMATCH,
                           "it is selected rows on one of workers 0 and %d and dense on the other",
                           w);
        if (first->kind == VARIABLE_TENSOR &&
            (!dims_equal(&parts[w]->tensor.dims, &first->tensor.dims) ||
             parts[w]->tensor.dtype != first->tensor.dtype))
            return err_set(err, SL_EMISMATCH, "%s on worker 0, %s on worker %d",
                           dims_format(&first->tensor.dims, a),
                           dims_format(&parts[w]->tensor.dims, b), w);
    }
    if (first->kind != VARIABLE_TENSOR)
        return 0;
    enum dtype dtype = first->tensor.dtype;
    if (dtype != DTYPE_FP32 && dtype != DTYPE_FP64 && dtype != DTYPE_INT32 && dtype != DTYPE_INT64)
        return err_set(err, SL_EUNSUPPORTED, "%s cannot be summed", dtype_name((int)dtype));
    return 0;
}

int parallel_sum_part(struct variable *const *parts, int count, int piece, int pieces, int by,
                      bool spread, struct variable *spare, struct err *err)
{
    if (parts[0]->kind == VARIABLE_SELECTED_ROWS)
        return piece == by ? sum_rows(parts, count, spread, spare, err) : 0;
    uint64_t n = tensor_count(&parts[0]->tensor), blocks = (n + PIECE_ALIGN - 1) / PIECE_ALIGN;
    uint64_t from = blocks * (uint64_t)piece / (uint64_t)pieces * PIECE_ALIGN;
    uint64_t to = blocks * ((uint64_t)piece + 1) / (uint64_t)pieces * PIECE_ALIGN;
    to = to < n ? to : n;
    if (from < to)
        sum_dense(parts, count, from, to, spread);
    return 0;
}

#define FOLD(type, fold)                                                                           \
    do {                                                                                           \
        const type *inputs[PARALLEL_EXECUTOR_WORKERS_MAX];                                         \
        for (int w = 0; w < count; w++)                                                            \
            inputs[w] = (const type *)parts[w]->tensor.data + from;                                \
        fold((type *)out->data + from, inputs, count, (int64_t)(to - from), 1);                    \
    } while (0)

static void sum_dense(struct variable *const *parts, int count, uint64_t from, uint64_t to,
                      bool spread)
{
    struct tensor *out = &parts[0]->tensor;
    switch (out->dtype) {
    case DTYPE_FP32:
        FOLD(float, fold_f32);
        break;
    case DTYPE_FP64:
        FOLD(double, fold_f64);
        break;
    case DTYPE_INT32:
        FOLD(int32_t, fold_i32);
        break;
    default:
        FOLD(int64_t, fold_i64);
        break;
    }
    size_t elem = dtype_bytes(out->dtype);
    for (int w = 1; w < count && spread; w++)
        memcpy((char *)parts[w]->tensor.data + from * elem, (char *)out->data + from * elem,
               (to - from) * elem);
}

static int sum_rows(struct variable *const *parts, int count, bool spread, struct variable *spare,
                    struct err *err)
{
    int rc = parallel_cut_join((const struct variable *const *)parts, count, spare, err);
    if (rc < 0)
        return rc;
    struct selected_rows joined = spare->rows;
    spare->rows = parts[0]->rows;
    parts[0]->rows = joined;
    for (int w = 1; w < count && spread; w++)
        if ((rc = selected_rows_copy(&parts[w]->rows, &joined)) < 0)
            return err_set(err, rc, "%s", err_name(rc));
    return 0;
}
