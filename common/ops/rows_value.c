// SPDX-License-Identifier: Apache-2.0
// The output of selected rows belongs to the op; it keeps its memory from run to run.

#include "common/ops/rows_value.h"

#include <string.h>

#include "common/base/err.h"
#include "common/ops/rows_merge.h"
#include "common/ops/rows_update.h"

int rows_value_open(struct op_ctx *ctx, const struct tensor **out_x, struct tensor **out_out)
{
    const struct selected_rows *x = rows_update_in(ctx, 0);
    if (x == NULL) {
        *out_x = op_in(ctx, 0);
        *out_out = op_out(ctx, 0);
        return 0;
    }
    if (x->rows_count > 0 &&
        (x->value.dims.rank < 1 || x->value.dims.d[0] != (int64_t)x->rows_count))
        return err_set(ctx->err, SL_EINVAL, "X has %zu rows and another number of values",
                       x->rows_count);
    struct selected_rows *out = variable_rows(ctx->out[0].vars[0]);
    if (out != x) {
        int rc = selected_rows_shape(out, x->height, x->rows_count, x->value.dtype, &x->value.dims);
        if (rc < 0)
            return err_set(ctx->err, rc, "%zu selected rows: %s", x->rows_count, err_name(rc));
        if (x->rows_count > 0)
            memcpy(out->rows, x->rows, x->rows_count * sizeof *x->rows);
    }
    *out_x = &x->value;
    *out_out = &out->value;
    return 0;
}

int rows_value_open_merged(struct op_ctx *ctx, struct tensor *work, const struct tensor **out_x,
                           struct tensor **out_out)
{
    const struct selected_rows *x = rows_update_in(ctx, 0);
    if (x == NULL)
        return rows_value_open(ctx, out_x, out_out);
    if (ctx->out[0].vars[0] == ctx->in[0].vars[0])
        return err_set(ctx->err, SL_EUNSUPPORTED, "selected rows cannot be merged in place");
    struct selected_rows *out = variable_rows(ctx->out[0].vars[0]);
    int rc = rows_merge_into(out, work, &x, 1, ctx->err);
    *out_x = *out_out = &out->value;
    return rc;
}
