// SPDX-License-Identifier: Apache-2.0
// One variable of a block. The last group of fields is what Fluid keeps in Python only: it exists
// while a network is being built and is not part of a saved ProgramDesc.
#pragma once

#include <stdbool.h>

#include "common/tensor/dims.h"
#include "common/tensor/dtype.h"

// Fluid's VarType.Type beyond the element types.
enum var_kind {
    VAR_LOD_TENSOR = 7,
    VAR_SELECTED_ROWS = 8,
    VAR_FEED_MINIBATCH = 9,
    VAR_FETCH_LIST = 10,
    VAR_STEP_SCOPES = 11,
    VAR_LOD_RANK_TABLE = 12,
    VAR_LOD_TENSOR_ARRAY = 13,
    VAR_PLACE_LIST = 14,
    VAR_READER = 15,
    VAR_RAW = 17,
    VAR_TUPLE = 18,
    VAR_SIZE_T = 19,
};

struct var_desc {
    char *name;
    int kind;                       // enum var_kind (or a number that we do not know)
    bool has_tensor;                // false for RAW and friends: dtype and dims mean nothing
    int dtype;                      // enum dtype, or an unknown number as read
    struct dims dims;               // -1 = batch
    bool has_lod_level;
    int lod_level;
    bool has_persistable, persistable;
    bool has_need_check_feed, need_check_feed;
    // The VarType message as read, when it says more than kind, dtype, dims and lod_level (readers,
    // tuples, ...): written again as long as those fields still say the same.
    uint8_t *raw_type;
    size_t raw_type_bytes;
    uint8_t *unknown;
    size_t unknown_bytes;

    // Python's side of a variable
    bool is_parameter;
    bool trainable;
    bool stop_gradient;
    bool is_data;
    float learning_rate;            // a parameter's factor, 1 by default
    int regularizer;                // a parameter's own: enum regularizer_kind, 0 for none
    float regularizer_coeff;
    bool not_averaged;              // left out by ModelAverage and ExponentialMovingAverage
};

struct var_desc *var_desc_new(const char *name);     // LoD tensor, float32, rank 0
void var_desc_free(struct var_desc *var);
struct var_desc *var_desc_clone(const struct var_desc *var);
const char *var_desc_kind_name(int kind);            // "lod_tensor", ...; "kind" for an unknown one
// Is it written to and read from checkpoints (persistable and not a feed, fetch, reader or raw)?
bool var_desc_is_saved(const struct var_desc *var);
