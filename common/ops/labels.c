// SPDX-License-Identifier: Apache-2.0
// The check of labels.h.

#include "common/ops/labels.h"

#include "common/base/err.h"

int labels_check(const struct op_ctx *ctx, const struct labels *labels, int64_t rows)
{
    const struct tensor *t = labels->tensor;
    if (t->dtype != DTYPE_INT64 && t->dtype != DTYPE_INT32)
        return err_set(ctx->err, SL_EUNSUPPORTED,
                       "Label is %s; a hard label must be int64 or int32",
                       dtype_name((int)t->dtype));
    if (tensor_count(t) != (uint64_t)rows)
        return err_set(ctx->err, SL_EMISMATCH, "Label has %llu elements for %lld rows",
                       (unsigned long long)tensor_count(t), (long long)rows);
    for (int64_t row = 0; row < rows; row++) {
        int64_t label = labels_at(labels, row);
        if (label != labels->ignore_index && (label < 0 || label >= labels->classes))
            return err_set(ctx->err, SL_EINVAL, "Label of row %lld is %lld, not in [0,%lld)",
                           (long long)row, (long long)label, (long long)labels->classes);
    }
    return 0;
}
