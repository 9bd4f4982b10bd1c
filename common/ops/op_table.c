// SPDX-License-Identifier: Apache-2.0
// All compute ops, one line each. Ops with I/O are not here: an executor is given them (plan.h).

#include "common/base/str.h"
#include "common/ops/op.h"

#define OP_TABLE(X)                                                                                \
    X(op_activation_relu)                                                                          \
    X(op_activation_relu_grad)                                                                     \
    X(op_activation_square)                                                                        \
    X(op_activation_square_grad)                                                                   \
    X(op_adam)                                                                                     \
    X(op_cast)                                                                                     \
    X(op_concat)                                                                                   \
    X(op_concat_grad)                                                                              \
    X(op_concat_split)                                                                             \
    X(op_concat_split_byref)                                                                       \
    X(op_cross_entropy)                                                                            \
    X(op_cross_entropy_grad)                                                                       \
    X(op_cross_entropy_v2)                                                                         \
    X(op_cross_entropy_v2_grad)                                                                    \
    X(op_elementwise_add)                                                                          \
    X(op_elementwise_add_grad)                                                                     \
    X(op_elementwise_mul)                                                                          \
    X(op_elementwise_mul_grad)                                                                     \
    X(op_elementwise_sub)                                                                          \
    X(op_elementwise_sub_grad)                                                                     \
    X(op_feed)                                                                                     \
    X(op_feed_fetch)                                                                               \
    X(op_fill_assign)                                                                              \
    X(op_fill_constant)                                                                            \
    X(op_fill_shape)                                                                               \
    X(op_mean)                                                                                     \
    X(op_mean_grad)                                                                                \
    X(op_metric_accuracy)                                                                          \
    X(op_metric_top_k)                                                                             \
    X(op_metric_top_k_grad)                                                                        \
    X(op_momentum)                                                                                 \
    X(op_mul)                                                                                      \
    X(op_mul_grad)                                                                                 \
    X(op_random_gaussian)                                                                          \
    X(op_random_truncated_gaussian)                                                                \
    X(op_random_uniform)                                                                           \
    X(op_sgd)                                                                                      \
    X(op_softmax)                                                                                  \
    X(op_softmax_grad)                                                                             \
    X(op_sum)                                                                                      \
    X(op_sum_scale)

#define X(name) extern const struct op_def name;
OP_TABLE(X)
#undef X

static const struct op_def *const table[] = {
#define X(name) &name,
    OP_TABLE(X)
#undef X
};

const struct op_def *op_table_find(const char *type)
{
    for (size_t i = 0; i < op_table_count(); i++)
        if (str_eq(table[i]->type, type))
            return table[i];
    return NULL;
}

size_t op_table_count(void)
{
    return sizeof table / sizeof *table;
}

const struct op_def *op_table_at(size_t i)
{
    return table[i];
}
