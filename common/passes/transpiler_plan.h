// SPDX-License-Identifier: Apache-2.0
// Private to the transpiler: what is decided once (pairs, slices, servers, which operator runs
// where) before any program is written.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/str.h"
#include "common/passes/transpiler.h"
#include "common/program/program.h"
#include "common/program/slice_map.h"

// Rows [row, row + rows) of a parameter and of its gradient; names without a trainer's suffix.
struct transpiler_slice {
    char *param;   // "w" or "w.block1"
    char *grad;    // "w@GRAD" or "w@GRAD.block1"
    int64_t row, rows;
    int server;
};

struct transpiler_pair {
    char *param, *grad;
    struct dims dims;   // the parameter's
    bool sparse;        // the gradient travels as selected rows
    bool remote;        // a table that trainers ask for rows and never hold (sparse too)
    struct transpiler_slice *slices;
    size_t count;
};

// What becomes of an operator that clips merged gradients (transpiler_clip.c).
enum transpiler_clip {
    TRANSPILER_CLIP_NONE,    // it is none
    TRANSPILER_CLIP_PIECE,   // gradient to gradient, on every piece
    TRANSPILER_CLIP_ADD,     // gradient to a sum, whose parts the servers add up
    TRANSPILER_CLIP_SUMS,    // sums only, once on every server
};

struct transpiler {
    struct transpiler_config config;
    int trainers;
    bool sync_mode;
    bool suffix;   // gradients travel as "<grad>.trainer_<i>"
    struct str_list endpoints;
    struct program *main, *startup;   // copies of the input
    struct transpiler_pair *pairs;    // in the order of the optimize operators
    size_t count;
    size_t *send_order;   // indices of pairs: the order of dealing and sending
    bool *on_trainer;     // per operator of block 0: an optimize operator that the trainer keeps
    enum transpiler_clip *clips;   // per operator of block 0; NULL unless clip_merged
    struct str_list faked;         // tables in the order of the trainers' fake_init
    struct slice_map slices;
};

int transpiler_plan_make(struct transpiler *t, struct err *err);
int transpiler_slices_make(struct transpiler *t, struct err *err);   // t->slices, at its end
void transpiler_plan_deinit(struct transpiler *t);
// clip_merged: the operators that on_trainer lists become clips; then, with the pairs known, their
// kinds. SL_EUNSUPPORTED for one that cannot run on pieces.
void transpiler_clip_take(struct transpiler *t);
int transpiler_clip_judge(struct transpiler *t, struct err *err);
// Marks the pairs that are tables (transpiler_tables.c). SL_EUNSUPPORTED with fluid_exact for what
// 1.8.5 refuses. Pairs must be known and cut.
int transpiler_tables_find(struct transpiler *t, struct err *err);
// Lookups of remote tables in block become distributed_lookup_table.
int transpiler_tables_prefetch(const struct transpiler *t, struct block *block, int trainer_id,
                               struct err *err);
// A trainer's start-up program makes remote tables known, without values.
void transpiler_tables_fake(const struct transpiler *t, struct block *startup);
// The gradient of the backward pass that grad was made of.
const char *transpiler_clip_source(const struct transpiler *t, const char *grad);

// Operators of block 0 by what becomes of them.
bool transpiler_plan_is_optimize(const struct transpiler *t, size_t op);   // runs on the servers
bool transpiler_plan_is_update(const struct transpiler *t, const struct op_desc *op);
bool transpiler_plan_is_schedule(const struct op_desc *op);   // learning-rate schedule
// op_role_var[i] of an operator, or NULL.
const char *transpiler_plan_role_var(const struct op_desc *op, size_t i);

const struct transpiler_pair *transpiler_plan_pair_of_param(const struct transpiler *t,
                                                            const char *param);
const struct transpiler_pair *transpiler_plan_pair_of_grad(const struct transpiler *t,
                                                           const char *grad);
// The pair's slice on a server, or NULL.
const struct transpiler_slice *transpiler_plan_slice_on(const struct transpiler_pair *pair,
                                                        int server);
// The shape of a slice.
struct dims transpiler_plan_slice_dims(const struct transpiler_pair *pair,
                                       const struct transpiler_slice *slice);
// "<name>.trainer_<id>" when gradients are suffixed, else a copy; mem_free it.
char *transpiler_plan_suffixed(const struct transpiler *t, const char *name, int trainer_id);
// The counter of an asynchronous learning-rate schedule (the increment's output), or NULL.
const char *transpiler_plan_async_counter(const struct transpiler *t);
// Names that the servers keep and the trainers lose: inputs of optimize operators outside
// op_role_var.
void transpiler_plan_server_only(const struct transpiler *t, struct str_list *out);
// Is this optimizer input cut like the parameter?
bool transpiler_plan_is_cut(const struct transpiler *t, const struct transpiler_pair *pair,
                            const struct op_desc *op, const char *slot, const char *var);
// Attaches the slice_map to a finished program.
void transpiler_plan_stamp(const struct transpiler *t, struct program *program, int server);

// Written operators. Attributes that Fluid's op makers add are written out.
struct op_desc *transpiler_plan_op(const char *type, int role);
void transpiler_plan_set_endpoints(const struct transpiler *t, struct op_desc *op, const char *attr,
                                   const struct transpiler_slice *slices, size_t count);
struct op_desc *transpiler_plan_recv(const struct transpiler *t, const struct transpiler_pair *pair,
                                     int trainer_id, const char *dep, bool whole);
struct op_desc *transpiler_plan_concat(const struct transpiler_pair *pair, int role);
// A variable like another, under a new name and shape (NULL: the same). Not persistable.
struct var_desc *transpiler_plan_var_like(const struct var_desc *like, const char *name,
                                          const struct dims *dims);
// "__control_var@<n>": added to the block, the name returned (the block's).
const char *transpiler_plan_control_var(struct block *block);
