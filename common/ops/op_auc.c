// SPDX-License-Identifier: Apache-2.0
// auc: the area under the ROC curve from counts of positives and negatives by predicted score
// (bucket = (int)(score num_thresholds), num_thresholds + 1 buckets).
//
//   slide_steps 0   StatPos, StatNeg [1, buckets] count all that was ever seen
//   slide_steps S   [(S + 1) buckets + 1]: the counts of the last S steps in a ring, their sum, and
//                   the number of steps so far; AUC is that of the sum
//   AUC             float64 [1]: trapezes from the highest bucket down over (positives negatives);
//                   0 when there are none of one kind
//
// Predict is [N,1] or [N,2] (the last column counts), in [0,1]. A Label is positive when it is
// greater than 0, negative when it is 0, and not counted below. curve is not looked at, as in
// Fluid. Counts that are shorter than slide_steps needs (without the number of steps) are taken as
// from step 0. Out may be the input's memory.

#include "common/ops/op_auc.h"

#include <math.h>
#include <string.h>

#include "common/base/err.h"
#include "common/ops/op.h"

extern const struct op_def op_auc;

#define AUC_THRESHOLDS_MAX (1 << 24)
#define AUC_STEPS_MAX (1 << 16)

enum { AUC_CURVE, AUC_THRESHOLDS, AUC_STEPS };
static const struct op_attr_def auc_attrs[] = {
    OP_ATTR_STRING("curve", "ROC"),
    OP_ATTR_INT("num_thresholds", 8191),
    OP_ATTR_INT("slide_steps", 1),
    {.name = NULL},
};
enum { AUC_PREDICT, AUC_LABEL, AUC_POS, AUC_NEG };
enum { AUC_AUC, AUC_POS_OUT, AUC_NEG_OUT };
static const struct op_slot_def auc_inputs[] = {
    {"Predict", 0}, {"Label", 0}, {"StatPos", 0}, {"StatNeg", 0}, {NULL, 0}};
static const struct op_slot_def auc_outputs[] = {
    {"AUC", 0}, {"StatPosOut", 0}, {"StatNegOut", 0}, {NULL, 0}};

static int auc_attributes(const struct attr *const *attr, int64_t *out_buckets, int64_t *out_steps,
                          struct err *err)
{
    int64_t thresholds = attr[AUC_THRESHOLDS]->i, steps = attr[AUC_STEPS]->i;
    if (thresholds < 1 || thresholds > AUC_THRESHOLDS_MAX)
        return err_set(err, SL_EINVAL, "num_thresholds %lld is not in [1,%d]",
                       (long long)thresholds, AUC_THRESHOLDS_MAX);
    if (steps < 0 || steps > AUC_STEPS_MAX)
        return err_set(err, SL_EINVAL, "slide_steps %lld is not in [0,%d]", (long long)steps,
                       AUC_STEPS_MAX);
    *out_buckets = thresholds + 1;
    *out_steps = steps;
    return 0;
}

static int auc_infer(struct op_shape *shape)
{
    const struct op_var_dims *predict = op_shape_in(shape, AUC_PREDICT, 0),
                             *label = op_shape_in(shape, AUC_LABEL, 0);
    const struct dims one = {.rank = 1, .d = {1}};
    char text[DIMS_TEXT_MAX];
    int64_t buckets = 1, steps = 0;
    int rc = auc_attributes(shape->attr, &buckets, &steps, shape->err);
    if (rc < 0)
        return rc;
    if (predict->dims.rank != 2 || predict->dims.d[1] > 2 || predict->dims.d[1] == 0)
        return err_set(shape->err, SL_EMISMATCH, "Predict must be [N,1] or [N,2], it is %s",
                       dims_format(&predict->dims, text));
    if (label->dims.rank < 1 || !op_dims_fit(label->dims.d[0], predict->dims.d[0]))
        return err_set(shape->err, SL_EMISMATCH,
                       "Label must have a row for each of Predict, it is %s",
                       dims_format(&label->dims, text));
    struct dims stat = {.rank = 2, .d = {1, buckets}};
    if (steps > 0)
        stat = (struct dims){.rank = 1, .d = {(steps + 1) * buckets + 1}};
    op_shape_set(shape, AUC_AUC, 0, &one, DTYPE_FP64, NULL);
    op_shape_set(shape, AUC_POS_OUT, 0, &stat, DTYPE_INT64, NULL);
    op_shape_set(shape, AUC_NEG_OUT, 0, &stat, DTYPE_INT64, NULL);
    return 0;
}

// Gives output s the shape of counts and the values of input `from`, 0 behind its end.
static int take_over(struct op_ctx *ctx, int s, int from, int64_t buckets, int64_t steps)
{
    const struct tensor *in = op_in(ctx, from);
    struct tensor *out = op_out(ctx, s), *kept = &ctx->temps[0];
    struct dims dims = {.rank = 2, .d = {1, buckets}};
    if (steps > 0)
        dims = (struct dims){.rank = 1, .d = {(steps + 1) * buckets + 1}};
    uint64_t count = (uint64_t)(steps > 0 ? dims.d[0] : buckets);
    if (in->dtype != DTYPE_INT64 || tensor_count(in) + (steps > 0) < count)
        return err_set(ctx->err, SL_EMISMATCH, "%s must be int64 with %llu elements",
                       ctx->def->inputs[from].name, (unsigned long long)count);
    if (in == out && dims_equal(&in->dims, &dims))
        return 0;
    int rc = tensor_copy(kept, in);
    if (rc < 0)
        return err_set(ctx->err, rc, "cannot copy %s", ctx->def->inputs[from].name);
    if ((rc = op_resize(out, DTYPE_INT64, &dims, ctx->err)) < 0)
        return rc;
    uint64_t there = tensor_count(kept) < count ? tensor_count(kept) : count;
    memset(out->data, 0, count * sizeof(int64_t));
    memcpy(out->data, kept->data, there * sizeof(int64_t));
    return 0;
}

static double score_at(const struct tensor *predict, uint64_t i)
{
    return predict->dtype == DTYPE_FP32 ? (double)tensor_f32(predict)[i] : tensor_f64(predict)[i];
}

static int64_t bucket_of(const struct tensor *predict, uint64_t i, int64_t thresholds)
{
    return predict->dtype == DTYPE_FP32 ? (int64_t)(tensor_f32(predict)[i] * (float)thresholds)
                                        : (int64_t)(tensor_f64(predict)[i] * (double)thresholds);
}

static int check_rows(const struct op_ctx *ctx)
{
    const struct tensor *predict = op_in(ctx, AUC_PREDICT), *label = op_in(ctx, AUC_LABEL);
    if (predict->dtype != DTYPE_FP32 && predict->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)predict->dtype);
    if (label->dtype != DTYPE_INT64 && label->dtype != DTYPE_INT32)
        return err_set(ctx->err, SL_EUNSUPPORTED, "Label is %s; it must be int64 or int32",
                       dtype_name((int)label->dtype));
    if (tensor_count(label) != (uint64_t)predict->dims.d[0])
        return err_set(ctx->err, SL_EMISMATCH, "Label has %llu elements for %lld rows",
                       (unsigned long long)tensor_count(label), (long long)predict->dims.d[0]);
    for (uint64_t i = 0; i < tensor_count(predict); i++) {
        double score = score_at(predict, i);
        if (!(score >= 0 && score <= 1))
            return err_set(ctx->err, SL_EINVAL, "Predict is %g at element %llu, not in [0,1]",
                           score, (unsigned long long)i);
    }
    return 0;
}

static void count_rows(const struct op_ctx *ctx, int64_t *pos, int64_t *neg, int64_t thresholds)
{
    const struct tensor *predict = op_in(ctx, AUC_PREDICT), *label = op_in(ctx, AUC_LABEL);
    uint64_t cols = (uint64_t)predict->dims.d[1];
    for (uint64_t row = 0; row < (uint64_t)predict->dims.d[0]; row++) {
        int64_t l = label->dtype == DTYPE_INT64 ? tensor_i64(label)[row] : tensor_i32(label)[row];
        int64_t bucket = bucket_of(predict, row * cols + cols - 1, thresholds);
        if (l > 0)
            pos[bucket]++;
        else if (l == 0)
            neg[bucket]++;
    }
}

double op_auc_area(const int64_t *pos, const int64_t *neg, int64_t buckets)
{
    double area = 0, positives = 0, negatives = 0;
    for (int64_t i = buckets - 1; i >= 0; i--) {
        double more_pos = positives + (double)pos[i], more_neg = negatives + (double)neg[i];
        area += fabs(more_neg - negatives) * (more_pos + positives) / 2;
        positives = more_pos;
        negatives = more_neg;
    }
    return positives > 0 && negatives > 0 ? area / positives / negatives : area;
}

static int auc_forward(struct op_ctx *ctx)
{
    const struct dims one = {.rank = 1, .d = {1}};
    int64_t buckets = 1, steps = 0;
    int rc = auc_attributes(ctx->attr, &buckets, &steps, ctx->err);
    if (rc == 0)
        rc = check_rows(ctx);
    if (rc == 0)
        rc = take_over(ctx, AUC_POS_OUT, AUC_POS, buckets, steps);
    if (rc == 0)
        rc = take_over(ctx, AUC_NEG_OUT, AUC_NEG, buckets, steps);
    if (rc == 0)
        rc = op_resize(op_out(ctx, AUC_AUC), DTYPE_FP64, &one, ctx->err);
    if (rc < 0)
        return rc;
    int64_t *pos = tensor_i64(op_out(ctx, AUC_POS_OUT)),
            *neg = tensor_i64(op_out(ctx, AUC_NEG_OUT));
    int64_t sum = steps * buckets, end = (steps + 1) * buckets;
    if (steps == 0) {
        count_rows(ctx, pos, neg, buckets - 1);
    } else {
        int64_t at = (pos[end] >= 0 ? pos[end] : 0) % steps * buckets;
        for (int64_t i = 0; i < buckets; i++) {
            pos[sum + i] -= pos[at + i];
            neg[sum + i] -= neg[at + i];
            pos[at + i] = neg[at + i] = 0;
        }
        count_rows(ctx, pos + at, neg + at, buckets - 1);
        for (int64_t i = 0; i < buckets; i++) {
            pos[sum + i] += pos[at + i];
            neg[sum + i] += neg[at + i];
        }
        pos[end]++;
        neg[end]++;
    }
    *tensor_f64(op_out(ctx, AUC_AUC)) = op_auc_area(pos + sum, neg + sum, buckets);
    return 0;
}

const struct op_def op_auc = {
    .type = "auc",
    .inputs = auc_inputs,
    .outputs = auc_outputs,
    .attrs = auc_attrs,
    .infer_shape = auc_infer,
    .kernel = auc_forward,
    .temps = 1,
    .kernel_resizes = true,
};
