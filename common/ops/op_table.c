// SPDX-License-Identifier: Apache-2.0
// All compute ops, one line each. Ops with I/O are not here: an executor is given them (plan.h).

#include "common/base/str.h"
#include "common/ops/op.h"

#define OP_TABLE(X)                                                                                \
    X(op_activation_brelu)                                                                         \
    X(op_activation_brelu_grad)                                                                    \
    X(op_activation_elu)                                                                           \
    X(op_activation_elu_grad)                                                                      \
    X(op_activation_gelu)                                                                          \
    X(op_activation_gelu_grad)                                                                     \
    X(op_activation_hard_shrink)                                                                   \
    X(op_activation_hard_shrink_grad)                                                              \
    X(op_activation_hard_sigmoid)                                                                  \
    X(op_activation_hard_sigmoid_grad)                                                             \
    X(op_activation_hard_swish)                                                                    \
    X(op_activation_hard_swish_grad)                                                               \
    X(op_activation_leaky_relu)                                                                    \
    X(op_activation_leaky_relu_grad)                                                               \
    X(op_activation_logsigmoid)                                                                    \
    X(op_activation_logsigmoid_grad)                                                               \
    X(op_activation_relu)                                                                          \
    X(op_activation_relu6)                                                                         \
    X(op_activation_relu6_grad)                                                                    \
    X(op_activation_relu_grad)                                                                     \
    X(op_activation_selu)                                                                          \
    X(op_activation_selu_grad)                                                                     \
    X(op_activation_sigmoid)                                                                       \
    X(op_activation_sigmoid_grad)                                                                  \
    X(op_activation_soft_relu)                                                                     \
    X(op_activation_soft_relu_grad)                                                                \
    X(op_activation_softplus)                                                                      \
    X(op_activation_softplus_grad)                                                                 \
    X(op_activation_softshrink)                                                                    \
    X(op_activation_softshrink_grad)                                                               \
    X(op_activation_softsign)                                                                      \
    X(op_activation_softsign_grad)                                                                 \
    X(op_activation_stanh)                                                                         \
    X(op_activation_stanh_grad)                                                                    \
    X(op_activation_swish)                                                                         \
    X(op_activation_swish_grad)                                                                    \
    X(op_activation_tanh)                                                                          \
    X(op_activation_tanh_grad)                                                                     \
    X(op_activation_tanh_shrink)                                                                   \
    X(op_activation_tanh_shrink_grad)                                                              \
    X(op_activation_thresholded_relu)                                                              \
    X(op_activation_thresholded_relu_grad)                                                         \
    X(op_adam)                                                                                     \
    X(op_affine_channel)                                                                           \
    X(op_affine_channel_grad)                                                                      \
    X(op_cast)                                                                                     \
    X(op_clip)                                                                                     \
    X(op_clip_grad)                                                                                \
    X(op_clip_pow)                                                                                 \
    X(op_clip_pow_grad)                                                                            \
    X(op_compare_equal)                                                                            \
    X(op_compare_greater_equal)                                                                    \
    X(op_compare_greater_than)                                                                     \
    X(op_compare_less_equal)                                                                       \
    X(op_compare_less_than)                                                                        \
    X(op_compare_logical_and)                                                                      \
    X(op_compare_logical_not)                                                                      \
    X(op_compare_logical_or)                                                                       \
    X(op_compare_logical_xor)                                                                      \
    X(op_compare_not_equal)                                                                        \
    X(op_concat)                                                                                   \
    X(op_concat_grad)                                                                              \
    X(op_concat_split)                                                                             \
    X(op_concat_split_byref)                                                                       \
    X(op_control_conditional_block)                                                                \
    X(op_crop)                                                                                     \
    X(op_crop_grad)                                                                                \
    X(op_crop_tensor)                                                                              \
    X(op_crop_tensor_grad)                                                                         \
    X(op_cross_entropy)                                                                            \
    X(op_cross_entropy_grad)                                                                       \
    X(op_cross_entropy_v2)                                                                         \
    X(op_cross_entropy_v2_grad)                                                                    \
    X(op_cumsum)                                                                                   \
    X(op_dot)                                                                                      \
    X(op_dot_cos_sim)                                                                              \
    X(op_dot_cos_sim_grad)                                                                         \
    X(op_dot_grad)                                                                                 \
    X(op_elementwise_add)                                                                          \
    X(op_elementwise_add_grad)                                                                     \
    X(op_elementwise_div)                                                                          \
    X(op_elementwise_div_grad)                                                                     \
    X(op_elementwise_floordiv)                                                                     \
    X(op_elementwise_max)                                                                          \
    X(op_elementwise_max_grad)                                                                     \
    X(op_elementwise_min)                                                                          \
    X(op_elementwise_min_grad)                                                                     \
    X(op_elementwise_minus)                                                                        \
    X(op_elementwise_mod)                                                                          \
    X(op_elementwise_mul)                                                                          \
    X(op_elementwise_mul_grad)                                                                     \
    X(op_elementwise_pow)                                                                          \
    X(op_elementwise_pow_grad)                                                                     \
    X(op_elementwise_sub)                                                                          \
    X(op_elementwise_sub_grad)                                                                     \
    X(op_expand)                                                                                   \
    X(op_expand_as)                                                                                \
    X(op_expand_as_grad)                                                                           \
    X(op_expand_grad)                                                                              \
    X(op_feed)                                                                                     \
    X(op_feed_fetch)                                                                               \
    X(op_fill_assign)                                                                              \
    X(op_fill_constant)                                                                            \
    X(op_fill_like_any)                                                                            \
    X(op_fill_like_assign_value)                                                                   \
    X(op_fill_like_batch_size)                                                                     \
    X(op_fill_like_diag)                                                                           \
    X(op_fill_like_eye)                                                                            \
    X(op_fill_like_zeros)                                                                          \
    X(op_fill_like_zeros2)                                                                         \
    X(op_fill_shape)                                                                               \
    X(op_gather)                                                                                   \
    X(op_gather_grad)                                                                              \
    X(op_gather_nd)                                                                                \
    X(op_gather_nd_grad)                                                                           \
    X(op_gather_nd_scatter_add)                                                                    \
    X(op_gather_nd_scatter_add_grad)                                                               \
    X(op_gather_scatter)                                                                           \
    X(op_gather_scatter_grad)                                                                      \
    X(op_increment)                                                                                \
    X(op_inspect_is_empty)                                                                         \
    X(op_inspect_isfinite)                                                                         \
    X(op_inspect_isinf)                                                                            \
    X(op_inspect_isnan)                                                                            \
    X(op_label_smooth)                                                                             \
    X(op_label_smooth_grad)                                                                        \
    X(op_lookup_table)                                                                             \
    X(op_lookup_table_grad)                                                                        \
    X(op_lookup_table_v2)                                                                          \
    X(op_lookup_table_v2_grad)                                                                     \
    X(op_math_abs)                                                                                 \
    X(op_math_abs_grad)                                                                            \
    X(op_math_acos)                                                                                \
    X(op_math_acos_grad)                                                                           \
    X(op_math_asin)                                                                                \
    X(op_math_asin_grad)                                                                           \
    X(op_math_atan)                                                                                \
    X(op_math_atan_grad)                                                                           \
    X(op_math_ceil)                                                                                \
    X(op_math_ceil_grad)                                                                           \
    X(op_math_cos)                                                                                 \
    X(op_math_cos_grad)                                                                            \
    X(op_math_erf)                                                                                 \
    X(op_math_erf_grad)                                                                            \
    X(op_math_exp)                                                                                 \
    X(op_math_exp_grad)                                                                            \
    X(op_math_floor)                                                                               \
    X(op_math_floor_grad)                                                                          \
    X(op_math_log)                                                                                 \
    X(op_math_log1p)                                                                               \
    X(op_math_log1p_grad)                                                                          \
    X(op_math_log_grad)                                                                            \
    X(op_math_reciprocal)                                                                          \
    X(op_math_reciprocal_grad)                                                                     \
    X(op_math_round)                                                                               \
    X(op_math_round_grad)                                                                          \
    X(op_math_rsqrt)                                                                               \
    X(op_math_rsqrt_grad)                                                                          \
    X(op_math_sign)                                                                                \
    X(op_math_sin)                                                                                 \
    X(op_math_sin_grad)                                                                            \
    X(op_math_sqrt)                                                                                \
    X(op_math_sqrt_grad)                                                                           \
    X(op_math_square)                                                                              \
    X(op_math_square_grad)                                                                         \
    X(op_maxout)                                                                                   \
    X(op_maxout_grad)                                                                              \
    X(op_mean)                                                                                     \
    X(op_mean_grad)                                                                                \
    X(op_metric_accuracy)                                                                          \
    X(op_metric_top_k)                                                                             \
    X(op_metric_top_k_grad)                                                                        \
    X(op_momentum)                                                                                 \
    X(op_mul)                                                                                      \
    X(op_mul_grad)                                                                                 \
    X(op_one_hot)                                                                                  \
    X(op_one_hot_v2)                                                                               \
    X(op_pad)                                                                                      \
    X(op_pad_2d)                                                                                   \
    X(op_pad_2d_grad)                                                                              \
    X(op_pad_constant_like)                                                                        \
    X(op_pad_constant_like_grad)                                                                   \
    X(op_pad_grad)                                                                                 \
    X(op_prelu)                                                                                    \
    X(op_prelu_grad)                                                                               \
    X(op_print)                                                                                    \
    X(op_random_gaussian)                                                                          \
    X(op_random_gaussian_like)                                                                     \
    X(op_random_randint)                                                                           \
    X(op_random_truncated_gaussian)                                                                \
    X(op_random_uniform)                                                                           \
    X(op_random_uniform_like)                                                                      \
    X(op_range)                                                                                    \
    X(op_range_linspace)                                                                           \
    X(op_range_size)                                                                               \
    X(op_reshape)                                                                                  \
    X(op_reshape_flatten)                                                                          \
    X(op_reshape_flatten2)                                                                         \
    X(op_reshape_flatten2_grad)                                                                    \
    X(op_reshape_flatten_grad)                                                                     \
    X(op_reshape_grad)                                                                             \
    X(op_reshape_squeeze)                                                                          \
    X(op_reshape_squeeze2)                                                                         \
    X(op_reshape_squeeze2_grad)                                                                    \
    X(op_reshape_squeeze_grad)                                                                     \
    X(op_reshape_unsqueeze)                                                                        \
    X(op_reshape_unsqueeze2)                                                                       \
    X(op_reshape_unsqueeze2_grad)                                                                  \
    X(op_reshape_unsqueeze_grad)                                                                   \
    X(op_reshape_v2)                                                                               \
    X(op_reshape_v2_grad)                                                                          \
    X(op_reverse)                                                                                  \
    X(op_reverse_flip)                                                                             \
    X(op_select_multiplex)                                                                         \
    X(op_select_multiplex_grad)                                                                    \
    X(op_select_where)                                                                             \
    X(op_select_where_grad)                                                                        \
    X(op_select_where_index)                                                                       \
    X(op_sgd)                                                                                      \
    X(op_slice)                                                                                    \
    X(op_slice_grad)                                                                               \
    X(op_slice_strided)                                                                            \
    X(op_slice_strided_grad)                                                                       \
    X(op_softmax)                                                                                  \
    X(op_softmax_grad)                                                                             \
    X(op_sort_arg_max)                                                                             \
    X(op_sort_arg_min)                                                                             \
    X(op_sort_argsort)                                                                             \
    X(op_sort_argsort_grad)                                                                        \
    X(op_stack)                                                                                    \
    X(op_stack_grad)                                                                               \
    X(op_stack_unbind)                                                                             \
    X(op_stack_unstack)                                                                            \
    X(op_stack_unstack_grad)                                                                       \
    X(op_sum)                                                                                      \
    X(op_sum_scale)                                                                                \
    X(op_transpose)                                                                                \
    X(op_transpose_grad)                                                                           \
    X(op_transpose_v2)                                                                             \
    X(op_transpose_v2_grad)

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
