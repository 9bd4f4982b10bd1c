// SPDX-License-Identifier: Apache-2.0
// See conv_op.h.
#include "common/ops/conv_op.h"

#include "common/base/err.h"

int conv_op_check_gradient(const struct op_shape *shape, const struct dims *dout,
                           const struct dims *out)
{
    bool fits = dout->rank == 4;
    for (int i = 0; fits && i < 4; i++)
        fits = op_dims_fit(out->d[i], dout->d[i]);
    char text[DIMS_TEXT_MAX], want[DIMS_TEXT_MAX];
    if (fits)
        return 0;
    return err_set(shape->err, SL_EMISMATCH, "Output@GRAD is %s, Output is %s",
                   dims_format(dout, text), dims_format(out, want));
}

int conv_op_check_types(const struct op_ctx *ctx, const struct tensor *in,
                        const struct tensor *filter)
{
    if (in->dtype != DTYPE_FP32 && in->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)in->dtype);
    if (filter->dtype != in->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "Filter is %s but Input is %s",
                       dtype_name((int)filter->dtype), dtype_name((int)in->dtype));
    return 0;
}

int conv_op_prepare(const struct op_ctx *ctx, const struct tensor *in, struct conv_gemm *conv,
                    struct tensor *work, bool *depthwise)
{
    conv->f32 = in->dtype == DTYPE_FP32;
    if (!conv_gemm_fits(conv))
        return err_set(ctx->err, SL_ELIMIT, "the images or the filter are too large");
    *depthwise = conv->groups == conv->in_c && conv->groups > 1;
    if (*depthwise)
        return 0;
    const int64_t elements[] = {(int64_t)conv_gemm_work(conv)};
    struct dims dims = dims_make(1, elements);
    return op_resize(work, in->dtype, &dims, ctx->err);
}
