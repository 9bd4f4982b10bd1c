// SPDX-License-Identifier: Apache-2.0
// Learning-rate schedules (fluid.layers.*_decay, linear_lr_warmup): operators with role LRSched
// that compute the rate of a step from the counter @LR_DECAY_COUNTER@. Each returns the variable
// with the rate (e's; NULL after an error), which the optimizer takes instead of a number. On
// servers the transpiler moves the operators into the learning-rate block.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct expr;
struct var_desc;

#define LR_SCHEDULE_COUNTER "@LR_DECAY_COUNTER@"

// rate * decay^(step / steps); staircase: step / steps rounded down, here and below.
struct var_desc *lr_schedule_exponential(struct expr *e, double rate, double steps, double decay,
                                         bool staircase);
// rate * exp(-decay * step / steps)
struct var_desc *lr_schedule_natural_exp(struct expr *e, double rate, double steps, double decay,
                                         bool staircase);
// rate / (1 + decay * step / steps)
struct var_desc *lr_schedule_inverse_time(struct expr *e, double rate, double steps, double decay,
                                          bool staircase);
// (rate - end) * (1 - min(step, steps) / steps)^power + end; cycle: steps grows by its multiples
// instead of stopping.
struct var_desc *lr_schedule_polynomial(struct expr *e, double rate, double steps, double end,
                                        double power, bool cycle);
// values[i] while step < boundaries[i], then values[count]; values has count + 1 elements.
struct var_desc *lr_schedule_piecewise(struct expr *e, const double *boundaries,
                                       const double *values, size_t count);
// rate * width^-0.5 * min(step^-0.5, step * warmup^-1.5), step from 1
struct var_desc *lr_schedule_noam(struct expr *e, double width, double warmup, double rate);
// rate / 2 * (cos(pi * floor(step / steps_each_epoch) / epochs) + 1)
struct var_desc *lr_schedule_cosine(struct expr *e, double rate, double steps_each_epoch,
                                    double epochs);
// start + (end - start) * step / steps while step < steps, then rate_var, or rate when that is
// NULL.
struct var_desc *lr_schedule_warmup(struct expr *e, const struct var_desc *rate_var, double rate,
                                    double steps, double start, double end);
