// SPDX-License-Identifier: Apache-2.0
// The first half of a load, and of a verification: which variables are wanted from a folder, and
// does each file fit, judged by headers and sizes only. Nothing here changes a scope.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/map.h"
#include "common/ckpt/ckpt_load.h"
#include "common/ckpt/ckpt_manifest.h"
#include "common/ckpt/pickle.h"
#include "common/tensor/tensor_io.h"

struct err;
struct program;
struct slice_map;

// One variable of the scope and its place in a file.
struct ckpt_want {
    char *name;   // in the scope; on a server the slice
    char *file;   // the variable's full name, that is the file
    enum variable_kind kind;
    int dtype;
    struct dims dims;   // full shape; -1 fits anything
    bool sliced;
    int64_t row, rows;          // of the file; rows -1: all
    bool rate, constant_rate;   // see ckpt_vars_rates
    bool elsewhere;             // on another server; stands in the same combined file

    enum ckpt_fate fate;   // set by check: LOADED, SLICED, KEPT, EXCEPTED, MISSING, DIFFERS
    char *note;
    const char *within;   // the file that holds this and others; NULL: its own
    uint64_t base;        // where the variable begins in its file (a combined one)
    bool pickled;
    struct pickle_array array;   // when pickled: its place; borrows name
    uint64_t file_bytes;
    uint64_t surplus;
    struct tensor_io_header header;   // valid when fate is LOADED or SLICED
    struct variable fresh;            // the values, before they are swapped in
};

struct ckpt_wants {
    struct ckpt_want *items;   // sorted by file, then name
    size_t count, cap;
    struct map known;   // files that belong to a variable of the whole job
    bool on_server;
    char *within[3];   // combined or pickled files, which wants point at; the last: .pdmodel
};

// A folder that is being read.
struct ckpt_folder {
    const char *uri;
    bool has_manifest;
    struct ckpt_manifest manifest;
    struct str_list files;   // sorted, without manifest and sums
    struct map by_name;      // of files: present ones
};

// What program (with slices: server's part) wants. SL_EINVAL: a server's program without slice map.
int ckpt_want_collect(const struct program *program, const struct ckpt_load_options *options,
                      struct ckpt_wants *out, struct err *err);
void ckpt_want_deinit(struct ckpt_wants *wants);

int ckpt_want_open_folder(const char *uri, bool allow_interrupted, struct ckpt_folder *out,
                          struct err *err);
void ckpt_want_close_folder(struct ckpt_folder *folder);

// Sets fate and header of each. SL_EUNSUPPORTED: pickles on a server.
int ckpt_want_check(struct ckpt_wants *wants, const struct ckpt_folder *folder,
                    const struct ckpt_load_options *options, struct err *err);
// Fills items (extras too), path, manifest facts and digest of the report.
void ckpt_want_report(const struct ckpt_wants *wants, const struct ckpt_folder *folder,
                      struct ckpt_report *report);
// The name of the file that the variable is in.
static inline const char *ckpt_want_file(const struct ckpt_want *want)
{
    return want->within ? want->within : want->file;
}
// One error that lists what is missing or differs; 0 when nothing is.
int ckpt_want_verdict(const struct ckpt_wants *wants, const char *ending, struct err *err);
static inline bool ckpt_want_is_taken(const struct ckpt_want *want)
{
    return want->fate == CKPT_LOADED || want->fate == CKPT_SLICED;
}
// A tensor_io_source over an open file of the store.
struct store_file;
void ckpt_want_source(struct store_file *file, struct tensor_io_source *out);
void ckpt_want_set(struct ckpt_want *want, enum ckpt_fate fate, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
