// SPDX-License-Identifier: Apache-2.0
// The optimizers of sluice.h over passes/optimizer.

#include "common/base/mem.h"
#include "common/layers/layers.h"
#include "common/program/var_desc.h"

static sl_optimizer *make(enum optimizer_kind kind, double learning_rate);

struct sl_momentum_options sl_momentum_defaults(void)
{
    return (struct sl_momentum_options){0};
}

struct sl_adam_options sl_adam_defaults(void)
{
    const struct optimizer_spec spec = optimizer_spec_make(OPTIMIZER_ADAM, 0.0);
    return (struct sl_adam_options){
        .beta1 = spec.beta1, .beta2 = spec.beta2, .epsilon = spec.epsilon};
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

void sl_optimizer_free(sl_optimizer *optimizer)
{
    mem_free(optimizer);
}

int sl_minimize(sl_net *net, sl_optimizer *optimizer, sl_var *loss)
{
    int rc = net->error.code;
    if (optimizer != NULL && layers_ok(net, "minimize", (const sl_var *const[]){loss}, 1)) {
        struct err err = {0};
        rc = optimizer_minimize(net->main, net->startup, &net->names, &optimizer->spec, loss->name,
                                &err);
        if (rc < 0)
            layers_fail(net, "minimize", rc, "%s", err.text);
    } else if (rc == 0) {
        layers_fail(net, "minimize", SL_EINVAL, "no optimizer (NULL)");
        rc = net->error.code;
    }
    sl_optimizer_free(optimizer);
    return rc;
}

static sl_optimizer *make(enum optimizer_kind kind, double learning_rate)
{
    struct layers_optimizer *optimizer = MEM_NEW(struct layers_optimizer);
    optimizer->spec = optimizer_spec_make(kind, learning_rate);
    return optimizer;
}
