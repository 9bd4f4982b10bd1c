// SPDX-License-Identifier: Apache-2.0
// Which rows of which variable live on which server. The transpiler makes it; `sluice transpile`
// writes it as slice_map.json; servers and trainers agree on it in the hello (its hash is the
// topology).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tensor/dims.h"
#include "common/tensor/dtype.h"

struct buf;
struct err;

// One slice: rows [row, row + rows) of a variable, held by server (index into the endpoints).
struct slice {
    int server;
    int64_t row, rows;   // along dim 0; a 0- or 1-element variable has row 0, rows dims[0]
    char *name;          // on the server: "fc_0.w_0.block1", "fc_0.w_0", "fc_0.w_0_moment1_0"
};

// TRAINER: a persistable that only trainers use (batch_norm statistics, states of metrics, frozen
// parameters). Whole on one server, which holds a value only after it has loaded one.
enum slice_role { SLICE_PARAM, SLICE_STATE, SLICE_GRAD, SLICE_TRAINER };

// A variable of the trainer's / single-machine program and its slices in row order.
// A whole copy on several servers (beta pows, learning rate) is "replicated": every slice is whole.
struct slice_var {
    char *name;                     // single-machine name: "fc_0.w_0"
    enum slice_role role;
    char *param;   // STATE and GRAD: the parameter it belongs to, or NULL (learning rate);
                   // TRAINER: its own name when it is a Parameter, else NULL
    enum dtype dtype;
    struct dims dims;               // full shape
    bool replicated;
    // PARAM: a table that trainers read by rows and never pull whole; GRAD: its gradient travels as
    // selected rows, whose indices count from the slice's first row.
    bool sparse;
    struct slice *slices;
    size_t slices_count, slices_cap;
};

// What the servers must learn of each other in every step (a second phase of the barrier), as bits,
// in this order.
enum slice_phase {
    SLICE_PHASE_CLIP = 1,    // squared norms of the merged gradients, to clip by
    SLICE_PHASE_NORMS = 2,   // norms of whole parameters of which servers hold pieces
};

struct slice_map {
    int servers;
    int trainers;
    unsigned phases;   // bits of enum slice_phase
    struct slice_var **vars;        // sorted by name
    size_t vars_count, vars_cap;
};

void slice_map_init(struct slice_map *map);
void slice_map_deinit(struct slice_map *map);
// Adds a variable (not sorted until slice_map_finish).
struct slice_var *slice_map_add(struct slice_map *map, const char *name, enum slice_role role,
                                const char *param, enum dtype dtype, const struct dims *dims);
void slice_var_add(struct slice_var *var, int server, int64_t row, int64_t rows, const char *name);
// Sorts and checks: rows cover each variable exactly once (or all slices whole), servers in range,
// names unique on a server; only parameters and gradients that are cut by rows are sparse.
int slice_map_finish(struct slice_map *map, struct err *err);
const struct slice_var *slice_map_find(const struct slice_map *map, const char *name);
// The slice called name on server, with its variable; NULL when there is none.
const struct slice *slice_map_on_server(const struct slice_map *map, int server, const char *name,
                                        const struct slice_var **out_var);
// Line-based canonical text (one line a variable, one a slice), and back. parse checks as finish
// does.
void slice_map_format(const struct slice_map *map, struct buf *out);
int slice_map_parse(struct slice_map *out, const char *text, size_t bytes, const char *name,
                    struct err *err);
void slice_map_copy(struct slice_map *dst, const struct slice_map *src);
const char *slice_map_role_name(enum slice_role role);   // "param", "state", "grad", "trainer"
// 64-bit hash over everything but endpoints: equal topologies hash equal on every process.
uint64_t slice_map_hash(const struct slice_map *map);
