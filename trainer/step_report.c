// SPDX-License-Identifier: Apache-2.0
// Lines are flushed one by one, so that a watcher sees each step and a killed run keeps its lines.
// Numbers that JSON cannot hold (NaN, infinity) become null.
#include "trainer/step_report.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "common/api/job.h"
#include "common/base/err.h"
#include "common/config/option.h"
#include "common/reader/feed_dir.h"
#include "trainer/fetches.h"
#include "trainer/work.h"

#define VALUES_MAX 64   // of a fetched variable in a line; larger ones show their shape only

static json_t *number(double value);
static json_t *fetched(const struct variable *value);

int step_report_open(const struct option_set *options, struct step_report *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    out->fetch_dir = option_string(options, "fetch_dir");
    out->path = option_string(options, "report");
    if (!out->path)
        return 0;
    out->file = fopen(out->path, "we");
    return out->file ? 0 : err_set(err, SL_EIO, "--report %s: %s", out->path, strerror(errno));
}

int step_report_add(struct step_report *report, const struct job *job, const struct work *work,
                    const struct fetches *fetches, double ms, struct err *err)
{
    for (size_t i = 0; i < fetches->extras && report->fetch_dir; i++) {
        const struct executor_fetch *one = fetches_extra(fetches, i);
        int rc =
            feed_dir_write(report->fetch_dir, work_step_number(work), one->name, one->value, err);
        if (rc < 0)
            return err_prefix(err, "--fetch_dir");
    }
    if (!report->file)
        return 0;
    json_t *line = json_object();
    json_object_set_new(line, "step", json_integer(work->progress.step + 1));
    json_object_set_new(line, "epoch", json_integer(work->progress.epoch + 1));
    json_object_set_new(line, "loss", number(fetches->loss));
    for (size_t i = 0; i < fetches->metrics; i++)
        json_object_set_new(line, job->metric_names.items[i], number(fetches->values[i]));
    if (fetches->extras) {
        json_t *all = json_object();
        for (size_t i = 0; i < fetches->extras; i++)
            json_object_set_new(all, fetches_extra(fetches, i)->name,
                                fetched(fetches_extra(fetches, i)->value));
        json_object_set_new(line, "fetches", all);
    }
    json_object_set_new(line, "ms", json_real(round(ms * 1000) / 1000));
    json_dumpf(line, report->file, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(line);
    fputc('\n', report->file);
    return fflush(report->file) == 0
               ? 0
               : err_set(err, SL_EIO, "--report %s: %s", report->path, strerror(errno));
}

int step_report_close(struct step_report *report, struct err *err)
{
    if (!report->file)
        return 0;
    FILE *file = report->file;
    report->file = NULL;
    bool failed = ferror(file) != 0;
    if (fclose(file) == 0 && !failed)
        return 0;
    return err_set(err, SL_EIO, "--report %s: could not be written whole", report->path);
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *fetched(const struct variable *value)
{
    if (value->kind != VARIABLE_TENSOR)
        return json_null();
    uint64_t count = tensor_count(&value->tensor);
    if (count == 1)
        return number(fetches_number(value, 0));
    json_t *list = json_array();
    if (count <= VALUES_MAX) {
        for (uint64_t i = 0; i < count; i++)
            json_array_append_new(list, number(fetches_number(value, i)));
        return list;
    }
    for (int i = 0; i < value->tensor.dims.rank; i++)
        json_array_append_new(list, json_integer(value->tensor.dims.d[i]));
    return json_pack("{s:o}", "shape", list);
}
