// SPDX-License-Identifier: Apache-2.0
// Fluid's Executor: runs a program's block 0 in a scope, with feeds and fetches. Plans are cached
// by program, revision, feed and fetch names. Temporary variables belong to the executor and die
// with it; persistable ones live in the scope.
#pragma once

#include "common/exec/plan.h"

struct block;
struct executor;
struct program;
struct scope;
struct var_desc;

struct executor_feed {
    const char *name;
    const struct variable *value;   // borrowed for the run (data is used in place, not copied)
};

struct executor_fetch {
    const char *name;
    const struct variable
        *value;   // set by the run; owned by the executor, valid until the next run
};

struct executor *executor_new(struct scope *scope, const struct plan_host *hosts,
                              size_t hosts_count);   // borrows scope
void executor_free(struct executor *exe);
struct scope *executor_scope(const struct executor *exe);
// Errors name block, op index, type and variable: "block 0 op 3 mul: X fc_0.tmp_0 [20,13]: ...".
int executor_run(struct executor *exe, const struct program *program,
                 const struct executor_feed *feeds, size_t feeds_count,
                 struct executor_fetch *fetches, size_t fetches_count, struct err *err);
// Does a value for a variable of block fit its description? written: an op of the block writes it.
int executor_check_feed(const struct block *block, const struct var_desc *desc, bool written,
                        const struct variable *value, struct err *err);
