// SPDX-License-Identifier: Apache-2.0
// The gradient operators of a backward pass before they go into the program, and Fluid's names of
// gradients.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/program/op_desc.h"

#define GRAD_LIST_EMPTY "@EMPTY@"   // stands for an argument that is not wanted

// Owns its operators. Initialise with {0}.
struct grad_list {
    struct op_desc **items;
    size_t count, cap;
};

void grad_list_deinit(struct grad_list *list);
void grad_list_insert(struct grad_list *list, size_t at, struct op_desc *take);
// A gradient that several operators make becomes parts X@GRAD@RENAME@block0@N and their `sum`.
void grad_list_sum_repeated(struct grad_list *list);

char *grad_list_name(const char *name);   // "x" -> "x@GRAD"; mem_free it
bool grad_list_is_grad(const char *name);
char *grad_list_forward(const char *grad);   // "x@GRAD@RENAME@block0@1" -> "x"; mem_free it
