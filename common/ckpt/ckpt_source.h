// SPDX-License-Identifier: Apache-2.0
// Where a checkpoint's variables come from. The local scope and the remote servers are saved by the
// same code: a list of descriptions and a callback that fills in rows.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/tensor/variable.h"

struct err;
struct program;
struct scope;
struct str_list;

struct ckpt_var {
    const char *name;
    enum variable_kind kind;        // VARIABLE_TENSOR or VARIABLE_SELECTED_ROWS
    enum dtype dtype;
    struct dims dims;               // full shape (of the value, for selected rows)
    const struct lod_level *lod;    // NULL without LoD
    int lod_levels;
    int64_t height;                 // selected rows
    const int64_t *row_ids;         // selected rows: dims.d[0] of them
};

// Everything is borrowed until the save returns. Order does not matter: files are written sorted by
// name.
struct ckpt_source {
    const struct ckpt_var *vars;
    size_t count;
    // Fills out with rows [row, row + rows) of vars[i] along dim 0 (a rank-0 variable is one row).
    // Calls come in ascending order, each row once.
    int (*read_rows)(void *self, size_t i, int64_t row, int64_t rows, void *out, struct err *err);
    void *self;
};

// A source over the variables called names in scope. SL_ENOENT lists those that hold nothing yet.
int ckpt_source_scope(const struct scope *scope, const struct str_list *names,
                      struct ckpt_source **out, struct err *err);
void ckpt_source_free(struct ckpt_source *source);      // of ckpt_source_scope only; NULL is fine
