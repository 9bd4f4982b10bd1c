// SPDX-License-Identifier: Apache-2.0
// Two banks of written entries and one common part. `now` and `next` of an entry are variables that
// borrow its two places; state_commit swaps the places, so a plan keeps its variables for ever.
// Does not know gradients, trainers or the network. Owner: the loop thread.
#include "common/ps/state.h"

#include <stdatomic.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/exec/plan.h"

#define STATE_ALIGN 64u
#define STATE_HASH_BYTES (1u << 20)
#define STATE_AHEAD 12   // rows fetched into the cache before they are copied
#define STATE_TOKEN_NONE (-1)    // common memory never changes
#define STATE_TOKEN_SNAPSHOT 2   // + version; 0 and 1 are the banks

static struct variable *bind_name(void *self, const char *name, bool write, bool written);
static void point_at_banks(struct state *state, struct state_entry *entry);
static uint8_t *place_of(const struct state *state, const struct state_entry *entry, int bank);
// Makes an entry in `bank` what it is in the other one.
static void level_banks(struct state *state, struct state_entry *entry, int bank)
{
    uint8_t *to = place_of(state, entry, bank);
    const uint8_t *from = place_of(state, entry, !bank);
    bool all = entry->write != STATE_ROWS || entry->touched_all;
    if (all && entry->bytes)
        memcpy(to, from, (size_t)entry->bytes);
    size_t count = all ? 0 : entry->touched_count, height = count ? (size_t)entry->dims.d[0] : 1;
    size_t row_bytes = (size_t)entry->bytes / height;
    for (size_t i = 0; i < count; i++) {
        ASSERT((size_t)entry->touched[i] < height);
        if (i + STATE_AHEAD < count) {
            size_t ahead = (size_t)entry->touched[i + STATE_AHEAD] * row_bytes;
            __builtin_prefetch(from + ahead);
            __builtin_prefetch(to + ahead, 1);
        }
        size_t at = (size_t)entry->touched[i] * row_bytes;
        memcpy(to + at, from + at, row_bytes);
    }
    entry->touched_count = 0;
    entry->touched_all = false;
}

static size_t hash_cells(const struct state *state, const struct state_entry *entry);
static void level_banks(struct state *state, struct state_entry *entry, int bank);
static struct state_snapshot *find_snapshot(const struct state *state, uint64_t version);
static int save_pinned(struct state *state, uint64_t version, struct err *err);

void state_init(struct state *state)
{
    memset(state, 0, sizeof *state);
    map_init(&state->by_name);
}

void state_deinit(struct state *state)
{
    for (size_t i = 0; i < state->count; i++) {
        struct state_entry *entry = state->entries[i];
        variable_deinit(&entry->now);
        variable_deinit(&entry->next);
        mem_free(entry->hashes[0]);
        mem_free(entry->hashes[1]);
        mem_free(entry->touched);
        mem_free(entry->name);
        mem_free(entry);
    }
    for (size_t i = 0; i < state->snapshots_count; i++)
        mem_free(state->snapshots[i].copy);
    mem_free(state->snapshots);
    mem_free(state->entries);
    map_deinit(&state->by_name);
    mem_free(state->bank[0]);
    mem_free(state->bank[1]);
    mem_free(state->common);
    memset(state, 0, sizeof *state);
}

int state_add(struct state *state, const char *name, enum dtype dtype, const struct dims *dims,
              enum state_write write, struct err *err)
{
    ASSERT(!state->bank[0]);
    if (map_get(&state->by_name, name))
        return err_set(err, SL_EEXIST, "%s: twice among the persistables of this server", name);
    uint64_t elements;
    if (!dims_count(dims, dtype_bytes(dtype), &elements))
        return err_set(err, SL_ELIMIT, "%s: its shape is not known or too large", name);
    struct state_entry *entry = MEM_NEW(struct state_entry);
    entry->name = mem_must_strdup(name);
    entry->dtype = dtype;
    entry->dims = *dims;
    entry->bytes = elements * dtype_bytes(dtype);
    entry->write = write == STATE_ROWS && !dims->rank ? STATE_PERHAPS : write;
    entry->written = write != STATE_NEVER;
    entry->touched_all = true;
    variable_init(&entry->now);
    variable_init(&entry->next);
    MEM_GROW(state->entries, state->count, state->cap);
    state->entries[state->count] = entry;
    map_set(&state->by_name, name, entry);
    return (int)state->count++;
}

int state_layout(struct state *state, uint64_t version, uint32_t hash_bytes, struct err *err)
{
    state->version = version;
    state->hash_bytes = hash_bytes ? hash_bytes : STATE_HASH_BYTES;
    for (size_t i = 0; i < state->count; i++) {
        struct state_entry *entry = state->entries[i];
        uint64_t *end = entry->written ? &state->bank_bytes : &state->common_bytes;
        entry->offset = *end;
        uint64_t padded;
        if (!limit_add_u64(entry->bytes, STATE_ALIGN - 1, &padded) ||
            !limit_add_u64(*end, padded & ~(uint64_t)(STATE_ALIGN - 1), end) ||
            *end > LIMIT_TENSOR_BYTES)
            return err_set(err, SL_ELIMIT,
                           "the persistables of this server are too large together");
        entry->hashes[0] = mem_must_calloc(hash_cells(state, entry), sizeof(uint64_t));
        if (entry->written)
            entry->hashes[1] = mem_must_calloc(hash_cells(state, entry), sizeof(uint64_t));
    }
    for (int b = 0; b < 2; b++)
        state->bank[b] = mem_alloc_aligned((size_t)state->bank_bytes);
    state->common = mem_alloc_aligned((size_t)state->common_bytes);
    if (!state->bank[0] || !state->bank[1] || !state->common)
        return err_set(err, SL_ENOMEM, "no memory for %llu bytes of state",
                       (unsigned long long)(2 * state->bank_bytes + state->common_bytes));
    for (size_t i = 0; i < state->count; i++)
        point_at_banks(state, state->entries[i]);
    return 0;
}

struct state_entry *state_find(const struct state *state, const char *name)
{
    return map_get(&state->by_name, name);
}

void state_load(struct state *state, struct state_entry *entry, const void *data)
{
    ASSERT(!state->begun);
    int bank = (int)(state->version & 1);
    if (entry->bytes)
        memcpy(place_of(state, entry, bank), data, (size_t)entry->bytes);
    // Every page is touched now: a step must not meet a page fault.
    if (entry->written && !state->previous && entry->bytes)
        memset(place_of(state, entry, !bank), 0, (size_t)entry->bytes);
    entry->touched_all = true;
    memset(entry->hashes[entry->written ? bank : 0], 0,
           hash_cells(state, entry) * sizeof(uint64_t));
}

void state_end(struct state *state)
{
    ASSERT(!state->readers[0] && !state->readers[1]);
    int other = (int)((state->version + 1) & 1);
    mem_free(state->bank[other]);
    state->bank[other] = NULL;
    state->previous = state->begun = false;
}

uint64_t state_bytes(const struct state *state)
{
    return state->bank_bytes + state->common_bytes;
}

int state_begin(struct state *state, struct err *err)
{
    if (state->begun)
        return 0;
    int bank = (int)((state->version + 1) & 1);
    if (state->previous) {
        int rc = save_pinned(state, state->version - 1, err);
        if (rc < 0)
            return rc;
    }
    if (state->readers[bank])
        return err_set(err, SL_EBUSY, "%d replies still read version %llu", state->readers[bank],
                       (unsigned long long)(state->version - 1));
    state->previous = false;
    state->begun = true;
    for (size_t i = 0; i < state->count; i++) {
        struct state_entry *entry = state->entries[i];
        if (!entry->written)
            continue;
        memset(entry->hashes[bank], 0, hash_cells(state, entry) * sizeof(uint64_t));
        if (entry->write != STATE_WHOLE)
            level_banks(state, entry, bank);
    }
    return 0;
}

void state_touch(struct state *state, struct state_entry *entry, const int64_t *rows, size_t count)
{
    ASSERT(state->begun && entry->write == STATE_ROWS);
    size_t height = (size_t)entry->dims.d[0];
    if (!rows || count > height - entry->touched_count)
        entry->touched_all = true;   // a copy of all is no more than that
    if (entry->touched_all || !count)
        return;
    size_t need = entry->touched_count + count;
    if (need > entry->touched_cap) {
        size_t cap = need + need / 2 < height ? need + need / 2 : height;
        int64_t *grown = mem_realloc(entry->touched, cap * sizeof *grown);
        if (!grown) {
            entry->touched_all = true;
            return;
        }
        entry->touched = grown;
        entry->touched_cap = cap;
    }
    memcpy(entry->touched + entry->touched_count, rows, count * sizeof *rows);
    entry->touched_count = need;
}

void state_commit(struct state *state)
{
    ASSERT(state->begun);
    atomic_thread_fence(memory_order_release);
    state->version++;
    state->begun = false;
    state->previous = true;
    for (size_t i = 0; i < state->count; i++)
        if (state->entries[i]->written)
            point_at_banks(state, state->entries[i]);
}

void state_skip(struct state *state)
{
    ASSERT(state->begun);
    int bank = (int)((state->version + 1) & 1);
    for (size_t i = 0; i < state->count; i++) {
        if (state->entries[i]->written)
            level_banks(state, state->entries[i], bank);
    }
    state_commit(state);
}

struct plan_binder state_plan_binder(struct state_binder *binder)
{
    return (struct plan_binder){.bind = bind_name, .self = binder};
}

void state_end_block(struct state *state, const char *name)
{
    struct state_entry *entry = state_find(state, name);
    if (entry)
        entry->after_block = true;
}

bool state_has(const struct state *state, uint64_t version)
{
    if (version == state->version || (state->previous && version + 1 == state->version))
        return true;
    const struct state_snapshot *snapshot = find_snapshot(state, version);
    return snapshot && snapshot->copy;
}

const uint8_t *state_at(const struct state *state, const struct state_entry *entry,
                        uint64_t version, uint64_t **out_hashes)
{
    if (out_hashes)
        *out_hashes = NULL;
    if (!state_has(state, version))
        return NULL;
    bool live = version == state->version || (state->previous && version + 1 == state->version);
    if (!entry->written || live) {
        int bank = entry->written ? (int)(version & 1) : 0;
        if (out_hashes)
            *out_hashes = entry->hashes[bank];
        return place_of(state, entry, bank);
    }
    return find_snapshot(state, version)->copy + entry->offset;
}

int64_t state_hold(struct state *state, const struct state_entry *entry, uint64_t version)
{
    bool live = version == state->version || (state->previous && version + 1 == state->version);
    if (!entry->written)
        return STATE_TOKEN_NONE;
    if (live) {
        state->readers[version & 1]++;
        return (int64_t)(version & 1);
    }
    struct state_snapshot *snapshot = find_snapshot(state, version);
    ASSERT(snapshot && snapshot->copy);
    snapshot->pins++;
    return (int64_t)version + STATE_TOKEN_SNAPSHOT;
}

void state_release(struct state *state, int64_t token)
{
    if (token >= STATE_TOKEN_SNAPSHOT) {
        state_unpin(state, (uint64_t)(token - STATE_TOKEN_SNAPSHOT));
    } else if (token >= 0) {
        ASSERT(state->readers[token] > 0);
        state->readers[token]--;
    }
}

int state_pin(struct state *state, uint64_t version, struct err *err)
{
    if (!state_has(state, version))
        return err_set(err, SL_ENOENT, "version %llu is not here; this server holds %llu",
                       (unsigned long long)version, (unsigned long long)state->version);
    struct state_snapshot *snapshot = find_snapshot(state, version);
    if (!snapshot) {
        MEM_GROW(state->snapshots, state->snapshots_count, state->snapshots_cap);
        snapshot = &state->snapshots[state->snapshots_count++];
        *snapshot = (struct state_snapshot){.version = version};
    }
    snapshot->pins++;
    return 0;
}

void state_unpin(struct state *state, uint64_t version)
{
    struct state_snapshot *snapshot = find_snapshot(state, version);
    ASSERT(snapshot && snapshot->pins > 0);
    if (--snapshot->pins)
        return;
    mem_free(snapshot->copy);
    *snapshot = state->snapshots[--state->snapshots_count];
}

static struct variable *bind_name(void *self, const char *name, bool write, bool written)
{
    struct state_binder *binder = self;
    struct state_entry *entry = state_find(binder->state, name);
    if (!entry)
        return binder->other->bind(binder->other->self, name, write, written);
    ASSERT(!write || entry->written);
    bool next = write || written || entry->after_block;
    if (binder->view)
        return binder->view(binder->view_self, entry, next);
    return next ? &entry->next : &entry->now;
}

static void point_at_banks(struct state *state, struct state_entry *entry)
{
    int bank = (int)(state->version & 1);
    tensor_borrow(variable_tensor(&entry->now), entry->dtype, &entry->dims,
                  place_of(state, entry, bank), (size_t)entry->bytes);
    tensor_borrow(variable_tensor(&entry->next), entry->dtype, &entry->dims,
                  place_of(state, entry, !bank), (size_t)entry->bytes);
}

static uint8_t *place_of(const struct state *state, const struct state_entry *entry, int bank)
{
    return (entry->written ? state->bank[bank] : state->common) + entry->offset;
}

static size_t hash_cells(const struct state *state, const struct state_entry *entry)
{
    return (size_t)(entry->bytes / state->hash_bytes) + 1;
}

static struct state_snapshot *find_snapshot(const struct state *state, uint64_t version)
{
    for (size_t i = 0; i < state->snapshots_count; i++)
        if (state->snapshots[i].version == version)
            return &state->snapshots[i];
    return NULL;
}

// The bank of version is about to be overwritten: pins go on with a copy.
static int save_pinned(struct state *state, uint64_t version, struct err *err)
{
    struct state_snapshot *snapshot = find_snapshot(state, version);
    if (!snapshot || snapshot->copy)
        return 0;
    snapshot->copy = mem_alloc_aligned((size_t)state->bank_bytes);
    if (!snapshot->copy)
        return err_set(err, SL_ENOMEM,
                       "no memory for a snapshot of %llu bytes (a save is reading version %llu)",
                       (unsigned long long)state->bank_bytes, (unsigned long long)version);
    memcpy(snapshot->copy, state->bank[version & 1], (size_t)state->bank_bytes);
    return 0;
}
