// SPDX-License-Identifier: Apache-2.0
// A server's programs and variables, from options to ready to serve.
#pragma once

#include "common/api/job.h"
#include "common/api/job_start.h"

struct err;
struct pserver_options;
struct scope;

struct pserver_job {
    struct job job;
    struct program *main, *startup;   // this server's
    struct scope *scope;
    struct job_start start;
};

// Builds the programs, runs the start-up program and loads what the options name. The caller
// releases *out with pserver_job_deinit in any case.
int pserver_job_prepare(const struct pserver_options *options, struct pserver_job *out,
                        struct err *err);
void pserver_job_deinit(struct pserver_job *job);
