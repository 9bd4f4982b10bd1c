// SPDX-License-Identifier: Apache-2.0
// linear_chain_crf: the cost -ln p(Label | Emission) of tag sequences under a linear chain.
//
//   Emission x [rows, tags] in sequences (LoD of Label), or [N, S, tags] with Length
//   Transition [tags + 2, tags]: row 0 scores the first tag, row 1 the last one, row 2 + i the step
//   from tag i to each tag; Label has a tag a row (int64)
//   LogLikelihood [sequences, 1] is that cost (not its negative, in spite of the name); 0 for an
//   empty sequence
//
// Alpha [as Emission] holds the forward sums, each row as shares of 1 (padding: 0); EmissionExps
// e^(x - largest of the row); TransitionExps e^Transition. With beta the backward sums,
//
//   dEmission = dcost (alpha beta / its row sum - [label])
//   dTransition = dcost (the expected counts of first, last and pairs of tags - the label's)
//
// What cannot be: all paths with a probability of 0 in the element type; that is an error.

#include <string.h>
#include <tgmath.h>

#include "common/base/err.h"
#include "common/ops/crf_seq.h"
#include "common/ops/op_clones.h"
#include "common/ops/rnn.h"
#include "common/ops/shape_check.h"
#include "common/ops/vmath.h"

#define CHAIN_T float
#define CHAIN(name) name##_f32
#define CHAIN_LOG(x) log(x)
#include "common/ops/crf_chain.h"
#undef CHAIN_T
#undef CHAIN

#define CHAIN_T double
#define CHAIN(name) name##_f64
#include "common/ops/crf_chain.h"

extern const struct op_def op_crf, op_crf_grad;

static const struct op_attr_def crf_attrs[] = {{.name = NULL}};

enum { CRF_EMISSION, CRF_TRANSITION, CRF_LABEL, CRF_LENGTH };
enum { CRF_IN_ALPHA = CRF_LENGTH + 1, CRF_IN_X_EXPS, CRF_IN_W_EXPS, CRF_IN_DCOST };
#define CRF_INPUTS                                                                                 \
    {"Emission", 0}, {"Transition", 0}, {"Label", 0},                                              \
    {                                                                                              \
        "Length", OP_SLOT_OPTIONAL                                                                 \
    }
static const struct op_slot_def crf_inputs[] = {CRF_INPUTS, {NULL, 0}};
static const struct op_slot_def crf_grad_inputs[] = {
    CRF_INPUTS, {"Alpha", 0}, {"EmissionExps", 0}, {"TransitionExps", 0}, {"LogLikelihood@GRAD", 0},
    {NULL, 0}};
enum { CRF_ALPHA, CRF_X_EXPS, CRF_W_EXPS, CRF_COST };
static const struct op_slot_def crf_outputs[] = {
    {"Alpha", 0}, {"EmissionExps", 0}, {"TransitionExps", 0}, {"LogLikelihood", 0}, {NULL, 0}};
static const struct op_slot_def crf_grad_outputs[] = {
    {"Emission@GRAD", OP_SLOT_OPTIONAL}, {"Transition@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

enum { TEMP_LARGEST, TEMP_BETA, TEMP_ONWARD, TEMP_WT, TEMP_DX, CRF_TEMPS };

static int crf_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, CRF_EMISSION, 0);
    const struct op_var_dims *w = op_shape_in(shape, CRF_TRANSITION, 0);
    int rc = crf_seq_check(shape, CRF_EMISSION, CRF_TRANSITION, CRF_LENGTH);
    if (rc == 0)
        rc = crf_seq_check_tags(shape, CRF_EMISSION, CRF_LABEL);
    if (rc < 0)
        return rc;
    op_shape_set(shape, CRF_ALPHA, 0, &x->dims, x->dtype, NULL);
    op_shape_set(shape, CRF_X_EXPS, 0, &x->dims, x->dtype, NULL);
    op_shape_set(shape, CRF_W_EXPS, 0, &w->dims, x->dtype, NULL);
    const struct dims cost = {.rank = 2, .d = {x->dims.d[0], 1}};
    op_shape_set(shape, CRF_COST, 0, &cost, x->dtype, NULL);
    return 0;
}

static int crf_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, CRF_EMISSION, 0);
    const struct op_var_dims *w = op_shape_in(shape, CRF_TRANSITION, 0);
    int rc = crf_seq_check(shape, CRF_EMISSION, CRF_TRANSITION, CRF_LENGTH);
    if (rc == 0)
        rc = crf_seq_check_tags(shape, CRF_EMISSION, CRF_LABEL);
    if (rc == 0)
        rc = shape_check_same(shape, CRF_EMISSION, CRF_IN_ALPHA);
    if (rc == 0)
        rc = shape_check_same(shape, CRF_EMISSION, CRF_IN_X_EXPS);
    if (rc == 0)
        rc = shape_check_same(shape, CRF_TRANSITION, CRF_IN_W_EXPS);
    if (rc == 0)
        rc = shape_check_matrix(shape, CRF_IN_DCOST, -1, 1);
    if (rc < 0)
        return rc;
    op_shape_set(shape, CRF_EMISSION, 0, &x->dims, x->dtype, x);
    op_shape_set(shape, CRF_TRANSITION, 0, &w->dims, w->dtype, NULL);
    return 0;
}

// The tags of every sequence, checked, as int64.
static int read_labels(struct op_ctx *ctx, const struct crf_seq *seq, const int64_t **out)
{
    const struct tensor *label = op_in(ctx, CRF_LABEL);
    int64_t tags = op_in(ctx, CRF_TRANSITION)->dims.d[1];
    if (label->dtype != DTYPE_INT64)
        return err_set(ctx->err, SL_EUNSUPPORTED, "Label is %s; it must be int64",
                       dtype_name((int)label->dtype));
    *out = tensor_i64(label);
    for (int64_t i = 0; i < seq->count; i++) {
        int64_t start = crf_seq_start(seq, i), length = crf_seq_length(seq, i);
        for (int64_t k = 0; k < length; k++) {
            int64_t tag = (*out)[start + k];
            if (tag < 0 || tag >= tags)
                return err_set(ctx->err, SL_EINVAL,
                               "tag %lld of sequence %lld is %lld, not in "
                               "[0,%lld)",
                               (long long)k, (long long)i, (long long)tag, (long long)tags);
        }
    }
    return 0;
}

static int prepare(struct op_ctx *ctx, struct crf_seq *seq, const int64_t **out_label)
{
    static const int others[] = {CRF_TRANSITION, -1};
    int rc = shape_check_floats(ctx, others);
    if (rc == 0)
        rc = crf_seq_init(ctx, "Label", op_in(ctx, CRF_EMISSION), op_in(ctx, CRF_LABEL),
                          op_in(ctx, CRF_LENGTH), seq);
    return rc == 0 ? read_labels(ctx, seq, out_label) : rc;
}

#define DEFINE_RUNS(T, S)                                                                          \
    static int forward_##S(struct op_ctx *ctx, const struct crf_seq *seq, const int64_t *label,    \
                           T *largest)                                                             \
    {                                                                                              \
        const struct tensor *w = op_in(ctx, CRF_TRANSITION);                                       \
        const T *x = op_in(ctx, CRF_EMISSION)->data;                                               \
        T *alpha = op_out(ctx, CRF_ALPHA)->data, *x_exps = op_out(ctx, CRF_X_EXPS)->data;          \
        T *w_exps = op_out(ctx, CRF_W_EXPS)->data, *cost = op_out(ctx, CRF_COST)->data;            \
        const int64_t n = w->dims.d[1];                                                            \
        int64_t rows = (int64_t)tensor_count(op_in(ctx, CRF_EMISSION)) / n;                        \
        for (int64_t r = 0; r < rows; r++)                                                         \
            largest[r] = row_exps_##S(n, x + r * n, x_exps + r * n);                               \
        exps_##S((n + 2) * n, w->data, w_exps);                                                    \
        for (int64_t i = 0; i < seq->count; i++) {                                                 \
            int64_t at = crf_seq_start(seq, i);                                                    \
            const struct chain_##S chain = {crf_seq_length(seq, i),                                \
                                            n,                                                     \
                                            x + at * n,                                            \
                                            x_exps + at * n,                                       \
                                            w->data,                                               \
                                            w_exps,                                                \
                                            label + at};                                           \
            bool ok = true;                                                                        \
            cost[i] = chain.length == 0 ? 0 : cost_##S(&chain, alpha + at * n, largest + at, &ok); \
            if (!ok)                                                                               \
                return err_set(ctx->err, SL_EINVAL,                                                \
                               "sequence %lld: no path of tags has a probability above 0",         \
                               (long long)i);                                                      \
        }                                                                                          \
        return 0;                                                                                  \
    }                                                                                              \
    static void backward_##S(struct op_ctx *ctx, const struct crf_seq *seq, const int64_t *label,  \
                             const struct crf_back *back)                                          \
    {                                                                                              \
        const T *w = op_in(ctx, CRF_IN_W_EXPS)->data, *x_exps = op_in(ctx, CRF_IN_X_EXPS)->data;   \
        const T *alpha = op_in(ctx, CRF_IN_ALPHA)->data, *dcost = op_in(ctx, CRF_IN_DCOST)->data;  \
        T *beta = back->beta, *onward = back->onward, *wt = back->wt, *dx = back->dx;              \
        const int64_t n = op_in(ctx, CRF_TRANSITION)->dims.d[1];                                   \
        for (int64_t i = 0; i < n; i++)                                                            \
            for (int64_t j = 0; j < n; j++)                                                        \
                wt[j * n + i] = w[(2 + i) * n + j];                                                \
        for (int64_t i = 0; i < seq->count; i++) {                                                 \
            int64_t at = crf_seq_start(seq, i);                                                    \
            const struct chain_##S chain = {.length = crf_seq_length(seq, i),                      \
                                            .tags = n,                                             \
                                            .x_exps = x_exps + at * n,                             \
                                            .w = w,                                                \
                                            .label = label + at};                                  \
            if (chain.length == 0)                                                                 \
                continue;                                                                          \
            betas_##S(&chain, wt, beta + at * n, onward + at * n);                                 \
            emission_back_##S(&chain, dcost[i], alpha + at * n, beta + at * n, dx + at * n);       \
            if (back->dscores != NULL)                                                             \
                transition_back_##S(&chain, dcost[i], alpha + at * n, onward + at * n,             \
                                    dx + at * n, wt + n * n, back->dscores);                       \
        }                                                                                          \
    }

// Room for what the gradient makes on its way.
struct crf_back {
    void *beta, *onward, *wt, *dx, *dscores;
};

DEFINE_RUNS(float, f32)
DEFINE_RUNS(double, f64)

static int crf_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, CRF_EMISSION), *w = op_in(ctx, CRF_TRANSITION);
    struct tensor *alpha = op_out(ctx, CRF_ALPHA);
    struct crf_seq seq;
    const int64_t *label;
    void *largest = NULL;
    int rc = prepare(ctx, &seq, &label);
    if (rc < 0)
        return rc;
    const struct dims cost = {.rank = 2, .d = {seq.count, 1}};
    rc = op_resize(alpha, x->dtype, &x->dims, ctx->err);
    if (rc == 0)
        rc = op_resize(op_out(ctx, CRF_X_EXPS), x->dtype, &x->dims, ctx->err);
    if (rc == 0)
        rc = op_resize(op_out(ctx, CRF_W_EXPS), x->dtype, &w->dims, ctx->err);
    if (rc == 0)
        rc = op_resize(op_out(ctx, CRF_COST), x->dtype, &cost, ctx->err);
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_LARGEST, x->dtype, (int64_t)tensor_count(x) / w->dims.d[1], 1,
                      &largest);
    if (rc < 0)
        return rc;
    rnn_zero(alpha);
    return x->dtype == DTYPE_FP32 ? forward_f32(ctx, &seq, label, largest)
                                  : forward_f64(ctx, &seq, label, largest);
}

static int crf_backward(struct op_ctx *ctx)
{
    static const int others[] = {CRF_IN_ALPHA, CRF_IN_X_EXPS, CRF_IN_W_EXPS, CRF_IN_DCOST, -1};
    const struct tensor *x = op_in(ctx, CRF_EMISSION), *dcost = op_in(ctx, CRF_IN_DCOST);
    const int64_t n = op_in(ctx, CRF_TRANSITION)->dims.d[1], rows = (int64_t)tensor_count(x) / n;
    struct tensor *dx = op_out(ctx, CRF_EMISSION), *dw = op_out(ctx, CRF_TRANSITION);
    struct crf_seq seq;
    struct crf_back back = {0};
    const int64_t *label;
    int rc = prepare(ctx, &seq, &label);
    if (rc == 0)
        rc = shape_check_floats(ctx, others);
    if (rc == 0 && dcost->dims.d[0] != seq.count)
        rc = err_set(ctx->err, SL_EMISMATCH, "LogLikelihood@GRAD has %lld rows for %lld sequences",
                     (long long)dcost->dims.d[0], (long long)seq.count);
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_BETA, x->dtype, rows, n, &back.beta);
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_ONWARD, x->dtype, rows, n, &back.onward);
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_WT, x->dtype, n + 1, n, &back.wt);
    if (rc == 0 && dx == NULL)
        rc = rnn_temp(ctx, TEMP_DX, x->dtype, rows, n, &back.dx);
    if (rc < 0)
        return rc;
    if (dx != NULL) {
        rnn_zero(dx);
        back.dx = dx->data;
    }
    if (dw != NULL) {
        rnn_zero(dw);
        back.dscores = dw->data;
    }
    if (x->dtype == DTYPE_FP32)
        backward_f32(ctx, &seq, label, &back);
    else
        backward_f64(ctx, &seq, label, &back);
    return 0;
}

const struct op_def op_crf = {
    .type = "linear_chain_crf",
    .inputs = crf_inputs,
    .outputs = crf_outputs,
    .attrs = crf_attrs,
    .grad = {.type = "linear_chain_crf_grad",
             .inputs = "Emission Transition Label Length Alpha EmissionExps TransitionExps "
                       "LogLikelihood@GRAD",
             .outputs = "Emission@GRAD Transition@GRAD"},
    .infer_shape = crf_infer,
    .kernel = crf_forward,
    .temps = CRF_TEMPS,
    .kernel_resizes = true,
};

const struct op_def op_crf_grad = {
    .type = "linear_chain_crf_grad",
    .inputs = crf_grad_inputs,
    .outputs = crf_grad_outputs,
    .attrs = crf_attrs,
    .infer_shape = crf_grad_infer,
    .kernel = crf_backward,
    .temps = CRF_TEMPS,
};
