// SPDX-License-Identifier: Apache-2.0
// ProgramDesc both ways. Decoding unpacks into a capped arena and then copies out what it checks,
// so nothing of protobuf-c outlives the call; encoding builds messages that borrow the program's
// texts. Nesting is bounded by the schema, which has no recursive message.
#include "common/program/program_pb.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/program/attr_pb.h"
#include "common/program/pb_arena.h"
#include "common/program/pb_damage.h"
#include "common/program/pb_fields.h"
#include "common/program/program.h"
#include "common/program/var_pb.h"

// A message in memory is larger than on the wire: 2 bytes of an empty message become about 100.
// Real programs need 4 to 10 times their size.
#define ARENA_BYTES_MIN ((size_t)64 << 20)
#define ARENA_BYTES_PER_BYTE 24

static int decode_program(const Framework__ProgramDesc *msg, struct program *out, struct err *err);
static int decode_block_at(const Framework__BlockDesc *msg, int idx, struct program *out,
                           struct err *err);
static int check_sub_blocks(const struct block *block, struct err *err);
static int decode_block(const Framework__BlockDesc *msg, struct block *block, struct err *err);
static int decode_vars(const Framework__BlockDesc *msg, struct block *block, struct err *err);
static int decode_op(const Framework__OpDesc *msg, struct op_desc **out, struct err *err);
static int decode_slots(Framework__OpDesc__Var *const *msgs, size_t count, struct op_slot **slots,
                        size_t *slots_count, size_t *slots_cap, struct err *err);
static int decode_slot(const Framework__OpDesc__Var *msg, struct op_slot *slot, struct err *err);
static int encode_program(const struct program *program, struct pb_arena *arena,
                          Framework__ProgramDesc *msg, struct err *err);
static int encode_block(const struct block *block, struct pb_arena *arena,
                        Framework__BlockDesc **out, struct err *err);
static int encode_op(const struct op_desc *op, struct pb_arena *arena, Framework__OpDesc **out,
                     struct err *err);
static int encode_slots(const struct op_slot *slots, size_t count, struct pb_arena *arena,
                        Framework__OpDesc__Var ***out, struct err *err);
static int append_message(const ProtobufCMessage *msg, struct buf *out, struct err *err);

int program_pb_decode(const void *data, size_t bytes, struct program *out, struct err *err)
{
    struct pb_arena arena;
    pb_arena_init(&arena, ARENA_BYTES_MIN + bytes * ARENA_BYTES_PER_BYTE);
    const Framework__ProgramDesc *msg =
        framework__program_desc__unpack(&arena.allocator, bytes, data);
    int rc = msg ? decode_program(msg, out, err)
                 : pb_damage_explain(&framework__program_desc__descriptor, data, bytes, err);
    pb_arena_deinit(&arena);
    return rc;
}

int program_pb_encode(const struct program *program, struct buf *out, struct err *err)
{
    struct pb_arena arena;
    Framework__ProgramDesc msg;
    pb_arena_init(&arena, 0);
    int rc = encode_program(program, &arena, &msg, err);
    if (!rc)
        rc = append_message(&msg.base, out, err);
    pb_arena_deinit(&arena);
    return rc;
}

static int decode_program(const Framework__ProgramDesc *msg, struct program *out, struct err *err)
{
    if (!msg->n_blocks)
        return err_set(err, SL_EFORMAT, "no blocks: not a ProgramDesc, or an empty file");
    if (msg->n_blocks > LIMIT_BLOCKS)
        return err_set(err, SL_ELIMIT, "%zu blocks, at most %d are possible", msg->n_blocks,
                       LIMIT_BLOCKS);
    out->has_version = msg->version != NULL;
    out->version = msg->version && msg->version->has_version ? msg->version->version : 0;
    int rc = pb_fields_take_unknown(&msg->base, &out->unknown, &out->unknown_bytes, err);
    if (!rc && msg->has_op_compatible_map) {
        rc = pb_fields_copy(msg->op_compatible_map.data, msg->op_compatible_map.len,
                            &out->op_compatible_map, err);
        out->op_compatible_map_bytes = msg->op_compatible_map.len;
    }
    if (!rc && msg->has_op_version_map) {
        rc = pb_fields_copy(msg->op_version_map.data, msg->op_version_map.len, &out->op_version_map,
                            err);
        out->op_version_map_bytes = msg->op_version_map.len;
    }
    for (size_t i = 0; !rc && i < msg->n_blocks; i++) {
        rc = decode_block_at(msg->blocks[i], (int)i, out, err);
        if (rc)
            err_prefix(err, "block %zu", i);
    }
    for (size_t i = 0; !rc && i < out->blocks_count; i++)
        rc = check_sub_blocks(out->blocks[i], err);
    return rc;
}

static int decode_block_at(const Framework__BlockDesc *msg, int idx, struct program *out,
                           struct err *err)
{
    if (!msg->has_idx || !msg->has_parent_idx || msg->idx != idx)
        return err_set(err, SL_EFORMAT, "its index or its parent is missing or wrong");
    if (msg->parent_idx >= idx || msg->parent_idx < (idx ? 0 : -1))
        return err_set(err, SL_EFORMAT, "parent %d does not come before it", (int)msg->parent_idx);
    return decode_block(msg, program_append_block(out, msg->parent_idx), err);
}

// A block that an operator runs comes behind the operator's own: whoever follows the attributes
// finds every block and comes to an end.
static int check_sub_blocks(const struct block *block, struct err *err)
{
    for (size_t i = 0; i < block->ops_count; i++)
        for (size_t k = 0; k < block->ops[i]->attrs_count; k++) {
            const struct attr *attr = &block->ops[i]->attrs[k];
            size_t count = attr_blocks_count(attr);
            for (size_t n = 0; n < count; n++) {
                int64_t idx = attr_block(attr, n);
                if (idx <= block->idx || (uint64_t)idx >= block->program->blocks_count)
                    return err_set(err, SL_EFORMAT,
                                   "block %d: op %zu: %s: attribute %s names block %lld, not one "
                                   "of those behind it",
                                   block->idx, i, block->ops[i]->type, attr->name, (long long)idx);
            }
        }
    return 0;
}

static int decode_block(const Framework__BlockDesc *msg, struct block *block, struct err *err)
{
    block->has_forward_block_idx = msg->has_forward_block_idx;
    block->forward_block_idx = msg->has_forward_block_idx ? msg->forward_block_idx : -1;
    if (msg->n_vars > LIMIT_VARS_PER_BLOCK || msg->n_ops > LIMIT_OPS_PER_BLOCK)
        return err_set(err, SL_ELIMIT,
                       "%zu variables and %zu operators, at most %u and %u are possible",
                       msg->n_vars, msg->n_ops, LIMIT_VARS_PER_BLOCK, LIMIT_OPS_PER_BLOCK);
    int rc = pb_fields_take_unknown(&msg->base, &block->unknown, &block->unknown_bytes, err);
    if (!rc)
        rc = decode_vars(msg, block, err);
    for (size_t i = 0; !rc && i < msg->n_ops; i++) {
        struct op_desc *op;
        rc = decode_op(msg->ops[i], &op, err);
        if (rc)
            err_prefix(err, "op %zu", i);
        else
            block_append_op(block, op);
    }
    return rc;
}

static int decode_vars(const Framework__BlockDesc *msg, struct block *block, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < msg->n_vars; i++) {
        struct var_desc *var;
        rc = var_pb_decode(msg->vars[i], &var, err);
        if (rc)
            return err_prefix(err, "variable %zu", i), rc;
        if (block_var(block, var->name)) {
            rc = err_set(err, SL_EFORMAT, "variable %s is declared twice", var->name);
            var_desc_free(var);
        } else {
            block_add_var(block, var);
        }
    }
    return rc;
}

static int decode_op(const Framework__OpDesc *msg, struct op_desc **out, struct err *err)
{
    char *type = NULL;
    int rc = pb_fields_name(msg->has_type, &msg->type, "operator type", &type, err);
    if (rc)
        return rc;
    struct op_desc *op = op_desc_new(type);
    mem_free(type);
    op->has_is_target = msg->has_is_target;
    op->is_target = msg->has_is_target && msg->is_target;
    rc = decode_slots(msg->inputs, msg->n_inputs, &op->inputs, &op->inputs_count, &op->inputs_cap,
                      err);
    if (!rc)
        rc = decode_slots(msg->outputs, msg->n_outputs, &op->outputs, &op->outputs_count,
                          &op->outputs_cap, err);
    for (size_t i = 0; !rc && i < msg->n_attrs; i++) {
        MEM_GROW(op->attrs, op->attrs_count, op->attrs_cap);
        op->attrs[op->attrs_count] = (struct attr){0};
        rc = attr_pb_decode(msg->attrs[i], &op->attrs[op->attrs_count++], err);
    }
    if (!rc)
        rc = pb_fields_take_unknown(&msg->base, &op->unknown, &op->unknown_bytes, err);
    if (rc) {
        err_prefix(err, "%s", op->type);
        op_desc_free(op);
        return rc;
    }
    *out = op;
    return 0;
}

static int decode_slots(Framework__OpDesc__Var *const *msgs, size_t count, struct op_slot **slots,
                        size_t *slots_count, size_t *slots_cap, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < count; i++) {
        MEM_GROW(*slots, *slots_count, *slots_cap);
        (*slots)[*slots_count] = (struct op_slot){0};
        rc = decode_slot(msgs[i], &(*slots)[(*slots_count)++], err);
    }
    return rc;
}

static int decode_slot(const Framework__OpDesc__Var *msg, struct op_slot *slot, struct err *err)
{
    int rc = pb_fields_name(msg->has_parameter, &msg->parameter, "slot name", &slot->name, err);
    if (!rc && msg->n_arguments > LIMIT_SLOT_ARGS)
        rc = err_set(err, SL_ELIMIT, "slot %s: %zu arguments, at most %u are possible", slot->name,
                     msg->n_arguments, LIMIT_SLOT_ARGS);
    for (size_t k = 0; !rc && k < msg->n_arguments; k++) {
        char *arg;
        rc = pb_fields_name(true, &msg->arguments[k], "variable name", &arg, err);
        if (rc)
            err_prefix(err, "slot %s, argument %zu", slot->name, k);
        else
            str_list_add(&slot->args, arg), mem_free(arg);
    }
    return rc ? rc : pb_fields_take_unknown(&msg->base, &slot->unknown, &slot->unknown_bytes, err);
}

static int encode_program(const struct program *program, struct pb_arena *arena,
                          Framework__ProgramDesc *msg, struct err *err)
{
    framework__program_desc__init(msg);
    msg->n_blocks = program->blocks_count;
    msg->blocks = pb_arena_must(arena, msg->n_blocks, sizeof *msg->blocks);
    if (program->has_version) {
        msg->version = pb_arena_must(arena, 1, sizeof *msg->version);
        framework__version__init(msg->version);
        msg->version->has_version = true;
        msg->version->version = program->version;
    }
    msg->has_op_compatible_map = program->op_compatible_map != NULL;
    msg->op_compatible_map =
        (ProtobufCBinaryData){program->op_compatible_map_bytes, program->op_compatible_map};
    msg->has_op_version_map = program->op_version_map != NULL;
    msg->op_version_map =
        (ProtobufCBinaryData){program->op_version_map_bytes, program->op_version_map};
    int rc =
        pb_fields_put_unknown(&msg->base, program->unknown, program->unknown_bytes, arena, err);
    for (size_t i = 0; !rc && i < msg->n_blocks; i++) {
        rc = encode_block(program->blocks[i], arena, &msg->blocks[i], err);
        if (rc)
            err_prefix(err, "block %zu", i);
    }
    return rc;
}

static int encode_block(const struct block *block, struct pb_arena *arena,
                        Framework__BlockDesc **out, struct err *err)
{
    Framework__BlockDesc *msg = pb_arena_must(arena, 1, sizeof *msg);
    framework__block_desc__init(msg);
    *out = msg;
    msg->has_idx = msg->has_parent_idx = true;
    msg->idx = block->idx;
    msg->parent_idx = block->parent_idx;
    msg->has_forward_block_idx = block->has_forward_block_idx;
    msg->forward_block_idx = block->forward_block_idx;
    msg->n_vars = block->vars_count;
    msg->vars = pb_arena_must(arena, msg->n_vars, sizeof *msg->vars);
    msg->n_ops = block->ops_count;
    msg->ops = pb_arena_must(arena, msg->n_ops, sizeof *msg->ops);
    int rc = pb_fields_put_unknown(&msg->base, block->unknown, block->unknown_bytes, arena, err);
    for (size_t i = 0; !rc && i < msg->n_vars; i++)
        rc = var_pb_encode(block->vars[i], arena, &msg->vars[i], err);
    for (size_t i = 0; !rc && i < msg->n_ops; i++) {
        rc = encode_op(block->ops[i], arena, &msg->ops[i], err);
        if (rc)
            err_prefix(err, "op %zu, %s", i, block->ops[i]->type);
    }
    return rc;
}

static int encode_op(const struct op_desc *op, struct pb_arena *arena, Framework__OpDesc **out,
                     struct err *err)
{
    Framework__OpDesc *msg = pb_arena_must(arena, 1, sizeof *msg);
    framework__op_desc__init(msg);
    *out = msg;
    msg->has_type = true;
    msg->type = pb_fields_borrow(op->type);
    msg->has_is_target = op->has_is_target || op->is_target;
    msg->is_target = op->is_target;
    msg->n_inputs = op->inputs_count;
    msg->n_outputs = op->outputs_count;
    msg->n_attrs = op->attrs_count;
    msg->attrs = pb_arena_must(arena, msg->n_attrs, sizeof *msg->attrs);
    int rc = encode_slots(op->inputs, op->inputs_count, arena, &msg->inputs, err);
    if (!rc)
        rc = encode_slots(op->outputs, op->outputs_count, arena, &msg->outputs, err);
    for (size_t i = 0; !rc && i < op->attrs_count; i++)
        rc = attr_pb_encode(&op->attrs[i], arena, &msg->attrs[i], err);
    return rc ? rc : pb_fields_put_unknown(&msg->base, op->unknown, op->unknown_bytes, arena, err);
}

static int encode_slots(const struct op_slot *slots, size_t count, struct pb_arena *arena,
                        Framework__OpDesc__Var ***out, struct err *err)
{
    int rc = 0;
    *out = pb_arena_must(arena, count, sizeof **out);
    for (size_t i = 0; !rc && i < count; i++) {
        Framework__OpDesc__Var *msg = pb_arena_must(arena, 1, sizeof *msg);
        framework__op_desc__var__init(msg);
        (*out)[i] = msg;
        msg->has_parameter = true;
        msg->parameter = pb_fields_borrow(slots[i].name);
        msg->n_arguments = slots[i].args.count;
        msg->arguments = pb_arena_must(arena, msg->n_arguments, sizeof *msg->arguments);
        for (size_t k = 0; k < msg->n_arguments; k++)
            msg->arguments[k] = pb_fields_borrow(slots[i].args.items[k]);
        rc =
            pb_fields_put_unknown(&msg->base, slots[i].unknown, slots[i].unknown_bytes, arena, err);
    }
    return rc;
}

static int append_message(const ProtobufCMessage *msg, struct buf *out, struct err *err)
{
    size_t bytes = protobuf_c_message_get_packed_size(msg);
    int rc = bytes > LIMIT_PROGRAM_BYTES ? SL_ELIMIT : buf_reserve(out, bytes);
    if (rc)
        return err_set(err, rc, "a program of %zu bytes: %s", bytes, err_name(rc));
    protobuf_c_message_pack(msg, out->data + out->bytes);
    out->bytes += bytes;
    return 0;
}
