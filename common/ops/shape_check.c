// SPDX-License-Identifier: Apache-2.0
// The checks of shape_check.h.

#include "common/ops/shape_check.h"

#include "common/base/err.h"

int shape_check_same(const struct op_shape *shape, int a, int b)
{
    const struct op_var_dims *x = op_shape_in(shape, a, 0), *y = op_shape_in(shape, b, 0);
    char x_text[DIMS_TEXT_MAX], y_text[DIMS_TEXT_MAX];
    if (x == NULL || y == NULL)
        return 0;
    bool fits = x->dims.rank == y->dims.rank;
    for (int i = 0; fits && i < x->dims.rank; i++)
        fits = op_dims_fit(x->dims.d[i], y->dims.d[i]);
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH, "%s has shape %s, %s %s",
                       shape->def->inputs[b].name, dims_format(&y->dims, y_text),
                       shape->def->inputs[a].name, dims_format(&x->dims, x_text));
    return 0;
}

int shape_check_column(const struct op_shape *shape, int s)
{
    const struct op_var_dims *x = op_shape_in(shape, s, 0);
    char text[DIMS_TEXT_MAX];
    if (x != NULL && (x->dims.rank != 2 || !op_dims_fit(x->dims.d[1], 1)))
        return err_set(shape->err, SL_EMISMATCH, "%s must have shape [N,1], it has %s",
                       shape->def->inputs[s].name, dims_format(&x->dims, text));
    return 0;
}

int shape_check_matrix(const struct op_shape *shape, int s, int64_t rows, int64_t columns)
{
    const struct op_var_dims *in = op_shape_in(shape, s, 0);
    const struct dims wanted = {.rank = 2, .d = {rows, columns}};
    char text[DIMS_TEXT_MAX], wanted_text[DIMS_TEXT_MAX];
    if (in != NULL && (in->dims.rank != 2 || !op_dims_fit(in->dims.d[0], rows) ||
                       !op_dims_fit(in->dims.d[1], columns)))
        return err_set(shape->err, SL_EMISMATCH, "%s has shape %s, not %s",
                       shape->def->inputs[s].name, dims_format(&in->dims, text),
                       dims_format(&wanted, wanted_text));
    return 0;
}

int shape_check_floats(const struct op_ctx *ctx, const int *others)
{
    const struct tensor *first = op_in(ctx, 0);
    if (first->dtype != DTYPE_FP32 && first->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)first->dtype);
    for (; *others >= 0; others++) {
        const struct tensor *in = op_in(ctx, *others);
        if (in != NULL && in->dtype != first->dtype)
            return err_set(ctx->err, SL_EMISMATCH, "%s is %s, %s %s",
                           ctx->def->inputs[*others].name, dtype_name((int)in->dtype),
                           ctx->def->inputs[0].name, dtype_name((int)first->dtype));
    }
    return 0;
}
