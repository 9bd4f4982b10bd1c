// SPDX-License-Identifier: Apache-2.0
// The inside of a plan, shared by the files that build it (plan_build.c), infer shapes
// (plan_shape.c), alias received slices (plan_alias.c) and run it (plan.c). Private.
#pragma once

#include "common/exec/plan.h"
#include "common/ops/op.h"

struct op_desc;

// What was known of a variable's shape when shapes were last inferred: kind, type, dims, LoD.
struct plan_seen {
    enum variable_kind kind;
    int64_t height;        // selected rows only
    struct tensor shape;   // never has data
};

// A variable that the block reads before it wrote it.
struct plan_input {
    struct variable *var;
    const char *name;
    size_t op;   // first reader
    struct plan_seen seen;
};

struct plan_op {
    const struct op_def *def;
    const struct op_desc *desc;
    size_t index;   // in the block
    bool host;      // checks and sizes its arguments itself
    struct op_ctx ctx;
    struct op_args *in, *out;   // by slot
    struct op_args_dims *in_dims, *out_dims;
    struct plan *sub;            // of the block that the op runs; NULL: it runs none
    struct plan_seen *watched;   // outputs of an op that sizes them itself, flat; NULL otherwise
    size_t watched_count;
};

// A concat along rows whose pieces are received: they are views of the whole (plan_alias.c).
struct plan_alias {
    struct variable *whole;
    enum dtype dtype;
    struct dims dims;   // of the whole
    struct variable **pieces;
    int64_t *rows;
    size_t count;
};

struct plan {
    const struct block *block;
    struct plan_op *ops;
    size_t ops_count;
    struct plan_input *inputs;
    size_t inputs_count, inputs_cap;
    struct plan_alias *aliases;
    size_t aliases_count, aliases_cap;
    bool stale;                 // some shape is not inferred for what the inputs are now
    bool reshapes;              // a variable has two shapes within a run (reshape in place)
    struct attr **made_attrs;   // defaults and converted attributes
    size_t made_attrs_count, made_attrs_cap;
    void **pool;   // everything else that lives as long as the plan
    size_t pool_count, pool_cap;
};

// plan.c: a plan without ops.
struct plan *plan_make(const struct block *block);
// Zeroed memory that the plan frees; NULL when there is none.
void *plan_calloc(struct plan *plan, size_t count, size_t bytes);

// plan_build.c: ops, slots, attributes; blocks that ops run become plans of their own, with the
// same binder and hosts.
int plan_build(struct plan *plan, const size_t *ops, size_t count, const struct plan_binder *binder,
               const struct plan_host *hosts, size_t hosts_count, struct err *err);
// *out_host is the group that has the op, NULL when it is from the table.
const struct op_def *plan_build_find(const char *type, const struct plan_host *hosts,
                                     size_t hosts_count, const struct plan_host **out_host);

// plan_shape.c
bool plan_shape_is_set(const struct variable *var);
bool plan_shape_matches(const struct plan_seen *seen, const struct variable *var);
int plan_shape_remember(struct plan_seen *seen, const struct variable *var, struct err *err);
// Infers and sizes the outputs of one op for the inputs as they are now.
int plan_shape_infer(struct plan_op *op, struct err *err);
// Did the op, just inferred and run, give another shape to one of its own inputs?
bool plan_shape_is_in_place(const struct plan_op *op);
// Did a watched output change since it was remembered? Remembers the new shape.
int plan_shape_watch(struct plan_op *op, bool *out_changed, struct err *err);

// plan_alias.c
int plan_alias_build(struct plan *plan, struct err *err);
int plan_alias_apply(struct plan *plan, struct err *err);
