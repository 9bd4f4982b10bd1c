// SPDX-License-Identifier: Apache-2.0
// Part of sluice.h: initializers, parameter attributes and layers (fluid.initializer,
// fluid.ParamAttr, fluid.layers). Include sluice.h.
#pragma once

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
};

// Use the functions below; seed 0 takes the program's random seed.
struct sl_initializer {
    enum sl_initializer_kind kind;
    bool uniform;   // Xavier, MSRA
    double a, b;    // value | low, high | mean, deviation | fan_in, fan_out (0: from the shape)
    uint32_t seed;
};
SL_API struct sl_initializer sl_constant(double value);
SL_API struct sl_initializer sl_uniform(double low, double high, uint32_t seed);
SL_API struct sl_initializer sl_normal(double mean, double deviation, uint32_t seed);
SL_API struct sl_initializer sl_truncated_normal(double mean, double deviation, uint32_t seed);
SL_API struct sl_initializer sl_xavier(bool uniform, double fan_in, double fan_out, uint32_t seed);
SL_API struct sl_initializer sl_msra(bool uniform, double fan_in, uint32_t seed);

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
SL_API sl_var *sl_relu(sl_net *net, sl_var *x);
SL_API sl_var *sl_softmax(sl_net *net, sl_var *x);   // over the last dimension
SL_API sl_var *sl_square(sl_net *net, sl_var *x);
SL_API sl_var *sl_square_error_cost(sl_net *net, sl_var *input,
                                    sl_var *label);   // (input - label)^2
SL_API sl_var *sl_cross_entropy(sl_net *net, sl_var *input,
                                sl_var *label);   // probabilities [N,C], int64 label [N,1] -> [N,1]
SL_API sl_var *sl_mean(sl_net *net, sl_var *x);   // -> [1]
SL_API sl_var *sl_accuracy(sl_net *net, sl_var *input, sl_var *label,
                           int k);   // top-k accuracy -> [1]
SL_API sl_var *sl_elementwise_add(sl_net *net, sl_var *x, sl_var *y,
                                  int axis);   // y aligned at axis (-1: at the end)
SL_API sl_var *sl_elementwise_sub(sl_net *net, sl_var *x, sl_var *y, int axis);
SL_API sl_var *sl_elementwise_mul(sl_net *net, sl_var *x, sl_var *y, int axis);
SL_API sl_var *sl_sum(sl_net *net, sl_var *const *x,
                      size_t count);   // fluid.layers.sums: same shapes, added
SL_API sl_var *sl_scale(sl_net *net, sl_var *x, double scale, double bias);   // scale * x + bias
SL_API sl_var *sl_concat(sl_net *net, sl_var *const *x, size_t count, int axis);
SL_API sl_var *sl_create_parameter(sl_net *net, struct sl_shape shape, enum sl_dtype dtype,
                                   const struct sl_param_attr *attr);

#ifdef __cplusplus
}
#endif
