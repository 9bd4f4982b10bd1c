// SPDX-License-Identifier: Apache-2.0
// Appends the gradient operators of a loss, as Fluid 1.8's append_backward does: the same
// operators, names, attributes, roles and order. Works on block 0; reads the op table's gradient
// rules.
#pragma once

#include "common/base/str.h"

struct err;
struct program;
struct unique_name;

// Parameters and their gradients, pairwise, in the order of parameters. Initialise with {0}.
struct backward_result {
    struct str_list params;
    struct str_list grads;
};
void backward_result_deinit(struct backward_result *result);

// loss is a variable of block 0 with one element. parameters are the names whose gradients are
// wanted, in order (those that loss does not depend on are left out of out). no_grad (may be NULL):
// names without a gradient, beside those marked stop_gradient.
// SL_EUNSUPPORTED for an op without a gradient rule on the way (the text names block, op and type),
// SL_EINVAL for a loss that no op makes. On failure the program is unchanged.
int backward_append(struct program *program, const char *loss, const struct str_list *parameters,
                    const struct str_list *no_grad, struct backward_result *out, struct err *err);
// The same with recomputation (RecomputeOptimizer): of the forward results only checkpoints and
// what several segments need is kept in Fluid's sense; the rest is made anew in front of the
// gradients. checkpoints: names, may be NULL (none). names makes the names of dropouts' seeds.
int backward_append_recompute(struct program *program, struct unique_name *names, const char *loss,
                              const struct str_list *parameters, const struct str_list *no_grad,
                              const struct str_list *checkpoints, struct backward_result *out,
                              struct err *err);
