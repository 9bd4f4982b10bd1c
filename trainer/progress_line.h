// SPDX-License-Identifier: Apache-2.0
// The progress line: rewritten in place on a terminal, a line each few seconds in a log.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct job;
struct work;

enum progress_line_mode { PROGRESS_LINE_OFF, PROGRESS_LINE_LOG, PROGRESS_LINE_LIVE };

struct progress_line {
    enum progress_line_mode mode;
    char name[32];                        // "trainer 0"
    uint64_t begun_ns, shown_ns;          // of the run; of the last line
    int64_t shown_steps, shown_samples;   // what the run had done then
    uint64_t shown_wait_ns;
    atomic_bool open;   // a live line stands on the terminal, without its newline
};

// What a line says of the last step.
struct progress_line_facts {
    double loss;             // NaN: none
    const struct job *job;   // names of the metrics
    const double *metrics;
    uint64_t wait_ns;   // spent waiting for the servers since the run began
};

// how: "auto", "live", "lines", "off".
void progress_line_init(struct progress_line *line, const char *how, bool json, const char *name);
// The run begins now: rates and the eta count from here.
void progress_line_start(struct progress_line *line);
// Shows the step when it is time to; last: in any case.
void progress_line_step(struct progress_line *line, const struct work *work,
                        const struct progress_line_facts *facts, bool last);
// Before another line is written to the terminal. Any thread.
void progress_line_break(struct progress_line *line);
