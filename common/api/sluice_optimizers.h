// SPDX-License-Identifier: Apache-2.0
// Part of sluice.h: optimizers, learning-rate schedules, regularizers, clipping, and averages of
// parameters. Include sluice.h.
#pragma once

#include "sluice.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- optimizers (fluid.optimizer)
typedef struct layers_optimizer sl_optimizer;

// The defaults are those of Fluid's constructors. A learning rate is the start value of
// learning_rate_0; a schedule's variable can stand in its place (sl_optimizer_set_rate).
struct sl_momentum_options {
    bool use_nesterov;
};
struct sl_adam_options {
    double beta1, beta2, epsilon;
    bool lazy_mode;   // sparse gradients touch only their own rows' moments
};
struct sl_lars_options {
    double lars_coeff, weight_decay;
};
struct sl_adagrad_options {
    double epsilon, initial_accumulator;
};
struct sl_adamax_options {
    double beta1, beta2, epsilon;
};
struct sl_decayed_adagrad_options {
    double decay, epsilon;
};
struct sl_adadelta_options {
    double epsilon, rho;
};
struct sl_rmsprop_options {
    double rho, epsilon, momentum;
    bool centered;
};
// Fluid 1.8.5 hands l1 to the operator for l2 too, and so does this; l2 is there for its sake.
struct sl_ftrl_options {
    double l1, l2, lr_power;
};
struct sl_lamb_options {
    double weight_decay, beta1, beta2, epsilon;
};
struct sl_dpsgd_options {
    double clip, batch_size, sigma;
};
SL_API struct sl_momentum_options sl_momentum_defaults(void);
SL_API struct sl_adam_options sl_adam_defaults(void);         // 0.9, 0.999, 1e-8, false
SL_API struct sl_lars_options sl_lars_defaults(void);         // 0.001, 0.0005
SL_API struct sl_adagrad_options sl_adagrad_defaults(void);   // 1e-6, 0
SL_API struct sl_adamax_options sl_adamax_defaults(void);     // 0.9, 0.999, 1e-8
SL_API struct sl_decayed_adagrad_options sl_decayed_adagrad_defaults(void);   // 0.95, 1e-6
SL_API struct sl_adadelta_options sl_adadelta_defaults(void);                 // 1e-6, 0.95
SL_API struct sl_rmsprop_options sl_rmsprop_defaults(void);   // 0.95, 1e-6, 0, false
SL_API struct sl_ftrl_options sl_ftrl_defaults(void);         // 0, 0, -0.5
SL_API struct sl_lamb_options sl_lamb_defaults(void);         // 0.01, 0.9, 0.999, 1e-6
SL_API struct sl_dpsgd_options sl_dpsgd_defaults(void);       // 0.9, 0.999, 1e-8

// Given to sl_minimize, which owns it from then on.
SL_API sl_optimizer *sl_sgd(double learning_rate);
SL_API sl_optimizer *sl_momentum(double learning_rate, double momentum,
                                 const struct sl_momentum_options *options);
SL_API sl_optimizer *sl_adam(double learning_rate, const struct sl_adam_options *options);
SL_API sl_optimizer *sl_lars_momentum(double learning_rate, double momentum,
                                      const struct sl_lars_options *options);
SL_API sl_optimizer *sl_adagrad(double learning_rate, const struct sl_adagrad_options *options);
SL_API sl_optimizer *sl_adamax(double learning_rate, const struct sl_adamax_options *options);
SL_API sl_optimizer *sl_decayed_adagrad(double learning_rate,
                                        const struct sl_decayed_adagrad_options *options);
SL_API sl_optimizer *sl_adadelta(double learning_rate, const struct sl_adadelta_options *options);
SL_API sl_optimizer *sl_rmsprop(double learning_rate, const struct sl_rmsprop_options *options);
SL_API sl_optimizer *sl_ftrl(double learning_rate, const struct sl_ftrl_options *options);
SL_API sl_optimizer *sl_lamb(double learning_rate, const struct sl_lamb_options *options);
SL_API sl_optimizer *sl_dpsgd(double learning_rate, const struct sl_dpsgd_options *options);
// Only when it was not given to sl_minimize.
SL_API void sl_optimizer_free(sl_optimizer *optimizer);

// Before sl_minimize. rate is a schedule's variable; it takes the learning rate's place.
SL_API void sl_optimizer_set_rate(sl_optimizer *optimizer, const sl_var *rate);
// For every parameter without a regularizer of its own (struct sl_param_attr).
SL_API void sl_optimizer_set_regularizer(sl_optimizer *optimizer,
                                         struct sl_regularizer regularizer);

// Gradients are clipped before regularisation.
enum sl_clip_kind { SL_CLIP_NONE, SL_CLIP_VALUE, SL_CLIP_NORM, SL_CLIP_GLOBAL_NORM };
struct sl_clip {
    enum sl_clip_kind kind;
    double a, b;   // low, high | norm
};
SL_API struct sl_clip sl_clip_by_value(double max, double min);   // every element into [min, max]
SL_API struct sl_clip sl_clip_by_norm(double norm);               // each gradient
SL_API struct sl_clip sl_clip_by_global_norm(double norm);        // all gradients together
SL_API void sl_optimizer_set_clip(sl_optimizer *optimizer, struct sl_clip clip);
// fluid.optimizer.RecomputeOptimizer: before sl_minimize. The backward pass makes the forward
// results between these variables anew.
SL_API void sl_optimizer_set_checkpoints(sl_optimizer *optimizer, sl_var *const *checkpoints,
                                         size_t count);

// Appends the backward pass and the update of every trainable parameter that loss [1] depends on.
// Returns how many parameters are updated. Frees optimizer.
SL_API int sl_minimize(sl_net *net, sl_optimizer *optimizer, sl_var *loss);
// The same; the variables of no_grad get no gradient.
SL_API int sl_minimize_without(sl_net *net, sl_optimizer *optimizer, sl_var *loss,
                               sl_var *const *no_grad, size_t no_grad_count);
// fluid.optimizer.LookaheadOptimizer: sl_minimize, and every k steps slow copies of the parameters
// move a part alpha of the way.
SL_API int sl_minimize_lookahead(sl_net *net, sl_optimizer *inner, sl_var *loss, double alpha,
                                 int64_t k);

// ---- learning-rate schedules (fluid.layers): the variable with the rate of the step
SL_API sl_var *sl_exponential_decay(sl_net *net, double learning_rate, double decay_steps,
                                    double decay_rate, bool staircase);
SL_API sl_var *sl_natural_exp_decay(sl_net *net, double learning_rate, double decay_steps,
                                    double decay_rate, bool staircase);
SL_API sl_var *sl_inverse_time_decay(sl_net *net, double learning_rate, double decay_steps,
                                     double decay_rate, bool staircase);
SL_API sl_var *sl_polynomial_decay(sl_net *net, double learning_rate, double decay_steps,
                                   double end_learning_rate, double power, bool cycle);
// values[i] while step < boundaries[i], then values[count].
SL_API sl_var *sl_piecewise_decay(sl_net *net, const double *boundaries, const double *values,
                                  size_t count);
SL_API sl_var *sl_noam_decay(sl_net *net, double d_model, double warmup_steps,
                             double learning_rate);
SL_API sl_var *sl_cosine_decay(sl_net *net, double learning_rate, double step_each_epoch,
                               double epochs);
// From start_lr to end_lr in warmup_steps steps; after them learning_rate, or a schedule's
// variable.
SL_API sl_var *sl_linear_lr_warmup(sl_net *net, double learning_rate, double warmup_steps,
                                   double start_lr, double end_lr);
SL_API sl_var *sl_linear_lr_warmup_of(sl_net *net, const sl_var *learning_rate, double warmup_steps,
                                      double start_lr, double end_lr);

// ---- averages of parameters
typedef struct layers_average sl_average;

// fluid.optimizer.ModelAverage, after sl_minimize: the average of the last steps, a window of rate
// times the steps so far within min_window..max_window. Free it; NULL after an error (in the net).
SL_API sl_average *sl_model_average(sl_net *net, double rate, int64_t min_window,
                                    int64_t max_window);
// fluid.optimizer.ExponentialMovingAverage with its update, after sl_minimize.
SL_API sl_average *sl_exponential_moving_average(sl_net *net, double decay);
// An int64 counter [1] of the steps: begin in the first one. NULL: "@STEP_COUNTER@".
SL_API sl_var *sl_autoincreased_step_counter(sl_net *net, const char *name, int64_t begin);
// With thres_steps [1], a count of steps (of any type): the decay is at most (steps + 1) / (steps +
// 10).
SL_API sl_average *sl_exponential_moving_average_of(sl_net *net, double decay,
                                                    const sl_var *thres_steps);
SL_API void sl_average_free(sl_average *average);
// Run them: the averages take the parameters' place; the parameters come back. They belong to
// average.
SL_API sl_program *sl_average_apply_program(sl_average *average);
SL_API sl_program *sl_average_restore_program(sl_average *average);

#ifdef __cplusplus
}
#endif
