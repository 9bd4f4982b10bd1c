// SPDX-License-Identifier: Apache-2.0
// Functions of one tensor, element by element: what their op families (op_activation.c, op_math.c)
// share. One line in a family's file makes an op and its gradient out of two expressions.
//
// An op has up to UNARY_PARAMS_MAX float attributes, first in its table. Its gradient reads
// Out@GRAD and what Fluid keeps for it: X, Out or neither. Out may be X's own memory, dX dOut's.
#pragma once

#include "common/ops/number.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"

#define UNARY_PARAMS_MAX 3

// out[i] = f(x[i]); param holds the float attributes.
typedef void unary_run(void *out, const void *x, size_t n, const float *param);
// dx[i] = dout[i] f'(...); kept is X or Out, NULL when the gradient reads neither.
typedef void unary_grad_run(void *dx, const void *kept, const void *dout, size_t n,
                            const float *param);

// Kernels by element type; a missing one is refused.
struct unary_runs {
    unary_run *run[NUMBERS];
};
struct unary_grad_runs {
    unary_grad_run *run[NUMBERS];
};

extern const struct op_slot_def unary_inputs[], unary_outputs[], unary_grad_outputs[];
// X@GRAD is as Out@GRAD, its LoD too.
int unary_grad_infer(struct op_shape *shape);
extern const struct op_slot_def unary_grad_of_x[], unary_grad_of_out[], unary_grad_of_none[];
// No attributes; those of Fluid's common activations.
extern const struct op_attr_def unary_no_attrs[], unary_common_attrs[];

int unary_forward(struct op_ctx *ctx, const struct unary_runs *runs);
int unary_backward(struct op_ctx *ctx, const struct unary_grad_runs *runs);

// NAME_forward_S out of an expression of x and the parameters p, q, r, all of type T (there: num).
#define UNARY_FORWARD(CLONES, NAME, T, S, EXPR)                                                    \
    CLONES static void NAME##_forward_##S(void *out_, const void *x_, size_t n,                    \
                                          const float *param)                                      \
    {                                                                                              \
        typedef T num;                                                                             \
        num *out = out_;                                                                           \
        const num *in = x_;                                                                        \
        const num p = (num)param[0], q = (num)param[1], r = (num)param[2];                         \
        (void)p, (void)q, (void)r;                                                                 \
        _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++)                                        \
        {                                                                                          \
            num x = in[i];                                                                         \
            out[i] = (EXPR);                                                                       \
        }                                                                                          \
    }

// NAME_backward_S out of an expression of g = dOut, the kept tensor's element (called KEPT: x or y)
// and the parameters.
#define UNARY_BACKWARD(CLONES, NAME, T, S, KEPT, EXPR)                                             \
    CLONES static void NAME##_backward_##S(void *dx_, const void *kept_, const void *dout_,        \
                                           size_t n, const float *param)                           \
    {                                                                                              \
        typedef T num;                                                                             \
        num *dx = dx_;                                                                             \
        const num *kept = kept_, *dout = dout_;                                                    \
        const num p = (num)param[0], q = (num)param[1], r = (num)param[2];                         \
        (void)p, (void)q, (void)r;                                                                 \
        _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++)                                        \
        {                                                                                          \
            num KEPT = kept[i], g = dout[i];                                                       \
            dx[i] = (EXPR);                                                                        \
        }                                                                                          \
    }

#define UNARY_FLOATS(CLONES, NAME, KEPT, FORWARD, BACKWARD)                                        \
    UNARY_FORWARD(CLONES, NAME, float, f32, FORWARD)                                               \
    UNARY_FORWARD(CLONES, NAME, double, f64, FORWARD)                                              \
    UNARY_BACKWARD(CLONES, NAME, float, f32, KEPT, BACKWARD)                                       \
    UNARY_BACKWARD(CLONES, NAME, double, f64, KEPT, BACKWARD)

// The two kernels of an op that computes in float and double.
#define UNARY_KERNELS(NAME)                                                                        \
    static int NAME##_forward(struct op_ctx *ctx)                                                  \
    {                                                                                              \
        static const struct unary_runs runs = {{NAME##_forward_f32, NAME##_forward_f64}};          \
        return unary_forward(ctx, &runs);                                                          \
    }                                                                                              \
    static int NAME##_backward(struct op_ctx *ctx)                                                 \
    {                                                                                              \
        static const struct unary_grad_runs runs = {{NAME##_backward_f32, NAME##_backward_f64}};   \
        return unary_backward(ctx, &runs);                                                         \
    }

// The same, and in int32 and int64.
#define UNARY_KERNELS_WITH_INTEGERS(NAME)                                                          \
    static int NAME##_forward(struct op_ctx *ctx)                                                  \
    {                                                                                              \
        static const struct unary_runs runs = {                                                    \
            {NAME##_forward_f32, NAME##_forward_f64, NAME##_forward_i32, NAME##_forward_i64}};     \
        return unary_forward(ctx, &runs);                                                          \
    }                                                                                              \
    static int NAME##_backward(struct op_ctx *ctx)                                                 \
    {                                                                                              \
        static const struct unary_grad_runs runs = {                                               \
            {NAME##_backward_f32, NAME##_backward_f64, NAME##_backward_i32, NAME##_backward_i64}}; \
        return unary_backward(ctx, &runs);                                                         \
    }

// The definitions FAMILY_NAME and FAMILY_NAME_grad. KEPT names what the gradient reads: x, out,
// none.
#define UNARY_OP(FAMILY, NAME, ATTRS, KEPT, GRAD_INPUTS)                                           \
    extern const struct op_def FAMILY##_##NAME, FAMILY##_##NAME##_grad;                            \
    const struct op_def FAMILY##_##NAME = {                                                        \
        .type = #NAME,                                                                             \
        .inputs = unary_inputs,                                                                    \
        .outputs = unary_outputs,                                                                  \
        .attrs = ATTRS,                                                                            \
        .grad = {.type = #NAME "_grad", .inputs = GRAD_INPUTS, .outputs = "X@GRAD"},               \
        .kernel = NAME##_forward,                                                                  \
    };                                                                                             \
    const struct op_def FAMILY##_##NAME##_grad = {                                                 \
        .type = #NAME "_grad",                                                                     \
        .inputs = unary_grad_of_##KEPT,                                                            \
        .outputs = unary_grad_outputs,                                                             \
        .attrs = ATTRS,                                                                            \
        .infer_shape = unary_grad_infer,                                                           \
        .kernel = NAME##_backward,                                                                 \
    };
