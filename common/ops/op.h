// SPDX-License-Identifier: Apache-2.0
// What an operator is. One struct op_def an op type, declared beside its kernels in its family's
// file and listed in op_table.c. The same tables serve three readers: the builder (default
// attributes, slots), the backward pass (grad rule) and the plan (resolved slots and attributes).
// A kernel sees tensors only: no names, no scope, no program.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/program/attr.h"
#include "common/tensor/variable.h"

struct block;
struct err;
struct op_desc;

#define OP_SLOTS_MAX 24
#define OP_ATTRS_MAX 32

enum op_slot_flag {
    OP_SLOT_LIST = 1,       // any number of arguments
    OP_SLOT_OPTIONAL = 2,   // may be missing or empty
    OP_SLOT_EXTRA = 4,      // an output nobody reads at run time (XShape, ...)
};

struct op_slot_def {
    const char *name;       // NULL ends the table
    unsigned flags;
};

// An attribute with the default that Fluid's op maker gives; `append` adds absent ones.
struct op_attr_def {
    const char *name;       // NULL ends the table
    enum attr_type type;
    double number;          // default of INT, LONG, BOOLEAN, FLOAT
    const char *string;     // default of STRING
    const double *list;     // default of INTS, LONGS, FLOATS: list_count numbers (NULL: empty)
    size_t list_count;
    bool kernel_only;       // a fallback for the kernel; the builder does not write it
};

// The gradient op that Fluid's grad maker makes. inputs and outputs are space-separated slot names
// of the grad op: "X", "Out", "Out@GRAD" copy the forward op's arguments (with @GRAD added to each).
struct op_grad_rule {
    const char *type;       // "mul_grad"; NULL: no gradient
    const char *inputs;
    const char *outputs;
    bool drop_attrs;        // the maker copies no attributes (mean)
    // For makers that a table cannot say. Appends op_desc_new ops to out (at most out_max), returns how many.
    int (*make)(const struct op_desc *forward, struct op_desc **out, int out_max);
};

// A resolved slot: count variables. A missing optional argument is NULL.
struct op_args {
    struct variable **vars;
    size_t count;
};

// What a kernel gets. in and out follow the order of op_def's tables; attr that of attrs (an absent
// attribute points at the default).
struct op_ctx {
    const struct op_def *def;
    const struct op_args *in;
    const struct op_args *out;
    const struct attr *const *attr;
    void *scratch;          // scratch_bytes zeroed bytes, kept from call to call
    struct tensor *temps;   // temps tensors, kept from call to call (sized by tensor_resize)
    void *host;             // the executor's host object: for ops with I/O only
    const struct op_desc *desc;   // for ops with I/O only (endpoints, names)
    struct err *err;        // set it when returning an error: the executor adds block, index and type
    bool is_test;           // reserved for the executor
};

// Shapes, at build time (dims may hold -1) and at run time (they don't).
struct op_shape {
    const struct op_def *def;
    const struct op_args_dims *in;
    struct op_args_dims *out;
    const struct attr *const *attr;
    struct err *err;
    bool building;
};

// The dims side of one slot.
struct op_var_dims {
    struct dims dims;
    int dtype;              // enum dtype; -1 unknown
    int lod_level;
    enum variable_kind kind;
    bool set;               // output: infer_shape has decided it
};
struct op_args_dims {
    struct op_var_dims *vars;
    size_t count;
};

struct op_def {
    const char *type;
    const struct op_slot_def *inputs;
    const struct op_slot_def *outputs;
    const struct op_attr_def *attrs;
    struct op_grad_rule grad;
    // NULL: each output S@GRAD takes the shape of input S; other outputs that of the first input.
    int (*infer_shape)(struct op_shape *shape);
    int (*kernel)(struct op_ctx *ctx);
    size_t scratch_bytes;
    int temps;
    bool kernel_resizes;    // the kernel sizes its outputs itself (data-dependent shapes, host ops)
    bool row_splittable;    // the op may run on any run of rows alone (elementwise optimizers)
};

// Slot tables are short: index of a slot by name, -1 when absent.
int op_input_index(const struct op_def *def, const char *slot);
int op_output_index(const struct op_def *def, const char *slot);

// Kernel helpers. The tensor of argument 0 (or i) of slot s; NULL when missing.
struct tensor *op_in(const struct op_ctx *ctx, int s);
struct tensor *op_in_at(const struct op_ctx *ctx, int s, size_t i);
struct tensor *op_out(const struct op_ctx *ctx, int s);
struct tensor *op_out_at(const struct op_ctx *ctx, int s, size_t i);

// The table.
const struct op_def *op_table_find(const char *type);
size_t op_table_count(void);
const struct op_def *op_table_at(size_t i);
