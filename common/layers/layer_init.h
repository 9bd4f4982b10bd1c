// SPDX-License-Identifier: Apache-2.0
// Initializers: from a value of struct sl_initializer to the start-up operator that fills a
// variable.
#pragma once

#include "common/api/sluice.h"

struct err;
struct program;

// Puts the operator that fills name (a variable of startup's block 0) in front of startup.
int layer_init_prepend(struct program *startup, const char *name, const struct sl_initializer *init,
                       struct err *err);
