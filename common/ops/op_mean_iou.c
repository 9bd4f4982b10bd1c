// SPDX-License-Identifier: Apache-2.0
// mean_iou: intersection over union of predicted and labelled classes, averaged over the classes.
//   OutCorrect[c] = rows that are c in both; OutWrong[c] = rows that are c in one only; each plus
//   the sum of the InCorrects, InWrongs given OutMeanIou    = mean over the classes that occur of
//   OutCorrect / (OutWrong + OutCorrect), plus the sum of the InMeanIou given
// Both tensors are int32 or int64 of one shape, with classes in [0, num_classes).

#include <string.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_mean_iou;

enum { MEAN_IOU_CLASSES };
static const struct op_attr_def mean_iou_attrs[] = {
    {.name = "num_classes", .type = ATTR_INT, .required = true},
    {.name = NULL},
};
enum {
    MEAN_IOU_PREDICTIONS,
    MEAN_IOU_LABELS,
    MEAN_IOU_IN_WRONGS,
    MEAN_IOU_IN_CORRECTS,
    MEAN_IOU_IN_MEAN
};
enum { MEAN_IOU_MEAN, MEAN_IOU_WRONG, MEAN_IOU_CORRECT };
static const struct op_slot_def mean_iou_inputs[] = {
    {"Predictions", 0},
    {"Labels", 0},
    {"InWrongs", OP_SLOT_LIST | OP_SLOT_OPTIONAL},
    {"InCorrects", OP_SLOT_LIST | OP_SLOT_OPTIONAL},
    {"InMeanIou", OP_SLOT_LIST | OP_SLOT_OPTIONAL},
    {NULL, 0}};
static const struct op_slot_def mean_iou_outputs[] = {
    {"OutMeanIou", 0}, {"OutWrong", 0}, {"OutCorrect", 0}, {NULL, 0}};

static int mean_iou_infer(struct op_shape *shape)
{
    int64_t classes = shape->attr[MEAN_IOU_CLASSES]->i;
    const struct dims one = {.rank = 1, .d = {1}}, counts = {.rank = 1, .d = {classes}};
    int rc = shape_check_same(shape, MEAN_IOU_PREDICTIONS, MEAN_IOU_LABELS);
    if (rc < 0)
        return rc;
    if (classes < 1)
        return err_set(shape->err, SL_EINVAL, "num_classes %lld is not positive",
                       (long long)classes);
    op_shape_set(shape, MEAN_IOU_MEAN, 0, &one, DTYPE_FP32, NULL);
    op_shape_set(shape, MEAN_IOU_WRONG, 0, &counts, DTYPE_INT32, NULL);
    op_shape_set(shape, MEAN_IOU_CORRECT, 0, &counts, DTYPE_INT32, NULL);
    return 0;
}

static int class_at(const struct op_ctx *ctx, int s, uint64_t i, int64_t *out)
{
    const struct tensor *t = op_in(ctx, s);
    *out = t->dtype == DTYPE_INT64 ? tensor_i64(t)[i] : tensor_i32(t)[i];
    if (*out < 0 || *out >= ctx->attr[MEAN_IOU_CLASSES]->i)
        return err_set(ctx->err, SL_EINVAL, "%s is %lld at element %llu, not in [0,%lld)",
                       ctx->def->inputs[s].name, (long long)*out, (unsigned long long)i,
                       (long long)ctx->attr[MEAN_IOU_CLASSES]->i);
    return 0;
}

// out += every tensor of list slot s.
static int add_counts(struct op_ctx *ctx, int s, struct tensor *out)
{
    for (size_t k = 0; k < ctx->in[s].count; k++) {
        const struct tensor *in = op_in_at(ctx, s, k);
        if (in == NULL || in->dtype != DTYPE_INT32 || tensor_count(in) != tensor_count(out))
            return err_set(ctx->err, SL_EMISMATCH, "%s must be int32 with %llu elements",
                           ctx->def->inputs[s].name, (unsigned long long)tensor_count(out));
        for (uint64_t i = 0; i < tensor_count(out); i++)
            tensor_i32(out)[i] += tensor_i32(in)[i];
    }
    return 0;
}

static int add_means(struct op_ctx *ctx, float *out)
{
    for (size_t k = 0; k < ctx->in[MEAN_IOU_IN_MEAN].count; k++) {
        const struct tensor *in = op_in_at(ctx, MEAN_IOU_IN_MEAN, k);
        if (in == NULL || in->dtype != DTYPE_FP32 || tensor_count(in) != 1)
            return err_set(ctx->err, SL_EMISMATCH, "InMeanIou must be one float32 element");
        *out += *tensor_f32(in);
    }
    return 0;
}

static int mean_iou_forward(struct op_ctx *ctx)
{
    struct tensor *wrong = op_out(ctx, MEAN_IOU_WRONG), *correct = op_out(ctx, MEAN_IOU_CORRECT);
    float mean = 0;
    int valid = 0, rc = 0;
    for (int s = MEAN_IOU_PREDICTIONS; s <= MEAN_IOU_LABELS; s++)
        if (op_in(ctx, s)->dtype != DTYPE_INT32 && op_in(ctx, s)->dtype != DTYPE_INT64)
            return op_bad_dtype(ctx, (int)op_in(ctx, s)->dtype);
    memset(wrong->data, 0, tensor_bytes(wrong));
    memset(correct->data, 0, tensor_bytes(correct));
    for (uint64_t i = 0; i < tensor_count(op_in(ctx, 0)); i++) {
        int64_t predicted = 0, label = 0;
        if ((rc = class_at(ctx, MEAN_IOU_PREDICTIONS, i, &predicted)) < 0 ||
            (rc = class_at(ctx, MEAN_IOU_LABELS, i, &label)) < 0)
            return rc;
        if (predicted == label) {
            tensor_i32(correct)[label]++;
        } else {
            tensor_i32(wrong)[label]++;
            tensor_i32(wrong)[predicted]++;
        }
    }
    if ((rc = add_counts(ctx, MEAN_IOU_IN_WRONGS, wrong)) < 0 ||
        (rc = add_counts(ctx, MEAN_IOU_IN_CORRECTS, correct)) < 0)
        return rc;
    for (uint64_t c = 0; c < tensor_count(wrong); c++) {
        int32_t all = tensor_i32(wrong)[c] + tensor_i32(correct)[c];
        valid += all != 0;
        mean += all != 0 ? (float)tensor_i32(correct)[c] / (float)all : 0;
    }
    mean = valid > 0 ? mean / (float)valid : 0;
    rc = add_means(ctx, &mean);
    *tensor_f32(op_out(ctx, MEAN_IOU_MEAN)) = mean;
    return rc;
}

const struct op_def op_mean_iou = {
    .type = "mean_iou",
    .inputs = mean_iou_inputs,
    .outputs = mean_iou_outputs,
    .attrs = mean_iou_attrs,
    .infer_shape = mean_iou_infer,
    .kernel = mean_iou_forward,
};
