// SPDX-License-Identifier: Apache-2.0
// Variables of a description.
#include "common/program/var_desc.h"

#include <string.h>

#include "common/base/mem.h"

struct var_desc *var_desc_new(const char *name)
{
    struct var_desc *var = MEM_NEW(struct var_desc);
    var->name = mem_must_strdup(name);
    var->kind = VAR_LOD_TENSOR;
    var->has_tensor = true;
    var->dtype = DTYPE_FP32;
    var->trainable = true;
    var->learning_rate = 1.0f;
    return var;
}

void var_desc_free(struct var_desc *var)
{
    if (!var)
        return;
    mem_free(var->name);
    mem_free(var->raw_type);
    mem_free(var->unknown);
    mem_free(var);
}

struct var_desc *var_desc_clone(const struct var_desc *var)
{
    struct var_desc *clone = MEM_NEW(struct var_desc);
    *clone = *var;
    clone->name = mem_must_strdup(var->name);
    if (var->raw_type)
        clone->raw_type =
            memcpy(mem_must_calloc(var->raw_type_bytes, 1), var->raw_type, var->raw_type_bytes);
    if (var->unknown)
        clone->unknown =
            memcpy(mem_must_calloc(var->unknown_bytes, 1), var->unknown, var->unknown_bytes);
    return clone;
}

const char *var_desc_kind_name(int kind)
{
    switch (kind) {
    case VAR_LOD_TENSOR: return "lod_tensor";
    case VAR_SELECTED_ROWS: return "selected_rows";
    case VAR_FEED_MINIBATCH: return "feed_minibatch";
    case VAR_FETCH_LIST: return "fetch_list";
    case VAR_STEP_SCOPES: return "step_scopes";
    case VAR_LOD_RANK_TABLE: return "lod_rank_table";
    case VAR_LOD_TENSOR_ARRAY: return "lod_tensor_array";
    case VAR_PLACE_LIST: return "place_list";
    case VAR_READER: return "reader";
    case VAR_RAW: return "raw";
    case VAR_TUPLE: return "tuple";
    case VAR_SIZE_T: return "size_t";
    default: return "kind";
    }
}

bool var_desc_is_saved(const struct var_desc *var)
{
    return var->persistable && var->kind != VAR_FEED_MINIBATCH && var->kind != VAR_FETCH_LIST &&
           var->kind != VAR_READER && var->kind != VAR_RAW;
}
