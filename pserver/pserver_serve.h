// SPDX-License-Identifier: Apache-2.0
// Serving, as people see it: the lines about readiness, trainers and waiting, and what a request to
// stop does.
#pragma once

#include <stdint.h>

struct err;
struct pserver_job;
struct pserver_options;

// Serves until all trainers have completed (0), an error, or a request to stop (SL_ESTOPPED).
// begun_ms: when the process started, for the readiness line.
int pserver_serve(const struct pserver_options *options, struct pserver_job *job, uint64_t begun_ms,
                  struct err *err);
