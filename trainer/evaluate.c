// SPDX-License-Identifier: Apache-2.0
// The test program is the training program cloned for test; it runs in an executor of its own over
// the trainer's scope, which holds the parameters that the last step received.
#include "trainer/evaluate.h"

#include <math.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/config/option.h"
#include "common/passes/clone.h"
#include "common/program/program.h"
#include "common/reader/reader.h"
#include "trainer/data_options.h"
#include "trainer/engine.h"
#include "trainer/fetches.h"

static int open_data(const struct engine *engine, const struct program *program,
                     struct reader **out, struct err *err);
static int run_all(const struct engine *engine, const struct program *program,
                   struct reader *reader, struct evaluate_result *out, struct err *err);
static void add(const struct fetches *fetches, int64_t samples, struct evaluate_result *out);

int evaluate_check(const struct engine *engine, struct err *err)
{
    if (!option_is_set(engine->options, "test_data"))
        return 0;
    struct program *program = clone_for_test(engine->job.main);
    struct reader *reader = NULL;
    int rc = open_data(engine, program, &reader, err);
    reader_free(reader);
    program_free(program);
    return rc < 0 ? err_prefix(err, "--test_data") : 0;
}

int evaluate_run(struct engine *engine, struct evaluate_result *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    if (!option_is_set(engine->options, "test_data"))
        return 0;
    struct program *program = clone_for_test(engine->job.main);
    struct reader *reader = NULL;
    int rc = open_data(engine, program, &reader, err);
    if (rc == 0)
        rc = run_all(engine, program, reader, out, err);
    out->bad_lines = reader ? reader_bad_lines(reader) : 0;
    reader_free(reader);
    program_free(program);
    return rc < 0 ? err_prefix(err, "--test_data") : 0;
}

static int open_data(const struct engine *engine, const struct program *program,
                     struct reader **out, struct err *err)
{
    struct data_options data;
    int rc = data_options_init(engine, program, &data, err);
    data.reader.trainers = 1;
    data.reader.ordered = true;
    data.reader.keep_last = true;
    data.reader.test = true;
    if (rc == 0)
        rc = reader_open(option_string(engine->options, "test_data"), &data.reader, out, err);
    data_options_deinit(&data);
    return rc;
}

static int run_all(const struct engine *engine, const struct program *program,
                   struct reader *reader, struct evaluate_result *out, struct err *err)
{
    struct fetches fetches;
    int rc = fetches_init(&engine->job, program, NULL, &fetches, err);
    size_t count = reader_feeds(reader);
    struct executor_feed *feeds = mem_must_calloc(count + 1, sizeof *feeds);
    struct executor *exe = executor_new(engine->scope, NULL, 0);
    while (rc == 0 && (rc = reader_next(reader, err)) > 0) {
        for (size_t i = 0; i < count; i++)
            feeds[i] =
                (struct executor_feed){reader_feed_name(reader, i), reader_feed_value(reader, i)};
        rc = executor_run(exe, program, feeds, count, fetches.items, fetches.count, err);
        if (rc < 0)
            break;
        fetches_take(&fetches, 1);
        add(&fetches, reader_batch_samples(reader), out);
        rc = 0;
    }
    executor_free(exe);
    mem_free(feeds);
    fetches_deinit(&fetches);
    if (rc == 0 && out->samples == 0)
        return err_set(err, SL_EINVAL, "there are no samples");
    return rc;
}

// A running mean over samples.
static void add(const struct fetches *fetches, int64_t samples, struct evaluate_result *out)
{
    out->samples += samples;
    double share = (double)samples / (double)out->samples;
    out->loss += (fetches->loss - out->loss) * share;
    for (size_t i = 0; i < fetches->metrics && i < EVALUATE_METRICS_MAX; i++)
        out->metrics[i] += (fetches->values[i] - out->metrics[i]) * share;
}
