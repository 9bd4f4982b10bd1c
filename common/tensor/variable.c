// SPDX-License-Identifier: Apache-2.0
// A variable changes its kind only by dropping what it held.
#include "common/tensor/variable.h"

void variable_init(struct variable *var)
{
    *var = (struct variable){.kind = VARIABLE_EMPTY};
}

void variable_deinit(struct variable *var)
{
    if (!var)
        return;
    if (var->kind == VARIABLE_TENSOR)
        tensor_deinit(&var->tensor);
    else if (var->kind == VARIABLE_SELECTED_ROWS)
        selected_rows_deinit(&var->rows);
    variable_init(var);
}

struct tensor *variable_tensor(struct variable *var)
{
    if (var->kind != VARIABLE_TENSOR) {
        variable_deinit(var);
        var->kind = VARIABLE_TENSOR;
        tensor_init(&var->tensor);
    }
    return &var->tensor;
}

struct selected_rows *variable_rows(struct variable *var)
{
    if (var->kind != VARIABLE_SELECTED_ROWS) {
        variable_deinit(var);
        var->kind = VARIABLE_SELECTED_ROWS;
        selected_rows_init(&var->rows);
    }
    return &var->rows;
}

int variable_copy(struct variable *dst, const struct variable *src)
{
    if (dst == src)
        return 0;
    switch (src->kind) {
    case VARIABLE_TENSOR:
        return tensor_copy(variable_tensor(dst), &src->tensor);
    case VARIABLE_SELECTED_ROWS:
        return selected_rows_copy(variable_rows(dst), &src->rows);
    case VARIABLE_EMPTY:
        break;
    }
    variable_deinit(dst);
    return 0;
}
