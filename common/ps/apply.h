// SPDX-License-Identifier: Apache-2.0
// Runs a server program's learning-rate block and optimize blocks on the state.
//
// An optimize block with a dense gradient whose operators are all row-splittable (sum, scale,
// elementwise optimizers)
// runs window by window, a cell of the gradient each, as soon as that cell is here from every
// trainer and still in the cache: the same bits as one run over the whole slice. Every other block
// runs once the step is full. A sparse gradient's slots are selected rows, bound to what the round
// holds then; what its update writes of a table is told to the state row by row. All read version v
// and write v + 1; nothing is visible before state_commit.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct apply;
struct block;
struct err;
struct map;
struct op_desc;
struct program;
struct round;
struct scope;
struct shard;
struct state;
struct slice_map;
struct message_partial;
struct workers;

// Fills state (state_init'ed) with every persistable of the server program: the slices of the
// shard (those for trainers when they were loaded), and what else of the program's persistables the
// scope holds. Values leave the scope one by one, so that no third copy of them ever exists; before
// that an error, which names variable and both shapes, leaves the scope as it was.
int apply_state_fill(const struct program *program, const struct shard *shard,
                     struct scope *scope, uint64_t version, uint32_t hash_bytes,
                     struct state *state, struct err *err);
// The newest values go back; the state has had its last step.
int apply_state_return(struct state *state, struct scope *scope, struct err *err);

// The listen_and_serv of block 0; NULL with err set when there is none.
const struct op_desc *apply_state_serv(const struct program *program, struct err *err);
// Does op write only the rows of its sparse gradient?
bool apply_state_by_rows(const struct block *block, const struct op_desc *op);
// The names of everything that the block's operators write, sub-blocks included, as keys; the
// values say how, inside apply_state.c. maybe: perhaps they do not run.
void apply_state_writes(const struct program *program, const struct block *block, bool maybe,
                        struct map *writes);

struct apply_options {
    const struct program *program;   // all outlive the apply
    const struct shard *shard;
    struct state *state;
    struct round *round;
    struct workers *workers;   // NULL: everything runs on the caller
};
int apply_new(const struct apply_options *options, struct apply **out, struct err *err);
void apply_free(struct apply *apply);

// Cells [first, first + cells) of the gradient have just been counted for some trainer: runs what
// is ready from all. Does nothing while a reply still holds the bank that would be written.
int apply_fold(struct apply *apply, int grad, uint32_t first, uint32_t cells, struct err *err);
// ---- the second phase (apply_norms.c): between a full step and apply_finish, stage by stage
int apply_norms_stages(const struct slice_map *map);
// This server's numbers of a stage; *out stays until the next call. SL_EBUSY as apply_finish.
int apply_norms_partials(struct apply *apply, int stage, const struct message_partial **out,
                         size_t *out_count, struct err *err);
// The combination of all servers' numbers. SL_EFORMAT when one is missing.
int apply_norms_decided(struct apply *apply, int stage, const struct message_partial *items,
                        size_t count, struct err *err);

// The step is full: runs all that is left and commits the state. SL_EBUSY while a reply holds the
// bank (call again when it has gone).
int apply_finish(struct apply *apply, struct err *err);
// The step is skipped: the values stay, the version goes on.
int apply_skip(struct apply *apply, struct err *err);
uint64_t apply_ns(const struct apply *apply);   // spent so far
