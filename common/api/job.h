// SPDX-License-Identifier: Apache-2.0
// A job as the command-line programs know it: the network and its programs, built from the options
// that every role reads, so that all processes of a job hold the same description.
#pragma once

#include "common/base/str.h"

struct err;
struct option_set;
struct program;
struct transpiler;
struct zoo_model;

struct job {
    const struct zoo_model *model;    // NULL: the programs came from files
    struct program *main, *startup;   // of one process, with backward and optimizer operators
    char *loss;                       // variable of the loss; NULL when there is none to be found
    char *predict;                    // what a zoo's model predicts; NULL: not known
    struct str_list feeds;            // fed variables, in the order of the reader's columns
    struct str_list metric_names;     // "acc", ... and, pairwise, their variables
    struct str_list metric_vars;
    int64_t hash_dim;                // what the model wants of its data: ids modulo this (0: as is)
    int ngram;                       // n-grams of tokens (0: whole lines)
    struct transpiler *transpiler;   // NULL in the local role
};

// Checks what the options alone say (SL_EUSAGE), builds or loads the programs and, unless the role
// is local, plans their distribution. The caller releases *out with job_deinit, also after an
// error.
int job_build(const struct option_set *options, struct job *out, struct err *err);
void job_deinit(struct job *job);

// The name of server index's endpoint inside the transpiled programs (they need distinct names even
// where the system chooses the port). index < the number of --pservers.
const char *job_endpoint(const struct job *job, size_t index);
