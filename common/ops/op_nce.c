// SPDX-License-Identifier: Apache-2.0
// nce: noise-contrastive estimation, the cost of telling the label's class from drawn ones.
//
//   Input [N, D], Label [N, T] (or [N]; int64), Weight [classes, D], Bias [classes, 1] (or
//   [classes]) or none, SampleWeight one number a sample or none; K = num_neg_samples drawn classes
//   (nce_sampler.h), or the fixed custom_neg_classes
//
//   SampleLabels [N, T + K]   the labels, then the drawn classes
//   SampleLogits [N, T + K]   o = 1 / (1 + e^-(Weight[c] x + Bias[c]))
//   Cost [N, 1] = weight * sum of -ln(o / (o + b)) over labels and -ln(b / (o + b)) over the rest,
//   where b = K P(c)
//
//   g = dCost weight * (b (o - 1) / (o + b) for labels, o (1 - o) / (o + b) for the rest)
//   dInput = sum g Weight[c], dWeight[c] += g x, dBias[c] += g
//
// With is_sparse dWeight is selected rows: the classes that occur.

#include <tgmath.h>

#include "common/base/err.h"
#include "common/ops/class_rows.h"
#include "common/ops/nce_sampler.h"
#include "common/ops/rnn.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_nce, op_nce_grad;

enum { NCE_CLASSES, NCE_NEGATIVES, NCE_SAMPLER, NCE_SEED, NCE_SPARSE, NCE_CUSTOM_NEGATIVES };
static const struct op_attr_def nce_attrs[] = {
    {.name = "num_total_classes", .type = ATTR_INT, .required = true},
    OP_ATTR_INT("num_neg_samples", 10),
    OP_ATTR_INT("sampler", 0),
    OP_ATTR_INT("seed", 0),
    OP_ATTR_BOOL("is_sparse", 0),
    OP_ATTR_LIST("custom_neg_classes", ATTR_INTS),
    OP_ATTR_BOOL("remote_prefetch", 0),
    OP_ATTR_INT("trainer_id", 0),
    OP_ATTR_LIST("height_sections", ATTR_LONGS),
    OP_ATTR_LIST("epmap", ATTR_STRINGS),
    OP_ATTR_LIST("table_names", ATTR_STRINGS),
    {.name = NULL},
};

enum {
    NCE_INPUT,
    NCE_LABEL,
    NCE_WEIGHT,
    NCE_BIAS,
    NCE_SAMPLE_WEIGHT,
    NCE_PROBS,
    NCE_ALIAS,
    NCE_ALIAS_PROBS,
    NCE_IN_LOGITS,
    NCE_IN_LABELS,
    NCE_IN_DCOST
};
#define NCE_INPUTS                                                                                 \
    {"Input", 0}, {"Label", 0}, {"Weight", 0}, {"Bias", OP_SLOT_OPTIONAL},                         \
        {"SampleWeight", OP_SLOT_OPTIONAL}, {"CustomDistProbs", OP_SLOT_OPTIONAL},                 \
        {"CustomDistAlias", OP_SLOT_OPTIONAL},                                                     \
    {                                                                                              \
        "CustomDistAliasProbs", OP_SLOT_OPTIONAL                                                   \
    }
static const struct op_slot_def nce_inputs[] = {NCE_INPUTS, {NULL, 0}};
static const struct op_slot_def nce_grad_inputs[] = {
    NCE_INPUTS, {"SampleLogits", 0}, {"SampleLabels", 0}, {"Cost@GRAD", 0}, {NULL, 0}};
enum { NCE_COST, NCE_LOGITS, NCE_LABELS };
static const struct op_slot_def nce_outputs[] = {
    {"Cost", 0}, {"SampleLogits", 0}, {"SampleLabels", 0}, {NULL, 0}};
enum { NCE_DINPUT, NCE_DWEIGHT, NCE_DBIAS };
static const struct op_slot_def nce_grad_outputs[] = {
    {"Input@GRAD", OP_SLOT_OPTIONAL},
    {"Weight@GRAD", OP_SLOT_OPTIONAL | OP_SLOT_ROWS},
    {"Bias@GRAD", OP_SLOT_OPTIONAL},
    {NULL, 0}};
enum { TEMP_G, TEMP_ROWS, TEMP_MERGE, NCE_TEMPS };

static int64_t labels_of(const struct dims *label)
{
    return label->rank == 2 ? label->d[1] : 1;
}

static int check_attrs(const struct op_shape *shape)
{
    int64_t classes = shape->attr[NCE_CLASSES]->i, negatives = shape->attr[NCE_NEGATIVES]->i;
    const struct attr *custom = shape->attr[NCE_CUSTOM_NEGATIVES];
    if (classes < 1 || negatives < 0)
        return err_set(shape->err, SL_EINVAL,
                       "num_total_classes is %lld and num_neg_samples %lld; they must be above 0",
                       (long long)classes, (long long)negatives);
    if (custom->count > 0 && (int64_t)custom->count != negatives)
        return err_set(shape->err, SL_EINVAL,
                       "custom_neg_classes has %zu classes, num_neg_samples is %lld", custom->count,
                       (long long)negatives);
    for (size_t i = 0; i < custom->count; i++)
        if (custom->ints[i] < 0 || custom->ints[i] >= classes)
            return err_set(shape->err, SL_EINVAL,
                           "custom_neg_classes names class %lld, not in "
                           "[0,%lld)",
                           (long long)custom->ints[i], (long long)classes);
    return 0;
}

static int check_bias(const struct op_shape *shape, int64_t classes);

static int check_shapes(const struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, NCE_INPUT, 0);
    const struct op_var_dims *label = op_shape_in(shape, NCE_LABEL, 0);
    int64_t classes = shape->attr[NCE_CLASSES]->i;
    char text[DIMS_TEXT_MAX], x_text[DIMS_TEXT_MAX];
    int rc = check_attrs(shape);
    if (rc < 0)
        return rc;
    if (x->dims.rank != 2 || label->dims.rank < 1 || label->dims.rank > 2 ||
        !op_dims_fit(label->dims.d[0], x->dims.d[0]))
        return err_set(shape->err, SL_EMISMATCH,
                       "Input %s must be [samples, width] and Label %s [samples, classes]",
                       dims_format(&x->dims, x_text), dims_format(&label->dims, text));
    rc = shape_check_matrix(shape, NCE_WEIGHT, classes, x->dims.d[1]);
    return rc < 0 ? rc : check_bias(shape, classes);
}

static int check_bias(const struct op_shape *shape, int64_t classes)
{
    const struct op_var_dims *bias = op_shape_in(shape, NCE_BIAS, 0);
    if (bias != NULL && bias->dims.rank == 1 && op_dims_fit(bias->dims.d[0], classes))
        return 0;
    return shape_check_matrix(shape, NCE_BIAS, classes, 1);
}

static int nce_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, NCE_INPUT, 0);
    int rc = check_shapes(shape);
    if (rc < 0)
        return rc;
    int64_t true_classes = labels_of(&op_shape_in(shape, NCE_LABEL, 0)->dims);
    struct dims dims = {.rank = 2, .d = {x->dims.d[0], 1}};
    op_shape_set(shape, NCE_COST, 0, &dims, x->dtype, NULL);
    dims.d[1] = true_classes < 0 ? -1 : true_classes + shape->attr[NCE_NEGATIVES]->i;
    op_shape_set(shape, NCE_LOGITS, 0, &dims, x->dtype, NULL);
    op_shape_set(shape, NCE_LABELS, 0, &dims, DTYPE_INT64, NULL);
    return 0;
}

static int nce_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, NCE_INPUT, 0);
    const struct op_var_dims *w = op_shape_in(shape, NCE_WEIGHT, 0);
    const struct op_var_dims *bias = op_shape_in(shape, NCE_BIAS, 0);
    int rc = check_shapes(shape);
    int64_t per = labels_of(&op_shape_in(shape, NCE_LABEL, 0)->dims);
    per = per < 0 ? -1 : per + shape->attr[NCE_NEGATIVES]->i;
    if (rc == 0)
        rc = shape_check_matrix(shape, NCE_IN_LOGITS, x->dims.d[0], per);
    if (rc == 0)
        rc = shape_check_matrix(shape, NCE_IN_LABELS, x->dims.d[0], per);
    if (rc == 0)
        rc = shape_check_matrix(shape, NCE_IN_DCOST, x->dims.d[0], 1);
    if (rc < 0)
        return rc;
    op_shape_set(shape, NCE_DINPUT, 0, &x->dims, x->dtype, NULL);
    op_shape_set(shape, NCE_DWEIGHT, 0, &w->dims, w->dtype, NULL);
    if (op_shape_out(shape, NCE_DWEIGHT, 0) != NULL && attr_bool(shape->attr[NCE_SPARSE]))
        op_shape_out(shape, NCE_DWEIGHT, 0)->kind = VARIABLE_SELECTED_ROWS;
    if (bias != NULL)
        op_shape_set(shape, NCE_DBIAS, 0, &bias->dims, bias->dtype, NULL);
    return 0;
}

// One of the three tables of a custom distribution.
static int custom_table(const struct op_ctx *ctx, int s, enum dtype dtype, const void **out)
{
    const struct tensor *t = op_in(ctx, s);
    int64_t classes = ctx->attr[NCE_CLASSES]->i;
    if (t == NULL || t->dtype != dtype || tensor_count(t) != (uint64_t)classes)
        return err_set(ctx->err, SL_EMISMATCH, "sampler 2 needs %s with %lld elements of type %s",
                       ctx->def->inputs[s].name, (long long)classes, dtype_name((int)dtype));
    *out = t->data;
    return 0;
}

static int make_sampler(const struct op_ctx *ctx, struct nce_sampler *out)
{
    int64_t kind = ctx->attr[NCE_SAMPLER]->i;
    const void *probs = NULL, *alias = NULL, *alias_probs = NULL;
    *out = (struct nce_sampler){.kind = (enum nce_sampler_kind)kind,
                                .classes = ctx->attr[NCE_CLASSES]->i};
    if (kind < 0 || kind > 2)
        return err_set(ctx->err, SL_EINVAL,
                       "sampler %lld is not 0 (uniform), 1 (log_uniform) or 2 (custom_dist)",
                       (long long)kind);
    if (kind != NCE_SAMPLER_CUSTOM)
        return 0;
    int rc = custom_table(ctx, NCE_PROBS, DTYPE_FP32, &probs);
    if (rc == 0)
        rc = custom_table(ctx, NCE_ALIAS, DTYPE_INT32, &alias);
    if (rc == 0)
        rc = custom_table(ctx, NCE_ALIAS_PROBS, DTYPE_FP32, &alias_probs);
    if (rc < 0)
        return rc;
    out->probs = probs;
    out->alias = alias;
    out->alias_probs = alias_probs;
    for (int64_t i = 0; i < out->classes; i++)
        if (out->alias[i] < -1 || out->alias[i] >= out->classes)
            return err_set(ctx->err, SL_EINVAL,
                           "CustomDistAlias of class %lld is %d, not in "
                           "[-1,%lld)",
                           (long long)i, out->alias[i], (long long)out->classes);
    return 0;
}

// What both directions check and know.
struct nce {
    struct nce_sampler sampler;
    int64_t samples, labels, per;
    const void *sample_weight;
};

static int prepare(struct op_ctx *ctx, struct nce *nce)
{
    static const int others[] = {NCE_WEIGHT, NCE_BIAS, NCE_SAMPLE_WEIGHT, -1};
    const struct tensor *weights = op_in(ctx, NCE_SAMPLE_WEIGHT);
    *nce = (struct nce){.samples = op_in(ctx, NCE_INPUT)->dims.d[0],
                        .labels = labels_of(&op_in(ctx, NCE_LABEL)->dims),
                        .sample_weight = weights ? weights->data : NULL};
    nce->per = nce->labels + ctx->attr[NCE_NEGATIVES]->i;
    int rc = shape_check_floats(ctx, others);
    if (rc == 0 && weights != NULL && tensor_count(weights) != (uint64_t)nce->samples)
        rc = err_set(ctx->err, SL_EMISMATCH, "SampleWeight has %llu elements for %lld samples",
                     (unsigned long long)tensor_count(weights), (long long)nce->samples);
    return rc == 0 ? make_sampler(ctx, &nce->sampler) : rc;
}

static struct class_rows rows_of(const struct op_ctx *ctx, const struct nce *nce,
                                 const struct tensor *classes)
{
    const struct tensor *x = op_in(ctx, NCE_INPUT), *bias = op_in(ctx, NCE_BIAS);
    return (struct class_rows){.dtype = x->dtype,
                               .samples = nce->samples,
                               .per = nce->per,
                               .width = x->dims.d[1],
                               .id = tensor_i64(classes),
                               .x = x->data,
                               .weight = op_in(ctx, NCE_WEIGHT)->data,
                               .bias = bias ? bias->data : NULL};
}

static int check_class(const struct op_ctx *ctx, const char *name, int64_t i, int64_t class_id)
{
    int64_t classes = ctx->attr[NCE_CLASSES]->i;
    if (class_id >= 0 && class_id < classes)
        return 0;
    return err_set(ctx->err, SL_EINVAL, "%s of sample %lld is %lld, not in [0,%lld)", name,
                   (long long)i, (long long)class_id, (long long)classes);
}

// SampleLabels: the labels and then the classes that are drawn or fixed.
static int choose_classes(const struct op_ctx *ctx, const struct nce *nce, int64_t *to)
{
    const struct tensor *label = op_in(ctx, NCE_LABEL);
    const struct attr *fixed = ctx->attr[NCE_CUSTOM_NEGATIVES];
    if (label->dtype != DTYPE_INT64)
        return err_set(ctx->err, SL_EUNSUPPORTED, "Label is %s; it must be int64",
                       dtype_name((int)label->dtype));
    for (int64_t i = 0; i < nce->samples; i++) {
        for (int64_t j = 0; j < nce->labels; j++) {
            int64_t tag = tensor_i64(label)[i * nce->labels + j];
            int rc = check_class(ctx, "Label", i, tag);
            if (rc < 0)
                return rc;
            to[i * nce->per + j] = tag;
        }
        for (size_t j = 0; j < fixed->count; j++)
            to[i * nce->per + nce->labels + (int64_t)j] = fixed->ints[j];
    }
    if (fixed->count == 0)
        nce_sampler_draw(&nce->sampler, (uint32_t)ctx->attr[NCE_SEED]->i, nce->samples, nce->per,
                         nce->per - nce->labels, to + nce->labels);
    return 0;
}

#define DEFINE_COSTS(T, S)                                                                         \
    /* o becomes the sigmoid of the scores in it. */                                               \
    static void costs_##S(const struct nce *nce, const int64_t *classes, T *o, T *cost)            \
    {                                                                                              \
        const T *weight = nce->sample_weight;                                                      \
        for (int64_t i = 0; i < nce->samples; i++) {                                               \
            cost[i] = 0;                                                                           \
            for (int64_t j = 0; j < nce->per; j++) {                                               \
                int64_t p = i * nce->per + j;                                                      \
                T b = nce_sampler_probability(&nce->sampler, classes[p]) *                         \
                      (float)(nce->per - nce->labels);                                             \
                o[p] = 1 / (1 + exp(-o[p]));                                                       \
                T each = j < nce->labels ? -log(o[p] / (o[p] + b)) : -log(b / (o[p] + b));         \
                cost[i] += (weight != NULL ? weight[i] : 1) * each;                                \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    static void costs_back_##S(const struct nce *nce, const int64_t *classes, const T *logits,     \
                               const T *dcost, T *g)                                               \
    {                                                                                              \
        const T *weight = nce->sample_weight;                                                      \
        for (int64_t i = 0; i < nce->samples; i++) {                                               \
            for (int64_t j = 0; j < nce->per; j++) {                                               \
                int64_t p = i * nce->per + j;                                                      \
                T o = logits[p], w = weight != NULL ? weight[i] : 1;                               \
                T b = nce_sampler_probability(&nce->sampler, classes[p]) *                         \
                      (float)(nce->per - nce->labels);                                             \
                g[p] =                                                                             \
                    j < nce->labels ? w * (b / (o + b)) * (o - 1) : w * (o * (1 - o) / (o + b));   \
                g[p] *= dcost[i];                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_COSTS(float, f32)
DEFINE_COSTS(double, f64)

static int nce_forward(struct op_ctx *ctx)
{
    struct tensor *cost = op_out(ctx, NCE_COST), *logits = op_out(ctx, NCE_LOGITS);
    struct tensor *classes = op_out(ctx, NCE_LABELS);
    struct nce nce;
    int rc = prepare(ctx, &nce);
    if (rc == 0)
        rc = choose_classes(ctx, &nce, tensor_i64(classes));
    if (rc < 0)
        return rc;
    const struct class_rows rows = rows_of(ctx, &nce, classes);
    class_rows_scores(&rows, logits->data);
    if (rows.dtype == DTYPE_FP32)
        costs_f32(&nce, rows.id, tensor_f32(logits), tensor_f32(cost));
    else
        costs_f64(&nce, rows.id, tensor_f64(logits), tensor_f64(cost));
    return 0;
}

static int nce_backward(struct op_ctx *ctx)
{
    static const int others[] = {NCE_IN_LOGITS, NCE_IN_DCOST, -1};
    const struct tensor *logits = op_in(ctx, NCE_IN_LOGITS), *classes = op_in(ctx, NCE_IN_LABELS);
    const struct tensor *dcost = op_in(ctx, NCE_IN_DCOST);
    struct tensor *dx = op_out(ctx, NCE_DINPUT), *dbias = op_out(ctx, NCE_DBIAS);
    const struct op_args *dw = &ctx->out[NCE_DWEIGHT];
    struct nce nce;
    void *g = NULL;
    int rc = prepare(ctx, &nce);
    if (rc == 0)
        rc = shape_check_floats(ctx, others);
    if (rc == 0 && classes->dtype != DTYPE_INT64)
        rc = err_set(ctx->err, SL_EUNSUPPORTED, "SampleLabels is %s; it must be int64",
                     dtype_name((int)classes->dtype));
    for (int64_t p = 0; rc == 0 && p < nce.samples * nce.per; p++)
        rc = check_class(ctx, "SampleLabels", p / nce.per, tensor_i64(classes)[p]);
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_G, logits->dtype, nce.samples, nce.per, &g);
    if (rc < 0)
        return rc;
    const struct class_rows rows = rows_of(ctx, &nce, classes);
    if (rows.dtype == DTYPE_FP32)
        costs_back_f32(&nce, rows.id, tensor_f32(logits), tensor_f32(dcost), g);
    else
        costs_back_f64(&nce, rows.id, tensor_f64(logits), tensor_f64(dcost), g);
    if (dx != NULL)
        class_rows_back_x(&rows, g, dx->data);
    if (dbias != NULL) {
        rnn_zero(dbias);
        class_rows_back_bias(&rows, g, dbias->data);
    }
    if (dw->count == 0 || dw->vars[0] == NULL)
        return 0;
    if (attr_bool(ctx->attr[NCE_SPARSE]))
        return class_rows_back_sparse(ctx, &rows, g, &op_in(ctx, NCE_WEIGHT)->dims,
                                      &ctx->temps[TEMP_ROWS], variable_rows(dw->vars[0]));
    struct tensor *dense = variable_tensor(dw->vars[0]);
    rnn_zero(dense);
    class_rows_back_weight(&rows, g, dense->data);
    return 0;
}

const struct op_def op_nce = {
    .type = "nce",
    .inputs = nce_inputs,
    .outputs = nce_outputs,
    .attrs = nce_attrs,
    .grad = {.type = "nce_grad",
             .inputs = "Input Label Weight Bias SampleWeight CustomDistProbs CustomDistAlias "
                       "CustomDistAliasProbs SampleLogits SampleLabels Cost@GRAD",
             .outputs = "Input@GRAD Weight@GRAD Bias@GRAD"},
    .infer_shape = nce_infer,
    .kernel = nce_forward,
    .temps = NCE_TEMPS,
};

const struct op_def op_nce_grad = {
    .type = "nce_grad",
    .inputs = nce_grad_inputs,
    .outputs = nce_grad_outputs,
    .attrs = nce_attrs,
    .infer_shape = nce_grad_infer,
    .kernel = nce_backward,
    .temps = NCE_TEMPS,
};
