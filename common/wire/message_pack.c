// SPDX-License-Identifier: Apache-2.0
// struct message -> protobuf-c structs, as views: texts are borrowed, arrays of pointers come from
// the caller's arena. Judges nothing; the other side's message_unpack.c does. Any thread.
#include "common/base/err.h"
#include "common/wire/message.h"
#include "common/wire/message_pb.h"

static char *text(const char *value);
static int pack_heartbeat(const struct message_heartbeat *in, PsWire__Heartbeat *out);
static int pack_ranges(const struct message_ranges *in, struct message_arena *arena,
                       PsWire__Ranges *out);
static int pack_partials(const struct message_partial *items, size_t count,
                         struct message_arena *arena, PsWire__Partial ***out_items,
                         size_t *out_count);
static int pack_inventory(const struct message_inventory *in, struct message_arena *arena,
                          PsWire__Inventory *out);
static int pack_inventory_var(const struct message_inventory_var *in, struct message_arena *arena,
                              PsWire__InventoryVar *out);
static void pack_hello(const struct message_hello *in, PsWire__Hello *out);
static void pack_welcome(const struct message_welcome *in, PsWire__Welcome *out);

// Makes *out an array of count pointers to zeroed structs of bytes each.
static int pointers(struct message_arena *arena, size_t count, size_t bytes, void ***out)
{
    void **items = message_arena_get(arena, count * sizeof *items);
    uint8_t *structs = message_arena_get(arena, count * bytes);
    if (!items || !structs)
        return SL_ENOMEM;
    for (size_t i = 0; i < count; i++)
        items[i] = structs + i * bytes;
    *out = items;
    return 0;
}

int message_pack(const struct message *message, struct message_arena *arena, union message_pb *out)
{
    switch (message->type) {
    case FRAME_HELLO:
        pack_hello(&message->hello, &out->hello);
        return 0;
    case FRAME_WELCOME:
        pack_welcome(&message->welcome, &out->welcome);
        return 0;
    case FRAME_REFUSED:
        ps_wire__refused__init(&out->refused);
        out->refused.code = message->refused.code;
        out->refused.retry_ms = message->refused.retry_ms;
        out->refused.text = text(message->refused.text);
        return 0;
    case FRAME_PROGRESS:
        ps_wire__progress__init(&out->progress);
        out->progress.total_bytes = message->progress.total_bytes;
        out->progress.text.data = (uint8_t *)text(message->progress.text);
        out->progress.text.len = message->progress.text_bytes;
        return 0;
    case FRAME_MISSING:
    case FRAME_PULL:
        return pack_ranges(&message->ranges, arena, &out->ranges);
    case FRAME_PARTIALS:
        ps_wire__partials__init(&out->partials);
        return pack_partials(message->partials.items, message->partials.count, arena,
                             &out->partials.items, &out->partials.n_items);
    case FRAME_COMMIT_STEP:
        ps_wire__commit_step__init(&out->commit_step);
        out->commit_step.decision = message->commit_step.decision;
        return pack_partials(message->commit_step.items, message->commit_step.count, arena,
                             &out->commit_step.items, &out->commit_step.n_items);
    case FRAME_COMMITTED:
        ps_wire__committed__init(&out->committed);
        out->committed.step = message->committed.step;
        out->committed.decision = message->committed.decision;
        return 0;
    case FRAME_HEARTBEAT:
        return pack_heartbeat(&message->heartbeat, &out->heartbeat);
    case FRAME_INVENTORY:
        return pack_inventory(&message->inventory, arena, &out->inventory);
    case FRAME_GOODBYE:
    case FRAME_FATAL:
        ps_wire__end__init(&out->end);
        out->end.code = message->end.code;
        out->end.text = text(message->end.text);
        return 0;
    default:
        return SL_EINVAL;
    }
}

// protobuf-c's structs are not const, but packing only reads.
static char *text(const char *value)
{
    return (char *)(uintptr_t)(value ? value : "");
}

static void pack_hello(const struct message_hello *in, PsWire__Hello *out)
{
    ps_wire__hello__init(out);
    out->protocol = in->protocol;
    out->role = in->role;
    out->job_id = text(in->job_id);
    out->topology = in->topology;
    out->trainer_id = in->trainer_id;
    out->trainers = in->trainers;
    out->servers = in->servers;
    out->server_index = in->server_index;
    out->nonce = in->nonce;
    out->place = text(in->place);
}

static void pack_welcome(const struct message_welcome *in, PsWire__Welcome *out)
{
    ps_wire__welcome__init(out);
    out->server_index = in->server_index;
    out->servers = in->servers;
    out->trainers = in->trainers;
    out->origin = in->origin;
    out->digest = text(in->digest);
    out->topology = in->topology;
    out->epoch = in->epoch;
    out->heartbeat_ms = in->heartbeat_ms;
    out->silence_ms = in->silence_ms;
    out->progress_bytes = in->progress_bytes;
}

static int pack_heartbeat(const struct message_heartbeat *in, PsWire__Heartbeat *out)
{
    ps_wire__heartbeat__init(out);
    out->sent_ms = in->sent_ms;
    out->echo_ms = in->echo_ms;
    out->waiting_ms = in->waiting_ms;
    out->waiting_for = in->waiting_for;
    out->n_waiting_for = in->waiting_count;
    out->text = text(in->text);
    return 0;
}

static int pack_ranges(const struct message_ranges *in, struct message_arena *arena,
                       PsWire__Ranges *out)
{
    ps_wire__ranges__init(out);
    void **items = NULL;
    int code = pointers(arena, in->count, sizeof(PsWire__Range), &items);
    if (code < 0)
        return code;
    for (size_t i = 0; i < in->count; i++) {
        PsWire__Range *range = items[i];
        ps_wire__range__init(range);
        range->variable = in->items[i].variable;
        range->slice = in->items[i].slice;
        range->offset = in->items[i].offset;
        range->bytes = in->items[i].bytes;
    }
    out->items = (PsWire__Range **)(void *)items;
    out->n_items = in->count;
    return 0;
}

static int pack_partials(const struct message_partial *in, size_t count,
                         struct message_arena *arena, PsWire__Partial ***out_items,
                         size_t *out_count)
{
    void **items = NULL;
    int code = pointers(arena, count, sizeof(PsWire__Partial), &items);
    if (code < 0)
        return code;
    for (size_t i = 0; i < count; i++) {
        PsWire__Partial *partial = items[i];
        ps_wire__partial__init(partial);
        partial->kind = in[i].kind;
        partial->variable = in[i].variable;
        partial->slice = in[i].slice;
        partial->value = in[i].value;
    }
    *out_items = (PsWire__Partial **)(void *)items;
    *out_count = count;
    return 0;
}

static int pack_inventory(const struct message_inventory *in, struct message_arena *arena,
                          PsWire__Inventory *out)
{
    ps_wire__inventory__init(out);
    out->server_index = in->server_index;
    out->servers = in->servers;
    out->trainers = in->trainers;
    out->vars_total = in->vars_total;
    void **items = NULL;
    int code = pointers(arena, in->vars_count, sizeof(PsWire__InventoryVar), &items);
    for (size_t i = 0; i < in->vars_count && code == 0; i++)
        code = pack_inventory_var(&in->vars[i], arena, items[i]);
    out->vars = (PsWire__InventoryVar **)(void *)items;
    out->n_vars = in->vars_count;
    return code;
}

static int pack_inventory_var(const struct message_inventory_var *in, struct message_arena *arena,
                              PsWire__InventoryVar *out)
{
    ps_wire__inventory_var__init(out);
    out->index = in->index;
    out->name = text(in->name);
    out->role = in->role;
    out->param = text(in->param);
    out->dtype = in->dtype;
    out->dims = (int64_t *)(uintptr_t)in->dims.d;
    out->n_dims = (size_t)in->dims.rank;
    out->replicated = in->replicated;
    out->sparse = in->sparse;
    out->slices_total = in->slices_total;
    out->slices_first = in->slices_first;
    void **items = NULL;
    int code = pointers(arena, in->slices_count, sizeof(PsWire__InventorySlice), &items);
    if (code < 0)
        return code;
    for (size_t i = 0; i < in->slices_count; i++) {
        PsWire__InventorySlice *slice = items[i];
        ps_wire__inventory_slice__init(slice);
        slice->server = in->slices[i].server;
        slice->row = in->slices[i].row;
        slice->rows = in->slices[i].rows;
        slice->name = text(in->slices[i].name);
    }
    out->slices = (PsWire__InventorySlice **)(void *)items;
    out->n_slices = in->slices_count;
    return 0;
}
