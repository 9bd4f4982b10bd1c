// SPDX-License-Identifier: Apache-2.0
// protobuf-c structs -> struct message, with every check that a peer's numbers and texts need. What
// passes here may index, size and be printed without another look, except against the receiver's
// own tables (is variable 7 one of mine?). Any thread; memory is the caller's arena.
#include <inttypes.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/wire/message.h"
#include "common/wire/message_pb.h"

#define CODE_LEAST (-64)                       // SL_E* codes of this and later releases
#define INTERVAL_MS_MAX (24u * 3600 * 1000)
#define DIGEST_BYTES_MAX 256
#define SLICE_ROLES 4

// Where a check failed: the message's name and the error to fill.
struct unpack {
    const struct frame *header;
    struct message_arena *arena;
    struct err *err;
};

static int unpack_hello(struct unpack *u, const PsWire__Hello *pb, struct message_hello *out);
static int unpack_welcome(struct unpack *u, const PsWire__Welcome *pb, struct message_welcome *out);
static int unpack_refused(struct unpack *u, const PsWire__Refused *pb, struct message_refused *out);
static int unpack_progress(struct unpack *u, const PsWire__Progress *pb,
                           struct message_progress *out);
static int unpack_ranges(struct unpack *u, const PsWire__Ranges *pb, uint64_t least,
                         struct message_ranges *out);
static int unpack_partials(struct unpack *u, PsWire__Partial *const *pb, size_t count,
                           struct message_partial **out_items, size_t *out_count);
static int unpack_heartbeat(struct unpack *u, const PsWire__Heartbeat *pb,
                            struct message_heartbeat *out);
static int unpack_inventory(struct unpack *u, const PsWire__Inventory *pb,
                            struct message_inventory *out);
static int unpack_end(struct unpack *u, const PsWire__End *pb, struct message_end *out);
static int need(struct unpack *u, const char *field, uint64_t value, uint64_t least, uint64_t most);
static int need_code(struct unpack *u, int code, int most);
static int take_text(struct unpack *u, const char *field, char *value, size_t bytes_max,
                     const char **out);
static int take_decision(struct unpack *u, uint32_t value, enum message_decision *out);
static void *room(struct unpack *u, size_t count, size_t bytes);

int message_unpack(const struct frame *header, const ProtobufCMessage *pb,
                   struct message_arena *arena, struct message *out, struct err *err)
{
    struct unpack u = {header, arena, err};
    struct message m;
    memset(&m, 0, sizeof m);
    m.type = header->type;
    int code = SL_EINVAL;
    switch (header->type) {
    case FRAME_HELLO: code = unpack_hello(&u, (const void *)pb, &m.hello); break;
    case FRAME_WELCOME: code = unpack_welcome(&u, (const void *)pb, &m.welcome); break;
    case FRAME_REFUSED: code = unpack_refused(&u, (const void *)pb, &m.refused); break;
    case FRAME_PROGRESS: code = unpack_progress(&u, (const void *)pb, &m.progress); break;
    case FRAME_MISSING:
    case FRAME_PULL:
        code =
            unpack_ranges(&u, (const void *)pb, header->type == FRAME_MISSING ? 0 : 1, &m.ranges);
        break;
    case FRAME_PARTIALS: {
        const PsWire__Partials *in = (const void *)pb;
        code = unpack_partials(&u, in->items, in->n_items, &m.partials.items, &m.partials.count);
        break;
    }
    case FRAME_COMMIT_STEP: {
        const PsWire__CommitStep *in = (const void *)pb;
        code = take_decision(&u, in->decision, &m.commit_step.decision);
        if (code == 0)
            code = unpack_partials(&u, in->items, in->n_items, &m.commit_step.items,
                                   &m.commit_step.count);
        break;
    }
    case FRAME_COMMITTED: {
        const PsWire__Committed *in = (const void *)pb;
        m.committed.step = in->step;
        code = take_decision(&u, in->decision, &m.committed.decision);
        break;
    }
    case FRAME_HEARTBEAT: code = unpack_heartbeat(&u, (const void *)pb, &m.heartbeat); break;
    case FRAME_INVENTORY: code = unpack_inventory(&u, (const void *)pb, &m.inventory); break;
    case FRAME_GOODBYE:
    case FRAME_FATAL: code = unpack_end(&u, (const void *)pb, &m.end); break;
    default: break;
    }
    if (code == 0)
        *out = m;
    return code;
}

static int unpack_hello(struct unpack *u, const PsWire__Hello *pb, struct message_hello *out)
{
    int code;
    bool reader = pb->role == MESSAGE_READER;
    uint32_t least = reader ? 0 : 1;
    if ((code = need(u, "protocol", pb->protocol, 1, UINT16_MAX)) < 0 ||
        (code = need(u, "role", pb->role, MESSAGE_TRAINER, MESSAGE_READER)) < 0 ||
        (code = need(u, "trainers", pb->trainers, least, LIMIT_TRAINERS)) < 0 ||
        (code = need(u, "servers", pb->servers, least, LIMIT_SERVERS)) < 0 ||
        (code = need(u, "trainer_id", pb->trainer_id, 0, reader ? 0 : pb->trainers - 1)) < 0 ||
        (code = need(u, "server_index", pb->server_index, 0,
                     reader ? LIMIT_SERVERS : pb->servers - 1)) < 0 ||
        (code = take_text(u, "job_id", pb->job_id, MESSAGE_TEXT_MAX, &out->job_id)) < 0 ||
        (code = take_text(u, "place", pb->place, MESSAGE_TEXT_MAX, &out->place)) < 0)
        return code;
    out->protocol = pb->protocol;
    out->role = (enum message_role)pb->role;
    out->topology = pb->topology;
    out->trainer_id = pb->trainer_id;
    out->trainers = pb->trainers;
    out->servers = pb->servers;
    out->server_index = pb->server_index;
    out->nonce = pb->nonce;
    return 0;
}

static int unpack_welcome(struct unpack *u, const PsWire__Welcome *pb, struct message_welcome *out)
{
    int code;
    if ((code = need(u, "servers", pb->servers, 1, LIMIT_SERVERS)) < 0 ||
        (code = need(u, "trainers", pb->trainers, 1, LIMIT_TRAINERS)) < 0 ||
        (code = need(u, "server_index", pb->server_index, 0, pb->servers - 1)) < 0 ||
        (code = need(u, "origin", pb->origin, MESSAGE_FRESH, MESSAGE_LOADED)) < 0 ||
        (code = need(u, "heartbeat_ms", pb->heartbeat_ms, 0, INTERVAL_MS_MAX)) < 0 ||
        (code = need(u, "silence_ms", pb->silence_ms, 0, INTERVAL_MS_MAX)) < 0 ||
        (code = need(u, "progress_bytes", pb->progress_bytes, 0, LIMIT_JSON_BYTES)) < 0 ||
        (code = take_text(u, "digest", pb->digest, DIGEST_BYTES_MAX, &out->digest)) < 0)
        return code;
    out->server_index = pb->server_index;
    out->servers = pb->servers;
    out->trainers = pb->trainers;
    out->origin = (enum message_origin)pb->origin;
    out->topology = pb->topology;
    out->epoch = pb->epoch;
    out->heartbeat_ms = pb->heartbeat_ms;
    out->silence_ms = pb->silence_ms;
    out->progress_bytes = pb->progress_bytes;
    return 0;
}

static int unpack_refused(struct unpack *u, const PsWire__Refused *pb, struct message_refused *out)
{
    int code;
    if ((code = need_code(u, pb->code, -1)) < 0 ||
        (code = need(u, "retry_ms", pb->retry_ms, 0, INTERVAL_MS_MAX)) < 0 ||
        (code = take_text(u, "text", pb->text, MESSAGE_TEXT_MAX, &out->text)) < 0)
        return code;
    out->code = pb->code;
    out->retry_ms = pb->retry_ms;
    return 0;
}

static int unpack_progress(struct unpack *u, const PsWire__Progress *pb,
                           struct message_progress *out)
{
    int code;
    if ((code = need(u, "total_bytes", pb->total_bytes, 1, LIMIT_JSON_BYTES)) < 0 ||
        (code = need(u, "offset", u->header->offset, 0, pb->total_bytes)) < 0 ||
        (code = need(u, "text length", pb->text.len, 1, pb->total_bytes - u->header->offset)) < 0)
        return code;
    if (memchr(pb->text.data, 0, pb->text.len))
        return err_set(u->err, SL_EFORMAT, "progress: the text holds a zero byte");
    char *text = room(u, pb->text.len + 1, 1);
    if (!text)
        return SL_ELIMIT;
    memcpy(text, pb->text.data, pb->text.len);
    text[pb->text.len] = '\0';
    out->total_bytes = pb->total_bytes;
    out->text = text;
    out->text_bytes = (uint32_t)pb->text.len;
    return 0;
}

static int unpack_ranges(struct unpack *u, const PsWire__Ranges *pb, uint64_t least,
                         struct message_ranges *out)
{
    int code = need(u, "number of ranges", pb->n_items, least, MESSAGE_RANGES_MAX);
    if (code < 0)
        return code;
    struct message_range *items = room(u, pb->n_items, sizeof *items);
    if (!items)
        return SL_ELIMIT;
    for (size_t i = 0; i < pb->n_items; i++) {
        const PsWire__Range *range = pb->items[i];
        if ((code = need(u, "bytes of a range", range->bytes, 1, LIMIT_TENSOR_BYTES)) < 0 ||
            (code = need(u, "offset of a range", range->offset, 0,
                         LIMIT_TENSOR_BYTES - range->bytes)) < 0)
            return code;
        items[i] =
            (struct message_range){range->variable, range->slice, range->offset, range->bytes};
    }
    out->items = items;
    out->count = pb->n_items;
    return 0;
}

static int unpack_partials(struct unpack *u, PsWire__Partial *const *pb, size_t count,
                           struct message_partial **out_items, size_t *out_count)
{
    int code = need(u, "number of partials", count, 0, MESSAGE_PARTIALS_MAX);
    if (code < 0)
        return code;
    struct message_partial *items = room(u, count, sizeof *items);
    if (!items)
        return SL_ELIMIT;
    for (size_t i = 0; i < count; i++) {
        code = need(u, "kind of a partial", pb[i]->kind, MESSAGE_NONFINITE,
                    MESSAGE_PARAM_SQUARED_NORM);
        if (code < 0)
            return code;
        items[i].kind = (enum message_partial_kind)pb[i]->kind;
        items[i].variable = pb[i]->variable;
        items[i].slice = pb[i]->slice;
        items[i].value = pb[i]->value;
    }
    *out_items = items;
    *out_count = count;
    return 0;
}

static int unpack_heartbeat(struct unpack *u, const PsWire__Heartbeat *pb,
                            struct message_heartbeat *out)
{
    int code = need(u, "number of waiting_for", pb->n_waiting_for, 0, MESSAGE_WAITING_MAX);
    for (size_t i = 0; code == 0 && i < pb->n_waiting_for; i++)
        code = need(u, "waiting_for", pb->waiting_for[i], 0, LIMIT_TRAINERS - 1);
    if (code < 0 || (code = take_text(u, "text", pb->text, MESSAGE_TEXT_MAX, &out->text)) < 0)
        return code;
    out->sent_ms = pb->sent_ms;
    out->echo_ms = pb->echo_ms;
    out->waiting_ms = pb->waiting_ms;
    out->waiting_for = pb->waiting_for;
    out->waiting_count = pb->n_waiting_for;
    return 0;
}

static int unpack_dims(struct unpack *u, const PsWire__InventoryVar *pb,
                       struct message_inventory_var *out)
{
    int code = need(u, "rank", pb->n_dims, 0, LIMIT_RANK);
    if (code < 0)
        return code;
    if (pb->dtype > INT32_MAX || !dtype_is_valid((int)pb->dtype))
        return err_set(u->err, SL_EFORMAT, "inventory: %s: dtype is %" PRIu32, out->name,
                       pb->dtype);
    out->dtype = (enum dtype)pb->dtype;
    out->dims.rank = (int)pb->n_dims;
    for (size_t i = 0; i < pb->n_dims; i++)
        out->dims.d[i] = pb->dims[i];
    uint64_t count = 0;
    if (!dims_count(&out->dims, dtype_bytes(out->dtype), &count)) {
        char text[DIMS_TEXT_MAX];
        return err_set(u->err, SL_EFORMAT, "inventory: %s: dims are %s", out->name,
                       dims_format(&out->dims, text));
    }
    return 0;
}

static int unpack_slices(struct unpack *u, const PsWire__InventoryVar *pb, uint32_t servers,
                         struct message_inventory_var *out)
{
    int code;
    if ((code = need(u, "slices_total", pb->slices_total, 1, LIMIT_SERVERS)) < 0 ||
        (code = need(u, "slices_first", pb->slices_first, 0, pb->slices_total - 1)) < 0 ||
        (code = need(u, "number of slices", pb->n_slices, 1, pb->slices_total - pb->slices_first)) <
            0)
        return code;
    uint64_t rows = out->dims.rank ? (uint64_t)out->dims.d[0] : 1;
    struct message_inventory_slice *slices = room(u, pb->n_slices, sizeof *slices);
    if (!slices)
        return SL_ELIMIT;
    for (size_t i = 0; i < pb->n_slices; i++) {
        const PsWire__InventorySlice *slice = pb->slices[i];
        // A negative row is a huge number here.
        if ((code = need(u, "server of a slice", slice->server, 0, servers - 1)) < 0 ||
            (code = need(u, "row of a slice", (uint64_t)slice->row, 0, rows)) < 0 ||
            (code = need(u, "rows of a slice", (uint64_t)slice->rows, 0,
                         rows - (uint64_t)slice->row)) < 0 ||
            (code = take_text(u, "name of a slice", slice->name, LIMIT_NAME_BYTES,
                              &slices[i].name)) < 0)
            return code;
        slices[i].server = slice->server;
        slices[i].row = slice->row;
        slices[i].rows = slice->rows;
    }
    out->slices_total = pb->slices_total;
    out->slices_first = pb->slices_first;
    out->slices = slices;
    out->slices_count = pb->n_slices;
    return 0;
}

static int unpack_inventory(struct unpack *u, const PsWire__Inventory *pb,
                            struct message_inventory *out)
{
    int code;
    if ((code = need(u, "servers", pb->servers, 1, LIMIT_SERVERS)) < 0 ||
        (code = need(u, "server_index", pb->server_index, 0, pb->servers - 1)) < 0 ||
        (code = need(u, "trainers", pb->trainers, 1, LIMIT_TRAINERS)) < 0 ||
        (code = need(u, "vars_total", pb->vars_total, 0, LIMIT_VARS_PER_BLOCK)) < 0 ||
        (code = need(u, "number of vars", pb->n_vars, 0, pb->vars_total)) < 0)
        return code;
    struct message_inventory_var *vars = room(u, pb->n_vars, sizeof *vars);
    if (!vars)
        return SL_ELIMIT;
    memset(vars, 0, pb->n_vars * sizeof *vars);
    for (size_t i = 0; i < pb->n_vars; i++) {
        const PsWire__InventoryVar *var = pb->vars[i];
        if ((code = need(u, "index of a var", var->index, 0, pb->vars_total - 1)) < 0 ||
            (code = need(u, "role of a var", var->role, 0, SLICE_ROLES - 1)) < 0 ||
            (code = take_text(u, "name of a var", var->name, LIMIT_NAME_BYTES, &vars[i].name)) <
                0 ||
            (code = take_text(u, "param of a var", var->param, LIMIT_NAME_BYTES, &vars[i].param)) <
                0 ||
            (code = unpack_dims(u, var, &vars[i])) < 0 ||
            (code = unpack_slices(u, var, pb->servers, &vars[i])) < 0)
            return code;
        vars[i].index = var->index;
        vars[i].role = var->role;
        vars[i].replicated = var->replicated != 0;
        vars[i].sparse = var->sparse != 0;
    }
    out->server_index = pb->server_index;
    out->servers = pb->servers;
    out->trainers = pb->trainers;
    out->vars_total = pb->vars_total;
    out->vars = vars;
    out->vars_count = pb->n_vars;
    return 0;
}

static int unpack_end(struct unpack *u, const PsWire__End *pb, struct message_end *out)
{
    int code;
    if ((code = need_code(u, pb->code, 0)) < 0 ||
        (code = take_text(u, "text", pb->text, MESSAGE_TEXT_MAX, &out->text)) < 0)
        return code;
    out->code = pb->code;
    return 0;
}

static int need(struct unpack *u, const char *field, uint64_t value, uint64_t least, uint64_t most)
{
    if (value >= least && value <= most)
        return 0;
    return err_set(u->err, SL_EFORMAT, "%s: %s is %" PRIu64 ", allowed are %" PRIu64 "..%" PRIu64,
                   frame_type_name((int)u->header->type), field, value, least, most);
}

static int need_code(struct unpack *u, int code, int most)
{
    if (code >= CODE_LEAST && code <= most)
        return 0;
    return err_set(u->err, SL_EFORMAT, "%s: code is %d, allowed are %d..%d",
                   frame_type_name((int)u->header->type), code, CODE_LEAST, most);
}

// Texts may be printed and logged: control characters become '?'.
static int take_text(struct unpack *u, const char *field, char *value, size_t bytes_max,
                     const char **out)
{
    size_t bytes = strlen(value);
    if (bytes > bytes_max)
        return err_set(u->err, SL_EFORMAT, "%s: %s has %zu bytes, allowed are %zu",
                       frame_type_name((int)u->header->type), field, bytes, bytes_max);
    for (char *c = value; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    *out = value;
    return 0;
}

static int take_decision(struct unpack *u, uint32_t value, enum message_decision *out)
{
    int code = need(u, "decision", value, MESSAGE_APPLY, MESSAGE_STOP);
    if (code == 0)
        *out = (enum message_decision)value;
    return code;
}

static void *room(struct unpack *u, size_t count, size_t bytes)
{
    void *got = message_arena_get(u->arena, count * bytes);
    if (!got)
        err_set(u->err, SL_ELIMIT, "%s: too much for one message",
                frame_type_name((int)u->header->type));
    return got;
}
