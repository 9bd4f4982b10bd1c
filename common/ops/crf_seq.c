// SPDX-License-Identifier: Apache-2.0
// Checks that everything the CRF loops index with is in range.

#include "common/ops/crf_seq.h"

#include "common/base/err.h"

int crf_seq_init(const struct op_ctx *ctx, const char *name, const struct tensor *emission,
                 const struct tensor *lod_of, const struct tensor *length, struct crf_seq *out)
{
    if (length == NULL) {
        if (lod_of->lod_levels != 1 || !tensor_lod_is_valid(lod_of))
            return err_set(ctx->err, SL_EINVAL,
                           "%s must have one level of sequences, which describes its rows", name);
        if (lod_of->dims.d[0] != emission->dims.d[0])
            return err_set(ctx->err, SL_EMISMATCH, "%s has %lld rows, Emission %lld", name,
                           (long long)lod_of->dims.d[0], (long long)emission->dims.d[0]);
        *out = (struct crf_seq){.count = (int64_t)lod_of->lod[0].count - 1,
                                .offsets = lod_of->lod[0].offsets};
        return 0;
    }
    *out = (struct crf_seq){
        .count = emission->dims.d[0], .length = length, .stride = emission->dims.d[1]};
    if (length->dtype != DTYPE_INT64 && length->dtype != DTYPE_INT32)
        return err_set(ctx->err, SL_EUNSUPPORTED, "Length is %s; it must be int64 or int32",
                       dtype_name((int)length->dtype));
    for (int64_t i = 0; i < out->count; i++) {
        int64_t n = crf_seq_length(out, i);
        if (n < 0 || n > out->stride)
            return err_set(ctx->err, SL_EINVAL, "length %lld is %lld, not in [0,%lld]",
                           (long long)i, (long long)n, (long long)out->stride);
    }
    return 0;
}

int crf_seq_check(const struct op_shape *shape, int emission, int transition, int length)
{
    const struct dims *x = &op_shape_in(shape, emission, 0)->dims;
    const struct dims *w = &op_shape_in(shape, transition, 0)->dims;
    const struct op_var_dims *lengths = op_shape_in(shape, length, 0);
    int rank = lengths != NULL ? 3 : 2;
    char x_text[DIMS_TEXT_MAX], w_text[DIMS_TEXT_MAX];
    if (x->rank != rank || x->d[rank - 1] == 0)
        return err_set(shape->err, SL_EMISMATCH, "Emission %s must be %s", dims_format(x, x_text),
                       lengths ? "[sequences, steps, tags]" : "[rows, tags]");
    if (w->rank != 2 || w->d[1] == 0 || !op_dims_fit(w->d[1], x->d[rank - 1]) ||
        (w->d[0] >= 0 && w->d[1] >= 0 && w->d[0] != w->d[1] + 2))
        return err_set(shape->err, SL_EMISMATCH,
                       "Transition %s does not go with Emission %s: it must be [tags + 2, tags]",
                       dims_format(w, w_text), dims_format(x, x_text));
    if (lengths != NULL && (lengths->dims.rank < 1 || lengths->dims.rank > 2 ||
                            !op_dims_fit(lengths->dims.d[0], x->d[0]) ||
                            (lengths->dims.rank == 2 && !op_dims_fit(lengths->dims.d[1], 1))))
        return err_set(shape->err, SL_EMISMATCH,
                       "Length %s has not one number a sequence of "
                       "Emission %s",
                       dims_format(&lengths->dims, w_text), dims_format(x, x_text));
    return 0;
}

int crf_seq_check_tags(const struct op_shape *shape, int emission, int s)
{
    const struct dims *x = &op_shape_in(shape, emission, 0)->dims;
    const struct op_var_dims *tags = op_shape_in(shape, s, 0);
    char x_text[DIMS_TEXT_MAX], text[DIMS_TEXT_MAX];
    if (tags == NULL)
        return 0;
    const struct dims *t = &tags->dims;
    bool fits = t->rank == x->rank - 1 || (t->rank == x->rank && op_dims_fit(t->d[x->rank - 1], 1));
    for (int i = 0; fits && i < x->rank - 1; i++)
        fits = op_dims_fit(t->d[i], x->d[i]);
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH, "%s %s has not one tag a row of Emission %s",
                       shape->def->inputs[s].name, dims_format(t, text), dims_format(x, x_text));
    return 0;
}
