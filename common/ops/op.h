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
    OP_SLOT_RAW = 8,        // no tensor (feed's X, fetch's Out): neither bound, checked nor sized
    OP_SLOT_ROWS = 16,      // may hold selected rows; elsewhere op_infer refuses them
};

struct op_slot_def {
    const char *name;   // NULL ends the table
    unsigned flags;
};

// An attribute with the default that Fluid's op maker gives; the builder adds absent ones, except
// required ones, which have no default there.
struct op_attr_def {
    const char *name;   // NULL ends the table
    enum attr_type type;
    double number;        // default of INT, LONG, BOOLEAN, FLOAT
    const char *string;   // default of STRING
    const double *list;   // default of INTS, LONGS, FLOATS: list_count numbers (NULL: empty)
    size_t list_count;
    bool kernel_only;   // a fallback for the kernel; the builder does not write it
    bool required;      // Fluid gives no default; number is what the kernel takes when it is absent
};

#define OP_ATTR_INT(n, v) {.name = (n), .type = ATTR_INT, .number = (v)}
#define OP_ATTR_LONG(n, v) {.name = (n), .type = ATTR_LONG, .number = (v)}
#define OP_ATTR_BOOL(n, v) {.name = (n), .type = ATTR_BOOLEAN, .number = (v)}
#define OP_ATTR_FLOAT(n, v) {.name = (n), .type = ATTR_FLOAT, .number = (v)}
#define OP_ATTR_STRING(n, v) {.name = (n), .type = ATTR_STRING, .string = (v)}
#define OP_ATTR_LIST(n, t) {.name = (n), .type = (t)}

// The gradient op that Fluid's grad maker makes. inputs and outputs are the grad op's slots, with
// spaces between: "X", "Out", "Out@GRAD" copy the forward op's arguments (with @GRAD added).
struct op_grad_rule {
    const char *type;   // "mul_grad"; NULL: no gradient
    const char *inputs;
    const char *outputs;
    bool drop_attrs;   // the maker copies no attributes (mean)
    // For makers that a table cannot say. Puts op_desc_new ops into out (at most out_max) and
    // returns how many; gradients are named argument@GRAD (the backward pass renames and prunes).
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
    void *scratch;                // scratch_bytes zeroed bytes, kept from call to call
    struct tensor *temps;         // temps tensors, kept from call to call (sized by tensor_resize)
    void *host;                   // the self of the op's plan_host group: for ops with I/O only
    const struct op_desc *desc;   // for ops with I/O (endpoints, names); NULL for an op alone
    struct err *err;   // set it when returning an error: the executor adds block, index and type
    bool is_test;      // reserved for the executor
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
    int dtype;   // enum dtype; -1 unknown
    int lod_level;
    enum variable_kind kind;
    bool set;                             // output: infer_shape has decided it
    const struct op_var_dims *lod_from;   // output: the input whose LoD it takes (NULL: none)
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
    // NULL: op_shape_default.
    int (*infer_shape)(struct op_shape *shape);
    int (*kernel)(struct op_ctx *ctx);
    size_t scratch_bytes;
    int temps;
    bool kernel_resizes;   // the kernel sizes its outputs itself (data-dependent shapes, host ops)
    bool no_lod;           // no output takes a LoD: so it is with many of Fluid's gradients
    bool row_splittable;   // may run on any run of rows alone (optimizers, sum, scale)
    // With a gradient of selected rows, does this op write only the rows that the gradient names?
    // Its outputs then hold the inputs' values in all other rows before it runs (in place, or the
    // caller saw to it). NULL: it writes every row. op is the description (adam's lazy_mode).
    bool (*rows_only)(const struct op_desc *op);
    // The plan runs the block that attribute sub_block names when the kernel returns 1 (0: not).
    bool runs_block;
};

// Slot tables are short: index of a slot by name, -1 when absent.
int op_input_index(const struct op_def *def, const char *slot);
int op_output_index(const struct op_def *def, const char *slot);

// The default of an attribute as an attribute (attr_deinit it).
void op_attr_default(const struct op_attr_def *def, struct attr *out);

// For grad makers: a new op `type` whose X is Out@GRAD of forward and whose Out is X@GRAD of
// argument i of forward's X, without attributes; NULL when forward has no such argument.
struct op_desc *op_grad_unary(const struct op_desc *forward, const char *type, size_t i);

// Kernel helpers. The tensor of argument 0 (or i) of slot s; NULL when missing.
struct tensor *op_in(const struct op_ctx *ctx, int s);
struct tensor *op_in_at(const struct op_ctx *ctx, int s, size_t i);
struct tensor *op_out(const struct op_ctx *ctx, int s);
struct tensor *op_out_at(const struct op_ctx *ctx, int s, size_t i);
// tensor_resize, but a tensor that already has this type, shape and memory is left alone (so views
// stay views and addresses stay). Kernels that size their outputs use this one.
int op_resize(struct tensor *t, enum dtype dtype, const struct dims *dims, struct err *err);
// SL_EUNSUPPORTED, saying which element type the op cannot do.
int op_bad_dtype(const struct op_ctx *ctx, int dtype);

// infer_shape helpers. The dims of argument i of slot s; NULL when missing.
const struct op_var_dims *op_shape_in(const struct op_shape *shape, int s, size_t i);
struct op_var_dims *op_shape_out(const struct op_shape *shape, int s, size_t i);
// Sets shape and type of an output, if the op has it, with the LoD of lod_from (or NULL).
void op_shape_set(const struct op_shape *shape, int s, size_t i, const struct dims *dims, int dtype,
                  const struct op_var_dims *lod_from);
// The same as an input: its kind too.
void op_shape_copy(const struct op_shape *shape, int s, size_t i, const struct op_var_dims *from);
// The rule for ops without infer_shape: output `S@GRAD` and `SOut` follow input S argument by
// argument, other outputs the first input. What infer_shape has set already is kept.
void op_shape_default(const struct op_shape *shape);
// The same, but no output takes a LoD: for the ops where Fluid does not hand it on.
void op_shape_bare(const struct op_shape *shape);
// What the builder and the plan call: checks that required inputs are there and selected rows only
// where the op takes them, then infer_shape or the default rule.
int op_infer(struct op_shape *shape);
// Are a and b possibly equal (a -1 fits everything)?
bool op_dims_fit(int64_t a, int64_t b);
// axis counted from the end when negative; -1 when it is not within rank.
int op_axis(int64_t axis, int rank);

// The table.
const struct op_def *op_table_find(const char *type);
size_t op_table_count(void);
const struct op_def *op_table_at(size_t i);
