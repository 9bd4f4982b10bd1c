// SPDX-License-Identifier: Apache-2.0
// Loading, all or nothing: every header is checked first, then all data is read into fresh tensors
// (sums checked on the way), then the tensors are swapped into the scope. A server takes its own
// rows out of full files by offset, whatever number of servers the checkpoint was saved from.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/ckpt/ckpt_report.h"

struct err;
struct program;
struct scope;
struct slice_map;
struct str_list;

enum ckpt_what {
    CKPT_PERSISTABLES,   // --load_dir, --resume, load_persistables
    CKPT_PARAMS,         // --init_from, load_params
    CKPT_NAMES,          // load_vars: those in options.params, whatever they are
};

enum ckpt_rate_from { CKPT_RATE_FROM_CHECKPOINT, CKPT_RATE_FROM_JOB };

struct ckpt_load_options {
    enum ckpt_what what;
    const struct slice_map *slices;   // NULL: program->slices
    int server;                       // index of the server; used when slices is given
    const struct str_list *except;    // globs of variable names to leave alone; may be NULL
    const struct str_list *params;    // CKPT_PARAMS: the Parameters' names (passes/params.h,
                                      // --params_list); not needed with slices, which know them
    const char *filename;             // combined file
    // fluid.save's files: those in params are in <pickle>.pdparams, the others in <pickle>.pdopt.
    // Not on servers.
    const char *pickle;
    bool check_network;       // refuse another forward part than the manifest's
    bool partial;             // load what fits, report the rest
    bool allow_interrupted;   // a folder whose save was interrupted
    enum ckpt_rate_from
        rate_from;   // constant learning rates: the file's, or what the scope holds (the job's)
};

// Loads dir (exactly that folder: see ckpt_find_newest) into scope. program may be a main or
// startup program, of one process or of a server (then with its slices). options NULL: all
// defaults. SL_EMISMATCH lists everything that is missing or does not fit; SL_ECORRUPT names
// damaged files; SL_ENOENT: no such folder; SL_EREFUSED: an interrupted save. (Whether load_params
// may go into a program that updates parameters is for the caller to ask: params_has_update_ops.)
// The report is filled (initialise it first) also when SL_EMISMATCH or SL_ECORRUPT is returned.
int ckpt_load(const char *dir, const struct program *program, struct scope *scope,
              const struct ckpt_load_options *options, struct ckpt_report *report, struct err *err);

// The rule for constant learning rates. choice: "job", "checkpoint" or NULL/"" (the default:
// --resume takes the checkpoint's, --load_dir the job's when the user gave one). SL_EINVAL for
// another text.
int ckpt_load_rate_rule(const char *choice, bool resume, bool job_gave_rate,
                        enum ckpt_rate_from *out, struct err *err);
