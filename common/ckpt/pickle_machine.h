// SPDX-License-Identifier: Apache-2.0
// Private to pickle.c and pickle_machine.c: the values on a pickle's stack. Texts and data stay in
// the file; a node says where.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tensor/dims.h"
#include "common/tensor/dtype.h"

struct err;
struct tensor_io_source;

enum pickle_kind {
    PICKLE_MARK,
    PICKLE_NONE,
    PICKLE_NUMBER,
    PICKLE_TEXT,    // offset, bytes
    PICKLE_BYTES,   // offset, bytes, as_text
    PICKLE_TUPLE,   // children
    PICKLE_LIST,    // what is in it is of no interest
    PICKLE_DICT,
    PICKLE_CALLABLE,   // number: enum pickle_callable
    PICKLE_DTYPE,      // dtype
    PICKLE_ARRAY,      // when set: dtype, dims, offset, bytes, as_text
};

enum pickle_callable {
    PICKLE_RECONSTRUCT,
    PICKLE_NDARRAY,
    PICKLE_DTYPE_CLASS,
    PICKLE_ENCODE,
    PICKLE_ORDERED_DICT,
};

struct pickle_node {
    enum pickle_kind kind;
    bool as_text, set;
    enum dtype dtype;
    int64_t number;
    uint64_t offset, bytes;
    size_t first, count;   // TUPLE: in children
    size_t dims;           // ARRAY: in shapes
};

struct pickle_entry {
    size_t dict, key, value;
};

struct pickle_machine {
    const struct tensor_io_source *source;
    uint64_t at;
    uint8_t window[4096];
    uint64_t window_at;
    size_t window_bytes;
    struct pickle_node *nodes;
    size_t nodes_count, nodes_cap;
    size_t *stack;
    size_t stack_count, stack_cap;
    size_t *children;
    size_t children_count, children_cap;
    size_t *memo;   // node + 1; 0: empty
    size_t memo_count, memo_cap;
    struct dims *shapes;
    size_t shapes_count, shapes_cap;
    struct pickle_entry *entries;
    size_t entries_count, entries_cap;
    size_t result;   // node
};

// Runs source's program to its end. The machine is to be released also after an error.
int pickle_machine_run(struct pickle_machine *m, const struct tensor_io_source *source,
                       struct err *err);
void pickle_machine_deinit(struct pickle_machine *m);
// REDUCE and BUILD, in pickle.c: what callables and states mean. `at` is the opcode's offset.
int pickle_reduce(struct pickle_machine *m, size_t callable, size_t args, size_t *out_node,
                  struct err *err);
int pickle_build(struct pickle_machine *m, size_t object, size_t state, struct err *err);
// The text of a node into out of cap bytes, terminated; SL_EFORMAT when it is none or too long.
int pickle_machine_text(struct pickle_machine *m, size_t node, char *out, size_t cap,
                        struct err *err);
int pickle_machine_callable(const char *module, const char *name, enum pickle_callable *out);
size_t pickle_machine_new(struct pickle_machine *m, enum pickle_kind kind);
