// SPDX-License-Identifier: Apache-2.0
// Appends the update of parameters, as Fluid 1.8's Optimizer.apply_gradients does: parameters
// sorted by name, clipping, then regularisation, accumulators with their start-up operators put in
// front of the start-up program, one update operator a parameter with role Optimize and op_role_var
// {parameter, gradient}.
#pragma once

#include <stdbool.h>

#include "common/passes/backward.h"
#include "common/passes/clip.h"
#include "common/passes/regularizer.h"

struct err;
struct program;
struct unique_name;

enum optimizer_kind {
    OPTIMIZER_SGD,
    OPTIMIZER_MOMENTUM,
    OPTIMIZER_ADAM,
    OPTIMIZER_LARS_MOMENTUM,
    OPTIMIZER_ADAGRAD,
    OPTIMIZER_ADAMAX,
    OPTIMIZER_DECAYED_ADAGRAD,
    OPTIMIZER_ADADELTA,
    OPTIMIZER_RMSPROP,
    OPTIMIZER_FTRL,
    OPTIMIZER_LAMB,
    OPTIMIZER_DPSGD,
    OPTIMIZER_KINDS,
};

// Each optimizer reads its own fields only.
struct optimizer_spec {
    enum optimizer_kind kind;
    double learning_rate;            // initial value of learning_rate_0
    const char *learning_rate_var;   // an existing variable instead (a schedule's); NULL: make one
    enum regularizer_kind regularizer;   // for parameters without one of their own
    double regularizer_coeff;
    struct clip_spec clip;

    double momentum;   // momentum, lars_momentum, rmsprop
    bool use_nesterov;
    double beta1, beta2;   // adam, adamax, lamb
    double epsilon;
    bool lazy_mode;
    double lars_coeff, weight_decay;   // weight_decay: lars_momentum, lamb
    double initial_accumulator;        // adagrad
    double decay;                      // decayed_adagrad; rho of adadelta and rmsprop
    bool centered;
    double l1, l2, lr_power;                // ftrl
    double dpsgd_clip, batch_size, sigma;   // dpsgd
    // Recompute: forward results between these variables are made anew (backward.h). Borrowed.
    const struct str_list *checkpoints;
};

// The defaults of Fluid's constructors.
struct optimizer_spec optimizer_spec_make(enum optimizer_kind kind, double learning_rate);
// kind by its command-line name ("sgd", "momentum", "adam", ...); SL_EINVAL lists the names.
int optimizer_kind_parse(const char *name, enum optimizer_kind *out, struct err *err);

// Appends to block 0 of main and startup. names makes Fluid's unique names. pairs: see backward.h.
int optimizer_apply(struct program *main, struct program *startup, struct unique_name *names,
                    const struct optimizer_spec *spec, const struct backward_result *pairs,
                    struct err *err);
// backward_append over all trainable parameters of main, then optimizer_apply. no_grad (may be
// NULL): variables without a gradient. Returns the number of parameters updated.
int optimizer_minimize(struct program *main, struct program *startup, struct unique_name *names,
                       const struct optimizer_spec *spec, const char *loss,
                       const struct str_list *no_grad, struct err *err);
