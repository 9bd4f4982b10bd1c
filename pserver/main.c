// SPDX-License-Identifier: Apache-2.0
// The parameter server: options, programs, checkpoint, serve. This file is the order of these and
// the exit code: 0 all trainers completed, 1 failed, 2 wrong options, environment or job file, 3
// stopped on request.
#include <stdio.h>

#include "common/api/job_config.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/config/option.h"
#include "pserver/pserver_job.h"
#include "pserver/pserver_options.h"
#include "pserver/pserver_serve.h"

static const char usage[] = "usage: pserver --pservers HOST:PORT,... --current_endpoint HOST:PORT "
                            "--trainers N --model NAME [--resume DIR]\n"
                            "       pserver --config job.conf --current_endpoint HOST:PORT\n"
                            "One parameter server of a job. It says `ready on HOST:PORT` when "
                            "trainers may come, and leaves when all of them\n"
                            "have completed.\n";

static int run(int argc, char **argv, uint64_t begun_ms, struct err *err);
static void print_answer(const struct option_set *options, int asked);
static void log_lines(const struct option_set *options);

int main(int argc, char **argv)
{
    struct err err = {0};
    log_setup("pserver", LOG_INFO, false);
    int rc = run(argc, argv, clock_now_ms(), &err);
    if (rc < 0)
        log_error("%s", err.text);
    return job_config_exit_code(rc);
}

static int run(int argc, char **argv, uint64_t begun_ms, struct err *err)
{
    struct pserver_options options;
    struct pserver_job job = {0};
    int rc = pserver_options_read(argc, argv, &options, err);
    if (rc > 0)
        print_answer(options.set, rc);
    if (rc == 0) {
        log_lines(options.set);
        rc = pserver_job_prepare(&options, &job, err);
        if (rc == 0)
            rc = pserver_serve(&options, &job, begun_ms, err);
        if (rc == SL_EUSAGE && job.scope)
            rc = SL_EINVAL;   // the options were right: they are judged before anything runs
        pserver_job_deinit(&job);
    }
    pserver_options_deinit(&options);
    return rc;
}

static void print_answer(const struct option_set *options, int asked)
{
    struct buf text;
    buf_init(&text, 0);
    job_config_answer(options, asked, usage, &text);
    fputs(buf_text(&text), stdout);
    buf_deinit(&text);
}

static void log_lines(const struct option_set *options)
{
    struct str_list lines = {0};
    job_config_log(options, "pserver");
    for (size_t i = 0; i < option_warnings(options)->count; i++)
        log_warn("%s", option_warnings(options)->items[i]);
    job_config_lines(options, &lines);
    for (size_t i = 0; i < lines.count; i++)
        log_info("%s", lines.items[i]);
    str_list_deinit(&lines);
}
