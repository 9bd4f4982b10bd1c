// SPDX-License-Identifier: Apache-2.0
// average_accumulates: the sums behind ModelAverage, over a window of steps that grows with
// training.
//   num_updates and num_accumulates go up by one; sum_1 += param
//   every 16384 updates sum_1 is added to sum_2 and starts again (a long sum would lose digits)
//   num_accumulates >= min_average_window and >= min(max_average_window, num_updates
//   average_window): sum_3 = sum_1 + sum_2, both start again, old_num_accumulates =
//   num_accumulates, num_accumulates = 0
// The average is (sum_1 + sum_2 + sum_3) / (num_accumulates + old_num_accumulates). Each output is
// its input's memory or does not overlap it; both forms give the same bits. When the op runs on
// pieces of rows, the counters must not be in place (each piece moves them on from the same start).

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/optimizer_shape.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_average;

#define AVERAGE_SPILL_STEPS 16384

enum { AVERAGE_WINDOW, AVERAGE_MAX, AVERAGE_MIN };
static const struct op_attr_def average_attrs[] = {
    OP_ATTR_FLOAT("average_window", 0),
    {.name = "max_average_window", .type = ATTR_LONG, .required = true},
    OP_ATTR_LONG("min_average_window", 10000),
    {.name = NULL},
};
enum {
    AVERAGE_PARAM,
    AVERAGE_SUM_1,
    AVERAGE_SUM_2,
    AVERAGE_SUM_3,
    AVERAGE_NUM,
    AVERAGE_OLD_NUM,
    AVERAGE_UPDATES
};
enum {
    AVERAGE_SUM_1_OUT,
    AVERAGE_SUM_2_OUT,
    AVERAGE_SUM_3_OUT,
    AVERAGE_NUM_OUT,
    AVERAGE_OLD_NUM_OUT,
    AVERAGE_UPDATES_OUT
};
static const struct op_slot_def average_inputs[] = {{"param", 0},
                                                    {"in_sum_1", 0},
                                                    {"in_sum_2", 0},
                                                    {"in_sum_3", 0},
                                                    {"in_num_accumulates", 0},
                                                    {"in_old_num_accumulates", 0},
                                                    {"in_num_updates", 0},
                                                    {NULL, 0}};
static const struct op_slot_def average_outputs[] = {{"out_sum_1", 0},
                                                     {"out_sum_2", 0},
                                                     {"out_sum_3", 0},
                                                     {"out_num_accumulates", 0},
                                                     {"out_old_num_accumulates", 0},
                                                     {"out_num_updates", 0},
                                                     {NULL, 0}};

#define DEFINE_AVERAGE(T, S)                                                                       \
    struct average_##S {                                                                           \
        T *sum1_out, *sum2_out, *sum3_out;                                                         \
        const T *param, *sum1, *sum2, *sum3;                                                       \
    };                                                                                             \
    OP_CLONES static void average_dense_##S(const struct average_##S *args, bool spill, bool roll, \
                                            uint64_t n)                                            \
    {                                                                                              \
        struct average_##S a = *args;                                                              \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++)                                      \
        {                                                                                          \
            T sum1 = a.sum1[i] + a.param[i], sum2 = a.sum2[i], sum3 = a.sum3[i];                   \
            if (spill) {                                                                           \
                sum2 += sum1;                                                                      \
                sum1 = 0;                                                                          \
            }                                                                                      \
            a.sum1_out[i] = roll ? 0 : sum1;                                                       \
            a.sum2_out[i] = roll ? 0 : sum2;                                                       \
            a.sum3_out[i] = roll ? sum1 + sum2 : sum3;                                             \
        }                                                                                          \
    }                                                                                              \
    static void average_run_##S(struct op_ctx *ctx, bool spill, bool roll)                         \
    {                                                                                              \
        struct average_##S a = {                                                                   \
            .sum1_out = op_out(ctx, AVERAGE_SUM_1_OUT)->data,                                      \
            .sum2_out = op_out(ctx, AVERAGE_SUM_2_OUT)->data,                                      \
            .sum3_out = op_out(ctx, AVERAGE_SUM_3_OUT)->data,                                      \
            .param = op_in(ctx, AVERAGE_PARAM)->data,                                              \
            .sum1 = op_in(ctx, AVERAGE_SUM_1)->data,                                               \
            .sum2 = op_in(ctx, AVERAGE_SUM_2)->data,                                               \
            .sum3 = op_in(ctx, AVERAGE_SUM_3)->data,                                               \
        };                                                                                         \
        average_dense_##S(&a, spill, roll, tensor_count(op_in(ctx, AVERAGE_PARAM)));               \
    }

DEFINE_AVERAGE(float, f32)
DEFINE_AVERAGE(double, f64)

static int average_infer(struct op_shape *shape)
{
    int64_t least = shape->attr[AVERAGE_MIN]->i, most = shape->attr[AVERAGE_MAX]->i;
    if (least > most)
        return err_set(shape->err, SL_EINVAL,
                       "min_average_window %lld is greater than max_average_window %lld",
                       (long long)least, (long long)most);
    int rc =
        optimizer_shape_infer(shape, (const int[]){AVERAGE_SUM_1, AVERAGE_SUM_2, AVERAGE_SUM_3, -1},
                              (const int[]){AVERAGE_NUM, AVERAGE_OLD_NUM, AVERAGE_UPDATES, -1});
    for (int s = 0; rc == 0 && s <= AVERAGE_UPDATES_OUT; s++)
        op_shape_copy(shape, s, 0, op_shape_in(shape, s + AVERAGE_SUM_1, 0));
    return rc;
}

static int average_forward(struct op_ctx *ctx)
{
    int rc =
        shape_check_floats(ctx, (const int[]){AVERAGE_SUM_1, AVERAGE_SUM_2, AVERAGE_SUM_3, -1});
    for (int s = AVERAGE_NUM; rc == 0 && s <= AVERAGE_UPDATES; s++)
        if (op_in(ctx, s)->dtype != DTYPE_INT64)
            rc = err_set(ctx->err, SL_EMISMATCH, "%s must be int64", ctx->def->inputs[s].name);
    if (rc < 0)
        return rc;
    int64_t num = *tensor_i64(op_in(ctx, AVERAGE_NUM)) + 1;
    int64_t old_num = *tensor_i64(op_in(ctx, AVERAGE_OLD_NUM));
    int64_t updates = *tensor_i64(op_in(ctx, AVERAGE_UPDATES)) + 1;
    float window = (float)updates * ctx->attr[AVERAGE_WINDOW]->f;
    int64_t most = ctx->attr[AVERAGE_MAX]->i;
    // (A window that is no int64 is greater than the greatest.)
    int64_t wanted = window < (float)most ? (int64_t)window : most;
    bool roll = num >= ctx->attr[AVERAGE_MIN]->i && num >= wanted;
    bool spill = updates % AVERAGE_SPILL_STEPS == 0;
    if (op_in(ctx, AVERAGE_PARAM)->dtype == DTYPE_FP32)
        average_run_f32(ctx, spill, roll);
    else
        average_run_f64(ctx, spill, roll);
    *tensor_i64(op_out(ctx, AVERAGE_NUM_OUT)) = roll ? 0 : num;
    *tensor_i64(op_out(ctx, AVERAGE_OLD_NUM_OUT)) = roll ? num : old_num;
    *tensor_i64(op_out(ctx, AVERAGE_UPDATES_OUT)) = updates;
    return 0;
}

const struct op_def op_average = {
    .type = "average_accumulates",
    .inputs = average_inputs,
    .outputs = average_outputs,
    .attrs = average_attrs,
    .infer_shape = average_infer,
    .kernel = average_forward,
    .row_splittable = true,
};
