// SPDX-License-Identifier: Apache-2.0
// A block made ready to run: kernels, attributes, addresses and buffers are resolved once; a run is
// a walk over an array. Shapes are inferred again only when a fed shape changed.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/tensor/variable.h"

struct block;
struct err;
struct op_def;
struct plan;
struct program;
struct str_list;

// Where a variable of the block lives. write tells whether the op writes it; written whether an
// earlier op of this block already did (a server's state reads version v until then, v+1 after).
struct plan_binder {
    struct variable *(*bind)(void *self, const char *name, bool write, bool written);
    void *self;
};

// Ops with I/O and the object they work on, given by whoever creates the executor (any number of
// such groups); looked up before the table of compute ops. They check and size their own arguments
// (op_resize keeps a buffer that already fits: an output may be a view of a bigger tensor).
struct plan_host {
    const struct op_def *const *ops;   // NULL-terminated; NULL for none
    void *self;                        // becomes op_ctx.host
};

// Checks that every op exists (one error lists all that do not, with block and index) and resolves.
// first..last are op indices; last 0 means to the end.
int plan_new(const struct block *block, size_t first, size_t last, const struct plan_binder *binder,
             const struct plan_host *hosts, size_t hosts_count, struct plan **out, struct err *err);
// The same for the count ops of these indices, in this order.
int plan_new_of(const struct block *block, const size_t *ops, size_t count,
                const struct plan_binder *binder, const struct plan_host *hosts, size_t hosts_count,
                struct plan **out, struct err *err);
void plan_free(struct plan *plan);
// Errors name block, op index, type, variables and shapes; outputs are undefined after one.
int plan_run(struct plan *plan, struct err *err);

// Every op of every block that neither the hosts nor the table have: one line each,
// "block 0 op 17 `type`", into out_lines (may be NULL). 0, or SL_EUNSUPPORTED with one error that
// names all.
int plan_check(const struct program *program, const struct plan_host *hosts, size_t hosts_count,
               struct str_list *out_lines, struct err *err);
// The variables that the block's ops read before any of them wrote it, and those they write; in
// order of first use, each once. Either may be NULL.
void plan_check_uses(const struct block *block, struct str_list *out_reads,
                     struct str_list *out_writes);
