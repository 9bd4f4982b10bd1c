// SPDX-License-Identifier: Apache-2.0
// --report and --fetch_dir: what every step leaves on disk.
#pragma once

#include <stdio.h>

struct err;
struct fetches;
struct job;
struct option_set;
struct work;

struct step_report {
    FILE *file;   // NULL: no --report
    const char *path;
    const char *fetch_dir;   // NULL: no --fetch_dir
};

int step_report_open(const struct option_set *options, struct step_report *out, struct err *err);
// A line {"step", "epoch", "loss", metrics, "fetches", "ms"} and, with --fetch_dir, the fetched
// variables in step_NNN (number). step and epoch count from 1, over all runs. To be called before
// work_used.
int step_report_add(struct step_report *report, const struct job *job, const struct work *work,
                    const struct fetches *fetches, double ms, struct err *err);
// Also when a write failed earlier: the error is told here.
int step_report_close(struct step_report *report, struct err *err);
