// SPDX-License-Identifier: Apache-2.0
// Comparisons of two tensors under Fluid's broadcast rule, and logic on bool tensors of equal size.
// Out is bool and has no gradient.
//
// Floating numbers are equal when they differ by less than 1e-8, and not_equal is the opposite; so
// an infinity, like NaN, equals nothing. The other comparisons are exact.

#include <math.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/ops/binary.h"

static const struct op_attr_def compare_attrs[] = {
    OP_ATTR_INT("axis", -1), OP_ATTR_BOOL("force_cpu", 0), {.name = NULL}};

#define PLAIN
#define FLOATS(NAME, EXPR)                                                                         \
    BINARY_ROW(OP_CLONES, NAME, uint8_t, float, f32, EXPR)                                         \
    BINARY_ROW(OP_CLONES, NAME, uint8_t, double, f64, EXPR)
#define INTEGERS(NAME, EXPR)                                                                       \
    BINARY_ROW(PLAIN, NAME, uint8_t, int32_t, i32, EXPR)                                           \
    BINARY_ROW(PLAIN, NAME, uint8_t, int64_t, i64, EXPR)
#define COMPARE(NAME)                                                                              \
    static int NAME##_forward(struct op_ctx *ctx)                                                  \
    {                                                                                              \
        static const struct binary_rows rows = BINARY_ROWS(NAME##_row, false);                     \
        return binary_forward(ctx, &rows);                                                         \
    }                                                                                              \
    extern const struct op_def op_compare_##NAME;                                                  \
    const struct op_def op_compare_##NAME = {                                                      \
        .type = #NAME,                                                                             \
        .inputs = binary_inputs,                                                                   \
        .outputs = binary_outputs,                                                                 \
        .attrs = compare_attrs,                                                                    \
        .infer_shape = binary_infer_bool,                                                          \
        .kernel = NAME##_forward,                                                                  \
    };

FLOATS(equal, fabs((double)(a - b)) < 1e-8)
INTEGERS(equal, a == b)
FLOATS(not_equal, (uint8_t) !(fabs((double)(a - b)) < 1e-8))
INTEGERS(not_equal, a != b)
FLOATS(less_than, a < b)
INTEGERS(less_than, a < b)
FLOATS(less_equal, a <= b)
INTEGERS(less_equal, a <= b)
FLOATS(greater_than, a > b)
INTEGERS(greater_than, a > b)
FLOATS(greater_equal, a >= b)
INTEGERS(greater_equal, a >= b)

COMPARE(equal)
COMPARE(not_equal)
COMPARE(less_than)
COMPARE(less_equal)
COMPARE(greater_than)
COMPARE(greater_equal)

// ---- logic

static const struct op_attr_def logical_attrs[] = {{.name = NULL}};
static const struct op_slot_def not_inputs[] = {{"X", 0}, {NULL, 0}};

static int logical_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    op_shape_set(shape, 0, 0, &x->dims, DTYPE_BOOL, x);
    return 0;
}

// Y of a unary op is X.
static int run_logical(struct op_ctx *ctx,
                       void (*run)(uint8_t *, const uint8_t *, const uint8_t *, size_t))
{
    bool unary = ctx->def->inputs == not_inputs;
    const struct tensor *x = op_in(ctx, 0), *y = unary ? x : op_in(ctx, 1);
    if (x->dtype != DTYPE_BOOL || y->dtype != DTYPE_BOOL)
        return op_bad_dtype(ctx, (int)(x->dtype != DTYPE_BOOL ? x->dtype : y->dtype));
    if (tensor_count(x) != tensor_count(y))
        return err_set(ctx->err, SL_EMISMATCH, "X has %llu elements but Y %llu",
                       (unsigned long long)tensor_count(x), (unsigned long long)tensor_count(y));
    run(op_out(ctx, 0)->data, x->data, y->data, tensor_count(x));
    return 0;
}

#define LOGICAL(NAME, INPUTS, EXPR)                                                                \
    static void NAME##_run(uint8_t *out, const uint8_t *x, const uint8_t *y, size_t n)             \
    {                                                                                              \
        for (size_t i = 0; i < n; i++) {                                                           \
            int a = x[i] != 0, b = y[i] != 0;                                                      \
            out[i] = (uint8_t)(EXPR);                                                              \
            (void)b;                                                                               \
        }                                                                                          \
    }                                                                                              \
    static int NAME##_forward(struct op_ctx *ctx)                                                  \
    {                                                                                              \
        return run_logical(ctx, NAME##_run);                                                       \
    }                                                                                              \
    extern const struct op_def op_compare_##NAME;                                                  \
    const struct op_def op_compare_##NAME = {                                                      \
        .type = #NAME,                                                                             \
        .inputs = INPUTS,                                                                          \
        .outputs = binary_outputs,                                                                 \
        .attrs = logical_attrs,                                                                    \
        .infer_shape = logical_infer,                                                              \
        .kernel = NAME##_forward,                                                                  \
    };

LOGICAL(logical_and, binary_inputs, a &b)
LOGICAL(logical_or, binary_inputs, a | b)
LOGICAL(logical_xor, binary_inputs, a ^ b)
LOGICAL(logical_not, not_inputs, !a)
