// SPDX-License-Identifier: Apache-2.0
// What a scope holds under a name: nothing yet, a dense tensor or selected rows.
#pragma once

#include "common/tensor/selected_rows.h"
#include "common/tensor/tensor.h"

enum variable_kind { VARIABLE_EMPTY, VARIABLE_TENSOR, VARIABLE_SELECTED_ROWS };

struct variable {
    enum variable_kind kind;
    union {
        struct tensor tensor;
        struct selected_rows rows;
    };
};

void variable_init(struct variable *var);
void variable_deinit(struct variable *var);
// The tensor / rows inside, made (empty) when the variable was empty or of the other kind.
struct tensor *variable_tensor(struct variable *var);
struct selected_rows *variable_rows(struct variable *var);
int variable_copy(struct variable *dst, const struct variable *src);
