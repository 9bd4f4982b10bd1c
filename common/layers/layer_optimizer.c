// SPDX-License-Identifier: Apache-2.0
// The optimizers of sluice.h over passes/optimizer.

#include "common/base/mem.h"
#include "common/layers/layers.h"
#include "common/passes/expr.h"
#include "common/passes/lookahead.h"
#include "common/program/op_desc.h"
#include "common/program/var_desc.h"

static sl_optimizer *make(enum optimizer_kind kind, double learning_rate);

struct sl_momentum_options sl_momentum_defaults(void)
{
    return (struct sl_momentum_options){0};
}

struct sl_adam_options sl_adam_defaults(void)
{
    const struct optimizer_spec s = optimizer_spec_make(OPTIMIZER_ADAM, 0.0);
    return (struct sl_adam_options){s.beta1, s.beta2, s.epsilon, s.lazy_mode};
}

struct sl_lars_options sl_lars_defaults(void)
{
    const struct optimizer_spec s = optimizer_spec_make(OPTIMIZER_LARS_MOMENTUM, 0.0);
    return (struct sl_lars_options){s.lars_coeff, s.weight_decay};
}

struct sl_adagrad_options sl_adagrad_defaults(void)
{
    const struct optimizer_spec s = optimizer_spec_make(OPTIMIZER_ADAGRAD, 0.0);
    return (struct sl_adagrad_options){s.epsilon, s.initial_accumulator};
}

struct sl_adamax_options sl_adamax_defaults(void)
{
    const struct optimizer_spec s = optimizer_spec_make(OPTIMIZER_ADAMAX, 0.0);
    return (struct sl_adamax_options){s.beta1, s.beta2, s.epsilon};
}

struct sl_decayed_adagrad_options sl_decayed_adagrad_defaults(void)
{
    const struct optimizer_spec s = optimizer_spec_make(OPTIMIZER_DECAYED_ADAGRAD, 0.0);
    return (struct sl_decayed_adagrad_options){s.decay, s.epsilon};
}

struct sl_adadelta_options sl_adadelta_defaults(void)
{
    const struct optimizer_spec s = optimizer_spec_make(OPTIMIZER_ADADELTA, 0.0);
    return (struct sl_adadelta_options){s.epsilon, s.decay};
}

struct sl_rmsprop_options sl_rmsprop_defaults(void)
{
    const struct optimizer_spec s = optimizer_spec_make(OPTIMIZER_RMSPROP, 0.0);
    return (struct sl_rmsprop_options){s.decay, s.epsilon, s.momentum, s.centered};
}

struct sl_ftrl_options sl_ftrl_defaults(void)
{
    const struct optimizer_spec s = optimizer_spec_make(OPTIMIZER_FTRL, 0.0);
    return (struct sl_ftrl_options){s.l1, s.l2, s.lr_power};
}

struct sl_lamb_options sl_lamb_defaults(void)
{
    const struct optimizer_spec s = optimizer_spec_make(OPTIMIZER_LAMB, 0.0);
    return (struct sl_lamb_options){s.weight_decay, s.beta1, s.beta2, s.epsilon};
}

struct sl_dpsgd_options sl_dpsgd_defaults(void)
{
    const struct optimizer_spec s = optimizer_spec_make(OPTIMIZER_DPSGD, 0.0);
    return (struct sl_dpsgd_options){s.dpsgd_clip, s.batch_size, s.sigma};
}

sl_optimizer *sl_sgd(double learning_rate)
{
    return make(OPTIMIZER_SGD, learning_rate);
}

sl_optimizer *sl_momentum(double learning_rate, double momentum,
                          const struct sl_momentum_options *options)
{
    sl_optimizer *optimizer = make(OPTIMIZER_MOMENTUM, learning_rate);
    optimizer->spec.momentum = momentum;
    optimizer->spec.use_nesterov = options != NULL && options->use_nesterov;
    return optimizer;
}

sl_optimizer *sl_adam(double learning_rate, const struct sl_adam_options *options)
{
    const struct sl_adam_options defaults = sl_adam_defaults();
    const struct sl_adam_options *o = options ? options : &defaults;
    sl_optimizer *optimizer = make(OPTIMIZER_ADAM, learning_rate);
    optimizer->spec.beta1 = o->beta1;
    optimizer->spec.beta2 = o->beta2;
    optimizer->spec.epsilon = o->epsilon;
    optimizer->spec.lazy_mode = o->lazy_mode;
    return optimizer;
}

sl_optimizer *sl_lars_momentum(double learning_rate, double momentum,
                               const struct sl_lars_options *options)
{
    const struct sl_lars_options defaults = sl_lars_defaults();
    const struct sl_lars_options *o = options ? options : &defaults;
    sl_optimizer *optimizer = make(OPTIMIZER_LARS_MOMENTUM, learning_rate);
    optimizer->spec.momentum = momentum;
    optimizer->spec.lars_coeff = o->lars_coeff;
    optimizer->spec.weight_decay = o->weight_decay;
    return optimizer;
}

sl_optimizer *sl_adagrad(double learning_rate, const struct sl_adagrad_options *options)
{
    const struct sl_adagrad_options defaults = sl_adagrad_defaults();
    const struct sl_adagrad_options *o = options ? options : &defaults;
    sl_optimizer *optimizer = make(OPTIMIZER_ADAGRAD, learning_rate);
    optimizer->spec.epsilon = o->epsilon;
    optimizer->spec.initial_accumulator = o->initial_accumulator;
    return optimizer;
}

sl_optimizer *sl_adamax(double learning_rate, const struct sl_adamax_options *options)
{
    const struct sl_adamax_options defaults = sl_adamax_defaults();
    const struct sl_adamax_options *o = options ? options : &defaults;
    sl_optimizer *optimizer = make(OPTIMIZER_ADAMAX, learning_rate);
    optimizer->spec.beta1 = o->beta1;
    optimizer->spec.beta2 = o->beta2;
    optimizer->spec.epsilon = o->epsilon;
    return optimizer;
}

sl_optimizer *sl_decayed_adagrad(double learning_rate,
                                 const struct sl_decayed_adagrad_options *options)
{
    const struct sl_decayed_adagrad_options defaults = sl_decayed_adagrad_defaults();
    const struct sl_decayed_adagrad_options *o = options ? options : &defaults;
    sl_optimizer *optimizer = make(OPTIMIZER_DECAYED_ADAGRAD, learning_rate);
    optimizer->spec.decay = o->decay;
    optimizer->spec.epsilon = o->epsilon;
    return optimizer;
}

sl_optimizer *sl_adadelta(double learning_rate, const struct sl_adadelta_options *options)
{
    const struct sl_adadelta_options defaults = sl_adadelta_defaults();
    const struct sl_adadelta_options *o = options ? options : &defaults;
    sl_optimizer *optimizer = make(OPTIMIZER_ADADELTA, learning_rate);
    optimizer->spec.epsilon = o->epsilon;
    optimizer->spec.decay = o->rho;
    return optimizer;
}

sl_optimizer *sl_rmsprop(double learning_rate, const struct sl_rmsprop_options *options)
{
    const struct sl_rmsprop_options defaults = sl_rmsprop_defaults();
    const struct sl_rmsprop_options *o = options ? options : &defaults;
    sl_optimizer *optimizer = make(OPTIMIZER_RMSPROP, learning_rate);
    optimizer->spec.decay = o->rho;
    optimizer->spec.epsilon = o->epsilon;
    optimizer->spec.momentum = o->momentum;
    optimizer->spec.centered = o->centered;
    return optimizer;
}

sl_optimizer *sl_ftrl(double learning_rate, const struct sl_ftrl_options *options)
{
    const struct sl_ftrl_options defaults = sl_ftrl_defaults();
    const struct sl_ftrl_options *o = options ? options : &defaults;
    sl_optimizer *optimizer = make(OPTIMIZER_FTRL, learning_rate);
    optimizer->spec.l1 = o->l1;
    optimizer->spec.l2 = o->l2;
    optimizer->spec.lr_power = o->lr_power;
    return optimizer;
}

sl_optimizer *sl_lamb(double learning_rate, const struct sl_lamb_options *options)
{
    const struct sl_lamb_options defaults = sl_lamb_defaults();
    const struct sl_lamb_options *o = options ? options : &defaults;
    sl_optimizer *optimizer = make(OPTIMIZER_LAMB, learning_rate);
    optimizer->spec.weight_decay = o->weight_decay;
    optimizer->spec.beta1 = o->beta1;
    optimizer->spec.beta2 = o->beta2;
    optimizer->spec.epsilon = o->epsilon;
    return optimizer;
}

sl_optimizer *sl_dpsgd(double learning_rate, const struct sl_dpsgd_options *options)
{
    const struct sl_dpsgd_options defaults = sl_dpsgd_defaults();
    const struct sl_dpsgd_options *o = options ? options : &defaults;
    sl_optimizer *optimizer = make(OPTIMIZER_DPSGD, learning_rate);
    optimizer->spec.dpsgd_clip = o->clip;
    optimizer->spec.batch_size = o->batch_size;
    optimizer->spec.sigma = o->sigma;
    return optimizer;
}

void sl_optimizer_free(sl_optimizer *optimizer)
{
    if (optimizer != NULL)
        str_list_deinit(&optimizer->checkpoints);
    mem_free(optimizer);
}

void sl_optimizer_set_checkpoints(sl_optimizer *optimizer, sl_var *const *checkpoints, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (checkpoints[i] != NULL)
            str_list_add(&optimizer->checkpoints, checkpoints[i]->name);
    optimizer->spec.checkpoints = &optimizer->checkpoints;
}

void sl_optimizer_set_rate(sl_optimizer *optimizer, const sl_var *rate)
{
    optimizer->scheduled = true;
    optimizer->spec.learning_rate_var = rate ? rate->name : NULL;
}

void sl_optimizer_set_regularizer(sl_optimizer *optimizer, struct sl_regularizer regularizer)
{
    optimizer->spec.regularizer = (enum regularizer_kind)regularizer.kind;
    optimizer->spec.regularizer_coeff = regularizer.coeff;
}

struct sl_regularizer sl_l1_decay(double coeff)
{
    return (struct sl_regularizer){SL_REGULARIZER_L1, coeff};
}

struct sl_regularizer sl_l2_decay(double coeff)
{
    return (struct sl_regularizer){SL_REGULARIZER_L2, coeff};
}

struct sl_clip sl_clip_by_value(double max, double min)
{
    return (struct sl_clip){.kind = SL_CLIP_VALUE, .a = min, .b = max};
}

struct sl_clip sl_clip_by_norm(double norm)
{
    return (struct sl_clip){.kind = SL_CLIP_NORM, .a = norm};
}

struct sl_clip sl_clip_by_global_norm(double norm)
{
    return (struct sl_clip){.kind = SL_CLIP_GLOBAL_NORM, .a = norm};
}

void sl_optimizer_set_clip(sl_optimizer *optimizer, struct sl_clip clip)
{
    optimizer->spec.clip = (struct clip_spec){
        .kind = (enum clip_kind)clip.kind, .low = clip.a, .high = clip.b, .norm = clip.a};
}

int sl_minimize(sl_net *net, sl_optimizer *optimizer, sl_var *loss)
{
    return sl_minimize_without(net, optimizer, loss, NULL, 0);
}

// What minimize can refuse before it looks at the program.
static bool may_minimize(sl_net *net, const sl_optimizer *optimizer, sl_var *loss,
                         sl_var *const *no_grad, size_t no_grad_count)
{
    if (!layers_ok(net, "minimize", (const sl_var *const[]){loss}, 1) ||
        !layers_ok(net, "minimize", (const sl_var *const *)no_grad, no_grad_count))
        return false;
    if (optimizer == NULL)
        layers_fail(net, "minimize", SL_EINVAL, "no optimizer (NULL)");
    else if (optimizer->scheduled && optimizer->spec.learning_rate_var == NULL)
        layers_fail(net, "minimize", SL_EINVAL, "the learning rate's variable is missing (NULL)");
    return net->error.code == 0;
}

int sl_minimize_without(sl_net *net, sl_optimizer *optimizer, sl_var *loss, sl_var *const *no_grad,
                        size_t no_grad_count)
{
    int rc = 0;
    if (may_minimize(net, optimizer, loss, no_grad, no_grad_count)) {
        struct err err = {0};
        struct str_list names = {0};
        for (size_t i = 0; i < no_grad_count; i++)
            str_list_add(&names, no_grad[i]->name);
        rc = optimizer_minimize(net->main, net->startup, &net->names, &optimizer->spec, loss->name,
                                &names, &err);
        if (rc < 0)
            layers_fail(net, "minimize", rc, "%s", err.text);
        str_list_deinit(&names);
    }
    sl_optimizer_free(optimizer);
    return net->error.code != 0 ? net->error.code : rc;
}

int sl_minimize_lookahead(sl_net *net, sl_optimizer *inner, sl_var *loss, double alpha, int64_t k)
{
    struct err err = {0};
    if (net->error.code == 0 && (!(alpha >= 0.0 && alpha <= 1.0) || k < 1))
        layers_fail(net, "lookahead", SL_EINVAL, "alpha must be 0..1, not %g, and k > 0, not %lld",
                    alpha, (long long)k);
    int rc = sl_minimize(net, inner, loss);
    if (rc < 0)
        return rc;
    struct expr e = layers_expr(net, OP_ROLE_FORWARD, &err);
    lookahead_append(&e, alpha, k);
    return layers_judge(net, "lookahead", &e) ? rc : net->error.code;
}

static sl_optimizer *make(enum optimizer_kind kind, double learning_rate)
{
    struct layers_optimizer *optimizer = MEM_NEW(struct layers_optimizer);
    optimizer->spec = optimizer_spec_make(kind, learning_rate);
    return optimizer;
}
