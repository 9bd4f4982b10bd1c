// SPDX-License-Identifier: Apache-2.0
// See lookup.h.
#include "common/ps/lookup.h"

#include <string.h>

#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/program/slice_map.h"
#include "common/ps/shard.h"
#include "common/wire/frame.h"

#define LOOKUP_ASKED (LIMIT_LOOKUP_BYTES / 2)   // of row numbers at a time on one connection

void lookup_deinit(struct lookup *lookup)
{
    mem_free(lookup->parts);
    memset(lookup, 0, sizeof *lookup);
}

void lookup_clear(struct lookup *lookup)
{
    lookup->count = 0;
}

void lookup_add(struct lookup *lookup, uint32_t variable, const struct slice_var *var, int64_t *ids,
                size_t count, void *out)
{
    size_t most = lookup->part_ids ? lookup->part_ids : FRAME_CHUNK_BYTES / sizeof *ids;
    uint64_t row_bytes = shard_row_bytes(var);
    size_t at = 0;
    for (uint32_t s = 0; s < var->slices_count && at < count; s++) {
        const struct slice *slice = &var->slices[s];
        int64_t end = slice->row + slice->rows;
        while (at < count && ids[at] < end) {
            size_t first = at;
            for (; at < count && at - first < most && ids[at] < end; at++)
                ids[at] -= slice->row;
            MEM_GROW(lookup->parts, lookup->count, lookup->cap);
            lookup->parts[lookup->count++] = (struct lookup_part){
                .server = slice->server,
                .variable = variable,
                .slice = s,
                .ids = ids + first,
                .count = (uint32_t)(at - first),
                .row_bytes = row_bytes,
                .bytes = (at - first) * row_bytes,
                .dst = (uint8_t *)out + first * row_bytes,
            };
        }
    }
}

void lookup_begin(struct lookup *lookup)
{
    lookup->open = lookup->count;
}

void lookup_end(struct lookup *lookup)
{
    lookup->open = 0;
}

bool lookup_is_done(const struct lookup *lookup)
{
    return !lookup->open;
}

struct lookup_part *lookup_take(struct lookup *lookup, int server)
{
    uint64_t asked = 0;
    for (size_t i = 0; lookup->open && asked < LOOKUP_ASKED && i < lookup->count; i++) {
        struct lookup_part *part = &lookup->parts[i];
        if (part->server != server || part->done)
            continue;
        if (!part->request) {
            lookup->last_request = (lookup->last_request + 1) | LOOKUP_REQUESTS;
            part->request = lookup->last_request;
            part->got = 0;   // all of it, also when some is here: a part is small
            return part;
        }
        asked += part->count * sizeof *part->ids;
    }
    return NULL;
}

void lookup_untake(struct lookup_part *part)
{
    part->request = 0;
}

void lookup_again(struct lookup *lookup, int server)
{
    for (size_t i = 0; lookup->open && i < lookup->count; i++)
        if (lookup->parts[i].server == server && !lookup->parts[i].done)
            lookup->parts[i].request = 0;
}

struct lookup_part *lookup_find(const struct lookup *lookup, int server, uint32_t request)
{
    for (size_t i = 0; lookup->open && i < lookup->count; i++) {
        struct lookup_part *part = &lookup->parts[i];
        if (part->request == request && part->server == server && !part->done)
            return part;
    }
    return NULL;
}

void *lookup_place(const struct lookup *lookup, int server, uint32_t request, uint64_t offset,
                   uint32_t bytes)
{
    const struct lookup_part *part = lookup_find(lookup, server, request);
    if (!part || offset != part->got || bytes > part->bytes - part->got)
        return NULL;
    return part->dst + part->got;
}

void lookup_data(struct lookup *lookup, int server, uint32_t request, uint32_t bytes,
                 const void *dst, bool sound, bool last)
{
    struct lookup_part *part = lookup_find(lookup, server, request);
    if (!part)
        return;
    if (dst && sound && dst == part->dst + part->got)
        part->got += bytes;
    if (part->got == part->bytes) {
        part->done = true;
        lookup->open--;
    } else if (!sound || last) {
        part->request = 0;
    }
}
