// SPDX-License-Identifier: Apache-2.0
// Fluid 1.8's DistributeTranspiler: from a training program to the programs of the trainers and of
// the parameter servers. Description in, description out; nothing is run and the input is not
// changed.
//
// The output equals 1.8.5's text. Where that text cannot run, the default differs and fluid_exact
// gives 1.8.5's: one trainer in sync mode (gradients are suffixed .trainer_0 on both sides).
//
// Every program made here carries program->slices, the whole job's slice_map, and program->server
// (index of its endpoint; -1 for a trainer's program).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct program;
struct slice_map;
struct str_list;
struct transpiler;

#define TRANSPILER_MIN_BLOCK_SIZE 8192

enum transpiler_split { TRANSPILER_ROUND_ROBIN, TRANSPILER_HASH_NAME };

// DistributeTranspilerConfig.
struct transpiler_config {
    bool slice_var_up;
    enum transpiler_split split_method;
    int64_t min_block_size;         // elements, at least TRANSPILER_MIN_BLOCK_SIZE
    bool sync_mode;                 // the config's own (distributed_mode of the servers)
    bool runtime_split_send_recv;   // needs sync_mode false
    bool wait_port;                 // kept; waiting belongs to the run
    bool enable_dc_asgd;            // needs job.sync_mode false
    bool half_async;
    bool fluid_exact;
    bool init_whole;   // servers begin with pieces of one machine's initial values, not as Fluid
                       // with pieces that are each drawn with the same seed
    bool clip_merged;   // the servers clip the merged gradient, so that N trainers equal one
                        // process; else each trainer clips its own before it sends. Sync mode only
};
struct transpiler_config transpiler_config_default(void);
// "RoundRobin" or "HashName".
int transpiler_split_parse(const char *name, enum transpiler_split *out, struct err *err);

// The arguments of transpile(), trainer_id aside.
struct transpiler_job {
    const char *pservers;   // "host:port,host:port"
    int trainers;
    bool sync_mode;
};

// Checks and plans; keeps copies of everything. main holds backward and optimize operators.
// SL_EINVAL for a bad config or job, SL_EUNSUPPORTED for what cannot be distributed.
int transpiler_new(const struct transpiler_config *config, const struct transpiler_job *job,
                   const struct program *main, const struct program *startup,
                   struct transpiler **out, struct err *err);
void transpiler_free(struct transpiler *t);

// New programs, the caller's. trainer_id 0..trainers-1; endpoint: one of pservers.
int transpiler_trainer_program(const struct transpiler *t, int trainer_id, struct program **out,
                               struct err *err);
int transpiler_startup_trainer(const struct transpiler *t, int trainer_id, struct program **out,
                               struct err *err);
int transpiler_server_program(const struct transpiler *t, const char *endpoint,
                               struct program **out, struct err *err);
int transpiler_startup_server(const struct transpiler *t, const char *endpoint,
                               struct program **out, struct err *err);

const struct str_list *transpiler_endpoints(const struct transpiler *t);
const struct slice_map *transpiler_slices(const struct transpiler *t);
