// SPDX-License-Identifier: Apache-2.0
// Operators of a description. Slots and attributes are short lists in the order of the file;
// look-up is linear. Who changes an operator inside a program calls program_touch.
#include "common/program/op_desc.h"

#include <string.h>

#include "common/base/mem.h"

static struct op_slot *find_slot(struct op_slot *slots, size_t count, const char *name);
static void free_slots(struct op_slot *slots, size_t count);
static void clone_slots(struct op_slot **dst, size_t *count, size_t *cap, const struct op_slot *src,
                        size_t src_count);
static void add_argument(struct op_slot **slots, size_t *count, size_t *cap, const char *name,
                         const char *arg);
static void rename_in(struct op_slot *slots, size_t count, const char *from, const char *to);
static bool mentions(const struct op_slot *slots, size_t count, const char *var);
static void set_scalar(struct op_desc *op, const char *name, enum attr_type type, int64_t i,
                       float f);
static void set_numbers(struct op_desc *op, const char *name, enum attr_type type,
                        const int64_t *values, size_t count);

struct op_desc *op_desc_new(const char *type)
{
    struct op_desc *op = MEM_NEW(struct op_desc);
    op->type = mem_must_strdup(type);
    return op;
}

void op_desc_free(struct op_desc *op)
{
    if (!op)
        return;
    mem_free(op->type);
    free_slots(op->inputs, op->inputs_count);
    free_slots(op->outputs, op->outputs_count);
    for (size_t i = 0; i < op->attrs_count; i++)
        attr_deinit(&op->attrs[i]);
    mem_free(op->attrs);
    mem_free(op->unknown);
    mem_free(op);
}

struct op_desc *op_desc_clone(const struct op_desc *op)
{
    struct op_desc *clone = op_desc_new(op->type);
    clone_slots(&clone->inputs, &clone->inputs_count, &clone->inputs_cap, op->inputs,
                op->inputs_count);
    clone_slots(&clone->outputs, &clone->outputs_count, &clone->outputs_cap, op->outputs,
                op->outputs_count);
    if (op->attrs_count)
        clone->attrs = mem_must_calloc(op->attrs_count, sizeof *clone->attrs);
    clone->attrs_count = clone->attrs_cap = op->attrs_count;
    for (size_t i = 0; i < op->attrs_count; i++)
        attr_copy(&clone->attrs[i], &op->attrs[i]);
    clone->has_is_target = op->has_is_target;
    clone->is_target = op->is_target;
    if (op->unknown_bytes) {
        clone->unknown =
            memcpy(mem_must_calloc(op->unknown_bytes, 1), op->unknown, op->unknown_bytes);
        clone->unknown_bytes = op->unknown_bytes;
    }
    return clone;
}

struct op_slot *op_desc_input(const struct op_desc *op, const char *slot)
{
    return find_slot(op->inputs, op->inputs_count, slot);
}

struct op_slot *op_desc_output(const struct op_desc *op, const char *slot)
{
    return find_slot(op->outputs, op->outputs_count, slot);
}

void op_desc_add_input(struct op_desc *op, const char *slot, const char *arg)
{
    add_argument(&op->inputs, &op->inputs_count, &op->inputs_cap, slot, arg);
}

void op_desc_add_output(struct op_desc *op, const char *slot, const char *arg)
{
    add_argument(&op->outputs, &op->outputs_count, &op->outputs_cap, slot, arg);
}

const char *op_desc_input1(const struct op_desc *op, const char *slot)
{
    const struct op_slot *found = op_desc_input(op, slot);
    return found && found->args.count ? found->args.items[0] : NULL;
}

const char *op_desc_output1(const struct op_desc *op, const char *slot)
{
    const struct op_slot *found = op_desc_output(op, slot);
    return found && found->args.count ? found->args.items[0] : NULL;
}

bool op_desc_reads(const struct op_desc *op, const char *var)
{
    return mentions(op->inputs, op->inputs_count, var);
}

bool op_desc_writes(const struct op_desc *op, const char *var)
{
    return mentions(op->outputs, op->outputs_count, var);
}

void op_desc_rename_input(struct op_desc *op, const char *from, const char *to)
{
    rename_in(op->inputs, op->inputs_count, from, to);
}

void op_desc_rename_output(struct op_desc *op, const char *from, const char *to)
{
    rename_in(op->outputs, op->outputs_count, from, to);
}

struct attr *op_desc_attr(const struct op_desc *op, const char *name)
{
    for (size_t i = 0; i < op->attrs_count; i++)
        if (!strcmp(op->attrs[i].name, name))
            return &op->attrs[i];
    return NULL;
}

void op_desc_remove_attr(struct op_desc *op, const char *name)
{
    struct attr *attr = op_desc_attr(op, name);
    if (!attr)
        return;
    size_t at = (size_t)(attr - op->attrs);
    attr_deinit(attr);
    memmove(attr, attr + 1, (op->attrs_count - at - 1) * sizeof *attr);
    op->attrs_count--;
}

void op_desc_set_attr(struct op_desc *op, const struct attr *attr)
{
    struct attr copy, *old = op_desc_attr(op, attr->name);
    attr_copy(&copy, attr);
    if (old) {
        attr_deinit(old);
        *old = copy;
        return;
    }
    MEM_GROW(op->attrs, op->attrs_count, op->attrs_cap);
    op->attrs[op->attrs_count++] = copy;
}

void op_desc_set_int(struct op_desc *op, const char *name, int64_t value)
{
    set_scalar(op, name, ATTR_INT, value, 0);
}

void op_desc_set_long(struct op_desc *op, const char *name, int64_t value)
{
    set_scalar(op, name, ATTR_LONG, value, 0);
}

void op_desc_set_bool(struct op_desc *op, const char *name, bool value)
{
    set_scalar(op, name, ATTR_BOOLEAN, value, 0);
}

void op_desc_set_block(struct op_desc *op, const char *name, int idx)
{
    set_scalar(op, name, ATTR_BLOCK, idx, 0);
}

void op_desc_set_float(struct op_desc *op, const char *name, float value)
{
    set_scalar(op, name, ATTR_FLOAT, 0, value);
}

void op_desc_set_string(struct op_desc *op, const char *name, const char *value)
{
    // Borrowed for the call: op_desc_set_attr copies.
    const struct attr attr = {.name = (char *)(uintptr_t)name, .type = ATTR_STRING,
                              .s = (char *)(uintptr_t)value, .s_bytes = strlen(value)};
    op_desc_set_attr(op, &attr);
}

void op_desc_set_ints(struct op_desc *op, const char *name, const int64_t *values, size_t count)
{
    set_numbers(op, name, ATTR_INTS, values, count);
}

void op_desc_set_longs(struct op_desc *op, const char *name, const int64_t *values, size_t count)
{
    set_numbers(op, name, ATTR_LONGS, values, count);
}

void op_desc_set_blocks(struct op_desc *op, const char *name, const int64_t *values, size_t count)
{
    set_numbers(op, name, ATTR_BLOCKS, values, count);
}

void op_desc_set_floats(struct op_desc *op, const char *name, const float *values, size_t count)
{
    const struct attr attr = {.name = (char *)(uintptr_t)name, .type = ATTR_FLOATS,
                              .floats = (float *)(uintptr_t)values, .count = count};
    op_desc_set_attr(op, &attr);
}

void op_desc_set_strings(struct op_desc *op, const char *name, const struct str_list *values)
{
    const struct attr attr = {.name = (char *)(uintptr_t)name, .type = ATTR_STRINGS,
                              .strings = values->items, .count = values->count};
    op_desc_set_attr(op, &attr);
}

int64_t op_desc_get_int(const struct op_desc *op, const char *name, int64_t fallback)
{
    const struct attr *attr = op_desc_attr(op, name);
    if (!attr)
        return fallback;
    switch (attr->type) {
    case ATTR_INT:
    case ATTR_LONG:
    case ATTR_BLOCK:
    case ATTR_BOOLEAN:
        return attr->i;
    case ATTR_FLOAT:
    case ATTR_STRING:
    case ATTR_INTS:
    case ATTR_FLOATS:
    case ATTR_STRINGS:
    case ATTR_BOOLEANS:
    case ATTR_BLOCKS:
    case ATTR_LONGS:
        break;
    }
    return fallback;
}

float op_desc_get_float(const struct op_desc *op, const char *name, float fallback)
{
    const struct attr *attr = op_desc_attr(op, name);
    return attr && attr->type == ATTR_FLOAT ? attr->f : fallback;
}

const char *op_desc_get_string(const struct op_desc *op, const char *name, const char *fallback)
{
    const struct attr *attr = op_desc_attr(op, name);
    return attr && attr->type == ATTR_STRING ? attr->s : fallback;
}

int op_desc_role(const struct op_desc *op)
{
    return (int)op_desc_get_int(op, OP_ROLE_ATTR, OP_ROLE_FORWARD);
}

static struct op_slot *find_slot(struct op_slot *slots, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(slots[i].name, name))
            return &slots[i];
    return NULL;
}

static void free_slots(struct op_slot *slots, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mem_free(slots[i].name);
        str_list_deinit(&slots[i].args);
        mem_free(slots[i].unknown);
    }
    mem_free(slots);
}

static void clone_slots(struct op_slot **dst, size_t *count, size_t *cap, const struct op_slot *src,
                        size_t src_count)
{
    if (src_count)
        *dst = mem_must_calloc(src_count, sizeof **dst);
    *count = *cap = src_count;
    for (size_t i = 0; i < src_count; i++) {
        struct op_slot *slot = &(*dst)[i];
        slot->name = mem_must_strdup(src[i].name);
        for (size_t k = 0; k < src[i].args.count; k++)
            str_list_add(&slot->args, src[i].args.items[k]);
        if (src[i].unknown_bytes) {
            slot->unknown = memcpy(mem_must_calloc(src[i].unknown_bytes, 1), src[i].unknown,
                                   src[i].unknown_bytes);
            slot->unknown_bytes = src[i].unknown_bytes;
        }
    }
}

static void add_argument(struct op_slot **slots, size_t *count, size_t *cap, const char *name,
                         const char *arg)
{
    struct op_slot *slot = find_slot(*slots, *count, name);
    if (!slot) {
        MEM_GROW(*slots, *count, *cap);
        slot = &(*slots)[(*count)++];
        *slot = (struct op_slot){.name = mem_must_strdup(name)};
    }
    if (arg)
        str_list_add(&slot->args, arg);
}

static void rename_in(struct op_slot *slots, size_t count, const char *from, const char *to)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < slots[i].args.count; k++)
            if (!strcmp(slots[i].args.items[k], from)) {
                char *fresh = mem_must_strdup(to);
                mem_free(slots[i].args.items[k]);
                slots[i].args.items[k] = fresh;
            }
}

static bool mentions(const struct op_slot *slots, size_t count, const char *var)
{
    for (size_t i = 0; i < count; i++)
        if (str_list_has(&slots[i].args, var))
            return true;
    return false;
}

static void set_scalar(struct op_desc *op, const char *name, enum attr_type type, int64_t i,
                       float f)
{
    const struct attr attr = {.name = (char *)(uintptr_t)name, .type = type, .i = i, .f = f};
    op_desc_set_attr(op, &attr);
}

static void set_numbers(struct op_desc *op, const char *name, enum attr_type type,
                        const int64_t *values, size_t count)
{
    const struct attr attr = {.name = (char *)(uintptr_t)name, .type = type,
                              .ints = (int64_t *)(uintptr_t)values, .count = count};
    op_desc_set_attr(op, &attr);
}
