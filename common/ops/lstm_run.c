// SPDX-License-Identifier: Apache-2.0
// Step n of all sequences that are long enough is one matrix product and one run of the cell:
//
//   gates_n = Input_n + bias + R_(n-1) Weight      R_(-1) = H0 or nothing
//   h_n, c_n = cell(gates_n, c_(n-1))              c_(-1) = C0 or 0
//   R_n = h_n, or act_p(h_n ProjWeight) held within [-proj_clip, proj_clip]
//
// Backward goes through the steps from the last one, with dR_n = dOut_n + dgates_(n+1) Weight^T:
//
//   dh_n = dR_n, or (dR_n act_p'(R_n)) ProjWeight^T     what was held at the clip has no gradient
//   dWeight = sum over n of R_(n-1)^T dgates_n     one product over all rows
//   dProjWeight = sum over n of h_n^T dR_n         likewise
//   dInput = dgates, dbias its sum over rows, dH0 = dgates_0 Weight^T, dC0 the last dc

#include "common/ops/lstm_run.h"

#include <string.h>

#include "common/base/err.h"
#include "common/ops/blas.h"
#include "common/ops/rnn.h"

enum {
    TEMP_INDEX,
    TEMP_OUT,
    TEMP_C,
    TEMP_H0,
    TEMP_C0,
    TEMP_DOUT,
    TEMP_DGATES,
    TEMP_DC,
    TEMP_DH,
    TEMP_WEIGHT,
    TEMP_PROJ
};

// What both directions work on: the steps, and where step-by-step values lie.
struct steps {
    struct seq_batch batch;
    enum dtype dtype;
    bool f32;
    void *h0, *c0, *out, *c;
    void *dout, *dgates, *dc, *dh;
    struct rnn_factor weight, proj;   // Weight and ProjWeight, or both transposed
};

static int begin(struct op_ctx *ctx, const struct lstm_run *run, struct steps *steps);
static int pack(struct op_ctx *ctx, const struct lstm_run *run, bool backward, struct steps *steps);
static void forward_step(const struct lstm_run *run, const struct steps *steps, int64_t n);
static void project(const struct lstm_run *run, const struct steps *steps, int64_t rows,
                    const void *h, void *out);
static int begin_back(struct op_ctx *ctx, const struct lstm_run *run,
                      const struct lstm_run_grads *grads, struct steps *steps);
static void backward_step(const struct lstm_run *run, const struct lstm_run_grads *grads,
                          const struct steps *steps, int64_t n);
static const void *unproject(const struct lstm_run *run, const struct steps *steps, int64_t at,
                             int64_t rows);
static void weight_gradient(const struct lstm_run *run, const struct lstm_run_grads *grads,
                            const struct steps *steps);
static void state_gradients(const struct lstm_run *run, const struct lstm_run_grads *grads,
                            const struct steps *steps);

int lstm_run_forward(struct op_ctx *ctx, const struct lstm_run *run)
{
    struct steps steps;
    int rc = begin(ctx, run, &steps);
    if (rc == 0)
        rc = pack(ctx, run, false, &steps);
    if (rc == 0)
        rc = seq_batch_mark(ctx, &steps.batch, run->gates);
    if (rc < 0)
        return rc;
    rnn_gather(&steps.batch, run->gates, run->input, run->bias, 4 * run->width);
    for (int64_t n = 0; n < steps.batch.steps; n++)
        forward_step(run, &steps, n);
    size_t bytes = dtype_bytes(steps.dtype);
    seq_batch_scatter(&steps.batch, run->out->data, steps.out, (size_t)run->out_width * bytes);
    seq_batch_scatter(&steps.batch, run->c->data, steps.c, (size_t)run->width * bytes);
    return 0;
}

int lstm_run_backward(struct op_ctx *ctx, const struct lstm_run *run,
                      const struct lstm_run_grads *grads)
{
    struct steps steps;
    const int64_t d = run->width;
    int rc = begin(ctx, run, &steps);
    if (rc == 0)
        rc = pack(ctx, run, true, &steps);
    if (rc == 0)
        rc = begin_back(ctx, run, grads, &steps);
    if (rc < 0)
        return rc;
    for (int64_t n = steps.batch.steps - 1; n >= 0; n--)
        backward_step(run, grads, &steps, n);
    if (grads->weight != NULL)
        weight_gradient(run, grads, &steps);
    if (grads->proj_weight != NULL)
        blas_multiply(&(struct blas_product){.ta = true,
                                             .m = d,
                                             .n = run->out_width,
                                             .k = steps.batch.rows,
                                             .lda = d,
                                             .ldb = run->out_width,
                                             .ldc = run->out_width,
                                             .alpha = 1},
                      steps.f32, run->hidden->data, steps.dout, grads->proj_weight->data);
    if (grads->bias != NULL)
        rnn_sum_rows(steps.dtype, steps.batch.rows, 4 * d, steps.dgates, grads->bias->data);
    if (grads->input != NULL)
        seq_batch_scatter(&steps.batch, grads->input->data, steps.dgates,
                          (size_t)(4 * d) * dtype_bytes(steps.dtype));
    state_gradients(run, grads, &steps);
    return 0;
}

static int begin(struct op_ctx *ctx, const struct lstm_run *run, struct steps *steps)
{
    *steps = (struct steps){.dtype = run->input->dtype, .f32 = run->input->dtype == DTYPE_FP32};
    int rc = seq_batch_make(ctx, "Input", run->sequences, run->reverse, &ctx->temps[TEMP_INDEX],
                            &steps->batch);
    if (rc == 0)
        rc = rnn_order(ctx, &steps->batch, "H0", run->h0, TEMP_H0, &steps->h0);
    if (rc == 0)
        rc = rnn_order(ctx, &steps->batch, "C0", run->c0, TEMP_C0, &steps->c0);
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_OUT, steps->dtype, steps->batch.rows, run->out_width, &steps->out);
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_C, steps->dtype, steps->batch.rows, run->width, &steps->c);
    return rc;
}

// What the steps multiply by, backward: their transposes.
static int pack(struct op_ctx *ctx, const struct lstm_run *run, bool backward, struct steps *steps)
{
    const int64_t d = run->width, p = run->out_width;
    steps->weight = (struct rnn_factor){.dtype = steps->dtype,
                                        .transposed = backward,
                                        .k = backward ? 4 * d : p,
                                        .n = backward ? p : 4 * d,
                                        .row = 4 * d,
                                        .b = run->weight->data};
    int rc = rnn_pack(ctx, TEMP_WEIGHT, steps->batch.steps - 1, &steps->weight);
    if (rc < 0 || run->proj_weight == NULL)
        return rc;
    steps->proj = (struct rnn_factor){.dtype = steps->dtype,
                                      .transposed = backward,
                                      .k = backward ? p : d,
                                      .n = backward ? d : p,
                                      .row = p,
                                      .b = run->proj_weight->data};
    return rnn_pack(ctx, TEMP_PROJ, steps->batch.steps, &steps->proj);
}

static void forward_step(const struct lstm_run *run, const struct steps *steps, int64_t n)
{
    const int64_t d = run->width, p = run->out_width, at = steps->batch.starts[n];
    const int64_t rows = seq_batch_rows_of(&steps->batch, n);
    const void *out_before = steps->h0, *c_before = steps->c0;
    if (n > 0) {
        out_before = rnn_at(steps->out, steps->batch.starts[n - 1] * p, steps->dtype);
        c_before = rnn_at(steps->c, steps->batch.starts[n - 1] * d, steps->dtype);
    }
    void *gates = rnn_at(run->gates->data, at * 4 * d, steps->dtype);
    void *c = rnn_at(steps->c, at * d, steps->dtype),
         *s = rnn_at(run->s->data, at * d, steps->dtype);
    void *out = rnn_at(steps->out, at * p, steps->dtype);
    void *h = run->proj_weight ? rnn_at(run->hidden->data, at * d, steps->dtype) : out;
    if (out_before != NULL)
        rnn_multiply(&steps->weight, rows, out_before, p, true, gates, 4 * d);
    if (steps->f32)
        lstm_cell_forward_f32(&run->cell, rows, gates, c_before, c, s, h);
    else
        lstm_cell_forward_f64(&run->cell, rows, gates, c_before, c, s, h);
    if (run->proj_weight != NULL)
        project(run, steps, rows, h, out);
}

#define DEFINE_CLIP(T, S)                                                                          \
    static void clip_##S(int64_t n, T *x, T bound)                                                 \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            x[i] = x[i] < -bound ? -bound : x[i] > bound ? bound : x[i];                           \
    }

#define DEFINE_CLIP_BACK(T, S)                                                                     \
    static void clip_back_##S(int64_t n, T *dx, const T *x, T bound)                               \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            dx[i] = x[i] > -bound && x[i] < bound ? dx[i] : 0;                                     \
    }

DEFINE_CLIP_BACK(float, f32)
DEFINE_CLIP_BACK(double, f64)
DEFINE_CLIP(float, f32)
DEFINE_CLIP(double, f64)

static void project(const struct lstm_run *run, const struct steps *steps, int64_t rows,
                    const void *h, void *out)
{
    const int64_t d = run->width, p = run->out_width;
    rnn_multiply(&steps->proj, rows, h, d, false, out, p);
    if (steps->f32)
        gate_act_apply_f32(run->proj_act, rows * p, out);
    else
        gate_act_apply_f64(run->proj_act, rows * p, out);
    if (run->proj_clip > 0 && steps->f32)
        clip_f32(rows * p, out, (float)run->proj_clip);
    else if (run->proj_clip > 0)
        clip_f64(rows * p, out, run->proj_clip);
}

// Brings what the steps need into their order, and sets the sums to 0.
static int begin_back(struct op_ctx *ctx, const struct lstm_run *run,
                      const struct lstm_run_grads *grads, struct steps *steps)
{
    const int64_t d = run->width, p = run->out_width, rows = steps->batch.rows;
    const size_t bytes = dtype_bytes(steps->dtype);
    int rc = rnn_temp(ctx, TEMP_DOUT, steps->dtype, rows, p, &steps->dout);
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_DGATES, steps->dtype, rows, 4 * d, &steps->dgates);
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_DC, steps->dtype, steps->batch.sequences, d, &steps->dc);
    if (rc == 0 && run->proj_weight != NULL)
        rc = rnn_temp(ctx, TEMP_DH, steps->dtype, steps->batch.sequences, d, &steps->dh);
    if (rc < 0)
        return rc;
    seq_batch_gather(&steps->batch, steps->dout, grads->out->data, (size_t)p * bytes);
    seq_batch_gather(&steps->batch, steps->c, run->c->data, (size_t)d * bytes);
    if (run->proj_weight != NULL)
        seq_batch_gather(&steps->batch, steps->out, run->out->data, (size_t)p * bytes);
    if (steps->batch.sequences > 0)
        memset(steps->dc, 0, (size_t)(steps->batch.sequences * d) * bytes);
    if (grads->bias != NULL)
        memset(grads->bias->data, 0, tensor_bytes(grads->bias));
    return 0;
}

static void backward_step(const struct lstm_run *run, const struct lstm_run_grads *grads,
                          const struct steps *steps, int64_t n)
{
    const int64_t d = run->width, p = run->out_width, at = steps->batch.starts[n];
    const int64_t rows = seq_batch_rows_of(&steps->batch, n);
    const int64_t earlier = n > 0 ? steps->batch.starts[n - 1] : 0;
    void *dgates = rnn_at(steps->dgates, at * 4 * d, steps->dtype);
    const void *dh = run->proj_weight ? unproject(run, steps, at, rows)
                                      : rnn_at(steps->dout, at * p, steps->dtype);
    bool peepholes = run->cell.check != NULL && grads->bias != NULL;
    const struct lstm_cell_back back = {
        .gates = rnn_at(run->gates->data, at * 4 * d, steps->dtype),
        .before = n > 0 ? rnn_at(steps->c, earlier * d, steps->dtype) : steps->c0,
        .c = rnn_at(steps->c, at * d, steps->dtype),
        .s = rnn_at(run->s->data, at * d, steps->dtype),
        .dh = dh,
        .dgates = dgates,
        .dc = steps->dc,
        .dcheck = peepholes ? rnn_at(grads->bias->data, 4 * d, steps->dtype) : NULL,
    };
    if (steps->f32)
        lstm_cell_backward_f32(&run->cell, rows, &back);
    else
        lstm_cell_backward_f64(&run->cell, rows, &back);
    if (n > 0)
        rnn_multiply(&steps->weight, rows, dgates, 4 * d, true,
                     rnn_at(steps->dout, earlier * p, steps->dtype), p);
}

// dR of the rows from `at` on becomes that of h ProjWeight; returns dh.
static const void *unproject(const struct lstm_run *run, const struct steps *steps, int64_t at,
                             int64_t rows)
{
    const int64_t d = run->width, p = run->out_width;
    void *dout = rnn_at(steps->dout, at * p, steps->dtype);
    const void *out = rnn_at(steps->out, at * p, steps->dtype);
    if (run->proj_clip > 0 && steps->f32)
        clip_back_f32(rows * p, dout, out, (float)run->proj_clip);
    else if (run->proj_clip > 0)
        clip_back_f64(rows * p, dout, out, run->proj_clip);
    if (steps->f32)
        gate_act_back_f32(run->proj_act, rows * p, dout, out);
    else
        gate_act_back_f64(run->proj_act, rows * p, dout, out);
    rnn_multiply(&steps->proj, rows, dout, p, false, steps->dh, d);
    return steps->dh;
}

// R_(n-1) of all rows from step 1 on takes the place of R, which is not needed any more.
static void weight_gradient(const struct lstm_run *run, const struct lstm_run_grads *grads,
                            const struct steps *steps)
{
    const int64_t d = run->width, p = run->out_width;
    const int64_t first = steps->batch.steps > 0 ? steps->batch.starts[1] : 0;
    seq_batch_gather_before(&steps->batch, steps->out, run->out->data,
                            (size_t)p * dtype_bytes(steps->dtype));
    struct blas_product product = {.ta = true,
                                   .m = p,
                                   .n = 4 * d,
                                   .k = steps->batch.rows - first,
                                   .lda = p,
                                   .ldb = 4 * d,
                                   .ldc = 4 * d,
                                   .alpha = 1};
    blas_multiply(&product, steps->f32, steps->out,
                  rnn_at(steps->dgates, first * 4 * d, steps->dtype), grads->weight->data);
    product.k = first;
    product.beta = 1;
    if (steps->h0 != NULL && first > 0)
        blas_multiply(&product, steps->f32, steps->h0, steps->dgates, grads->weight->data);
}

// Sequences without a row have no gradient.
static void state_gradients(const struct lstm_run *run, const struct lstm_run_grads *grads,
                            const struct steps *steps)
{
    const int64_t d = run->width, p = run->out_width;
    const int64_t first = steps->batch.steps > 0 ? steps->batch.starts[1] : 0;
    if (grads->c0 != NULL)
        rnn_put_state(&steps->batch, grads->c0, steps->dc);
    if (grads->h0 == NULL)
        return;
    if (first < steps->batch.sequences)
        memset(steps->h0, 0, (size_t)(steps->batch.sequences * p) * dtype_bytes(steps->dtype));
    rnn_multiply(&steps->weight, first, steps->dgates, 4 * d, false, steps->h0, p);
    rnn_put_state(&steps->batch, grads->h0, steps->h0);
}
