// SPDX-License-Identifier: Apache-2.0
// hierarchical_sigmoid: the cost of a class as a path of yes/no decisions down a binary tree.
//
//   X [N, D], W [nodes, D], Bias [nodes, 1] or none, Label [N, 1] (int64)
//   Without PathTable a complete tree over num_classes: with c = Label + num_classes, decision j is
//   at node (c >> (j + 1)) - 1, its answer bit j of c, and there are floor(log2 c) of them. Else
//   PathTable and PathCode [N, L] give nodes and answers; a path ends at the first negative node.
//
//   z = held within [-40, 40] of W[node] X + Bias[node], 0 behind the end of a path
//   PreOut [N, L] = ln(1 + e^z)
//   Out [N, 1] = sum of PreOut - sum of z where the answer is 1
//
// so each decision behind the end of a path costs ln 2, as in Fluid. Backward, ignoring the bounds:
//
//   g = dOut (1 - e^-PreOut - answer);  dX = sum g W[node], dW[node] += g X, dBias[node] += g
//
// With is_sparse dW is selected rows: all nodes that PathTable names. W_Out is W and never written.

#include <tgmath.h>

#include "common/base/err.h"
#include "common/ops/class_rows.h"
#include "common/ops/rnn.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_hsigmoid, op_hsigmoid_grad;

enum { HS_CLASSES, HS_SPARSE };
static const struct op_attr_def hs_attrs[] = {
    OP_ATTR_INT("num_classes", 2),
    OP_ATTR_BOOL("is_sparse", 0),
    OP_ATTR_BOOL("remote_prefetch", 0),
    OP_ATTR_INT("trainer_id", 0),
    OP_ATTR_LIST("height_sections", ATTR_LONGS),
    OP_ATTR_LIST("epmap", ATTR_STRINGS),
    OP_ATTR_LIST("table_names", ATTR_STRINGS),
    {.name = NULL},
};

enum { HS_X, HS_W, HS_LABEL, HS_TABLE, HS_CODE, HS_BIAS, HS_IN_PRE_OUT, HS_IN_DOUT };
#define HS_INPUTS                                                                                  \
    {"X", 0}, {"W", 0}, {"Label", 0}, {"PathTable", OP_SLOT_OPTIONAL},                             \
        {"PathCode", OP_SLOT_OPTIONAL},                                                            \
    {                                                                                              \
        "Bias", OP_SLOT_OPTIONAL                                                                   \
    }
static const struct op_slot_def hs_inputs[] = {HS_INPUTS, {NULL, 0}};
static const struct op_slot_def hs_grad_inputs[] = {
    HS_INPUTS, {"PreOut", 0}, {"Out@GRAD", 0}, {NULL, 0}};
enum { HS_OUT, HS_PRE_OUT };
static const struct op_slot_def hs_outputs[] = {
    {"Out", 0}, {"PreOut", 0}, {"W_Out", OP_SLOT_OPTIONAL | OP_SLOT_EXTRA}, {NULL, 0}};
enum { HS_DX, HS_DW, HS_DBIAS };
static const struct op_slot_def hs_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL},
                                                     {"W@GRAD", OP_SLOT_OPTIONAL | OP_SLOT_ROWS},
                                                     {"Bias@GRAD", OP_SLOT_OPTIONAL},
                                                     {NULL, 0}};

enum { TEMP_IDS, TEMP_ANSWERS, TEMP_G, TEMP_ROWS, TEMP_MERGE, HS_TEMPS };

static int check_shapes(const struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, HS_X, 0), *w = op_shape_in(shape, HS_W, 0);
    const struct op_var_dims *table = op_shape_in(shape, HS_TABLE, 0);
    char text[DIMS_TEXT_MAX];
    if (x->dims.rank != 2)
        return err_set(shape->err, SL_EMISMATCH, "X %s must be [samples, width]",
                       dims_format(&x->dims, text));
    if ((table == NULL) != (op_shape_in(shape, HS_CODE, 0) == NULL))
        return err_set(shape->err, SL_EINVAL, "PathTable and PathCode go together");
    int rc = shape_check_matrix(shape, HS_W, -1, x->dims.d[1]);
    if (rc == 0)
        rc = shape_check_matrix(shape, HS_BIAS, w->dims.d[0], 1);
    if (rc == 0)
        rc = shape_check_matrix(shape, HS_LABEL, x->dims.d[0], 1);
    if (rc == 0 && table != NULL)
        rc = shape_check_matrix(shape, HS_TABLE, x->dims.d[0], -1);
    if (rc == 0 && table != NULL)
        rc = shape_check_matrix(shape, HS_CODE, x->dims.d[0], table->dims.d[1]);
    return rc;
}

static int hs_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, HS_X, 0);
    int rc = check_shapes(shape);
    if (rc < 0)
        return rc;
    const struct dims out = {.rank = 2, .d = {x->dims.d[0], 1}};
    op_shape_set(shape, HS_OUT, 0, &out, x->dtype, x);
    return 0;
}

static int hs_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, HS_X, 0), *w = op_shape_in(shape, HS_W, 0);
    const struct op_var_dims *bias = op_shape_in(shape, HS_BIAS, 0);
    int rc = check_shapes(shape);
    if (rc == 0)
        rc = shape_check_matrix(shape, HS_IN_DOUT, x->dims.d[0], 1);
    if (rc < 0)
        return rc;
    op_shape_set(shape, HS_DX, 0, &x->dims, x->dtype, x);
    op_shape_set(shape, HS_DW, 0, &w->dims, w->dtype, NULL);
    if (op_shape_out(shape, HS_DW, 0) != NULL && attr_bool(shape->attr[HS_SPARSE]))
        op_shape_out(shape, HS_DW, 0)->kind = VARIABLE_SELECTED_ROWS;
    if (bias != NULL)
        op_shape_set(shape, HS_DBIAS, 0, &bias->dims, bias->dtype, NULL);
    return 0;
}

static int floor_log2(uint64_t x)
{
    return 63 - __builtin_clzll(x);
}

// The nodes and answers of all samples: sized in the temporaries, checked.
struct paths {
    int64_t samples, longest, nodes;
    int64_t *ids, *answers;
};

static int default_paths(const struct op_ctx *ctx, const struct paths *paths)
{
    const struct tensor *label = op_in(ctx, HS_LABEL);
    int64_t classes = ctx->attr[HS_CLASSES]->i;
    if (paths->nodes < classes - 1)
        return err_set(ctx->err, SL_EMISMATCH, "W has %lld rows; a tree of %lld classes has %lld",
                       (long long)paths->nodes, (long long)classes, (long long)classes - 1);
    for (int64_t i = 0; i < paths->samples; i++) {
        int64_t tag = tensor_i64(label)[i];
        if (tag < 0 || tag >= classes)
            return err_set(ctx->err, SL_EINVAL, "label %lld is %lld, not in [0,%lld)", (long long)i,
                           (long long)tag, (long long)classes);
        uint64_t code = (uint64_t)(tag + classes);
        int length = floor_log2(code);
        for (int64_t j = 0; j < paths->longest; j++) {
            int64_t p = i * paths->longest + j;
            paths->ids[p] = j < length ? (int64_t)(code >> (j + 1)) - 1 : -1;
            paths->answers[p] = j < length ? (int64_t)(code >> j & 1) : 0;
        }
    }
    return 0;
}

// Behind the end of a path nodes are kept when keep_rest, for they count as rows of the gradient.
static int custom_paths(const struct op_ctx *ctx, const struct paths *paths, bool keep_rest)
{
    const struct tensor *table = op_in(ctx, HS_TABLE), *code = op_in(ctx, HS_CODE);
    for (int64_t i = 0; i < paths->samples; i++) {
        bool ended = false;
        for (int64_t j = 0; j < paths->longest; j++) {
            int64_t p = i * paths->longest + j, node = tensor_i64(table)[p];
            if (node >= paths->nodes)
                return err_set(ctx->err, SL_EINVAL,
                               "PathTable of sample %lld names node %lld of "
                               "%lld",
                               (long long)i, (long long)node, (long long)paths->nodes);
            ended = ended || node < 0;
            paths->ids[p] = ended && !keep_rest ? -1 : node;
            // -1: no decision.
            paths->answers[p] = ended ? -1 : tensor_i64(code)[p] != 0;
        }
    }
    return 0;
}

static int make_paths(struct op_ctx *ctx, bool keep_rest, struct paths *paths)
{
    static const int others[] = {HS_W, HS_BIAS, -1};
    static const int integers[] = {HS_LABEL, HS_TABLE, HS_CODE};
    const struct tensor *table = op_in(ctx, HS_TABLE);
    int64_t classes = ctx->attr[HS_CLASSES]->i;
    void *ids = NULL, *answers = NULL;
    int rc = shape_check_floats(ctx, others);
    for (int i = 0; rc == 0 && i < 3; i++) {
        const struct tensor *t = op_in(ctx, integers[i]);
        if (t != NULL && t->dtype != DTYPE_INT64)
            rc = err_set(ctx->err, SL_EUNSUPPORTED, "%s is %s; it must be int64",
                         ctx->def->inputs[integers[i]].name, dtype_name((int)t->dtype));
    }
    if (rc == 0 && table == NULL && classes < 2)
        rc = err_set(ctx->err, SL_EINVAL, "num_classes is %lld; it must be 2 or more",
                     (long long)classes);
    if (rc < 0)
        return rc;
    paths->samples = op_in(ctx, HS_X)->dims.d[0];
    paths->nodes = op_in(ctx, HS_W)->dims.d[0];
    paths->longest = table != NULL ? table->dims.d[1] : floor_log2((uint64_t)classes - 1) + 1;
    rc = rnn_temp(ctx, TEMP_IDS, DTYPE_INT64, paths->samples, paths->longest, &ids);
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_ANSWERS, DTYPE_INT64, paths->samples, paths->longest, &answers);
    if (rc < 0)
        return rc;
    paths->ids = ids;
    paths->answers = answers;
    return table != NULL ? custom_paths(ctx, paths, keep_rest) : default_paths(ctx, paths);
}

static struct class_rows rows_of(const struct op_ctx *ctx, const struct paths *paths)
{
    const struct tensor *x = op_in(ctx, HS_X), *bias = op_in(ctx, HS_BIAS);
    return (struct class_rows){.dtype = x->dtype,
                               .samples = paths->samples,
                               .per = paths->longest,
                               .width = x->dims.d[1],
                               .id = paths->ids,
                               .x = x->data,
                               .weight = op_in(ctx, HS_W)->data,
                               .bias = bias ? bias->data : NULL};
}

#define DEFINE_COSTS(T, S)                                                                         \
    static void costs_##S(const struct paths *paths, T *z, T *out)                                 \
    {                                                                                              \
        for (int64_t i = 0; i < paths->samples; i++) {                                             \
            T yes = 0, sum = 0;                                                                    \
            for (int64_t j = 0; j < paths->longest; j++) {                                         \
                int64_t p = i * paths->longest + j;                                                \
                z[p] = z[p] < -40 ? -40 : z[p] > 40 ? 40 : z[p];                                   \
                yes += paths->answers[p] == 1 ? z[p] : 0;                                          \
                z[p] = log(1 + exp(z[p]));                                                         \
                sum += z[p];                                                                       \
            }                                                                                      \
            out[i] = -yes + sum;                                                                   \
        }                                                                                          \
    }                                                                                              \
    static void costs_back_##S(const struct paths *paths, const T *pre_out, const T *dout, T *g)   \
    {                                                                                              \
        for (int64_t p = 0; p < paths->samples * paths->longest; p++) {                            \
            T slope = 1 - 1 / exp(pre_out[p]) - (T)(paths->answers[p] == 1);                       \
            g[p] = paths->answers[p] < 0 ? 0 : slope * dout[p / paths->longest];                   \
        }                                                                                          \
    }

DEFINE_COSTS(float, f32)
DEFINE_COSTS(double, f64)

static int hs_forward(struct op_ctx *ctx)
{
    struct paths paths;
    struct tensor *out = op_out(ctx, HS_OUT), *pre_out = op_out(ctx, HS_PRE_OUT);
    int rc = make_paths(ctx, false, &paths);
    if (rc < 0)
        return rc;
    const struct class_rows rows = rows_of(ctx, &paths);
    const struct dims dims = {.rank = 2, .d = {paths.samples, paths.longest}};
    rc = op_resize(pre_out, rows.dtype, &dims, ctx->err);
    if (rc < 0)
        return rc;
    class_rows_scores(&rows, pre_out->data);
    if (rows.dtype == DTYPE_FP32)
        costs_f32(&paths, tensor_f32(pre_out), tensor_f32(out));
    else
        costs_f64(&paths, tensor_f64(pre_out), tensor_f64(out));
    return 0;
}

static int hs_backward(struct op_ctx *ctx)
{
    static const int others[] = {HS_IN_PRE_OUT, HS_IN_DOUT, -1};
    const struct tensor *pre_out = op_in(ctx, HS_IN_PRE_OUT), *dout = op_in(ctx, HS_IN_DOUT);
    bool sparse = attr_bool(ctx->attr[HS_SPARSE]);
    struct tensor *dx = op_out(ctx, HS_DX), *dbias = op_out(ctx, HS_DBIAS);
    const struct op_args *dw = &ctx->out[HS_DW];
    struct paths paths;
    void *g = NULL;
    int rc = make_paths(ctx, sparse, &paths);
    if (rc == 0)
        rc = shape_check_floats(ctx, others);
    if (rc == 0 && tensor_count(pre_out) != (uint64_t)(paths.samples * paths.longest))
        rc = err_set(ctx->err, SL_EMISMATCH, "PreOut has not %lld decisions a sample",
                     (long long)paths.longest);
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_G, pre_out->dtype, paths.samples, paths.longest, &g);
    if (rc < 0)
        return rc;
    const struct class_rows rows = rows_of(ctx, &paths);
    if (rows.dtype == DTYPE_FP32)
        costs_back_f32(&paths, tensor_f32(pre_out), tensor_f32(dout), g);
    else
        costs_back_f64(&paths, tensor_f64(pre_out), tensor_f64(dout), g);
    if (dx != NULL)
        class_rows_back_x(&rows, g, dx->data);
    if (dbias != NULL) {
        rnn_zero(dbias);
        class_rows_back_bias(&rows, g, dbias->data);
    }
    if (dw->count == 0 || dw->vars[0] == NULL)
        return 0;
    if (sparse)
        return class_rows_back_sparse(ctx, &rows, g, &op_in(ctx, HS_W)->dims,
                                      &ctx->temps[TEMP_ROWS], variable_rows(dw->vars[0]));
    struct tensor *dense = variable_tensor(dw->vars[0]);
    rnn_zero(dense);
    class_rows_back_weight(&rows, g, dense->data);
    return 0;
}

const struct op_def op_hsigmoid = {
    .type = "hierarchical_sigmoid",
    .inputs = hs_inputs,
    .outputs = hs_outputs,
    .attrs = hs_attrs,
    .grad = {.type = "hierarchical_sigmoid_grad",
             .inputs = "X W Label PathTable PathCode Bias PreOut Out@GRAD",
             .outputs = "X@GRAD W@GRAD Bias@GRAD"},
    .infer_shape = hs_infer,
    .kernel = hs_forward,
    .temps = HS_TEMPS,
};

const struct op_def op_hsigmoid_grad = {
    .type = "hierarchical_sigmoid_grad",
    .inputs = hs_grad_inputs,
    .outputs = hs_grad_outputs,
    .attrs = hs_attrs,
    .infer_shape = hs_grad_infer,
    .kernel = hs_backward,
    .temps = HS_TEMPS,
};
