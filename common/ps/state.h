// SPDX-License-Identifier: Apache-2.0
// All persistables of one server, with a fixed place each, in two banks.
//
// A version is a number of committed steps. What a step writes lives twice: version v in one bank,
// v + 1 in the other; what no step writes lives once. Of a table of which steps write a few rows
// only, the other bank lacks just the rows that the last step wrote (state_touch): they are copied
// when a step begins, and nothing else is. A step is: state_begin, blocks read v and
// write v + 1 (through state_binder), state_commit. Invariant: a bank is never written while a
// reply or a pin still reads the version in it: replies hold it (state_hold), and state_begin says
// SL_EBUSY until they are gone; pins do not stop training, because state_begin moves what they hold
// to a snapshot first (one copy a pinned version, made only when its bank is needed again: a save
// that ends before the step after the next costs no copy). Pure; the loop thread owns it. Blocks on
// workers touch only the variables that their plan bound.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/map.h"
#include "common/tensor/variable.h"

struct err;
struct plan_binder;

enum state_write {
    STATE_NEVER,
    STATE_WHOLE,     // every step writes all of it
    STATE_PERHAPS,   // not every step, or not all of it: copied when a step begins
    STATE_ROWS,      // the rows that state_touch names, of a value with rows
};

struct state_entry {
    char *name;
    enum dtype dtype;
    struct dims dims;
    uint64_t bytes;
    enum state_write write;
    bool written;                // not STATE_NEVER
    bool after_block;            // state_binder: an earlier block of the step writes it
    uint64_t offset;             // in a bank (written) or in the common part (not written)
    struct variable now, next;   // borrow version v and v + 1; the same memory when not written
    uint64_t *hashes[2];   // a bank's cached checksums, hash_bytes of data each; 0 = not known
    // STATE_ROWS: rows in which the banks differ; all of them at first.
    int64_t *touched;
    size_t touched_count, touched_cap;
    bool touched_all;
};

struct state_snapshot {   // a pinned version
    uint64_t version;
    int pins;
    uint8_t *copy;   // written entries at their offsets; NULL while the bank still has it
};

struct state {
    struct state_entry **entries;
    size_t count, cap;
    struct map by_name;
    uint8_t *bank[2];   // bank[version & 1] of written entries
    uint8_t *common;    // entries that no step writes
    uint64_t bank_bytes, common_bytes;
    uint32_t hash_bytes;   // grain of hashes
    uint64_t version;      // committed
    bool previous;         // version - 1 is still in the other bank
    bool begun;            // version + 1 is being written
    int readers[2];        // replies in flight, a bank each
    struct state_snapshot *snapshots;
    size_t snapshots_count, snapshots_cap;
};

void state_init(struct state *state);
void state_deinit(struct state *state);
// Before state_layout. A second entry of that name is SL_EEXIST. Returns its index.
int state_add(struct state *state, const char *name, enum dtype dtype, const struct dims *dims,
              enum state_write write, struct err *err);
// Gives every entry its place; values are undefined before state_load, which touches the memory.
// hash_bytes: grain of the checksum cells, 0 = 1 MiB.
int state_layout(struct state *state, uint64_t version, uint32_t hash_bytes, struct err *err);
struct state_entry *state_find(const struct state *state, const char *name);   // NULL when absent
// Fills an entry's current version (bytes as the entry says).
void state_load(struct state *state, struct state_entry *entry, const void *data);
// There are no more steps, only reads of the current version: the other bank's memory goes.
void state_end(struct state *state);
uint64_t state_bytes(const struct state *state);   // one version of everything

// ---- a step
// Makes the other bank ready for version + 1. SL_EBUSY while a reply reads it; SL_ENOMEM for a
// snapshot. Idempotent until state_commit.
int state_begin(struct state *state, struct err *err);
// The step writes these rows of a STATE_ROWS entry (in any order, repeated ones too). NULL: perhaps
// any row.
void state_touch(struct state *state, struct state_entry *entry, const int64_t *rows, size_t count);
// The blocks have run: version + 1 becomes the version, the old one stays readable until
// state_begin.
void state_commit(struct state *state);
// The step is not applied (decision skip): version + 1 equals the version.
void state_skip(struct state *state);

// Binds an optimize block's names to now / next. An op reads version v until this block or an
// earlier one (state_end_block) has written the variable, v + 1 after. Names that are no entry go
// to `other` (gradient slots, temporaries), which must know them.
struct state_binder {
    struct state *state;
    const struct plan_binder *other;
    struct variable *(*view)(void *self, struct state_entry *entry,
                             bool next);   // NULL: whole entries
    void *view_self;
};
// The plan_binder that does it; binder outlives the returned struct's use.
struct plan_binder state_plan_binder(struct state_binder *binder);
// What name, written by a block, is for blocks planned later in the same step.
void state_end_block(struct state *state, const char *name);

// ---- reading
bool state_has(const struct state *state, uint64_t version);
// Where bytes of that version are; NULL when it is gone. *out_hashes (may be NULL) = the entry's
// checksum cells for that place, or NULL when it has none (a snapshot).
const uint8_t *state_at(const struct state *state, const struct state_entry *entry,
                        uint64_t version, uint64_t **out_hashes);
// A reply starts / ends reading that version's memory (which state_has). hold returns the token for
// release: the memory stays as it is until then.
int64_t state_hold(struct state *state, const struct state_entry *entry, uint64_t version);
void state_release(struct state *state, int64_t token);
// Keeps a version readable. SL_ENOENT when it is not there any more (or not yet).
int state_pin(struct state *state, uint64_t version, struct err *err);
void state_unpin(struct state *state, uint64_t version);
