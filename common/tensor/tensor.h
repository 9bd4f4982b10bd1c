// SPDX-License-Identifier: Apache-2.0
// A dense tensor with LoD. Storage is shared by reference (views of rows, split by reference) or
// borrowed from an owner outside (a server's state, a gradient slot).
// Invariant: data points at count * dtype_bytes(dtype) readable bytes whenever dtype and dims are
// set.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tensor/dims.h"
#include "common/tensor/dtype.h"

struct err;
struct tensor_storage;              // refcounted; private to tensor.c

// One level of sequence starts: offsets[0] = 0 <= ... <= offsets[count-1] (tensor_lod_is_valid).
struct lod_level {
    uint64_t *offsets;              // owned by the tensor
    size_t count;                   // offsets, that is sequences + 1
    size_t cap;
};

struct tensor {
    enum dtype dtype;
    struct dims dims;
    void *data;                     // first element; NULL until sized (or when it has no elements)
    struct tensor_storage *storage; // NULL when empty or borrowed
    size_t capacity_bytes;          // usable bytes behind data
    struct lod_level *lod;
    int lod_levels;
    int lod_levels_cap;
};

void tensor_init(struct tensor *t);
void tensor_deinit(struct tensor *t);
// Gives the tensor a type and shape; keeps its memory when that is large enough and not shared or
// borrowed, so nothing is allocated in steady state. Contents become undefined. LoD is kept.
// A borrowed tensor keeps its memory; SL_ELIMIT when that is too small.
// SL_EINVAL for negative dims, SL_ELIMIT, SL_ENOMEM.
int tensor_resize(struct tensor *t, enum dtype dtype, const struct dims *dims);
uint64_t tensor_count(const struct tensor *t);       // elements
uint64_t tensor_bytes(const struct tensor *t);
// dst becomes rows [row, row + rows) of src along dim 0 and shares its storage (or borrows too).
int tensor_share_rows(struct tensor *dst, const struct tensor *src, int64_t row, int64_t rows);
void tensor_share(struct tensor *dst, const struct tensor *src);     // the whole of it, LoD too
int tensor_copy(struct tensor *dst, const struct tensor *src);       // deep, LoD too
// dst's memory is data (capacity_bytes long) of another owner, who outlives it.
void tensor_borrow(struct tensor *dst, enum dtype dtype, const struct dims *dims, void *data,
                   size_t capacity_bytes);
void tensor_move(struct tensor *dst, struct tensor *src);            // src becomes empty

int tensor_set_lod(struct tensor *t, int levels, const struct lod_level *lod);   // copies
// Room for a LoD that the caller writes: t gets `levels` levels, level `level` of which `count`
// offsets whose contents are undefined; levels that were there stay, other new ones are empty.
int tensor_reserve_lod(struct tensor *t, int levels, int level, size_t count);
void tensor_clear_lod(struct tensor *t);
// Do the levels describe sequences: each begins with 0 and never goes down, and ends at the number
// of sequences of the next level, the last one at dims[0]? True without LoD. To be asked before
// offsets from outside (fed or loaded) are used as indices.
bool tensor_lod_is_valid(const struct tensor *t);

static inline float *tensor_f32(const struct tensor *t) { return (float *)t->data; }
static inline double *tensor_f64(const struct tensor *t) { return (double *)t->data; }
static inline int64_t *tensor_i64(const struct tensor *t) { return (int64_t *)t->data; }
static inline int32_t *tensor_i32(const struct tensor *t) { return (int32_t *)t->data; }
