// SPDX-License-Identifier: Apache-2.0
// A variable's type is a message with one sub-message per kind. What we understand is kind, dtype,
// dims and lod_level; a type message that says more (readers, tuples, left-overs of a changed kind)
// is kept as bytes beside them, and written while the four still say the same.
#include "common/program/var_pb.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/program/pb_arena.h"
#include "common/program/pb_fields.h"

static int decode_type(const Framework__VarType *msg, struct var_desc *out, struct err *err);
static int decode_tensor(const Framework__VarType__TensorDesc *msg, struct var_desc *out,
                         struct err *err);
static int keep_raw(const Framework__VarType *msg, struct var_desc *out, struct err *err);
static bool same_type(const struct var_desc *a, const struct var_desc *b);
static Framework__VarType *build_type(const struct var_desc *var, struct pb_arena *arena);
static Framework__VarType__TensorDesc *build_tensor(const struct var_desc *var,
                                                    struct pb_arena *arena);
static Framework__VarType *type_as_read(const struct var_desc *var, struct pb_arena *arena);

int var_pb_decode(const Framework__VarDesc *msg, struct var_desc **out, struct err *err)
{
    char *name = NULL;
    int rc = pb_fields_name(msg->has_name, &msg->name, "variable name", &name, err);
    if (rc)
        return rc;
    struct var_desc *var = var_desc_new(name);
    mem_free(name);
    var->has_persistable = msg->has_persistable;
    var->persistable = msg->has_persistable && msg->persistable;
    var->has_need_check_feed = msg->has_need_check_feed;
    var->need_check_feed = msg->has_need_check_feed && msg->need_check_feed;
    rc = msg->type ? decode_type(msg->type, var, err) : err_set(err, SL_EFORMAT, "no type");
    if (!rc)
        rc = keep_raw(msg->type, var, err);
    if (!rc)
        rc = pb_fields_take_unknown(&msg->base, &var->unknown, &var->unknown_bytes, err);
    if (rc) {
        err_prefix(err, "variable %s", var->name);
        var_desc_free(var);
        return rc;
    }
    *out = var;
    return 0;
}

int var_pb_encode(const struct var_desc *var, struct pb_arena *arena, Framework__VarDesc **out,
                  struct err *err)
{
    Framework__VarDesc *msg = pb_arena_must(arena, 1, sizeof *msg);
    framework__var_desc__init(msg);
    msg->has_name = true;
    msg->name = pb_fields_borrow(var->name);
    msg->type = type_as_read(var, arena);
    if (!msg->type)
        msg->type = build_type(var, arena);
    msg->has_persistable = var->has_persistable || var->persistable;
    msg->persistable = var->persistable;
    msg->has_need_check_feed = var->has_need_check_feed || var->need_check_feed;
    msg->need_check_feed = var->need_check_feed;
    *out = msg;
    return pb_fields_put_unknown(&msg->base, var->unknown, var->unknown_bytes, arena, err);
}

static int decode_type(const Framework__VarType *msg, struct var_desc *out, struct err *err)
{
    const Framework__VarType__LoDTensorDesc *lod = NULL;
    const Framework__VarType__TensorDesc *tensor = NULL;
    if (!msg->has_type)
        return err_set(err, SL_EFORMAT, "its type has no number");
    out->kind = (int)msg->type;
    if (out->kind == VAR_LOD_TENSOR)
        lod = msg->lod_tensor;
    else if (out->kind == VAR_LOD_TENSOR_ARRAY)
        lod = msg->tensor_array;
    else if (out->kind == VAR_SELECTED_ROWS)
        tensor = msg->selected_rows;
    if (lod) {
        tensor = lod->tensor;
        if (!tensor)
            return err_set(err, SL_EFORMAT, "its type has no tensor");
        out->has_lod_level = lod->has_lod_level;
        out->lod_level = lod->has_lod_level ? lod->lod_level : 0;
    }
    out->has_tensor = tensor != NULL;
    return tensor ? decode_tensor(tensor, out, err) : 0;
}

static int decode_tensor(const Framework__VarType__TensorDesc *msg, struct var_desc *out,
                         struct err *err)
{
    if (!msg->has_data_type)
        return err_set(err, SL_EFORMAT, "its tensor has no data_type");
    if (msg->n_dims > LIMIT_RANK)
        return err_set(err, SL_EFORMAT, "%zu dimensions, at most %d are possible", msg->n_dims,
                       LIMIT_RANK);
    out->dtype = (int)msg->data_type;
    out->dims = dims_make((int)msg->n_dims, msg->dims);
    return 0;
}

static int keep_raw(const Framework__VarType *msg, struct var_desc *out, struct err *err)
{
    struct pb_arena arena;
    uint8_t *rebuilt = NULL, *read = NULL;
    size_t rebuilt_bytes = 0, read_bytes = 0;
    pb_arena_init(&arena, 0);
    int rc = pb_fields_pack(&build_type(out, &arena)->base, &rebuilt, &rebuilt_bytes, err);
    if (!rc)
        rc = pb_fields_pack(&msg->base, &read, &read_bytes, err);
    if (!rc && (read_bytes != rebuilt_bytes || memcmp(read, rebuilt, read_bytes))) {
        out->raw_type = read;
        out->raw_type_bytes = read_bytes;
        read = NULL;
    }
    mem_free(rebuilt);
    mem_free(read);
    pb_arena_deinit(&arena);
    return rc;
}

static Framework__VarType *type_as_read(const struct var_desc *var, struct pb_arena *arena)
{
    if (!var->raw_type)
        return NULL;
    struct var_desc read = {0};
    Framework__VarType *msg =
        framework__var_type__unpack(&arena->allocator, var->raw_type_bytes, var->raw_type);
    return msg && !decode_type(msg, &read, NULL) && same_type(&read, var) ? msg : NULL;
}

static bool same_type(const struct var_desc *a, const struct var_desc *b)
{
    return a->kind == b->kind && a->has_tensor == b->has_tensor && a->lod_level == b->lod_level &&
           (!a->has_tensor || (a->dtype == b->dtype && dims_equal(&a->dims, &b->dims)));
}

static Framework__VarType *build_type(const struct var_desc *var, struct pb_arena *arena)
{
    Framework__VarType *msg = pb_arena_must(arena, 1, sizeof *msg);
    framework__var_type__init(msg);
    msg->has_type = true;
    msg->type = (Framework__VarType__Type)var->kind;
    if (!var->has_tensor)
        return msg;
    if (var->kind == VAR_SELECTED_ROWS) {
        msg->selected_rows = build_tensor(var, arena);
        return msg;
    }
    Framework__VarType__LoDTensorDesc *lod = pb_arena_must(arena, 1, sizeof *lod);
    framework__var_type__lo_dtensor_desc__init(lod);
    lod->tensor = build_tensor(var, arena);
    lod->has_lod_level = var->has_lod_level || var->lod_level;
    lod->lod_level = var->lod_level;
    if (var->kind == VAR_LOD_TENSOR)
        msg->lod_tensor = lod;
    else if (var->kind == VAR_LOD_TENSOR_ARRAY)
        msg->tensor_array = lod;
    return msg;
}

static Framework__VarType__TensorDesc *build_tensor(const struct var_desc *var,
                                                    struct pb_arena *arena)
{
    Framework__VarType__TensorDesc *msg = pb_arena_must(arena, 1, sizeof *msg);
    framework__var_type__tensor_desc__init(msg);
    msg->has_data_type = true;
    msg->data_type = (Framework__VarType__Type)var->dtype;
    msg->n_dims = (size_t)var->dims.rank;
    msg->dims = pb_arena_must(arena, msg->n_dims, sizeof *msg->dims);
    memcpy(msg->dims, var->dims.d, msg->n_dims * sizeof *msg->dims);
    return msg;
}
