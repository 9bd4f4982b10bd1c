// SPDX-License-Identifier: Apache-2.0
// Arithmetic of two tensors under Fluid's broadcast rule (broadcast.h). g = dOut.
//
//   add       X + Y            dX = g                dY = g
//   sub       X - Y            dX = g                dY = -g
//   mul       X Y              dX = g Y              dY = g X
//   div       X / Y            dX = g / Y            dY = -g Out / Y
//   max       X > Y ? X : Y    dX = g [X > Y]        dY = g [X <= Y]
//   min       X < Y ? X : Y    dX = g [X < Y]        dY = g [X >= Y]
//   pow       X^Y              dX = g Y X^(Y-1)      dY = g ln(X) X^Y
//   mod       integers: the remainder with X's sign; else with Y's sign     no gradient
//   floordiv  integers, rounded towards 0                                   no gradient
//   minus     X - Y of equal shapes; its gradients are scale ops
//
// Gradients sum over repetitions (binary.h). Integers wrap; they may not be divided by 0. Powers of
// integers and remainders of float are computed in double; an integer power that does not fit is
// the smallest integer. As in Fluid, X and Y of pow, mod and floordiv change places (but not in
// their gradients) when X has fewer dimensions: then Out = Y^X. elementwise_mul takes selected rows
// as X with one number as Y (clips by global norm).

#include <stdint.h>
#include <tgmath.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/ops/binary.h"
#include "common/ops/rows_value.h"
#include "common/program/op_desc.h"

static const struct op_attr_def elementwise_attrs[] = {
    OP_ATTR_INT("axis", -1),
    OP_ATTR_BOOL("use_mkldnn", 0),
    OP_ATTR_STRING("x_data_format", ""),
    OP_ATTR_STRING("y_data_format", ""),
    {.name = NULL},
};

#define PLAIN
#define FLOATS(DEFINE, CLONES, NAME, EXPR)                                                         \
    DEFINE(CLONES, NAME, float, f32, EXPR)                                                         \
    DEFINE(CLONES, NAME, double, f64, EXPR)
#define INTEGERS(DEFINE, NAME, EXPR)                                                               \
    DEFINE(PLAIN, NAME, int32_t, i32, EXPR)                                                        \
    DEFINE(PLAIN, NAME, int64_t, i64, EXPR)
#define NUMBERS_ALL(DEFINE, NAME, EXPR)                                                            \
    FLOATS(DEFINE, OP_CLONES, NAME, EXPR)                                                          \
    INTEGERS(DEFINE, NAME, EXPR)
#define GRAD_X(CLONES, NAME, T, S, EXPR) BINARY_GRAD(CLONES, NAME, x, T, S, EXPR)
#define GRAD_Y(CLONES, NAME, T, S, EXPR) BINARY_GRAD(CLONES, NAME, y, T, S, EXPR)
#define ROW(CLONES, NAME, T, S, EXPR) BINARY_ROW(CLONES, NAME, T, T, S, EXPR)

// Divisions that never trap: the divisor is not 0, but may be -1.
static inline int32_t quotient_i32(int32_t a, int32_t b)
{
    return b == -1 ? -a : a / b;
}

static inline int64_t quotient_i64(int64_t a, int64_t b)
{
    return b == -1 ? -a : a / b;
}

#define QUOTIENT(a, b) _Generic((a), int32_t : quotient_i32, int64_t : quotient_i64)(a, b)

static const struct op_slot_def mul_inputs[] = {{"X", OP_SLOT_ROWS}, {"Y", 0}, {NULL, 0}};

#define POWER(a, b) pow((double)(a), (double)(b))
#define REMAINDER(a, b) fmod((b) + fmod(a, b), b)

NUMBERS_ALL(ROW, add, a + b)
NUMBERS_ALL(ROW, sub, a - b)
NUMBERS_ALL(ROW, mul, a *b)
FLOATS(ROW, OP_CLONES, div, a / b)
INTEGERS(ROW, div, QUOTIENT(a, b))
NUMBERS_ALL(ROW, max, a > b ? a : b)
NUMBERS_ALL(ROW, min, a < b ? a : b)
FLOATS(ROW, PLAIN, pow, pow(a, b))
INTEGERS(ROW, pow, NUMBER_TO_INTEGER(a, POWER(a, b)))
FLOATS(ROW, PLAIN, mod, (num)REMAINDER((double)a, (double)b))
INTEGERS(ROW, mod, b == -1 ? 0 : a % b)

NUMBERS_ALL(BINARY_GRAD_OF_DOUT, same, g)
NUMBERS_ALL(BINARY_GRAD_OF_DOUT, negated, -g)
NUMBERS_ALL(GRAD_X, mul_x, g *b)
NUMBERS_ALL(GRAD_Y, mul_y, g *a)
FLOATS(GRAD_X, OP_CLONES, div_x, g / b)
FLOATS(GRAD_Y, OP_CLONES, div_y, -g *o / b)
INTEGERS(GRAD_X, div_x, QUOTIENT(g, b))
INTEGERS(GRAD_Y, div_y, QUOTIENT(-g *o, b))
NUMBERS_ALL(GRAD_X, max_x, g *(num)(a > b ? 1 : 0))
NUMBERS_ALL(GRAD_Y, max_y, g *(num)(a <= b ? 1 : 0))
NUMBERS_ALL(GRAD_X, min_x, g *(num)(a < b ? 1 : 0))
NUMBERS_ALL(GRAD_Y, min_y, g *(num)(a >= b ? 1 : 0))
FLOATS(GRAD_X, PLAIN, pow_x, g *b *pow(a, b - 1))
FLOATS(GRAD_Y, PLAIN, pow_y, g *log(a) * pow(a, b))
INTEGERS(GRAD_X, pow_x, NUMBER_TO_INTEGER(a, (double)(g *b) * POWER(a, b - 1)))
INTEGERS(GRAD_Y, pow_y, NUMBER_TO_INTEGER(a, (double)g *log((double)a) * POWER(a, b)))

// Refuses 0 in an integer divisor.
static int check_divisor(struct op_ctx *ctx, int slot)
{
    const struct tensor *y = op_in(ctx, slot);
    uint64_t n = tensor_count(y);
    for (uint64_t i = 0; i < n; i++)
        if ((y->dtype == DTYPE_INT32 && tensor_i32(y)[i] == 0) ||
            (y->dtype == DTYPE_INT64 && tensor_i64(y)[i] == 0))
            return err_set(ctx->err, SL_EINVAL,
                           "element %llu of %s is 0: integers are not divided by it",
                           (unsigned long long)i, slot == BINARY_X ? "X" : "Y");
    return 0;
}

static int check_divisors(struct op_ctx *ctx)
{
    return check_divisor(ctx, BINARY_Y);
}

// For those that change places.
static int check_second(struct op_ctx *ctx)
{
    bool exchanged = op_in(ctx, BINARY_X)->dims.rank < op_in(ctx, BINARY_Y)->dims.rank;
    return check_divisor(ctx, exchanged ? BINARY_X : BINARY_Y);
}

#define FORWARD(NAME, CHECK) FORWARD_ROWS(NAME, CHECK, false)
#define FORWARD_ROWS(NAME, CHECK, EXCHANGES)                                                       \
    static int NAME##_forward(struct op_ctx *ctx)                                                  \
    {                                                                                              \
        static const struct binary_rows rows = BINARY_ROWS(NAME##_row, EXCHANGES);                 \
        int rc = CHECK(ctx);                                                                       \
        return rc < 0 ? rc : binary_forward(ctx, &rows);                                           \
    }
#define BACKWARD(NAME, X_GRAD, Y_GRAD, CHECK)                                                      \
    static int NAME##_backward(struct op_ctx *ctx)                                                 \
    {                                                                                              \
        static const struct binary_grads dx = BINARY_ALL(X_GRAD##_grad);                           \
        static const struct binary_grads dy = BINARY_ALL(Y_GRAD##_grad);                           \
        int rc = CHECK(ctx);                                                                       \
        return rc < 0 ? rc : binary_backward(ctx, &dx, &dy);                                       \
    }
#define UNCHECKED(ctx) 0

FORWARD(add, UNCHECKED)
FORWARD(sub, UNCHECKED)
FORWARD(mul, UNCHECKED)
FORWARD(div, check_divisors)
FORWARD(max, UNCHECKED)
FORWARD(min, UNCHECKED)
FORWARD_ROWS(pow, UNCHECKED, true)
FORWARD_ROWS(mod, check_second, true)
BACKWARD(add, same, same, UNCHECKED)
BACKWARD(sub, same, negated, UNCHECKED)
BACKWARD(mul, mul_x, mul_y, UNCHECKED)
BACKWARD(div, div_x, div_y, check_divisors)
BACKWARD(max, max_x, max_y, UNCHECKED)
BACKWARD(min, min_x, min_y, UNCHECKED)
BACKWARD(pow, pow_x, pow_y, UNCHECKED)

static int floordiv_forward(struct op_ctx *ctx)
{
    static const struct binary_rows rows = {{NULL, NULL, div_row_i32, div_row_i64}, true};
    int rc = check_second(ctx);
    return rc < 0 ? rc : binary_forward(ctx, &rows);
}

// Selected rows times one number: their values are scaled.
static int mul_or_scale_forward(struct op_ctx *ctx)
{
    const struct tensor *x, *y = op_in(ctx, BINARY_Y);
    struct tensor *out;
    int rc = op_in(ctx, BINARY_X) != NULL ? 1 : rows_value_open(ctx, &x, &out);
    if (rc != 0)
        return rc < 0 ? rc : mul_forward(ctx);
    if (x->dtype != y->dtype || (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64))
        return err_set(ctx->err, SL_EMISMATCH, "X is %s, Y %s: both must be float32 or float64",
                       dtype_name((int)x->dtype), dtype_name((int)y->dtype));
    (x->dtype == DTYPE_FP32 ? mul_row_f32 : mul_row_f64)(out->data, x->data, y->data,
                                                         (int64_t)tensor_count(x), 1, 0);
    return 0;
}

static int mul_or_scale_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, BINARY_X, 0);
    const struct op_var_dims *y = op_shape_in(shape, BINARY_Y, 0);
    char text[DIMS_TEXT_MAX];
    if (x->kind != VARIABLE_SELECTED_ROWS)
        return binary_infer(shape);
    if (y->dims.rank != 1 || !op_dims_fit(y->dims.d[0], 1))
        return err_set(shape->err, SL_EMISMATCH,
                       "X is selected rows: Y must be one number, not of shape %s",
                       dims_format(&y->dims, text));
    op_shape_copy(shape, 0, 0, x);
    return 0;
}

#define FORWARD_OP(NAME, ...)                                                                      \
    FORWARD_OP_OF(NAME, NAME##_forward, binary_infer, binary_inputs, __VA_ARGS__)
#define FORWARD_OP_OF(NAME, KERNEL, INFER, INPUTS, ...)                                            \
    extern const struct op_def op_elementwise_##NAME;                                              \
    const struct op_def op_elementwise_##NAME = {                                                  \
        .type = "elementwise_" #NAME,                                                              \
        .inputs = INPUTS,                                                                          \
        .outputs = binary_outputs,                                                                 \
        .attrs = elementwise_attrs,                                                                \
        __VA_ARGS__,                                                                               \
        .infer_shape = INFER,                                                                      \
        .kernel = KERNEL,                                                                          \
    };
#define OP(NAME, GRAD_SLOTS, GRAD_INPUTS)                                                          \
    OP_OF(NAME, NAME##_forward, binary_infer, binary_inputs, GRAD_SLOTS, GRAD_INPUTS)
#define OP_OF(NAME, KERNEL, INFER, INPUTS, GRAD_SLOTS, GRAD_INPUTS)                                \
    FORWARD_OP_OF(NAME, KERNEL, INFER, INPUTS,                                                     \
                  .grad = {.type = "elementwise_" #NAME "_grad",                                   \
                           .inputs = GRAD_INPUTS,                                                  \
                           .outputs = "X@GRAD Y@GRAD"})                                            \
    extern const struct op_def op_elementwise_##NAME##_grad;                                       \
    const struct op_def op_elementwise_##NAME##_grad = {                                           \
        .type = "elementwise_" #NAME "_grad",                                                      \
        .inputs = GRAD_SLOTS,                                                                      \
        .outputs = binary_grad_outputs,                                                            \
        .attrs = elementwise_attrs,                                                                \
        .infer_shape = binary_grad_infer,                                                          \
        .kernel = NAME##_backward,                                                                 \
    };

OP(add, binary_grad_inputs, "X Y Out@GRAD")
OP(sub, binary_grad_inputs, "X Y Out@GRAD")
OP_OF(mul, mul_or_scale_forward, mul_or_scale_infer, mul_inputs, binary_grad_inputs, "X Y Out@GRAD")
OP(div, binary_grad_inputs_with_out, "X Y Out Out@GRAD")
OP(max, binary_grad_inputs, "X Y Out@GRAD")
OP(min, binary_grad_inputs, "X Y Out@GRAD")
OP(pow, binary_grad_inputs, "X Y Out@GRAD")
FORWARD_OP(mod, .grad = {.type = NULL})
FORWARD_OP(floordiv, .grad = {.type = NULL})

// ---- minus

static const struct op_attr_def minus_attrs[] = {
    {.name = "axis", .type = ATTR_INT, .number = -1, .kernel_only = true}, {.name = NULL}};

static int minus_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, BINARY_X, 0);
    const struct op_var_dims *y = op_shape_in(shape, BINARY_Y, 0);
    char x_text[DIMS_TEXT_MAX], y_text[DIMS_TEXT_MAX];
    bool fits = x->dims.rank == y->dims.rank;
    for (int i = 0; fits && i < x->dims.rank; i++)
        fits = op_dims_fit(x->dims.d[i], y->dims.d[i]);
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH, "X is %s but Y %s: they must have one shape",
                       dims_format(&x->dims, x_text), dims_format(&y->dims, y_text));
    op_shape_copy(shape, 0, 0, x);
    return 0;
}

static int minus_forward(struct op_ctx *ctx)
{
    static const struct binary_rows rows = {{sub_row_f32, sub_row_f64}, false};
    return binary_forward(ctx, &rows);
}

// dX and dY are dOut scaled by 1 and by -1.
static int minus_grad(const struct op_desc *forward, struct op_desc **out, int out_max)
{
    const char *dout = op_desc_output1(forward, "Out");
    int count = 0;
    if (dout == NULL || out_max < 2)
        return SL_EINVAL;
    for (int k = 0; k < 2; k++) {
        const char *operand = op_desc_input1(forward, k == 0 ? "X" : "Y");
        if (operand == NULL)
            continue;
        char *from = mem_must_printf("%s" GRAD_SUFFIX, dout);
        char *to = mem_must_printf("%s" GRAD_SUFFIX, operand);
        struct op_desc *op = op_desc_new("scale");
        op_desc_add_input(op, "X", from);
        op_desc_add_output(op, "Out", to);
        mem_free(from);
        mem_free(to);
        op_desc_set_float(op, "scale", k == 0 ? 1 : -1);
        out[count++] = op;
    }
    return count;
}

extern const struct op_def op_elementwise_minus;
const struct op_def op_elementwise_minus = {
    .type = "minus",
    .inputs = binary_inputs,
    .outputs = binary_outputs,
    .attrs = minus_attrs,
    .grad = {.make = minus_grad},
    .infer_shape = minus_infer,
    .kernel = minus_forward,
};
