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

// Where a variable of the block lives. write tells whether the op writes it; written whether an
// earlier op of this block already did (a server's state reads version v until then, v+1 after).
struct plan_binder {
    struct variable *(*bind)(void *self, const char *name, bool write, bool written);
    void *self;
};

// Ops with I/O and the object they work on, given by whoever creates the executor (any number of such
// groups); looked up before the table of compute ops.
struct plan_host {
    const struct op_def *const *ops;   // NULL-terminated; NULL for none
    void *self;                        // becomes op_ctx.host
};

// Checks that every op exists (one error lists all that do not, with block and index) and resolves.
// first..last are op indices; last 0 means to the end.
int plan_new(const struct block *block, size_t first, size_t last, const struct plan_binder *binder,
             const struct plan_host *hosts, size_t hosts_count, struct plan **out, struct err *err);
void plan_free(struct plan *plan);
int plan_run(struct plan *plan, struct err *err);
