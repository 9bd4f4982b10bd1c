// SPDX-License-Identifier: Apache-2.0
// Sums of integers over the trainers, as a server keeps them: the counts of a metric that belong to
// the whole job. Pure.
//
// A sum has a key. Each trainer adds its numbers once a key, in ascending keys; what it sends again
// (after a reconnect, or in another life) does not count again. A sum is settled when of every
// trainer it is known that it will not add any more: it has added, or has added to a later key, or
// has left. So trainers that have less work, or end early, block nobody; a settled sum says how
// many have added. Integers wrap around, so that order does not matter.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct merge;

#define MERGE_OPEN_MAX 32      // sums that are not settled; the oldest is settled as it is beyond
#define MERGE_SETTLED_MAX 16   // kept for those who ask again; the oldest is dropped beyond

// Lives until it was dropped and nobody holds it.
struct merge_sum {
    uint32_t key;
    size_t count;
    int64_t *numbers;
    uint32_t trainers;   // how many have added
    bool settled;
    uint64_t hash;   // cell of the numbers' checksum; 0: not known
    // private
    struct merge_sum *next;
    bool *added;   // by trainer
    int holds;
    bool dropped;
};

struct merge *merge_new(int trainers);
void merge_free(struct merge *merge);   // nothing may be held
// A trainer's numbers. 1: some sums have been settled by it (merge_next tells them); 0: none. *out
// is its sum, or NULL when that was settled and dropped long ago. SL_EMISMATCH: others have added
// another count of numbers; SL_ENOMEM.
int merge_add(struct merge *merge, int trainer, uint32_t key, const int64_t *numbers, size_t count,
              struct merge_sum **out, struct err *err);
// It has completed, or was given up. 1: some sums have been settled by it.
int merge_leave(struct merge *merge, int trainer);
// The next sum that was settled and not told by this yet. NULL: none; old ones are dropped then.
struct merge_sum *merge_next(struct merge *merge);
// The i-th settled sum that is kept, by key; NULL beyond the last.
struct merge_sum *merge_settled(const struct merge *merge, size_t i);
// Its numbers are being read: they stay until they are released.
void merge_hold(struct merge_sum *sum);
void merge_release(struct merge_sum *sum);
