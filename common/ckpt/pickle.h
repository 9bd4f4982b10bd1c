// SPDX-License-Identifier: Apache-2.0
// The files of fluid.save: a Python pickle of one dict {name: numpy array}. Reading never runs
// anything: of all that a pickle can ask for, only dicts, tuples, lists, texts, numbers and the
// four callables that arrays are made of are understood; everything else is refused by name.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tensor/dims.h"
#include "common/tensor/dtype.h"

struct buf;
struct err;
struct tensor_io_source;

// One array of the dict, and where its bytes are in the file.
struct pickle_array {
    char *name;
    enum dtype dtype;
    struct dims dims;
    uint64_t offset, bytes;   // in the file
    bool as_text;   // each byte from 128 on takes two: Latin-1 in UTF-8, as protocol 2 has it
};

struct pickle_index {
    struct pickle_array *items;   // sorted by name
    size_t count, cap;
};

// Finds the arrays of a pickle of protocol 2, 3 or 4; their data is not read. Entries of the dict
// that are no arrays are left out. SL_EFORMAT names offset and reason; SL_EUNSUPPORTED what this
// reader does not do; SL_ELIMIT. out is filled on success only.
int pickle_index_read(const struct tensor_io_source *source, struct pickle_index *out,
                      struct err *err);
void pickle_index_deinit(struct pickle_index *index);
const struct pickle_array *pickle_index_find(const struct pickle_index *index, const char *name);
// The array's values into out, which has room for dims times the element's size.
int pickle_read_array(const struct tensor_io_source *source, const struct pickle_array *array,
                      void *out, struct err *err);

// Writing, protocol 2 as Paddle writes it: begin, then for each array its head, its encoded bytes
// and its tail, then end.
void pickle_append_begin(struct buf *out);
// SL_ELIMIT: more than the 4 GiB that the format can hold.
int pickle_append_head(struct buf *out, const char *name, enum dtype dtype, const struct dims *dims,
                       uint64_t encoded_bytes, struct err *err);
void pickle_append_tail(struct buf *out);
void pickle_append_end(struct buf *out);
// How many bytes data takes when it is encoded; and encoding it into out, which has that room.
uint64_t pickle_encoded_bytes(const void *data, size_t bytes);
size_t pickle_encode(const void *data, size_t bytes, uint8_t *out);
