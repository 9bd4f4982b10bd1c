// SPDX-License-Identifier: Apache-2.0
// What only trainers hold (batch_norm statistics, states of metrics, frozen parameters), handed
// back to a trainer by servers that have loaded a checkpoint.
#pragma once

#include <stddef.h>

struct comm;
struct err;
struct scope;

// Fills scope with every variable of that kind that the servers loaded; what they did not load
// (fresh servers, parameters only, left out) keeps its value. After the start-up program and before
// the first step. Returns how many were filled, or SL_E*.
int comm_restore_variables(struct comm *comm, struct scope *scope, struct err *err);
