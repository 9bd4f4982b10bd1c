// SPDX-License-Identifier: Apache-2.0
// One operator of a block: type, named input and output slots with their arguments, attributes.
// Order is kept as read, so that an unchanged program is written byte for byte.
#pragma once

#include "common/base/str.h"
#include "common/program/attr.h"

// Fluid's op_role attribute.
enum op_role {
    OP_ROLE_FORWARD = 0,
    OP_ROLE_BACKWARD = 1,
    OP_ROLE_OPTIMIZE = 2,
    OP_ROLE_RPC = 4,
    OP_ROLE_DIST = 8,
    OP_ROLE_LR_SCHED = 16,
    OP_ROLE_LOSS = 256,
};

#define OP_ROLE_ATTR "op_role"
#define OP_ROLE_VAR_ATTR "op_role_var"
#define GRAD_SUFFIX "@GRAD"

struct op_slot {
    char *name;
    struct str_list args;           // variable names; "@EMPTY@" stands for none
    uint8_t *unknown;
    size_t unknown_bytes;
};

struct op_desc {
    char *type;
    struct op_slot *inputs;
    size_t inputs_count, inputs_cap;
    struct op_slot *outputs;
    size_t outputs_count, outputs_cap;
    struct attr *attrs;
    size_t attrs_count, attrs_cap;
    bool has_is_target, is_target;
    uint8_t *unknown;               // fields of newer writers, kept as they came
    size_t unknown_bytes;
};

struct op_desc *op_desc_new(const char *type);
void op_desc_free(struct op_desc *op);
struct op_desc *op_desc_clone(const struct op_desc *op);

// Slots. get returns NULL when the op has no such slot.
struct op_slot *op_desc_input(const struct op_desc *op, const char *slot);
struct op_slot *op_desc_output(const struct op_desc *op, const char *slot);
void op_desc_add_input(struct op_desc *op, const char *slot,
                       const char *arg);   // arg NULL: empty slot
void op_desc_add_output(struct op_desc *op, const char *slot, const char *arg);
// The only / first argument of a slot, or NULL.
const char *op_desc_input1(const struct op_desc *op, const char *slot);
const char *op_desc_output1(const struct op_desc *op, const char *slot);
bool op_desc_reads(const struct op_desc *op, const char *var);
bool op_desc_writes(const struct op_desc *op, const char *var);
void op_desc_rename_input(struct op_desc *op, const char *from, const char *to);
void op_desc_rename_output(struct op_desc *op, const char *from, const char *to);

// Attributes: set adds or replaces in place.
struct attr *op_desc_attr(const struct op_desc *op, const char *name);
void op_desc_remove_attr(struct op_desc *op, const char *name);
void op_desc_set_attr(struct op_desc *op, const struct attr *attr);              // copies
void op_desc_set_int(struct op_desc *op, const char *name, int64_t value);
void op_desc_set_long(struct op_desc *op, const char *name, int64_t value);
void op_desc_set_bool(struct op_desc *op, const char *name, bool value);
void op_desc_set_block(struct op_desc *op, const char *name, int idx);
void op_desc_set_float(struct op_desc *op, const char *name, float value);
void op_desc_set_string(struct op_desc *op, const char *name, const char *value);
void op_desc_set_ints(struct op_desc *op, const char *name, const int64_t *values, size_t count);
void op_desc_set_longs(struct op_desc *op, const char *name, const int64_t *values, size_t count);
void op_desc_set_blocks(struct op_desc *op, const char *name, const int64_t *values, size_t count);
void op_desc_set_floats(struct op_desc *op, const char *name, const float *values, size_t count);
void op_desc_set_strings(struct op_desc *op, const char *name, const struct str_list *values);
int64_t op_desc_get_int(const struct op_desc *op, const char *name, int64_t fallback);
float op_desc_get_float(const struct op_desc *op, const char *name, float fallback);
const char *op_desc_get_string(const struct op_desc *op, const char *name, const char *fallback);
int op_desc_role(const struct op_desc *op);      // op_role, 0 when absent
