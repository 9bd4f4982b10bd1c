// SPDX-License-Identifier: Apache-2.0
// The inside of an apply, shared by apply.c (blocks, windows, running), apply_rows.c (sparse
// gradients) and apply_norms.c (the second phase). Nobody else includes this.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/map.h"
#include "common/ps/apply.h"
#include "common/tensor/variable.h"

struct block;
struct op_desc;
struct plan;
struct plan_binder;
struct shard_slice;
struct state_entry;

// A variable of a window plan: where it lies as a whole.
struct apply_view {
    struct variable var;
    struct state_entry *entry;   // NULL: a gradient slot or a temporary
    bool next;
    int trainer;   // of the slot; -1: no slot
};

struct apply_window {
    struct plan *plan;   // NULL: none of this size
    uint64_t elements;
    struct apply_view **views;   // slice-shaped ones
    size_t views_count, views_cap;
    struct map by_name;   // what it is and its name -> view
};

// A table of which a block writes the rows of a gradient.
struct apply_touch {
    struct state_entry *entry;
    const struct variable *grad;   // merged, as the update reads it
};

struct apply_block {
    struct apply *apply;
    const struct block *desc;
    const struct shard_slice *grad;   // the gradient that it reads; NULL: none or several
    struct plan *plan;                // whole; NULL for one in three parts:
    size_t sums_end, update;          // ops [0, sums_end) add up; update needs whole norms; 0: none
    struct plan *sums, *trial, *rest;            // [0, sums_end), [sums_end, update], [update, end)
    struct variable *whole_norms, *part_norms;   // of the update
    bool split;                                  // runs by windows
    struct apply_window full, tail;
    uint32_t cells;
    uint8_t *folded;   // a flag a cell
    uint32_t folded_count;
    struct apply_touch *touches;
    size_t touches_count, touches_cap;
    struct err err;   // of a job on a worker
    int rc;
};

// A sum over a merged gradient, whose parts the servers add up.
struct apply_sum {
    const char *name;                 // of the variable in the program
    struct variable *var;             // of the apply's temporaries
    size_t variable;                  // of the gradient, on the wire
    const struct shard_slice *grad;   // the piece here; NULL: on other servers only
};

// The second phase (apply_norms.c).
struct apply_norms {
    struct program
        *program;   // a copy whose updates have the slots of whole_norms.h; NULL: not needed
    struct apply_sum *sums;
    size_t sums_count;
    struct plan *clip;   // of the block that works on sums; NULL: none
    struct message_partial *partials;
    size_t partials_count, partials_cap;
    double *numbers;   // of a decision: by variable, of the parameter and of the other
    bool *known;
};

struct apply {
    const struct program *program;
    const struct shard *shard;
    struct state *state;
    struct round *round;
    struct workers *workers;
    struct map temporaries;    // name -> struct variable *
    struct variable **slots;   // grad * trainers + trainer
    struct apply_block *lr;    // NULL: none
    struct apply_block *blocks;
    size_t blocks_count;
    struct apply_block **by_grad;   // split blocks by gradient
    struct apply_block *planning;   // while planning a window
    struct apply_window *window;
    bool begun;
    uint64_t ns;
    struct apply_norms norms;
};

// ---- apply.c
// The other bank is ready and the learning rate of the step is computed. SL_EBUSY.
int apply_begin_step(struct apply *apply, struct err *err);
// Plans ops [first, last) of a block of apply->program as a whole (no windows); last 0: to the end.
int apply_plan(struct apply *apply, const struct block *block, size_t first, size_t last,
               struct plan **out, struct err *err);
struct variable *apply_temporary(struct apply *apply, const char *name);
// What a whole block's operator has as name: a slot, a temporary.
struct variable *apply_bind(void *self, const char *name, bool write, bool written);

// ---- apply_rows.c
// The variable of trainer's gradient; SL_EINVAL when program and slice map disagree about it.
int apply_rows_slot(const struct apply *apply, const struct shard_slice *slice, int trainer,
                    struct variable **out, struct err *err);
void apply_rows_free(struct variable *slot, bool sparse);
// The step is full: sparse slots show what the round holds.
void apply_rows_bind(struct apply *apply);
// Finds what a block, just planned, writes by rows; tells the state after it ran.
void apply_rows_find(struct apply *apply, struct apply_block *block);
void apply_rows_touch(struct apply *apply, const struct apply_block *block);

// ---- apply_norms.c
// Before blocks are planned: sets apply->program to a copy where that is needed.
int apply_norms_init(struct apply *apply, struct err *err);
void apply_norms_deinit(struct apply *apply);
// Where block is to be parted: sets sums_end, update and the update's variables.
void apply_norms_part(struct apply *apply, struct apply_block *block);
