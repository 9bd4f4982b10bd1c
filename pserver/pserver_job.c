// SPDX-License-Identifier: Apache-2.0
// The order of the reference: start-up program first, then load, then serve. A server loads its own
// rows out of full files, so the folder may come from any number of servers.
#include "pserver/pserver_job.h"

#include <string.h>

#include "common/base/err.h"
#include "common/ckpt/op_save_load.h"
#include "common/exec/executor.h"
#include "common/exec/scope.h"
#include "common/passes/transpiler.h"
#include "common/program/program.h"
#include "pserver/pserver_options.h"

static int run_startup(const struct pserver_job *job, struct err *err);

int pserver_job_prepare(const struct pserver_options *options, struct pserver_job *out,
                        struct err *err)
{
    memset(out, 0, sizeof *out);
    job_start_init(&out->start);
    int rc = job_build(options->set, &out->job, err);
    if (rc < 0)
        return rc;
    const char *endpoint = job_endpoint(&out->job, (size_t)options->index);
    rc = transpiler_server_program(out->job.transpiler, endpoint, &out->main, err);
    if (rc == 0)
        rc = transpiler_startup_server(out->job.transpiler, endpoint, &out->startup, err);
    if (rc < 0)
        return rc;
    out->scope = scope_new();
    rc = run_startup(out, err);
    return rc < 0 ? rc : job_start_load(options->set, out->main, out->scope, &out->start, err);
}

void pserver_job_deinit(struct pserver_job *job)
{
    job_start_deinit(&job->start);
    scope_free(job->scope);
    program_free(job->main);
    program_free(job->startup);
    job_deinit(&job->job);
}

static int run_startup(const struct pserver_job *job, struct err *err)
{
    struct plan_host files = {.ops = op_save_load_table};
    struct executor *exe = executor_new(job->scope, &files, 1);
    int rc = executor_run(exe, job->startup, NULL, 0, NULL, 0, err);
    executor_free(exe);
    return rc < 0 ? err_prefix(err, "start-up program") : 0;
}
