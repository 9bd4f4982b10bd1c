// SPDX-License-Identifier: Apache-2.0
// How a program is divided among workers, told from its description alone. Private.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/map.h"
#include "common/exec/plan.h"

// In the order in which a round of stages goes through them.
enum parallel_kind {
    PARALLEL_ONCE,      // ops that see the same values on every worker: run once, in parts
    PARALLEL_TURNS,     // ops of a host that each worker needs: one worker after the other
    PARALLEL_WORKERS,   // ops on a worker's own samples: all workers at once
    PARALLEL_SUM,       // gradients added up over the workers
    PARALLEL_KINDS,
};

struct parallel_stage {
    enum parallel_kind kind;
    size_t *items;   // ops of block 0 in program order; SUM: indices of sums
    int *parts;      // ONCE: which of the parts that may run at once the op belongs to; else NULL
    size_t count, cap;
    double
        elements;   // that ONCE and SUM write, as far as the program tells: is it worth a thread?
};

struct parallel_sum {
    const char *name;   // of the gradient, in the program
    size_t op;          // which wrote it last
    size_t level;       // where the sum stands among the stages
    bool spread;        // a worker reads the sum later: every worker gets it
};

struct parallel_split {
    const struct program *program;
    struct parallel_stage *stages;
    size_t stages_count, stages_cap;
    struct parallel_sum *sums;
    size_t sums_count, sums_cap;
    struct map own;   // names of which every worker has its own variable
};

// Borrows program, whose block 0 must stay as it is. At most parts parts a stage; part 0 has the
// ops of hosts. SL_EUNSUPPORTED for an optimizer within a sub-block. The caller calls
// parallel_split_deinit in any case.
int parallel_split_init(const struct program *program, const struct plan_host *hosts,
                        size_t hosts_count, int parts, struct parallel_split *out, struct err *err);
void parallel_split_deinit(struct parallel_split *split);
// Does every worker have its own variable of this name?
bool parallel_split_is_own(const struct parallel_split *split, const char *name);
