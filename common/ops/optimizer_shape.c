// SPDX-License-Identifier: Apache-2.0
// The shared checks of the optimizer ops.

#include "common/ops/optimizer_shape.h"

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/ops/rows_update.h"
#include "common/ops/whole_norms.h"

int optimizer_shape_infer(struct op_shape *shape, const int *same_shape, const int *one_element)
{
    const struct op_var_dims *param = op_shape_in(shape, 0, 0);
    char text[DIMS_TEXT_MAX], param_text[DIMS_TEXT_MAX];
    for (; *same_shape >= 0; same_shape++) {
        const struct op_var_dims *in = op_shape_in(shape, *same_shape, 0);
        bool fits = in->dims.rank == param->dims.rank;
        for (int i = 0; fits && i < in->dims.rank; i++)
            fits = op_dims_fit(in->dims.d[i], param->dims.d[i]);
        if (!fits)
            return err_set(shape->err, SL_EMISMATCH, "%s has shape %s, Param %s",
                           shape->def->inputs[*same_shape].name, dims_format(&in->dims, text),
                           dims_format(&param->dims, param_text));
    }
    for (; *one_element >= 0; one_element++) {
        const struct op_var_dims *in = op_shape_in(shape, *one_element, 0);
        bool one = true;
        for (int i = 0; in != NULL && i < in->dims.rank; i++)
            one = one && op_dims_fit(in->dims.d[i], 1);
        if (!one)
            return err_set(shape->err, SL_EMISMATCH, "%s must have one element, it has shape %s",
                           shape->def->inputs[*one_element].name, dims_format(&in->dims, text));
    }
    op_shape_default(shape);
    return 0;
}

int optimizer_shape_check_dtype(const struct op_ctx *ctx)
{
    const struct tensor *param = op_in(ctx, 0);
    if (param->dtype != DTYPE_FP32 && param->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)param->dtype);
    for (int s = 1; ctx->def->inputs[s].name != NULL; s++) {
        const struct selected_rows *rows = rows_update_in(ctx, s);
        const struct tensor *in =
            rows != NULL && rows->rows_count > 0 ? &rows->value : op_in(ctx, s);
        if (str_eq(ctx->def->inputs[s].name, WHOLE_NORMS_INPUT))
            continue;   // float64 always
        if (in != NULL && in->dtype != param->dtype)
            return err_set(ctx->err, SL_EMISMATCH, "%s is %s, Param %s", ctx->def->inputs[s].name,
                           dtype_name((int)in->dtype), dtype_name((int)param->dtype));
    }
    return 0;
}
