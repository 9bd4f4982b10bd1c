// SPDX-License-Identifier: Apache-2.0
// The optimizer of a zoo model from the options: kind, rate or schedule, regularizer, clip.
#pragma once

#include "common/api/sluice.h"

struct err;
struct option_set;

// kind and learning_rate are the model's own, for what the options do not say. Appends a schedule's
// operators to net. SL_EUSAGE for options that do not fit; *out is sl_minimize's then.
int job_optimizer_make(const struct option_set *options, const char *kind, double learning_rate,
                       sl_net *net, sl_optimizer **out, struct err *err);
