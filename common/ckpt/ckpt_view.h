// SPDX-License-Identifier: Apache-2.0
// A folder of variables as it lies on disk, for tools: what each file is, without a scope. Files
// that hold no variable are named apart. Data is read by rows, so that a table of any size fits.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/ckpt/ckpt_source.h"
#include "common/ckpt/ckpt_want.h"

struct err;
struct program;

struct ckpt_view_var {
    char *name;
    char *file;
    struct tensor_io_header header;   // a LoDTensor unless only SelectedRows fits the bytes
    uint64_t base;                    // where the variable begins in its file
    uint64_t surplus;                 // bytes of the file behind what the dims say
    const char *sha256;               // of the file, by the manifest; NULL without
};

struct ckpt_view {
    struct ckpt_folder folder;
    char *uri;
    char *filename;               // the combined file, or NULL
    struct ckpt_view_var *vars;   // sorted by name
    size_t count, cap;
    struct str_list others;    // files that are no variables, sorted, without our manifest
    struct store_file *open;   // the file of the last read
    size_t open_index;
};

struct ckpt_view_options {
    const char *filename;   // one combined file of this name; else a file a variable
    // Whose saved variables a combined file holds (it has no names inside). NULL: the folder's
    // __model__. Also tells SelectedRows from LoDTensors.
    const struct program *program;
};

// SL_ENOENT: no such folder; SL_EFORMAT: the combined file does not fit the program. A damaged file
// is an error that names it when the manifest speaks of it or it begins as a variable's file does.
int ckpt_view_open(const char *uri, const struct ckpt_view_options *options, struct ckpt_view *out,
                   struct err *err);
void ckpt_view_close(struct ckpt_view *view);
// NULL when there is none.
const struct ckpt_view_var *ckpt_view_find(const struct ckpt_view *view, const char *name);
int64_t ckpt_view_rows(const struct ckpt_view_var *var);   // along dim 0; 1 for rank 0
uint64_t ckpt_view_row_bytes(const struct ckpt_view_var *var);
// Rows [row, row + rows) of vars[i] into out (rows * row_bytes).
int ckpt_view_read(struct ckpt_view *view, size_t i, int64_t row, int64_t rows, void *out,
                   struct err *err);
// vars[i] as ckpt_save wants it; borrows from the view.
struct ckpt_var ckpt_view_describe(const struct ckpt_view *view, size_t i);
