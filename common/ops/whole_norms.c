// SPDX-License-Identifier: Apache-2.0
// See whole_norms.h. Sums are float64, so that pieces add up to what one machine finds.
#include "common/ops/whole_norms.h"

#include "common/base/err.h"
#include "common/tensor/tensor.h"

static bool is_pair(const struct dims *dims, int dtype)
{
    return dtype == DTYPE_FP64 && dims->rank == 1 && dims->d[0] == 2;
}

int whole_norms_settle(const struct op_ctx *ctx, int in, int out, double squares[2])
{
    const struct tensor *whole = op_in(ctx, in);
    struct tensor *part = op_out(ctx, out);
    if (part != NULL) {
        const struct dims pair = {.rank = 1, .d = {2}};
        int rc = op_resize(part, DTYPE_FP64, &pair, ctx->err);
        if (rc < 0)
            return rc;
        tensor_f64(part)[0] = squares[0];
        tensor_f64(part)[1] = squares[1];
    }
    if (whole == NULL)
        return 0;
    if (!is_pair(&whole->dims, (int)whole->dtype))
        return err_set(ctx->err, SL_EMISMATCH, "%s must be two float64", WHOLE_NORMS_INPUT);
    squares[0] = tensor_f64(whole)[0];
    squares[1] = tensor_f64(whole)[1];
    return 0;
}

int whole_norms_infer(const struct op_shape *shape, int in, int out)
{
    const struct op_var_dims *whole = op_shape_in(shape, in, 0);
    const struct dims pair = {.rank = 1, .d = {2}};
    if (whole != NULL && !is_pair(&whole->dims, whole->dtype))
        return err_set(shape->err, SL_EMISMATCH, "%s must be two float64", WHOLE_NORMS_INPUT);
    if (op_shape_out(shape, out, 0) != NULL)
        op_shape_set(shape, out, 0, &pair, DTYPE_FP64, NULL);
    return 0;
}
