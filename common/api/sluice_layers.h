// SPDX-License-Identifier: Apache-2.0
// Part of sluice.h: initializers, parameter attributes and layers (fluid.initializer,
// fluid.ParamAttr, fluid.layers). Include sluice.h.
#pragma once

#include <limits.h>

#include "sluice.h"

#ifdef __cplusplus
extern "C" {
#endif

enum sl_initializer_kind {
    SL_INIT_DEFAULT,   // Xavier for weights, 0 for biases
    SL_INIT_CONSTANT,
    SL_INIT_UNIFORM,
    SL_INIT_NORMAL,
    SL_INIT_TRUNCATED_NORMAL,
    SL_INIT_XAVIER,
    SL_INIT_MSRA,
    SL_INIT_BILINEAR,   // filters [.., .., n, n] that enlarge by interpolation
    SL_INIT_ARRAY,
};

// Use the functions below; seed 0 takes the program's random seed.
struct sl_initializer {
    enum sl_initializer_kind kind;
    bool uniform;   // Xavier, MSRA
    double a, b;    // value | low, high | mean, deviation | fan_in, fan_out (0: from the shape)
    uint32_t seed;
    const struct sl_tensor *array;   // borrowed until the parameter is made
};
SL_API struct sl_initializer sl_constant(double value);
SL_API struct sl_initializer sl_uniform(double low, double high, uint32_t seed);
SL_API struct sl_initializer sl_normal(double mean, double deviation, uint32_t seed);
SL_API struct sl_initializer sl_truncated_normal(double mean, double deviation, uint32_t seed);
SL_API struct sl_initializer sl_xavier(bool uniform, double fan_in, double fan_out, uint32_t seed);
SL_API struct sl_initializer sl_msra(bool uniform, double fan_in, uint32_t seed);
SL_API struct sl_initializer sl_bilinear(void);
SL_API struct sl_initializer sl_array(const struct sl_tensor *value);   // fluid's NumpyArray

// fluid.regularizer: a term of the gradient, coeff * sign(parameter) or coeff * parameter.
enum sl_regularizer_kind { SL_REGULARIZER_NONE, SL_REGULARIZER_L1, SL_REGULARIZER_L2 };
struct sl_regularizer {
    enum sl_regularizer_kind kind;
    double coeff;
};
SL_API struct sl_regularizer sl_l1_decay(double coeff);
SL_API struct sl_regularizer sl_l2_decay(double coeff);

// fluid.ParamAttr.
struct sl_param_attr {
    const char *name;   // NULL: generated
    struct sl_initializer initializer;
    double learning_rate;                // factor of the optimizer's rate
    struct sl_regularizer regularizer;   // in place of the optimizer's
    bool trainable;
    bool not_averaged;   // left out by averages of parameters
};
SL_API struct sl_param_attr sl_param_attr_defaults(void);

struct sl_fc_options {
    int num_flatten_dims;   // dimensions in front that stay; the rest becomes the width
    const char *act;        // "relu", "softmax", ...; NULL: none
    const struct sl_param_attr *param_attr;
    const struct sl_param_attr *bias_attr;
    bool no_bias;
    const char *name;   // instead of fc_N
};
SL_API struct sl_fc_options sl_fc_defaults(void);   // num_flatten_dims 1

// A fed variable; shape without the batch dimension, which is put in front.
SL_API sl_var *sl_data(sl_net *net, const char *name, enum sl_dtype dtype, struct sl_shape shape);
// The same with LoD levels and with the shape exactly as given (-1 where it is open).
SL_API sl_var *sl_data_lod(sl_net *net, const char *name, enum sl_dtype dtype,
                           struct sl_shape shape, int lod_level);
// input [N, ...] -> [N, size]: input x weights [width, size] + bias [size], then act.
SL_API sl_var *sl_fc(sl_net *net, sl_var *input, int64_t size, const struct sl_fc_options *options);
// The same of several inputs, each with weights of its own; their products are added.
SL_API sl_var *sl_fc_many(sl_net *net, sl_var *const *inputs, size_t count, int64_t size,
                          const struct sl_fc_options *options);
// ids [..., 1] (int64) -> rows of a table [rows, width].
#define SL_NO_PADDING INT64_MIN
struct sl_embedding_options {
    bool is_sparse, is_distributed;
    int64_t padding_idx;   // this id gives zeros; negative: from the end; SL_NO_PADDING: none
    const struct sl_param_attr *param_attr;
};
SL_API struct sl_embedding_options sl_embedding_defaults(void);
SL_API sl_var *sl_embedding(sl_net *net, sl_var *ids, int64_t rows, int64_t width,
                            const struct sl_embedding_options *options);
SL_API sl_var *sl_create_parameter(sl_net *net, struct sl_shape shape, enum sl_dtype dtype,
                                   const struct sl_param_attr *attr);

// ---- element by element
// sl_relu(net, x), sl_exp(net, x), ...: functions of one variable.
#define SL_FUNCTIONS_OF_ONE(X)                                                                     \
    X(relu) X(sigmoid) X(logsigmoid) X(tanh) X(tanh_shrink) X(softplus) X(softsign)               \
    X(exp) X(log) X(log1p) X(sqrt) X(rsqrt) X(square) X(reciprocal) X(abs) X(sign)                \
    X(ceil) X(floor) X(round) X(sin) X(cos) X(asin) X(acos) X(atan) X(erf)
#define X(name) SL_API sl_var *sl_##name(sl_net *net, sl_var *x);
SL_FUNCTIONS_OF_ONE(X)
#undef X
// Any operator of X and Out by its name, with the attributes that its maker gives.
SL_API sl_var *sl_activation(sl_net *net, const char *type, sl_var *x);
SL_API sl_var *sl_leaky_relu(sl_net *net, sl_var *x, double alpha);   // Fluid's default: 0.02
SL_API sl_var *sl_elu(sl_net *net, sl_var *x, double alpha);          // 1
SL_API sl_var *sl_relu6(sl_net *net, sl_var *x, double threshold);    // 6
SL_API sl_var *sl_pow(sl_net *net, sl_var *x, double factor);
SL_API sl_var *sl_stanh(sl_net *net, sl_var *x, double scale_a, double scale_b);   // 0.67, 1.7159
SL_API sl_var *sl_hard_sigmoid(sl_net *net, sl_var *x, double slope, double offset);   // 0.2, 0.5
SL_API sl_var *sl_swish(sl_net *net, sl_var *x, double beta);                          // 1
SL_API sl_var *sl_hard_swish(sl_net *net, sl_var *x, double threshold, double scale,
                             double offset);                                      // 6, 6, 3
SL_API sl_var *sl_brelu(sl_net *net, sl_var *x, double t_min, double t_max);      // 0, 24
SL_API sl_var *sl_soft_relu(sl_net *net, sl_var *x, double threshold);            // 40
SL_API sl_var *sl_hard_shrink(sl_net *net, sl_var *x, double threshold);          // 0.5
SL_API sl_var *sl_softshrink(sl_net *net, sl_var *x, double alpha);               // 0.5
SL_API sl_var *sl_thresholded_relu(sl_net *net, sl_var *x, double threshold);     // 1
SL_API sl_var *sl_selu(sl_net *net, sl_var *x);
SL_API sl_var *sl_gelu(sl_net *net, sl_var *x, bool approximate);
SL_API sl_var *sl_maxout(sl_net *net, sl_var *x, int groups, int axis);
SL_API sl_var *sl_softmax(sl_net *net, sl_var *x);   // over the last dimension
SL_API sl_var *sl_softmax_axis(sl_net *net, sl_var *x, int axis);
// mode "all", "channel" or "element": how many slopes are learnt.
SL_API sl_var *sl_prelu(sl_net *net, sl_var *x, const char *mode,
                        const struct sl_param_attr *attr);
SL_API sl_var *sl_scale(sl_net *net, sl_var *x, double scale, double bias);   // scale * x + bias
SL_API sl_var *sl_clip(sl_net *net, sl_var *x, double min, double max);
SL_API sl_var *sl_clip_norm(sl_net *net, sl_var *x, double max_norm);   // fluid's clip_by_norm
SL_API sl_var *sl_increment(sl_net *net, sl_var *x, double value);      // in place

// sl_elementwise_add(net, x, y, axis), ...: y aligned at axis of x (-1: at the end).
#define SL_ELEMENTWISE(X)                                                                          \
    X(elementwise_add) X(elementwise_sub) X(elementwise_mul) X(elementwise_div)                   \
    X(elementwise_max) X(elementwise_min) X(elementwise_pow) X(elementwise_mod)                   \
    X(elementwise_floordiv)
#define X(name) SL_API sl_var *sl_##name(sl_net *net, sl_var *x, sl_var *y, int axis);
SL_ELEMENTWISE(X)
#undef X
// sl_var_add(net, x, y), ...: what Python's x + y, x - y, x * y, x / y append: results tmp_N, y
// cast to x's type and aligned at the batch. sl_var_scale: x * scale + bias with numbers.
#define SL_OPERATORS(X) X(add) X(sub) X(mul) X(div)
#define X(name) SL_API sl_var *sl_var_##name(sl_net *net, sl_var *x, sl_var *y);
SL_OPERATORS(X)
#undef X
SL_API sl_var *sl_var_scale(sl_net *net, sl_var *x, double scale, double bias);
// sl_less_than(net, x, y), ...: bool.
#define SL_COMPARISONS(X)                                                                          \
    X(less_than) X(less_equal) X(greater_than) X(greater_equal) X(equal) X(not_equal)             \
    X(logical_and) X(logical_or) X(logical_xor)
#define X(name) SL_API sl_var *sl_##name(sl_net *net, sl_var *x, sl_var *y);
SL_COMPARISONS(X)
#undef X
SL_API sl_var *sl_logical_not(sl_net *net, sl_var *x);
SL_API sl_var *sl_isfinite(sl_net *net, sl_var *x);   // are all elements finite? -> [1]

// ---- products, sums, reductions, order
SL_API sl_var *sl_mul(sl_net *net, sl_var *x, sl_var *y, int x_num_col_dims, int y_num_col_dims);
struct sl_matmul_options {
    bool transpose_x, transpose_y;
    double alpha;
};
SL_API struct sl_matmul_options sl_matmul_defaults(void);   // false, false, 1
SL_API sl_var *sl_matmul(sl_net *net, sl_var *x, sl_var *y,
                         const struct sl_matmul_options *options);
SL_API sl_var *sl_bmm(sl_net *net, sl_var *x, sl_var *y);
SL_API sl_var *sl_dot(sl_net *net, sl_var *x, sl_var *y);
SL_API sl_var *sl_cos_sim(sl_net *net, sl_var *x, sl_var *y);
SL_API sl_var *sl_mean(sl_net *net, sl_var *x);   // -> [1]
SL_API sl_var *sl_sum(sl_net *net, sl_var *const *x,
                      size_t count);   // fluid.layers.sums: same shapes, added
// sl_reduce_sum(net, x, dims, count, keep_dim), ...: dims NULL: over all.
#define SL_REDUCTIONS(X)                                                                           \
    X(reduce_sum) X(reduce_mean) X(reduce_max) X(reduce_min) X(reduce_prod) X(reduce_all)         \
    X(reduce_any)
#define X(name)                                                                                    \
    SL_API sl_var *sl_##name(sl_net *net, sl_var *x, const int64_t *dims, size_t count,           \
                             bool keep_dim);
SL_REDUCTIONS(X)
#undef X
SL_API sl_var *sl_cumsum(sl_net *net, sl_var *x, int axis, bool exclusive, bool reverse);
SL_API sl_var *sl_argmax(sl_net *net, sl_var *x, int axis);
SL_API sl_var *sl_argmin(sl_net *net, sl_var *x, int axis);
// Values; out_indices may be NULL.
SL_API sl_var *sl_argsort(sl_net *net, sl_var *x, int axis, bool descending, sl_var **out_indices);
SL_API sl_var *sl_topk(sl_net *net, sl_var *x, int k, sl_var **out_indices);

// ---- shapes. Lists of numbers are told as SL_SHAPE(...).
SL_API sl_var *sl_reshape(sl_net *net, sl_var *x, struct sl_shape shape);   // 0: as x, one -1
SL_API sl_var *sl_transpose(sl_net *net, sl_var *x, struct sl_shape perm);
SL_API sl_var *sl_squeeze(sl_net *net, sl_var *x, struct sl_shape axes);
SL_API sl_var *sl_unsqueeze(sl_net *net, sl_var *x, struct sl_shape axes);
SL_API sl_var *sl_flatten(sl_net *net, sl_var *x, int axis);
SL_API sl_var *sl_concat(sl_net *net, sl_var *const *x, size_t count, int axis);
SL_API sl_var *sl_stack(sl_net *net, sl_var *const *x, size_t count, int axis);
// out takes count variables (unstack: as many as the dimension has). 0 or the net's error.
SL_API int sl_split(sl_net *net, sl_var *x, size_t count, int axis, sl_var **out);
SL_API int sl_split_sections(sl_net *net, sl_var *x, struct sl_shape sections, int axis,
                             sl_var **out);
SL_API int sl_unstack(sl_net *net, sl_var *x, int axis, sl_var **out);
SL_API sl_var *sl_slice(sl_net *net, sl_var *x, struct sl_shape axes, struct sl_shape starts,
                        struct sl_shape ends);
SL_API sl_var *sl_strided_slice(sl_net *net, sl_var *x, struct sl_shape axes,
                                struct sl_shape starts, struct sl_shape ends,
                                struct sl_shape strides);
SL_API sl_var *sl_crop(sl_net *net, sl_var *x, struct sl_shape shape, struct sl_shape offsets);
SL_API sl_var *sl_expand(sl_net *net, sl_var *x, struct sl_shape times);
SL_API sl_var *sl_expand_as(sl_net *net, sl_var *x, sl_var *target);
// Two numbers a dimension: in front, behind.
SL_API sl_var *sl_pad(sl_net *net, sl_var *x, const int64_t *paddings, size_t count, double value);
struct sl_pad2d_options {
    const char *mode;   // "constant", "reflect", "edge"
    double value;
    const char *data_format;
};
SL_API struct sl_pad2d_options sl_pad2d_defaults(void);   // constant, 0, NCHW
SL_API sl_var *sl_pad2d(sl_net *net, sl_var *x,
                        const int64_t paddings[4],   // top bottom left right
                        const struct sl_pad2d_options *options);
SL_API sl_var *sl_reverse(sl_net *net, sl_var *x, struct sl_shape axes);
SL_API sl_var *sl_gather(sl_net *net, sl_var *x, sl_var *index);
SL_API sl_var *sl_gather_nd(sl_net *net, sl_var *x, sl_var *index);
SL_API sl_var *sl_scatter(sl_net *net, sl_var *x, sl_var *index, sl_var *updates, bool overwrite);
SL_API sl_var *sl_one_hot(sl_net *net, sl_var *x, int depth);
SL_API sl_var *sl_multiplex(sl_net *net, sl_var *const *x, size_t count, sl_var *index);
SL_API sl_var *sl_shape_of(sl_net *net, sl_var *x);   // fluid.layers.shape: int32

// ---- constants, random numbers, copies
SL_API sl_var *sl_fill_constant(sl_net *net, struct sl_shape shape, enum sl_dtype dtype,
                                double value);
SL_API sl_var *sl_fill_constant_batch_size_like(sl_net *net, sl_var *like, struct sl_shape shape,
                                                enum sl_dtype dtype, double value);
SL_API sl_var *sl_zeros_like(sl_net *net, sl_var *x);
SL_API sl_var *sl_ones_like(sl_net *net, sl_var *x);
SL_API sl_var *sl_assign(sl_net *net, sl_var *x, sl_var *output);   // output NULL: a new variable
SL_API sl_var *sl_cast(sl_net *net, sl_var *x, enum sl_dtype dtype);
SL_API sl_var *sl_uniform_random(sl_net *net, struct sl_shape shape, enum sl_dtype dtype,
                                 double min, double max, uint32_t seed);
SL_API sl_var *sl_gaussian_random(sl_net *net, struct sl_shape shape, enum sl_dtype dtype,
                                  double mean, double deviation, uint32_t seed);
SL_API sl_var *sl_range(sl_net *net, double start, double end, double step, enum sl_dtype dtype);
SL_API sl_var *sl_linspace(sl_net *net, double start, double stop, int num, enum sl_dtype dtype);

// ---- images [N, channels, height, width]
struct sl_conv2d_options {
    int stride[2];                   // vertical, horizontal
    int padding[4];                  // top, bottom, left, right
    int dilation[2];
    int groups;
    const char *padding_algorithm;   // "EXPLICIT", "SAME", "VALID"
    const char *data_format;         // "NCHW", "NHWC"
    const char *act;
    const struct sl_param_attr *param_attr, *bias_attr;
    bool no_bias;
    bool use_cudnn;   // as in Fluid, false makes depthwise convolutions an operator of their own
};
SL_API struct sl_conv2d_options sl_conv2d_defaults(void);
SL_API sl_var *sl_conv2d(sl_net *net, sl_var *input, int64_t num_filters, int64_t filter_height,
                         int64_t filter_width, const struct sl_conv2d_options *options);
// output_size {0}: what the filter gives.
SL_API sl_var *sl_conv2d_transpose(sl_net *net, sl_var *input, int64_t num_filters,
                                   int64_t filter_height, int64_t filter_width,
                                   struct sl_shape output_size,
                                   const struct sl_conv2d_options *options);
struct sl_pool2d_options {
    const char *type;   // "max", "avg"
    int stride[2];
    int padding[4];     // top, bottom, left, right
    const char *padding_algorithm;
    const char *data_format;
    bool global, ceil_mode, exclusive, use_cudnn;
};
SL_API struct sl_pool2d_options sl_pool2d_defaults(void);
SL_API sl_var *sl_pool2d(sl_net *net, sl_var *input, int64_t height, int64_t width,
                         const struct sl_pool2d_options *options);
// fluid.nets.simple_img_conv_pool: conv2d, act, max pooling.
SL_API sl_var *sl_simple_img_conv_pool(sl_net *net, sl_var *input, int64_t num_filters,
                                       int64_t filter_size, int64_t pool_size, int pool_stride,
                                       const char *act);

// Sizes in Fluid's order of precedence: actual_size, out_size (int32 [2]) or size (two int32 [1])
// or height and width, scale_var ([1]) or scale.
struct sl_resize_options {
    int64_t height, width;
    double scale;
    sl_var *actual_size, *out_size, *size[2], *scale_var;
    bool align_corners;        // true
    int align_mode;            // 1: source = ratio x target; 0: half pixels (bilinear only)
    const char *data_format;   // "NCHW", "NHWC"
};
SL_API struct sl_resize_options sl_resize_defaults(void);
SL_API sl_var *sl_resize_bilinear(sl_net *net, sl_var *x, const struct sl_resize_options *options);
SL_API sl_var *sl_resize_nearest(sl_net *net, sl_var *x, const struct sl_resize_options *options);
// resample: "BILINEAR", "NEAREST".
SL_API sl_var *sl_image_resize(sl_net *net, sl_var *x, const char *resample,
                               const struct sl_resize_options *options);
// Out_k = act(x W_k y + b_k), k < size. Attributes NULL: the defaults of a weight and of a bias.
SL_API sl_var *sl_bilinear_tensor_product(sl_net *net, sl_var *x, sl_var *y, int64_t size,
                                          const char *act, const struct sl_param_attr *param_attr,
                                          const struct sl_param_attr *bias_attr);

// ---- normalisation and dropout
struct sl_batch_norm_options {
    double momentum, epsilon;
    bool is_test, use_global_stats;
    const char *data_layout;
    const char *act;
    const struct sl_param_attr *param_attr, *bias_attr;
    const char *moving_mean_name, *moving_variance_name;
};
SL_API struct sl_batch_norm_options sl_batch_norm_defaults(void);   // 0.9, 1e-5, NCHW
SL_API sl_var *sl_batch_norm(sl_net *net, sl_var *x, const struct sl_batch_norm_options *options);
struct sl_layer_norm_options {
    bool no_scale, no_shift;
    int begin_norm_axis;
    double epsilon;
    const char *act;
    const struct sl_param_attr *param_attr, *bias_attr;
};
SL_API struct sl_layer_norm_options sl_layer_norm_defaults(void);   // axis 1, 1e-5
SL_API sl_var *sl_layer_norm(sl_net *net, sl_var *x, const struct sl_layer_norm_options *options);
struct sl_group_norm_options {
    double epsilon;
    const char *data_layout;
    const char *act;
    // As in Fluid: without an attribute there is no scale or bias.
    const struct sl_param_attr *param_attr, *bias_attr;
};
SL_API struct sl_group_norm_options sl_group_norm_defaults(void);   // 1e-5, NCHW
SL_API sl_var *sl_group_norm(sl_net *net, sl_var *x, int groups,
                             const struct sl_group_norm_options *options);
SL_API sl_var *sl_instance_norm(sl_net *net, sl_var *x, double epsilon,
                                const struct sl_param_attr *param_attr,
                                const struct sl_param_attr *bias_attr);
struct sl_lrn_options {
    int n;
    double k, alpha, beta;
    const char *data_format;
};
SL_API struct sl_lrn_options sl_lrn_defaults(void);   // 5, 1, 1e-4, 0.75
SL_API sl_var *sl_lrn(sl_net *net, sl_var *x, const struct sl_lrn_options *options);
SL_API sl_var *sl_l2_normalize(sl_net *net, sl_var *x, int axis, double epsilon);
struct sl_dropout_options {
    uint32_t seed;   // 0: the program's; none at all: another mask every run
    bool is_test;
    const char *implementation;   // "downgrade_in_infer", "upscale_in_train"
};
SL_API struct sl_dropout_options sl_dropout_defaults(void);
SL_API sl_var *sl_dropout(sl_net *net, sl_var *x, double probability,
                          const struct sl_dropout_options *options);

// ---- sequences: variables with LoD (sl_data_lod); a batch of sequences is the rows of all of them
struct sl_sequence_conv_options {
    int64_t filter_size;   // rows that one step sees
    int filter_stride;     // 1, as in Fluid
    int padding_start;     // the first of them, relative to the step; SL_CENTRED: -(size / 2)
    const char *act;
    const struct sl_param_attr *param_attr, *bias_attr;
    bool no_bias;
};
#define SL_CENTRED INT_MIN
SL_API struct sl_sequence_conv_options sl_sequence_conv_defaults(void);   // 3, 1, SL_CENTRED
SL_API sl_var *sl_sequence_conv(sl_net *net, sl_var *input, int64_t num_filters,
                                const struct sl_sequence_conv_options *options);
// pool_type "average", "sum", "sqrt", "max", "last", "first"; an empty sequence gives pad_value.
SL_API sl_var *sl_sequence_pool(sl_net *net, sl_var *input, const char *pool_type);
SL_API sl_var *sl_sequence_pool_padded(sl_net *net, sl_var *input, const char *pool_type,
                                       bool is_test, double pad_value);
SL_API sl_var *sl_sequence_first_step(sl_net *net, sl_var *input);
SL_API sl_var *sl_sequence_last_step(sl_net *net, sl_var *input);
// fluid.nets.sequence_conv_pool: sequence_conv with act, then sequence_pool.
SL_API sl_var *sl_sequence_conv_pool(sl_net *net, sl_var *input, int64_t num_filters,
                                     int64_t filter_size, const char *act, const char *pool_type,
                                     const struct sl_param_attr *param_attr,
                                     const struct sl_param_attr *bias_attr);
SL_API sl_var *sl_sequence_softmax(sl_net *net, sl_var *input);   // over the rows of a sequence
SL_API sl_var *sl_sequence_concat(sl_net *net, sl_var *const *input, size_t count);
// x's rows or sequences, repeated as often as y's level ref_level (-1: the last) says.
SL_API sl_var *sl_sequence_expand(sl_net *net, sl_var *x, sl_var *y, int ref_level);
SL_API sl_var *sl_sequence_expand_as(sl_net *net, sl_var *x, sl_var *y);
// -> [sequences, maxlen, ..]; maxlen -1: the longest. out_length (may be NULL) takes the lengths.
SL_API sl_var *sl_sequence_pad(sl_net *net, sl_var *x, sl_var *pad_value, int maxlen,
                               sl_var **out_length);
SL_API sl_var *sl_sequence_unpad(sl_net *net, sl_var *x, sl_var *length);
SL_API sl_var *sl_sequence_reshape(sl_net *net, sl_var *input, int new_dim);
SL_API sl_var *sl_sequence_reverse(sl_net *net, sl_var *x);
SL_API sl_var *sl_sequence_slice(sl_net *net, sl_var *input, sl_var *offset, sl_var *length);
SL_API sl_var *sl_sequence_scatter(sl_net *net, sl_var *input, sl_var *index, sl_var *updates);
SL_API sl_var *sl_sequence_enumerate(sl_net *net, sl_var *input, int win_size, int pad_value);
// lengths [..] -> [.., maxlen] of 1 and 0. maxlen -1: the largest length at run time;
// sl_sequence_mask_by takes it from a variable.
SL_API sl_var *sl_sequence_mask(sl_net *net, sl_var *x, int maxlen, enum sl_dtype dtype);
SL_API sl_var *sl_sequence_mask_by(sl_net *net, sl_var *x, sl_var *maxlen, enum sl_dtype dtype);
// x with another LoD: y's, or the offsets that y holds; or target_lod.
SL_API sl_var *sl_lod_reset(sl_net *net, sl_var *x, sl_var *y);
SL_API sl_var *sl_lod_reset_to(sl_net *net, sl_var *x, const int64_t *target_lod, size_t count);
// The same as one more, lowest level.
SL_API sl_var *sl_lod_append(sl_net *net, sl_var *x, sl_var *y);
SL_API sl_var *sl_lod_append_to(sl_net *net, sl_var *x, const int64_t *level, size_t count);
// Each row sees itself and future_context_size rows behind it.
SL_API sl_var *sl_row_conv(sl_net *net, sl_var *input, int future_context_size,
                           const struct sl_param_attr *param_attr, const char *act);
struct sl_im2sequence_options {
    int stride[2];      // vertical, horizontal
    int padding[4];     // top, left, bottom, right
    sl_var *input_image_size;   // [N, 2] real heights and widths; NULL: all of the image
    int out_stride[2];          // with input_image_size: how much smaller the image already is
};
SL_API struct sl_im2sequence_options sl_im2sequence_defaults(void);   // 1, 0, NULL, 1
// Patches of images [N, C, H, W] as sequences of rows [C * height * width].
SL_API sl_var *sl_im2sequence(sl_net *net, sl_var *input, int filter_height, int filter_width,
                              const struct sl_im2sequence_options *options);
// How many insertions, deletions and substitutions make input's sequences to label's.
struct sl_edit_distance_options {
    bool normalized;                 // divided by the label's length
    const int64_t *ignored_tokens;   // taken out of both before
    size_t ignored_count;
    sl_var *input_length, *label_length;   // of padded [N, longest] inputs; NULL: they have LoD
};
SL_API struct sl_edit_distance_options sl_edit_distance_defaults(void);   // normalized
SL_API sl_var *sl_edit_distance(sl_net *net, sl_var *input, sl_var *label,
                                const struct sl_edit_distance_options *options,
                                sl_var **out_sequence_num);   // may be NULL
// Chunks in sequences of tags. scheme "IOB", "IOE", "IOBES", "plain".
struct sl_chunk_eval {
    sl_var *precision, *recall, *f1_score;                             // float32 [1]
    sl_var *num_infer_chunks, *num_label_chunks, *num_correct_chunks;   // int64 [1]
};
struct sl_chunk_eval_options {
    const int64_t *excluded_chunk_types;
    size_t excluded_count;
    sl_var *seq_length;   // of padded [N, longest] inputs; NULL: they have LoD
};
SL_API struct sl_chunk_eval sl_chunk_eval(sl_net *net, sl_var *input, sl_var *label,
                                          const char *scheme, int num_chunk_types,
                                          const struct sl_chunk_eval_options *options);   // or NULL
// The most probable token of each row, without repetitions and blanks. input_length (may be NULL)
// holds the lengths of a padded input [N, longest, classes]; out_length its result's.
SL_API sl_var *sl_ctc_greedy_decoder(sl_net *net, sl_var *input, int blank, sl_var *input_length,
                                     int padding_value, sl_var **out_length);
SL_API sl_var *sl_glu(sl_net *net, sl_var *input, int dim);   // fluid.nets.glu: a * sigmoid(b)

// ---- recurrent layers over sequences
// Names of activations: "sigmoid", "tanh", "relu", "identity".
struct sl_lstm_options {
    const struct sl_param_attr *param_attr, *bias_attr;
    bool use_peepholes, is_reverse;
    const char *gate_activation, *cell_activation, *candidate_activation;
    const char *proj_activation;   // sl_dynamic_lstmp only, as are the clips
    double cell_clip, proj_clip;   // 0: none
    sl_var *h_0, *c_0;             // states before the first step, a row a sequence; NULL: 0
    enum sl_dtype dtype;
    const char *name;   // instead of lstm_N
};
SL_API struct sl_lstm_options sl_lstm_defaults(void);   // peepholes; sigmoid, tanh, tanh, tanh
// input [rows, size], a product made before, size 4 times the width -> hidden [rows, width];
// out_cell (may be NULL) takes the cells, which have no gradient.
SL_API sl_var *sl_dynamic_lstm(sl_net *net, sl_var *input, int64_t size,
                               const struct sl_lstm_options *options, sl_var **out_cell);
// The same with a projection -> [rows, proj_size].
SL_API sl_var *sl_dynamic_lstmp(sl_net *net, sl_var *input, int64_t size, int64_t proj_size,
                                const struct sl_lstm_options *options, sl_var **out_cell);
struct sl_gru_options {
    const struct sl_param_attr *param_attr, *bias_attr;
    bool no_bias, is_reverse, origin_mode;
    const char *gate_activation, *candidate_activation;   // sl_dynamic_gru only
    sl_var *h_0;   // sl_dynamic_gru only; NULL: 0
};
SL_API struct sl_gru_options sl_gru_defaults(void);   // sigmoid, tanh
// input [rows, 3 size] -> [rows, size].
SL_API sl_var *sl_dynamic_gru(sl_net *net, sl_var *input, int64_t size,
                              const struct sl_gru_options *options);
// One step: input [N, size] and hidden [N, size / 3].
struct sl_gru_unit {
    sl_var *hidden, *reset_hidden_prev, *gate;   // NULL after an error
};
SL_API struct sl_gru_unit sl_gru_unit(sl_net *net, sl_var *input, sl_var *hidden, int64_t size,
                                      const struct sl_gru_options *options);
// One step with its own fc over x and hidden -> the new hidden; out_cell (may be NULL) takes the
// new cell. options: of that fc.
SL_API sl_var *sl_lstm_unit(sl_net *net, sl_var *x, sl_var *hidden, sl_var *cell,
                            double forget_bias, const struct sl_fc_options *options,
                            sl_var **out_cell);

// ---- structured labels
// The cost -ln p(label) of chains of tags. input [rows, tags] and label with LoD, or, with length,
// [N, steps, tags] and [N, steps]. The parameter is [tags + 2, tags].
SL_API sl_var *sl_linear_chain_crf(sl_net *net, sl_var *input, sl_var *label,
                                   const struct sl_param_attr *param_attr, sl_var *length);
// The best chain, or, with label, where it is right. transition: the parameter's name.
SL_API sl_var *sl_crf_decoding(sl_net *net, sl_var *input, const char *transition, sl_var *label,
                               sl_var *length);
// The cost of a class as a path down a binary tree -> [N, 1]. path_table and path_code [N, L]: a
// tree of one's own, ended by -1.
struct sl_hsigmoid_options {
    const struct sl_param_attr *param_attr, *bias_attr;
    bool no_bias, is_sparse;
    sl_var *path_table, *path_code;
};
SL_API sl_var *sl_hsigmoid(sl_net *net, sl_var *input, sl_var *label, int64_t num_classes,
                           const struct sl_hsigmoid_options *options);
// Noise-contrastive estimation -> [N, 1], the mean over the label and num_neg_samples draws.
enum sl_sampler { SL_SAMPLER_UNIFORM, SL_SAMPLER_LOG_UNIFORM, SL_SAMPLER_CUSTOM };
struct sl_nce_options {
    const struct sl_param_attr *param_attr, *bias_attr;
    bool no_bias, is_sparse;
    int num_neg_samples;
    enum sl_sampler sampler;
    const double *custom_dist;   // SL_SAMPLER_CUSTOM: a probability a class; copied
    int seed;                    // 0: another one in every step
    sl_var *sample_weight;       // may be NULL
};
SL_API struct sl_nce_options sl_nce_defaults(void);   // 10 samples, uniform
SL_API sl_var *sl_nce(sl_net *net, sl_var *input, sl_var *label, int64_t num_total_classes,
                      const struct sl_nce_options *options);

// ---- losses and metrics
SL_API sl_var *sl_square_error_cost(sl_net *net, sl_var *input,
                                    sl_var *label);   // (input - label)^2
SL_API sl_var *sl_mse_loss(sl_net *net, sl_var *input, sl_var *label);
SL_API sl_var *sl_smooth_l1(sl_net *net, sl_var *x, sl_var *y, sl_var *inside_weight,
                            sl_var *outside_weight, double sigma);   // weights may be NULL
SL_API sl_var *sl_huber_loss(sl_net *net, sl_var *input, sl_var *label, double delta);
SL_API sl_var *sl_cross_entropy(sl_net *net, sl_var *input,
                                sl_var *label);   // probabilities [N,C], int64 label [N,1] -> [N,1]
SL_API sl_var *sl_cross_entropy_ignore(sl_net *net, sl_var *input, sl_var *label,
                                       int ignore_index);
SL_API sl_var *sl_cross_entropy_soft(sl_net *net, sl_var *input, sl_var *label);   // labels [N,C]
struct sl_softmax_loss_options {
    bool soft_label;
    int ignore_index;
    bool numeric_stable_mode;
    int axis;
};
SL_API struct sl_softmax_loss_options sl_softmax_loss_defaults(void);   // false, -100, true, -1
SL_API sl_var *sl_softmax_with_cross_entropy(sl_net *net, sl_var *logits, sl_var *label,
                                             const struct sl_softmax_loss_options *options,
                                             sl_var **out_softmax);   // may be NULL
SL_API sl_var *sl_sigmoid_cross_entropy_with_logits(sl_net *net, sl_var *x, sl_var *label,
                                                    int ignore_index, bool normalize);
SL_API sl_var *sl_log_loss(sl_net *net, sl_var *input, sl_var *label, double epsilon);   // 1e-4
SL_API sl_var *sl_bpr_loss(sl_net *net, sl_var *input, sl_var *label);
SL_API sl_var *sl_kldiv_loss(sl_net *net, sl_var *x, sl_var *target,
                             const char *reduction);   // "mean", "sum", "batchmean", "none"
SL_API sl_var *sl_label_smooth(sl_net *net, sl_var *label, sl_var *prior_dist,   // may be NULL
                               double epsilon);
SL_API sl_var *sl_rank_loss(sl_net *net, sl_var *label, sl_var *left, sl_var *right);
SL_API sl_var *sl_margin_rank_loss(sl_net *net, sl_var *label, sl_var *left, sl_var *right,
                                   double margin);   // 0.1
SL_API sl_var *sl_accuracy(sl_net *net, sl_var *input, sl_var *label,
                           int k);   // top-k accuracy -> [1]
// The area under the ROC curve of probabilities [N, 1] or [N, 2] (the last column counts): over all
// batches since the states were 0, and over the last slide_steps batches (0: the same as all).
struct sl_auc_options {
    const char *curve;   // "ROC"
    int64_t num_thresholds;
    int slide_steps;
};
struct sl_auc {
    sl_var *auc, *batch_auc;   // float64 [1]; NULL after an error
    sl_var *states[4];   // persistable counts: batch positives, negatives; all positives, negatives
};
SL_API struct sl_auc_options sl_auc_defaults(void);   // ROC, 4095, 1
SL_API struct sl_auc sl_auc(sl_net *net, sl_var *input, sl_var *label,
                            const struct sl_auc_options *options);

#ifdef __cplusplus
}
#endif
