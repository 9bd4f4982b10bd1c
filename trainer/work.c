// SPDX-License-Identifier: Apache-2.0
// After every step the next batch is fetched at once (the reader keeps one), because only the
// reader knows whether the epoch goes on, and a checkpoint at the end of an epoch must say "epoch e
// + 1, sample 0". Invariant: progress.reader_* is the position of the first sample that no step has
// used.
#include "trainer/work.h"

#include <string.h>

#include "common/api/job.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "trainer/data_options.h"
#include "trainer/engine.h"

#define FEED_DIR_SCHEME "feed_dir://"

static char *data_uri(const struct option_set *options);
static int open_reader(const struct engine *engine, uint64_t seed, struct reader **out,
                       struct err *err);
static int resume(struct work *work, const struct engine *engine, struct ckpt_progress *now,
                  int64_t *out_before, struct err *err);
static int64_t steps_before(const struct work *work, int64_t samples_per_step,
                            int64_t first_sample);
static int plan(struct work *work, int64_t steps_before_run, struct err *err);
static int fetch(struct work *work, struct err *err);
static void end_epoch(struct work *work);

int work_open(const struct engine *engine, struct work *out, struct err *err)
{
    const struct option_set *options = engine->options;
    memset(out, 0, sizeof *out);
    ckpt_progress_init(&out->progress);
    out->steps_left = option_is_set(options, "steps") ? option_int(options, "steps") : -1;
    out->epochs_left = option_is_set(options, "epochs") ? option_int(options, "epochs") : -1;
    if (out->steps_left < 0 && out->epochs_left < 0)
        out->epochs_left = 1;
    char *uri = data_uri(options);
    mem_free(uri);
    if (!uri)
        return out->steps_left == 0 || out->epochs_left == 0
                   ? 0
                   : err_set(err, SL_EUSAGE,
                             "no data: give --data URI or --feed_dir DIR (or --steps 0)");
    return open_reader(engine, (uint64_t)option_int(options, "seed"), &out->reader, err);
}

int work_begin(struct work *work, const struct engine *engine, struct str_list *notes,
               struct err *err)
{
    uint64_t seed = (uint64_t)option_int(engine->options, "seed");
    bool resumed = engine->start.mode == JOB_START_RESUME;
    ckpt_progress_copy(&work->progress, &engine->start.progress);
    if (!work->reader)
        return 0;
    if (resumed && seed != work->progress.seed) {
        str_list_addf(notes, "--seed %llu: the run that goes on here had %llu, which is used",
                      (unsigned long long)seed, (unsigned long long)work->progress.seed);
        seed = work->progress.seed;
        reader_free(work->reader);
        work->reader = NULL;
        int rc = open_reader(engine, seed, &work->reader, err);
        if (rc < 0)
            return rc;
    }
    work->feeds_count = reader_feeds(work->reader);
    work->feeds = mem_must_calloc(work->feeds_count + 1, sizeof *work->feeds);
    for (size_t i = 0; i < work->feeds_count; i++)
        work->feeds[i].name = reader_feed_name(work->reader, i);

    struct ckpt_progress now;
    struct reader_position at;
    reader_tell(work->reader, &at);
    ckpt_progress_init(&now);
    now.step = work->progress.step;
    now.epoch = work->progress.epoch;
    now.seed = seed;
    now.reader_epoch = at.epoch;
    now.reader_sample = at.sample;
    for (size_t i = 0; i < reader_items(work->reader); i++) {
        ckpt_progress_add_data(&now, reader_item_uri(work->reader, i),
                               reader_item_bytes(work->reader, i));
        ckpt_progress_set_samples(&now, reader_item_samples(work->reader, i));
    }
    for (size_t i = 0; i < reader_notes(work->reader)->count; i++)
        str_list_add(notes, reader_notes(work->reader)->items[i]);
    int64_t before = 0;
    int rc = resumed ? resume(work, engine, &now, &before, err) : 0;
    ckpt_progress_deinit(&work->progress);
    work->progress = now;
    return rc < 0 ? rc : plan(work, before, err);
}

void work_close(struct work *work)
{
    reader_free(work->reader);
    mem_free(work->feeds);
    ckpt_progress_deinit(&work->progress);
    memset(work, 0, sizeof *work);
}

int work_next(struct work *work, struct err *err)
{
    if (work->steps_left == 0 || work->epochs_left == 0)
        return 0;
    if (!work->ready) {
        int rc = fetch(work, err);
        if (rc < 0)
            return rc;
        if (rc == 0 && fetch(work, err) <= 0)
            return err->code
                       ? err->code
                       : err_set(err, SL_EINVAL,
                                 "the data (%lld samples) does not fill one step of all trainers; "
                                 "lower --batch_size, or keep short steps with --drop_last false",
                                 (long long)reader_samples(work->reader));
    }
    for (size_t i = 0; i < work->feeds_count; i++)
        work->feeds[i].value = reader_feed_value(work->reader, i);
    work->epoch_ended = false;
    return 1;
}

int work_used(struct work *work, struct err *err)
{
    work->ready = false;
    work->steps_done++;
    work->samples_done += reader_batch_samples(work->reader);
    work->progress.step++;
    if (work->steps_left > 0)
        work->steps_left--;
    int rc = fetch(work, err);
    if (rc < 0)
        return rc;
    if (rc == 0) {
        end_epoch(work);
        work->epoch_ended = true;
    }
    return 0;
}

bool work_is_due(const struct work *work, struct option_every every, uint64_t since_ms)
{
    if (every.count == 0)
        return false;
    switch (every.unit) {
    case OPTION_EVERY_STEP:
        return work->progress.step % every.count == 0;
    case OPTION_EVERY_EPOCH:
        return work->epoch_ended && work->progress.epoch % every.count == 0;
    case OPTION_EVERY_MINUTE:
        return clock_now_ms() - since_ms >= (uint64_t)every.count * 60000;
    }
    return false;
}

int64_t work_step_number(const struct work *work)
{
    bool folders = work->reader && work->progress.data_count &&
                   str_starts_with(work->progress.data[0].uri, FEED_DIR_SCHEME);
    return folders ? work->progress.reader_sample : work->progress.step;
}

static char *data_uri(const struct option_set *options)
{
    const char *dir = option_string(options, "feed_dir"), *data = option_string(options, "data");
    return dir ? mem_must_printf(FEED_DIR_SCHEME "%s", dir) : data ? mem_must_strdup(data) : NULL;
}

static int open_reader(const struct engine *engine, uint64_t seed, struct reader **out,
                       struct err *err)
{
    const struct option_set *options = engine->options;
    struct data_options data;
    struct reader_options *how = &data.reader;
    char *uri = data_uri(options);
    int rc = data_options_init(engine, engine->job.main, &data, err);
    how->trainer_id = engine->trainer_id;
    how->trainers = engine->trainers;
    how->seed = seed;
    how->ordered = !option_bool(options, "shuffle");
    how->keep_last = !option_bool(options, "drop_last");
    how->first_step = option_int(options, "first_step");
    if (rc == 0)
        rc = reader_parse_shard(option_string(options, "shard"), &how->shard, err);
    // Recorded batches are a trainer's own: nothing is divided unless that was asked for.
    if (str_starts_with(uri, FEED_DIR_SCHEME) && !option_is_set(options, "shard"))
        how->shard = READER_NONE;
    if (rc == 0)
        rc = reader_open(uri, how, out, err);
    data_options_deinit(&data);
    mem_free(uri);
    return rc;
}

// Checks that this is the data of the run that goes on, and goes to its next sample.
static int resume(struct work *work, const struct engine *engine, struct ckpt_progress *now,
                  int64_t *out_before, struct err *err)
{
    // A step folder is a whole step; else a step takes a batch of every trainer.
    bool folders = str_starts_with(now->data[0].uri, FEED_DIR_SCHEME);
    bool divided = str_eq(option_string(engine->options, "shard"), "global");
    int64_t samples =
        folders ? 1 : option_int(engine->options, "batch_size") * (divided ? engine->trainers : 1);
    *out_before = steps_before(work, samples, now->reader_sample);
    // Another trainer's own files may have other sizes than trainer 0's, which the checkpoint
    // names.
    int rc = engine_saves(engine) ? ckpt_progress_check_data(&work->progress, now, err) : 0;
    now->reader_epoch = work->progress.reader_epoch;
    now->reader_sample = work->progress.reader_sample;
    struct reader_position at = {now->reader_epoch, now->reader_sample};
    return rc < 0 ? rc : reader_seek(work->reader, &at, err);
}

// Steps that the run had made before it stopped, from where its reader stood.
static int64_t steps_before(const struct work *work, int64_t samples_per_step, int64_t first_sample)
{
    int64_t within = work->progress.reader_sample - first_sample;
    return work->progress.reader_epoch * reader_steps(work->reader) +
           (within + samples_per_step - 1) / samples_per_step;
}

static int plan(struct work *work, int64_t steps_before_run, struct err *err)
{
    bool asked_for_none = work->steps_left == 0 || work->epochs_left == 0;
    int64_t per_epoch = reader_steps(work->reader);
    if (work->steps_left > 0)
        work->steps_left =
            steps_before_run < work->steps_left ? work->steps_left - steps_before_run : 0;
    int64_t by_epochs = -1;
    if (work->epochs_left > 0) {
        by_epochs = work->epochs_left * per_epoch - steps_before_run;
        work->epochs_left = work->progress.reader_epoch < work->epochs_left
                                ? work->epochs_left - work->progress.reader_epoch
                                : 0;
    }
    work->steps_planned = work->steps_left;
    if (by_epochs >= 0 && (work->steps_planned < 0 || by_epochs < work->steps_planned))
        work->steps_planned = by_epochs;
    if (asked_for_none || (work->steps_left != 0 && work->epochs_left != 0))
        return 0;
    return err_set(err, SL_EREFUSED,
                   "--resume: nothing is left of the run: it has made its %lld steps (global step "
                   "%lld). More --epochs "
                   "or --steps make it longer; --load_dir begins a new run from it",
                   (long long)steps_before_run, (long long)work->progress.step);
}

// The next batch of the epoch: 1; 0 at its end (the reader then stands at the start of the next
// one).
static int fetch(struct work *work, struct err *err)
{
    struct reader_position at;
    reader_tell(work->reader, &at);
    int rc = reader_next(work->reader, err);
    if (rc == 0)
        reader_tell(work->reader, &at);
    if (rc >= 0) {
        work->progress.reader_epoch = at.epoch;
        work->progress.reader_sample = at.sample;
    }
    work->ready = rc > 0;
    return rc;
}

static void end_epoch(struct work *work)
{
    work->progress.epoch++;
    if (work->epochs_left > 0)
        work->epochs_left--;
}
