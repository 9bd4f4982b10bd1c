// SPDX-License-Identifier: Apache-2.0
// Rates are those since the line before, the eta is from the whole run. A live line ends without a
// newline; whoever writes to the terminal next clears it (the flag is taken by one thread only).
#include "trainer/progress_line.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/api/job.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "trainer/work.h"

#define LIVE_NS 100000000ull
#define LOG_FIRST_NS 1000000000ull   // a first sign of life soon, then a calm log
#define LOG_NS 5000000000ull
#define CLEAR_LINE "\r\033[K"

static void compose(const struct progress_line *line, const struct work *work,
                    const struct progress_line_facts *facts, uint64_t now_ns, struct buf *out);
static void append_rate(double per_second, struct buf *out);
static void append_time(double seconds, struct buf *out);

void progress_line_init(struct progress_line *line, const char *how, bool json, const char *name)
{
    memset(line, 0, sizeof *line);
    bool terminal = isatty(STDERR_FILENO) == 1 && !json;
    line->mode = str_eq(how, "off")                                         ? PROGRESS_LINE_OFF
                 : str_eq(how, "live") || (str_eq(how, "auto") && terminal) ? PROGRESS_LINE_LIVE
                                                                            : PROGRESS_LINE_LOG;
    snprintf(line->name, sizeof line->name, "%s", name);
}

void progress_line_start(struct progress_line *line)
{
    line->begun_ns = line->shown_ns = clock_now_ns();
}

void progress_line_step(struct progress_line *line, const struct work *work,
                        const struct progress_line_facts *facts, bool last)
{
    uint64_t now_ns = clock_now_ns();
    uint64_t pause_ns = line->mode == PROGRESS_LINE_LIVE ? LIVE_NS
                        : line->shown_steps == 0         ? LOG_FIRST_NS
                                                         : LOG_NS;
    if (line->mode == PROGRESS_LINE_OFF || (!last && now_ns - line->shown_ns < pause_ns) ||
        line->shown_steps == work->steps_done)
        return;
    struct buf text;
    buf_init(&text, 0);
    compose(line, work, facts, now_ns, &text);
    if (line->mode == PROGRESS_LINE_LOG) {
        log_info("%s", buf_text(&text));
    } else {
        dprintf(STDERR_FILENO, CLEAR_LINE "%s  %s%s", line->name, buf_text(&text),
                last ? "\n" : "");
        atomic_store(&line->open, !last);
    }
    buf_deinit(&text);
    line->shown_ns = now_ns;
    line->shown_steps = work->steps_done;
    line->shown_samples = work->samples_done;
    line->shown_wait_ns = facts->wait_ns;
}

void progress_line_break(struct progress_line *line)
{
    if (atomic_exchange(&line->open, false))
        dprintf(STDERR_FILENO, CLEAR_LINE);
}

// "epoch 3  step 1200/1404  loss 0.3127  acc 0.889  21.4k samples/s  wait 11%  eta 0:12"
static void compose(const struct progress_line *line, const struct work *work,
                    const struct progress_line_facts *facts, uint64_t now_ns, struct buf *out)
{
    double seconds = (double)(now_ns - line->shown_ns) / 1e9;
    double run_seconds = (double)(now_ns - line->begun_ns) / 1e9;
    int64_t first = work->progress.step - work->steps_done;
    // After the last step of an epoch the counters stand at the next one already.
    buf_printf(out, "epoch %lld  step %lld", (long long)(work->progress.epoch + !work->epoch_ended),
               (long long)work->progress.step);
    if (work->steps_planned > 0)
        buf_printf(out, "/%lld", (long long)(first + work->steps_planned));
    if (!isnan(facts->loss))
        buf_printf(out, "  loss %.4f", facts->loss);
    for (size_t i = 0; i < facts->job->metric_names.count; i++)
        buf_printf(out, "  %s %.3f", facts->job->metric_names.items[i], facts->metrics[i]);
    buf_printf(out, "  ");
    append_rate((double)(work->samples_done - line->shown_samples) / seconds, out);
    if (facts->wait_ns)
        buf_printf(out, "  wait %.0f%%",
                   100.0 * (double)(facts->wait_ns - line->shown_wait_ns) / 1e9 / seconds);
    if (work->steps_planned > work->steps_done) {
        buf_printf(out, "  eta ");
        append_time((double)(work->steps_planned - work->steps_done) * run_seconds /
                        (double)work->steps_done,
                    out);
    }
}

static void append_rate(double per_second, struct buf *out)
{
    if (per_second >= 1e6)
        buf_printf(out, "%.1fM samples/s", per_second / 1e6);
    else if (per_second >= 1e4)
        buf_printf(out, "%.1fk samples/s", per_second / 1e3);
    else
        buf_printf(out, "%.0f samples/s", per_second);
}

static void append_time(double seconds, struct buf *out)
{
    long whole = (long)(seconds + 0.5);
    if (whole >= 3600)
        buf_printf(out, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    else
        buf_printf(out, "%ld:%02ld", whole / 60, whole % 60);
}
