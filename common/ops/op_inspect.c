// SPDX-License-Identifier: Apache-2.0
// Questions about a whole tensor; Out is one bool.
//
//   is_empty   X has no elements
//   isfinite   no element of X is infinite or NaN
//   isinf      some element is infinite
//   isnan      some element is NaN
//
// Integers are finite.

#include <math.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/ops/number.h"
#include "common/ops/op.h"

extern const struct op_def op_inspect_is_empty, op_inspect_isfinite;
extern const struct op_def op_inspect_isinf, op_inspect_isnan;

static const struct op_attr_def no_attrs[] = {{.name = NULL}};
static const struct op_slot_def inspect_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def inspect_outputs[] = {{"Out", 0}, {NULL, 0}};

static int inspect_infer(struct op_shape *shape)
{
    const struct dims one = {.rank = 1, .d = {1}};
    op_shape_set(shape, 0, 0, &one, DTYPE_BOOL, NULL);
    return 0;
}

static int is_empty_forward(struct op_ctx *ctx)
{
    *(uint8_t *)op_out(ctx, 0)->data = tensor_count(op_in(ctx, 0)) == 0;
    return 0;
}

// What the elements of x are, as a set.
enum { HAS_INFINITE = 1, HAS_NAN = 2 };
static int kinds_of(const struct tensor *x)
{
    uint64_t n = tensor_count(x);
    int kinds = 0;
    if (x->dtype == DTYPE_FP32)
        for (uint64_t i = 0; i < n; i++)
            kinds |= (isinf(tensor_f32(x)[i]) ? HAS_INFINITE : 0) |
                     (isnan(tensor_f32(x)[i]) ? HAS_NAN : 0);
    else if (x->dtype == DTYPE_FP64)
        for (uint64_t i = 0; i < n; i++)
            kinds |= (isinf(tensor_f64(x)[i]) ? HAS_INFINITE : 0) |
                     (isnan(tensor_f64(x)[i]) ? HAS_NAN : 0);
    return kinds;
}

static int answer(struct op_ctx *ctx, int asked, bool when_found)
{
    const struct tensor *x = op_in(ctx, 0);
    if (number_of(x->dtype) < 0)
        return op_bad_dtype(ctx, (int)x->dtype);
    *(uint8_t *)op_out(ctx, 0)->data = ((kinds_of(x) & asked) != 0) == when_found;
    return 0;
}

static int isfinite_forward(struct op_ctx *ctx)
{
    return answer(ctx, HAS_INFINITE | HAS_NAN, false);
}

static int isinf_forward(struct op_ctx *ctx)
{
    return answer(ctx, HAS_INFINITE, true);
}

static int isnan_forward(struct op_ctx *ctx)
{
    return answer(ctx, HAS_NAN, true);
}

#define INSPECT_OP(NAME)                                                                           \
    const struct op_def op_inspect_##NAME = {                                                      \
        .type = #NAME,                                                                             \
        .inputs = inspect_inputs,                                                                  \
        .outputs = inspect_outputs,                                                                \
        .attrs = no_attrs,                                                                         \
        .infer_shape = inspect_infer,                                                              \
        .kernel = NAME##_forward,                                                                  \
    };

INSPECT_OP(is_empty)
INSPECT_OP(isfinite)
INSPECT_OP(isinf)
INSPECT_OP(isnan)
