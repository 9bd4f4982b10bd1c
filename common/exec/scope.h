// SPDX-License-Identifier: Apache-2.0
// Names -> variables. Variables never move: a plan keeps their addresses.
#pragma once

#include "common/tensor/variable.h"

struct scope;
struct str_list;

struct scope *scope_new(void);
void scope_free(struct scope *scope);
struct variable *scope_find(const struct scope *scope, const char *name);   // NULL when absent
struct variable *scope_var(struct scope *scope, const char *name);          // made when absent
void scope_remove(struct scope *scope, const char *name);
void scope_names(const struct scope *scope, struct str_list *out);   // sorted
