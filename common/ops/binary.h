// SPDX-License-Identifier: Apache-2.0
// What ops of two operands under Fluid's broadcast rule (broadcast.h) share: slots, shapes, and the
// walk over runs of contiguous elements. An op is made of expressions by the macros below.
//
// A gradient of an operand that was repeated is the sum over its repetitions, added in memory order
// of dOut (a run along the last dimension that folds into one number: in OP_LANES partial sums).
#pragma once

#include "common/ops/broadcast.h"
#include "common/ops/number.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"

// Kernels by element type; a missing one is refused.
struct binary_rows {
    broadcast_row *row[NUMBERS];
    bool exchanges;   // X with fewer dimensions than Y becomes the second operand, as in Fluid
};

// A run of n elements of a gradient: d = f(dout, out, x, y). Operands that do not move stand on one
// element. d moves with its own operand.
struct binary_grad_run {
    void *d;
    const void *dout, *out, *x, *y;   // out is NULL when the op does not keep it
    int64_t n;
    bool x_moves, y_moves, d_moves;
    bool add;   // d is a sum: add to it
};
typedef void binary_grad_row(const struct binary_grad_run *run);
struct binary_grads {
    binary_grad_row *row[NUMBERS];
};

extern const struct op_slot_def binary_inputs[], binary_outputs[];
extern const struct op_slot_def binary_grad_inputs[];            // X Y Out@GRAD
extern const struct op_slot_def binary_grad_inputs_with_out[];   // X Y Out Out@GRAD
extern const struct op_slot_def binary_grad_outputs[];           // X@GRAD Y@GRAD

enum { BINARY_X, BINARY_Y };
enum { BINARY_AXIS };   // attribute 0 of every such op

int binary_infer(struct op_shape *shape);        // Out of X's type
int binary_infer_bool(struct op_shape *shape);   // Out of type bool
int binary_grad_infer(struct op_shape *shape);
// Out may be X's own memory when both have one type.
int binary_forward(struct op_ctx *ctx, const struct binary_rows *rows);
int binary_backward(struct op_ctx *ctx, const struct binary_grads *dx,
                    const struct binary_grads *dy);

// NAME_row_S out of an expression of a (X) and b (Y), whose type is also called num.
#define BINARY_ROW(CLONES, NAME, OUT, T, S, EXPR)                                                  \
    CLONES static void NAME##_row_##S(void *out_, const void *x_, const void *y_, int64_t n,       \
                                      int64_t x_stride, int64_t y_stride)                          \
    {                                                                                              \
        typedef T num;                                                                             \
        OUT *out = out_;                                                                           \
        const num *x = x_, *y = y_;                                                                \
        if (x_stride && y_stride) {                                                                \
            _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)                                   \
            {                                                                                      \
                num a = x[i], b = y[i];                                                            \
                out[i] = (EXPR);                                                                   \
            }                                                                                      \
        } else if (x_stride) {                                                                     \
            num b = y[0];                                                                          \
            _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)                                   \
            {                                                                                      \
                num a = x[i];                                                                      \
                out[i] = (EXPR);                                                                   \
            }                                                                                      \
        } else {                                                                                   \
            num a = x[0];                                                                          \
            _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)                                   \
            {                                                                                      \
                num b = y[i];                                                                      \
                out[i] = (EXPR);                                                                   \
            }                                                                                      \
        }                                                                                          \
    }

// The loops of a gradient run: d moves along, or folds into one number.
#define BINARY_GRAD_MOVING(X_AT, Y_AT, EXPR)                                                       \
    if (run->add) {                                                                                \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)                                       \
        {                                                                                          \
            num g = dout[i], o = out[i], a = x[X_AT(i)], b = y[Y_AT(i)];                           \
            d[i] += (EXPR);                                                                        \
            (void)o, (void)a, (void)b;                                                             \
        }                                                                                          \
    } else {                                                                                       \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)                                       \
        {                                                                                          \
            num g = dout[i], o = out[i], a = x[X_AT(i)], b = y[Y_AT(i)];                           \
            d[i] = (EXPR);                                                                         \
            (void)o, (void)a, (void)b;                                                             \
        }                                                                                          \
    }
#define BINARY_GRAD_FOLDED(X_AT, Y_AT, EXPR)                                                       \
    num lanes[OP_LANES] = {0}, total = 0;                                                          \
    int64_t i = 0;                                                                                 \
    for (; i + OP_LANES <= n; i += OP_LANES)                                                       \
        for (int64_t l = 0; l < OP_LANES; l++) {                                                   \
            num g = dout[i + l], o = out[i + l], a = x[X_AT(i + l)], b = y[Y_AT(i + l)];           \
            lanes[l] += (EXPR);                                                                    \
            (void)o, (void)a, (void)b;                                                             \
        }                                                                                          \
    for (; i < n; i++) {                                                                           \
        num g = dout[i], o = out[i], a = x[X_AT(i)], b = y[Y_AT(i)];                               \
        lanes[i % OP_LANES] += (EXPR);                                                             \
        (void)o, (void)a, (void)b;                                                                 \
    }                                                                                              \
    for (int64_t l = 0; l < OP_LANES; l++)                                                         \
        total += lanes[l];                                                                         \
    d[0] += total;
#define BINARY_MOVES(i) (i)
#define BINARY_STAYS(i) 0
#define BINARY_X_ALONE_x BINARY_GRAD_MOVING
#define BINARY_X_ALONE_y BINARY_GRAD_FOLDED
#define BINARY_Y_ALONE_x BINARY_GRAD_FOLDED
#define BINARY_Y_ALONE_y BINARY_GRAD_MOVING

// NAME_grad_S, the gradient of operand OF (x or y), out of an expression of g (dOut), o (Out), a
// (X) and b (Y).
#define BINARY_GRAD(CLONES, NAME, OF, T, S, EXPR)                                                  \
    CLONES static void NAME##_grad_##S(const struct binary_grad_run *run)                          \
    {                                                                                              \
        typedef T num;                                                                             \
        const num *dout = run->dout, *out = run->out, *x = run->x, *y = run->y;                    \
        num *d = run->d;                                                                           \
        int64_t n = run->n;                                                                        \
        if (run->x_moves && run->y_moves) {                                                        \
            BINARY_GRAD_MOVING(BINARY_MOVES, BINARY_MOVES, EXPR)                                   \
        } else if (run->x_moves) {                                                                 \
            BINARY_X_ALONE_##OF(BINARY_MOVES, BINARY_STAYS, EXPR)                                  \
        } else {                                                                                   \
            BINARY_Y_ALONE_##OF(BINARY_STAYS, BINARY_MOVES, EXPR)                                  \
        }                                                                                          \
    }

// The same for an expression of g alone, for either operand.
#define BINARY_GRAD_OF_DOUT(CLONES, NAME, T, S, EXPR)                                              \
    CLONES static void NAME##_grad_##S(const struct binary_grad_run *run)                          \
    {                                                                                              \
        typedef T num;                                                                             \
        const num *dout = run->dout, *out = dout, *x = dout, *y = dout;                            \
        num *d = run->d;                                                                           \
        int64_t n = run->n;                                                                        \
        if (run->d_moves) {                                                                        \
            BINARY_GRAD_MOVING(BINARY_MOVES, BINARY_MOVES, EXPR)                                   \
        } else {                                                                                   \
            BINARY_GRAD_FOLDED(BINARY_MOVES, BINARY_MOVES, EXPR)                                   \
        }                                                                                          \
    }

#define BINARY_ROWS(NAME, EXCHANGES)                                                               \
    {                                                                                              \
        {NAME##_f32, NAME##_f64, NAME##_i32, NAME##_i64}, EXCHANGES                                \
    }
#define BINARY_ALL(NAME)                                                                           \
    {                                                                                              \
        {                                                                                          \
            NAME##_f32, NAME##_f64, NAME##_i32, NAME##_i64                                         \
        }                                                                                          \
    }
