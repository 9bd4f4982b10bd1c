// SPDX-License-Identifier: Apache-2.0
// One server's part of the slice_map: what lies here, by wire index and by name.
//
// On the wire a variable is its index in the sorted slice_map and a slice its index in the
// variable. A slice's bytes are cut in cells of SHARD_CELL_BYTES: the grain in which pushes are
// counted, asked for again and folded. A chunk on the wire begins at a cell and ends at a cell or
// at the slice's end.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/map.h"
#include "common/program/slice_map.h"

struct err;

#define SHARD_CELL_BYTES (256u << 10)

struct shard_slice {
    uint32_t variable, slice;      // wire index
    const struct slice_var *var;   // the whole variable
    const struct slice *place;     // rows, server, name
    enum slice_role role;
    enum dtype dtype;
    struct dims dims;   // of the slice
    uint64_t bytes, row_bytes;
    int grad;   // index among this server's gradients, -1 when it is none
    // A gradient that comes as selected rows: of at most rows_bytes (indices, then values).
    bool sparse;
    uint64_t rows_bytes;
};

struct shard {
    const struct slice_map *map;   // borrowed
    int server;
    uint32_t cell_bytes;          // SHARD_CELL_BYTES, smaller in tests
    struct shard_slice *slices;   // in order of (variable, slice)
    size_t slices_count;
    size_t *first;                // of each variable in slices; vars_count + 1 entries
    struct shard_slice **grads;   // by grad index
    size_t grads_count;
    struct map by_name;
};

// The slices of map on server; map is finished and outlives the shard. SL_EINVAL: no such server;
// SL_ELIMIT: a size overflows.
int shard_init(struct shard *shard, const struct slice_map *map, int server, struct err *err);
void shard_deinit(struct shard *shard);
// NULL when that slice does not exist or lies on another server.
const struct shard_slice *shard_find(const struct shard *shard, uint32_t variable, uint32_t slice);
const struct shard_slice *shard_by_name(const struct shard *shard, const char *name);
// "fc_0.w_0@GRAD.trainer_1" -> the gradient "fc_0.w_0@GRAD" and 1; without the suffix the trainer
// is -1. NULL when it is no gradient of this server.
const struct shard_slice *shard_grad_by_name(const struct shard *shard, const char *name,
                                             int *out_trainer);
uint32_t shard_cells(const struct shard *shard, const struct shard_slice *slice);
// Is [offset, offset + bytes) a chunk of slice: on the grid, inside, not empty? SL_EINVAL with a
// text.
int shard_check_chunk(const struct shard *shard, const struct shard_slice *slice, uint64_t offset,
                      uint64_t bytes, struct err *err);
// Is [offset, offset + bytes) a chunk of `rows` selected rows of a sparse gradient? Without rows
// the only chunk is the empty one. SL_EINVAL with a text.
int shard_check_rows(const struct shard *shard, const struct shard_slice *slice, uint32_t rows,
                     uint64_t offset, uint64_t bytes, struct err *err);
// Bytes of a row of a slice's variable (0 rows count as one).
uint64_t shard_row_bytes(const struct slice_var *var);
// Are these rows of a slice of height rows, ascending? SL_EINVAL names the first that is not.
int shard_check_order(const char *name, const int64_t *rows, size_t count, int64_t height,
                      struct err *err);
// The shape of a slice: its rows of the variable's dims (a replicated slice is whole).
struct dims shard_slice_dims(const struct slice_var *var, const struct slice *slice);
// Bytes of a slice; false when that overflows or leaves LIMIT_TENSOR_BYTES.
bool shard_slice_bytes(const struct slice_var *var, const struct slice *slice, uint64_t *out_bytes);
// A gradient's name without ".trainer_<i>"; returns the length of the stem and the id (-1: none).
size_t shard_stem(const char *name, int *out_trainer);
