// SPDX-License-Identifier: Apache-2.0
// See step.h. Every slice of the map has an item, found by (variable, slice) in O(1): a gradient's
// says which cells were handed out, a pulled slice's how far its bytes have come (they come in
// order on one connection; whatever does not continue there is drained, and asked for again at its
// end).
#include "common/ps/step.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ps/shard.h"
#include "common/wire/message.h"

#define STEP_STAGES 8                  // of the second phase
#define STEP_REQUEST_MAX 0x7fffffffu   // the upper half of the numbers is for other asking

struct step_item {
    const struct slice_var *var;
    const struct slice *slice;
    uint32_t variable, index;   // on the wire
    int server;
    uint64_t bytes;
    struct step_item *next;   // in the server's queue of gradients with unsent cells
    // gradient
    const void *data;         // NULL: not pushed in this step
    uint8_t *sent;            // a flag a cell
    uint32_t cells, cursor;   // no unsent cell before the cursor
    bool queued, again;
    bool sparse;   // bytes and cells are those of this step's rows
    uint32_t rows;
    size_t sent_cap;
    // pull
    uint8_t *dst;   // NULL: not pulled
    bool asked;
    uint32_t request;
    uint64_t got;
    struct step_item *next_pull;   // in the server's list of pulls
};

struct step_server {
    bool here, listing;   // listing: it tells what is missing; nothing leaves before
    bool listed;          // the first page has come
    bool barrier_sent, fetched_sent;
    bool committed;
    size_t partials_done, commits_sent;   // stages of the second phase
    struct step_item *queue, **queue_end;
    struct step_item *pulls;
    size_t grads, pushed;   // gradients, and how many were pushed in this step
    size_t pulls_open, pulls_unasked;
};

struct step_stage {
    struct message_partial *items;
    size_t count;
    int decision;
};

struct step {
    const struct slice_map *map;
    uint32_t cell_bytes, frame_bytes;
    enum step_on_nonfinite on_nonfinite;
    uint64_t number;
    bool barrier, pushed, pulled;
    struct step_item *items;
    size_t *first;   // of a variable in items
    size_t items_count;
    struct step_server *servers;
    int servers_count;
    uint32_t next_request;
    uint64_t resent;
    struct message_range *ranges;
    // second phase: the partials of the stage that is being collected, and the stages before
    struct message_partial *partials;
    size_t partials_count, partials_cap;
    struct step_stage stages[STEP_STAGES];
    size_t combined;
};

static struct step_item *find_item(const struct step *step, uint32_t variable, uint32_t slice);
static int push_item(struct step *step, struct step_item *item, const void *data, struct err *err);
static void enqueue(struct step *step, struct step_item *item);
static bool clip_missing(const struct step *step, const struct step_item *item,
                         const struct message_range *range, uint64_t *out_bytes);
static void unsend(struct step *step, struct step_item *item, uint64_t offset, uint64_t bytes);
static bool take_push(struct step *step, struct step_server *server, struct step_out *out);
static bool take_pull(struct step *step, struct step_server *server, struct step_out *out);
static bool take_commit(struct step *step, struct step_server *server, struct step_out *out);
static void forget_partials(struct step *step);
static void drop_partials(struct step *step, int server);
static void combine(struct step *step);
static void ask_again(struct step *step, struct step_item *item);

struct step *step_new(const struct step_options *options)
{
    struct step *step = MEM_NEW(struct step);
    const struct slice_map *map = options->map;
    step->map = map;
    step->cell_bytes = options->cell_bytes ? options->cell_bytes : SHARD_CELL_BYTES;
    step->frame_bytes = options->frame_bytes ? options->frame_bytes : SHARD_CELL_BYTES;
    ASSERT(step->frame_bytes % step->cell_bytes == 0 &&
           step->frame_bytes <= LIMIT_FRAME_BODY_BYTES);
    step->on_nonfinite = options->on_nonfinite;
    step->number = options->step;
    step->servers_count = map->servers;
    step->servers = mem_must_calloc((size_t)map->servers, sizeof *step->servers);
    for (int s = 0; s < map->servers; s++) {
        step->servers[s].queue_end = &step->servers[s].queue;
        step->servers[s].fetched_sent = true;
    }
    step->first = mem_must_calloc(map->vars_count + 1, sizeof *step->first);
    for (size_t v = 0; v < map->vars_count; v++)
        step->first[v + 1] = step->first[v] + map->vars[v]->slices_count;
    step->items_count = step->first[map->vars_count];
    step->items = mem_must_calloc(step->items_count + 1, sizeof *step->items);
    for (size_t v = 0; v < map->vars_count; v++) {
        for (size_t s = 0; s < map->vars[v]->slices_count; s++) {
            struct step_item *item = &step->items[step->first[v] + s];
            item->var = map->vars[v];
            item->slice = &map->vars[v]->slices[s];
            item->variable = (uint32_t)v;
            item->index = (uint32_t)s;
            item->server = item->slice->server;
            bool sized = shard_slice_bytes(item->var, item->slice, &item->bytes);
            ASSERT(sized);
            if (item->var->role == SLICE_GRAD) {
                item->sparse = item->var->sparse;
                item->cells = (uint32_t)((item->bytes + step->cell_bytes - 1) / step->cell_bytes);
                item->cells = item->sparse ? 1 : item->cells;
                item->sent_cap = item->cells + 1u;
                item->sent = mem_must_calloc(item->sent_cap, 1);
                step->servers[item->server].grads++;
            }
        }
    }
    step->ranges = mem_must_calloc(MESSAGE_RANGES_MAX, sizeof *step->ranges);
    return step;
}

void step_free(struct step *step)
{
    if (!step)
        return;
    forget_partials(step);
    for (size_t i = 0; i < step->items_count; i++)
        mem_free(step->items[i].sent);
    mem_free(step->items);
    mem_free(step->first);
    mem_free(step->servers);
    mem_free(step->ranges);
    mem_free(step->partials);
    mem_free(step);
}

uint64_t step_number(const struct step *step)
{
    return step->number;
}

int step_push(struct step *step, uint32_t variable, uint32_t slice, const void *data,
              struct err *err)
{
    struct step_item *item = find_item(step, variable, slice);
    if (!item || item->var->role != SLICE_GRAD || item->sparse)
        return err_set(err, SL_EINVAL, "variable %u slice %u is no dense gradient", variable,
                       slice);
    return push_item(step, item, data, err);
}

int step_push_rows(struct step *step, uint32_t variable, uint32_t slice, const void *message,
                   uint32_t rows, struct err *err)
{
    struct step_item *item = find_item(step, variable, slice);
    if (!item || !item->sparse)
        return err_set(err, SL_EINVAL, "variable %u slice %u is no sparse gradient", variable,
                       slice);
    if (!item->data) {
        uint64_t cell = step->cell_bytes;
        item->rows = rows;
        item->bytes = rows * (sizeof(int64_t) + shard_row_bytes(item->var));
        item->cells = item->bytes ? (uint32_t)((item->bytes + cell - 1) / cell) : 1;
        if (item->cells >= item->sent_cap) {
            item->sent_cap = item->cells + item->cells / 2u + 1u;
            item->sent = mem_must_realloc(item->sent, item->sent_cap);
        }
    }
    return push_item(step, item, message, err);
}

static int push_item(struct step *step, struct step_item *item, const void *data, struct err *err)
{
    if (item->data)
        return err_set(err, SL_EINVAL, "%s is pushed twice in step %" PRIu64, item->slice->name,
                       step->number);
    item->data = data;
    item->again = false;
    item->cursor = 0;
    memset(item->sent, 0, item->cells);
    step->pushed = true;
    step->servers[item->server].pushed++;
    if (item->cells)
        enqueue(step, item);
    return 0;
}

int step_send_barrier(struct step *step, struct err *err)
{
    if (step->barrier)
        return 0;
    char names[320] = "";
    size_t missing = 0, used = 0;
    for (size_t i = 0; i < step->items_count; i++) {
        const struct step_item *item = &step->items[i];
        if (item->var->role != SLICE_GRAD || item->data)
            continue;
        if (missing++ < 4 && used + strlen(item->slice->name) + 3 < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "",
                                     item->slice->name);
    }
    if (missing)
        return err_set(err, SL_EUSAGE,
                       "send barrier of step %" PRIu64 ": %zu gradients were not sent (%s%s)",
                       step->number, missing, names, missing > 4 ? ", ..." : "");
    step->barrier = true;
    return 0;
}

bool step_has_barrier(const struct step *step)
{
    return step->barrier;
}

uint64_t step_version(const struct step *step)
{
    return step->number + (step->barrier ? 1 : 0);
}

bool step_has_pushed(const struct step *step)
{
    return step->pushed;
}

int step_pull(struct step *step, uint32_t variable, uint32_t slice, void *dst, struct err *err)
{
    struct step_item *item = find_item(step, variable, slice);
    if (!item || item->var->role == SLICE_GRAD)
        return err_set(err, SL_EINVAL, "variable %u slice %u cannot be pulled", variable, slice);
    if (item->dst == dst || !item->bytes)
        return 0;
    if (item->dst)
        return err_set(err, SL_EUSAGE, "%s is received twice before the fetch barrier",
                       item->slice->name);
    struct step_server *server = &step->servers[item->server];
    item->dst = dst;
    item->asked = false;
    item->got = 0;
    item->next_pull = server->pulls;
    server->pulls = item;
    server->pulls_open++;
    server->pulls_unasked++;
    step->pulled = true;
    return 0;
}

bool step_is_committed(const struct step *step)
{
    for (int s = 0; step->barrier && s < step->servers_count; s++)
        if (!step->servers[s].committed)
            return false;
    return true;
}

bool step_is_done(const struct step *step)
{
    for (int s = 0; s < step->servers_count; s++)
        if (step->servers[s].pulls_open)
            return false;
    return step_is_committed(step);
}

void step_finish(struct step *step)
{
    ASSERT(step_is_done(step));
    bool ended = step->barrier;
    for (int s = 0; s < step->servers_count; s++) {
        struct step_server *server = &step->servers[s];
        for (struct step_item *item = server->pulls; item; item = item->next_pull)
            item->dst = NULL;
        server->pulls = NULL;
        server->fetched_sent = !step->pulled && server->fetched_sent;
        if (!ended)
            continue;
        server->queue = NULL;
        server->queue_end = &server->queue;
        server->barrier_sent = server->committed = false;
        server->pushed = 0;
    }
    step->pulled = false;
    if (!ended)
        return;
    for (size_t i = 0; i < step->items_count; i++) {
        step->items[i].data = NULL;
        step->items[i].queued = false;
    }
    step->number++;
    step->barrier = step->pushed = false;
    forget_partials(step);
}

bool step_take(struct step *step, int server_index, struct step_out *out)
{
    struct step_server *server = &step->servers[server_index];
    memset(out, 0, sizeof *out);
    out->step = step->number;
    if (!server->here || server->listing)
        return false;
    if (!server->fetched_sent) {
        server->fetched_sent = true;
        out->what = STEP_FETCHED;
        return true;
    }
    if (!server->committed && take_push(step, server, out))
        return true;
    if (step->barrier && !server->barrier_sent && !server->committed) {
        server->barrier_sent = true;
        out->what = STEP_BARRIER;
        return true;
    }
    return take_commit(step, server, out) || take_pull(step, server, out);
}

void step_connected(struct step *step, int server_index, bool known)
{
    struct step_server *server = &step->servers[server_index];
    server->here = true;
    server->listing = known;
    server->listed = false;
}

void step_disconnected(struct step *step, int server_index)
{
    struct step_server *server = &step->servers[server_index];
    server->here = server->listing = false;
    server->barrier_sent = false;
    server->commits_sent = 0;
    for (struct step_item *item = server->pulls; item; item = item->next_pull)
        if (item->got < item->bytes && item->asked)
            ask_again(step, item);
    if (server->partials_done <= step->combined)
        drop_partials(step, server_index);
}

int step_missing(struct step *step, int server_index, uint64_t at_step,
                 const struct message_range *ranges, size_t count, bool last, struct err *err)
{
    struct step_server *server = &step->servers[server_index];
    bool first = server->listing && !server->listed;
    server->listed = true;
    if (server->listing && last)
        server->listing = false;
    if (at_step < step->number)
        return 0;
    // A server that came back complete: what it does not name, it has.
    for (size_t i = 0; first && i < step->items_count; i++) {
        struct step_item *item = &step->items[i];
        if (item->server == server_index && item->data) {
            memset(item->sent, 1, item->cells);
            item->cursor = item->cells;
        }
    }
    if (at_step > step->number)
        return 0;
    for (size_t i = 0; i < count; i++) {
        struct step_item *item = find_item(step, ranges[i].variable, ranges[i].slice);
        uint64_t bytes;
        if (!item || item->server != server_index || !clip_missing(step, item, &ranges[i], &bytes))
            return err_set(err, SL_EFORMAT,
                           "missing: variable %u slice %u bytes %" PRIu64 "..+%" PRIu64
                           " is no part of a gradient there",
                           ranges[i].variable, ranges[i].slice, ranges[i].offset, ranges[i].bytes);
        if (item->data)
            unsend(step, item, ranges[i].offset, bytes);
    }
    server->barrier_sent = false;
    return 0;
}

int step_committed(struct step *step, int server_index, uint64_t version, struct err *err)
{
    struct step_server *server = &step->servers[server_index];
    if (version <= step->number)
        return 0;
    if (version > step->number + 1 || !step->barrier)
        return err_set(err, SL_EFORMAT,
                       "it committed version %" PRIu64 " while this trainer is at step %" PRIu64,
                       version, step->number);
    server->committed = true;
    return 0;
}

int step_partials(struct step *step, int server_index, uint64_t at_step, uint32_t stage,
                  const struct message_partial *partials, size_t count, bool last, struct err *err)
{
    struct step_server *server = &step->servers[server_index];
    if (at_step < step->number || (at_step == step->number && stage < server->partials_done))
        return 0;
    if (at_step > step->number || !step->barrier || stage > step->combined || stage >= STEP_STAGES)
        return err_set(err, SL_EFORMAT,
                       "partials of step %" PRIu64 " stage %" PRIu32
                       " while this trainer is at step %" PRIu64 " stage %zu",
                       at_step, stage, step->number, step->combined);
    for (size_t i = 0; i < count; i++) {
        MEM_GROW(step->partials, step->partials_count, step->partials_cap);
        step->partials[step->partials_count++] = partials[i];
    }
    server->partials_done += last;
    for (int s = 0; s < step->servers_count; s++)
        if (step->servers[s].partials_done <= step->combined)
            return 0;
    combine(step);
    return 0;
}

void *step_place(struct step *step, int server_index, uint32_t request, uint32_t variable,
                 uint32_t slice, uint64_t version, uint64_t offset, uint32_t bytes)
{
    struct step_item *item = find_item(step, variable, slice);
    if (!item || !item->dst || item->server != server_index || !item->asked ||
        item->request != request || version != step_version(step) || offset != item->got ||
        offset + bytes > item->bytes)
        return NULL;
    return item->dst + offset;
}

void step_data(struct step *step, int server_index, uint32_t request, uint32_t variable,
               uint32_t slice, uint32_t bytes, const void *dst, bool sound, bool last)
{
    struct step_item *item = find_item(step, variable, slice);
    if (!item || !item->dst || item->server != server_index || !item->asked ||
        item->request != request)
        return;
    if (dst && sound && item->dst + item->got == dst) {
        item->got += bytes;
        if (item->got == item->bytes) {
            step->servers[server_index].pulls_open--;
            return;
        }
    }
    if (last || !sound)
        ask_again(step, item);
}

bool step_nudge(struct step *step, int server_index)
{
    struct step_server *server = &step->servers[server_index];
    if (!server->here)
        return true;
    if (server->listing)
        return false;
    if (step->barrier && !server->committed) {
        server->barrier_sent = false;
        server->commits_sent = 0;
        return true;
    }
    for (struct step_item *item = server->pulls; item; item = item->next_pull)
        if (item->got < item->bytes && item->asked)
            ask_again(step, item);
    return true;
}

int step_waits_for(const struct step *step, bool *out_pull)
{
    *out_pull = false;
    for (int s = 0; step->barrier && s < step->servers_count; s++)
        if (!step->servers[s].committed)
            return s;
    *out_pull = true;
    for (int s = 0; s < step->servers_count; s++)
        if (step->servers[s].pulls_open)
            return s;
    return -1;
}

uint64_t step_resent(const struct step *step)
{
    return step->resent;
}

static struct step_item *find_item(const struct step *step, uint32_t variable, uint32_t slice)
{
    if (variable >= step->map->vars_count || slice >= step->map->vars[variable]->slices_count)
        return NULL;
    return &step->items[step->first[variable] + slice];
}

static void enqueue(struct step *step, struct step_item *item)
{
    if (item->queued)
        return;
    struct step_server *server = &step->servers[item->server];
    item->queued = true;
    item->next = NULL;
    *server->queue_end = item;
    server->queue_end = &item->next;
}

// How much of a range to send again; false when it is no part of a gradient. A server that has seen
// nothing of some rows does not know how many there are: it asks for the most that may come.
static bool clip_missing(const struct step *step, const struct step_item *item,
                         const struct message_range *range, uint64_t *out_bytes)
{
    uint64_t whole = item->sparse ? (uint64_t)item->cells * step->cell_bytes : item->bytes;
    *out_bytes = range->bytes;
    if (item->var->role != SLICE_GRAD || range->offset % step->cell_bytes)
        return false;
    if (item->sparse && !item->data)
        return true;   // not pushed yet: nothing is known of it here either
    if (item->sparse && range->offset < whole && range->bytes > whole - range->offset)
        *out_bytes = whole - range->offset;
    return range->offset <= whole && *out_bytes <= whole - range->offset;
}

static void unsend(struct step *step, struct step_item *item, uint64_t offset, uint64_t bytes)
{
    uint32_t first = (uint32_t)(offset / step->cell_bytes);
    uint32_t end = (uint32_t)((offset + bytes + step->cell_bytes - 1) / step->cell_bytes);
    memset(item->sent + first, 0, end - first);
    item->again = true;
    if (item->cursor > first)
        item->cursor = first;
    enqueue(step, item);
}

static bool take_push(struct step *step, struct step_server *server, struct step_out *out)
{
    while (server->queue) {
        struct step_item *item = server->queue;
        while (item->cursor < item->cells && item->sent[item->cursor])
            item->cursor++;
        if (item->cursor == item->cells) {
            server->queue = item->next;
            if (!server->queue)
                server->queue_end = &server->queue;
            item->queued = false;
            continue;
        }
        uint32_t first = item->cursor, most = step->frame_bytes / step->cell_bytes;
        while (item->cursor < item->cells && item->cursor - first < most &&
               !item->sent[item->cursor])
            item->sent[item->cursor++] = 1;
        uint64_t offset = (uint64_t)first * step->cell_bytes;
        uint64_t end = (uint64_t)item->cursor * step->cell_bytes;
        end = end < item->bytes ? end : item->bytes;
        out->what = STEP_PUSH;
        out->variable = item->variable;
        out->slice = item->index;
        out->offset = offset;
        out->bytes = (uint32_t)(end - offset);
        out->data = (const uint8_t *)item->data + offset;
        out->resent = item->again;
        out->last = end == item->bytes;
        out->sparse = item->sparse;
        out->rows = item->rows;
        step->resent += item->again;
        return true;
    }
    return false;
}

static bool take_commit(struct step *step, struct step_server *server, struct step_out *out)
{
    if (server->commits_sent == step->combined || server->committed)
        return false;
    const struct step_stage *stage = &step->stages[server->commits_sent];
    out->what = STEP_COMMIT;
    out->stage = (uint32_t)server->commits_sent++;
    out->decision = stage->decision;
    out->partials = stage->items;
    out->partials_count = stage->count;
    return true;
}

static bool take_pull(struct step *step, struct step_server *server, struct step_out *out)
{
    if (!server->pulls_unasked)
        return false;
    step->next_request = step->next_request % STEP_REQUEST_MAX + 1;
    uint32_t request = step->next_request;
    for (struct step_item *item = server->pulls; item && out->ranges_count < MESSAGE_RANGES_MAX;
         item = item->next_pull) {
        if (item->asked || item->got == item->bytes)
            continue;
        item->asked = true;
        item->request = request;
        server->pulls_unasked--;
        step->ranges[out->ranges_count++] = (struct message_range){
            .variable = item->variable,
            .slice = item->index,
            .offset = item->got,
            .bytes = item->bytes - item->got,
        };
    }
    out->what = STEP_PULL;
    out->step = step_version(step);
    out->request = request;
    out->ranges = step->ranges;
    return out->ranges_count > 0;
}

static void ask_again(struct step *step, struct step_item *item)
{
    item->asked = false;
    step->servers[item->server].pulls_unasked++;
}

static void forget_partials(struct step *step)
{
    step->partials_count = 0;
    for (size_t i = 0; i < step->combined; i++)
        mem_free(step->stages[i].items);
    step->combined = 0;
    for (int s = 0; s < step->servers_count; s++)
        step->servers[s].partials_done = step->servers[s].commits_sent = 0;
}

// A server that broke off in the middle of its pages tells all of them again.
static void drop_partials(struct step *step, int server)
{
    size_t kept = 0;
    for (size_t i = 0; i < step->partials_count; i++) {
        const struct step_item *item =
            find_item(step, step->partials[i].variable, step->partials[i].slice);
        if (item && item->server != server)
            step->partials[kept++] = step->partials[i];
    }
    step->partials_count = kept;
}

static int compare_partials(const void *left, const void *right)
{
    const struct message_partial *a = left, *b = right;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->variable != b->variable)
        return a->variable < b->variable ? -1 : 1;
    return a->slice < b->slice ? -1 : a->slice > b->slice;
}

// Sums each kind of number over a variable's slices, in slice order, so that every trainer computes
// the same bits whatever order the pages came in. What a server told twice counts once.
static void combine(struct step *step)
{
    if (step->partials_count)
        qsort(step->partials, step->partials_count, sizeof *step->partials, compare_partials);
    struct step_stage *stage = &step->stages[step->combined++];
    stage->items = mem_must_calloc(step->partials_count + 1, sizeof *stage->items);
    stage->count = 0;
    bool nonfinite = false;
    for (size_t i = 0; i < step->partials_count; i++) {
        const struct message_partial *partial = &step->partials[i];
        struct message_partial *last = stage->count ? &stage->items[stage->count - 1] : NULL;
        if (i && compare_partials(partial, partial - 1) == 0)
            continue;
        nonfinite = nonfinite || (partial->kind == MESSAGE_NONFINITE && partial->value != 0);
        if (last && last->kind == partial->kind && last->variable == partial->variable) {
            last->value += partial->value;
        } else {
            stage->items[stage->count] = *partial;
            stage->items[stage->count++].slice = 0;
        }
    }
    step->partials_count = 0;
    stage->decision = !nonfinite || step->on_nonfinite == STEP_PASS ? MESSAGE_APPLY
                      : step->on_nonfinite == STEP_SKIP             ? MESSAGE_SKIP
                                                                    : MESSAGE_STOP;
}
