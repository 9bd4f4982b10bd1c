// SPDX-License-Identifier: Apache-2.0
// Order, division and position. An epoch is one permutation of all samples by splitmix64 from
// (seed, epoch); every trainer computes the same one and takes its part of each step, so nothing is
// exchanged and the position is two numbers. In the shards `file` and `none` a trainer's own data
// is the whole epoch, as if it were alone. A format of whole steps (feed_dir) has neither order nor
// division: sample s is step folder s.
//
// Batches lie in a ring: the one handed out, and behind it those that the thread of prefetch fills,
// in order. What a batch holds is settled by the caller's thread when it is queued (where it begins
// and how many samples it has), so the position never depends on how far the thread is. Nothing is
// queued across the end of an epoch.
//
// Invariant: order holds the permutation of epoch order_epoch; it, the formats and the batches that
// are queued belong to the thread of prefetch while anything is queued, else to the caller.
#include "common/reader/reader.h"

#include <errno.h>
#include <semaphore.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/str.h"
#include "common/base/workers.h"
#include "common/reader/reader_layout.h"

// A batch and what it is filled with.
struct turn {
    struct reader *reader;
    struct reader_batch batch;
    struct reader_position after;   // where the next batch begins
    int64_t epoch, begin, count;    // in the order of the epoch
    int rc;
    struct err err;
};

struct reader {
    struct reader_items items;
    struct reader_layout layout;
    bool whole_steps, ordered, keep_last;
    int64_t trainers, trainer;   // of the division: 1 and 0 unless global
    int64_t batch;
    uint64_t seed;
    struct reader_position position, ahead;   // ahead: of the next batch to queue
    uint32_t *order;                          // NULL while ordered
    uint64_t *wide_order;                     // instead, from 2^32 samples on
    int64_t order_epoch;
    struct turn *turns;                    // the ring
    size_t turns_count, current, queued;   // current was handed out, queued are behind it
    struct workers *worker;                // NULL: batches are filled by reader_next
    sem_t filled;                          // counts turns that were filled and not taken
};

static int make_order(struct reader *reader, int64_t epoch, struct err *err);
static void shuffle(struct reader *reader, uint64_t state);
static int64_t sample_at(const struct reader *reader, int64_t place);
static bool next_range(const struct reader *reader, const struct reader_position *at,
                       struct turn *out);
static void fill(void *turn);
static void fill_and_tell(void *turn);
static void queue_ahead(struct reader *reader);
static void wait_filled(struct reader *reader);
static void forget_queued(struct reader *reader);
static int begin(struct reader *reader, const struct reader_options *options, const char *uri,
                 struct err *err);
static int too_few(const struct reader *reader, const char *uri, struct err *err);

int reader_open(const char *uri, const struct reader_options *options, struct reader **out,
                struct err *err)
{
    int trainers = options->trainers > 0 ? options->trainers : 1;
    if (options->trainer_id < 0 || options->trainer_id >= trainers)
        return err_set(err, SL_EINVAL, "data %s: trainer %d of %d trainers", uri,
                       options->trainer_id, trainers);
    if (options->prefetch < 0 || options->prefetch > READER_PREFETCH_MAX)
        return err_set(err, SL_EINVAL, "data %s: --prefetch %d: must be 0 to %d", uri,
                       options->prefetch, READER_PREFETCH_MAX);
    struct reader *reader = MEM_NEW(struct reader);
    reader->ordered = options->ordered;
    reader->keep_last = options->keep_last;
    reader->seed = options->seed;
    reader->batch = options->batch_size;
    reader->order_epoch = -1;
    reader->trainers = options->shard == READER_GLOBAL ? trainers : 1;
    reader->trainer = options->shard == READER_GLOBAL ? options->trainer_id : 0;
    ASSERT(sem_init(&reader->filled, 0, 0) == 0);
    int rc = reader_items_open(uri, options, &reader->items, err);
    if (rc == 0)
        rc = reader_layout_make(&reader->items, options, uri, &reader->layout, err);
    if (rc == 0)
        rc = begin(reader, options, uri, err);
    if (rc < 0)
        reader_free(reader);
    else
        *out = reader;
    return rc;
}

void reader_free(struct reader *reader)
{
    if (!reader)
        return;
    workers_free(reader->worker);
    for (size_t i = 0; i < reader->turns_count; i++)
        reader_layout_release(&reader->turns[i].batch);
    reader_layout_deinit(&reader->layout);
    reader_items_deinit(&reader->items);
    sem_destroy(&reader->filled);
    mem_free(reader->turns);
    mem_free(reader->order);
    mem_free(reader->wide_order);
    mem_free(reader);
}

int reader_next(struct reader *reader, struct err *err)
{
    if (!reader->queued)
        queue_ahead(reader);
    if (!reader->queued) {
        reader->position.epoch++;
        reader->position.sample = reader->items.first;
        reader->ahead = reader->position;
        return 0;
    }
    wait_filled(reader);
    reader->current = (reader->current + 1) % reader->turns_count;
    reader->queued--;
    struct turn *turn = &reader->turns[reader->current];
    if (turn->rc < 0) {
        if (err)
            *err = turn->err;
        forget_queued(reader);
        return turn->rc;
    }
    reader->position = turn->after;
    if (reader->worker)
        queue_ahead(reader);
    return 1;
}

size_t reader_feeds(const struct reader *reader)
{
    return reader->layout.feeds_count;
}

const char *reader_feed_name(const struct reader *reader, size_t i)
{
    return reader->layout.feeds[i].name;
}

const struct variable *reader_feed_value(const struct reader *reader, size_t i)
{
    return &reader->turns[reader->current].batch.values[i];
}

int64_t reader_batch_samples(const struct reader *reader)
{
    return reader->turns[reader->current].batch.samples;
}

void reader_tell(const struct reader *reader, struct reader_position *out)
{
    *out = reader->position;
}

int reader_seek(struct reader *reader, const struct reader_position *position, struct err *err)
{
    int64_t first = reader->items.first, samples = reader->items.samples;
    if (position->epoch < 0 || position->sample < first || position->sample > first + samples)
        return err_set(
            err, SL_EMISMATCH,
            "data %s: there is no position epoch %lld sample %lld: an epoch has samples %lld "
            "to %lld",
            reader->items.items[0].uri, (long long)position->epoch, (long long)position->sample,
            (long long)first, (long long)(first + samples - 1));
    reader->position = *position;
    forget_queued(reader);
    return 0;
}

void reader_rewind(struct reader *reader)
{
    reader->position.sample = reader->items.first;
    forget_queued(reader);
}

int64_t reader_samples(const struct reader *reader)
{
    return reader->items.samples;
}

int64_t reader_steps(const struct reader *reader)
{
    if (reader->whole_steps)
        return reader->items.samples;
    int64_t step = reader->batch * reader->trainers, rest = reader->items.samples % step;
    return reader->items.samples / step + (reader->keep_last && rest >= reader->trainers);
}

size_t reader_items(const struct reader *reader)
{
    return reader->items.count;
}

const char *reader_item_uri(const struct reader *reader, size_t i)
{
    return reader->items.items[i].uri;
}

uint64_t reader_item_bytes(const struct reader *reader, size_t i)
{
    return reader->items.items[i].data.bytes;
}

int64_t reader_item_samples(const struct reader *reader, size_t i)
{
    return reader->items.items[i].data.samples;
}

uint64_t reader_bad_lines(const struct reader *reader)
{
    return reader->items.bad_lines;
}

const struct str_list *reader_notes(const struct reader *reader)
{
    return &reader->items.notes;
}

int reader_parse_shard(const char *text, enum reader_shard *out, struct err *err)
{
    static const char *const names[] = {"global", "file", "none"};
    for (int i = 0; i < 3; i++)
        if (str_eq(text, names[i])) {
            *out = (enum reader_shard)i;
            return 0;
        }
    return err_set(err, SL_EINVAL, "--shard=%s: must be global, file or none", text);
}

int reader_parse_label(const char *text, enum reader_label *out, struct err *err)
{
    static const char *const names[] = {"first", "last", "none"};
    for (int i = 0; i < 3; i++)
        if (str_eq(text, names[i])) {
            *out = (enum reader_label)i;
            return 0;
        }
    return err_set(err, SL_EINVAL, "--label=%s: must be first, last or none", text);
}

// What follows from the items: checks, the ring and its thread.
static int begin(struct reader *reader, const struct reader_options *options, const char *uri,
                 struct err *err)
{
    reader->whole_steps = reader->layout.format->whole_steps;
    if (!reader->whole_steps && reader->batch < 1)
        return err_set(err, SL_EINVAL, "data %s: --batch_size must be at least 1", uri);
    reader->position.sample = reader->items.first;
    reader->ahead = reader->position;
    if (reader_steps(reader) < 1)
        return too_few(reader, uri, err);
    reader->turns_count = (size_t)options->prefetch + 1;
    reader->turns = mem_must_calloc(reader->turns_count, sizeof *reader->turns);
    for (size_t i = 0; i < reader->turns_count; i++) {
        reader->turns[i].reader = reader;
        reader_layout_batch(&reader->layout, &reader->turns[i].batch);
    }
    if (options->prefetch)
        reader->worker = workers_new(1);
    return 0;
}

static int too_few(const struct reader *reader, const char *uri, struct err *err)
{
    const struct str_list *notes = &reader->items.notes;
    return err_set(
        err, SL_EINVAL,
        "data %s: %lld samples are not enough for one step of %lld trainers with batches "
        "of %lld (--drop_last false keeps an incomplete step)%s%s",
        uri, (long long)reader->items.samples, (long long)reader->trainers,
        (long long)reader->batch, notes->count ? "; " : "", notes->count ? notes->items[0] : "");
}

// ---- the order of an epoch

// Fisher-Yates with numbers from (seed, epoch).
static int make_order(struct reader *reader, int64_t epoch, struct err *err)
{
    if (reader->ordered || reader->order_epoch == epoch)
        return 0;
    size_t count = (size_t)reader->items.samples;
    bool wide = reader->items.samples > UINT32_MAX;
    if (wide && !reader->wide_order)
        reader->wide_order = mem_alloc(count * sizeof *reader->wide_order);
    if (!wide && !reader->order)
        reader->order = mem_alloc(count * sizeof *reader->order);
    if (!reader->order && !reader->wide_order)
        return err_set(err, SL_ENOMEM, "data: no memory for the order of %zu samples", count);
    uint64_t state = reader->seed;
    shuffle(reader, rng_next_u64(&state) ^ (uint64_t)epoch);
    reader->order_epoch = epoch;
    return 0;
}

static void shuffle(struct reader *reader, uint64_t state)
{
    size_t count = (size_t)reader->items.samples;
    uint32_t *order = reader->order;
    uint64_t *wide = reader->wide_order;
    for (size_t i = 0; i < count; i++) {
        if (wide)
            wide[i] = i;
        else
            order[i] = (uint32_t)i;
    }
    for (size_t i = count - 1; i > 0; i--) {
        size_t k = (size_t)(rng_next_u64(&state) % (i + 1));
        if (wide) {
            uint64_t kept = wide[i];
            wide[i] = wide[k];
            wide[k] = kept;
        } else {
            uint32_t kept = order[i];
            order[i] = order[k];
            order[k] = kept;
        }
    }
}

static int64_t sample_at(const struct reader *reader, int64_t place)
{
    return reader->order        ? (int64_t)reader->order[place]
           : reader->wide_order ? (int64_t)reader->wide_order[place]
                                : place;
}

// This trainer's part of the step at a position, in permuted order, and where the step ends.
static bool next_range(const struct reader *reader, const struct reader_position *at,
                       struct turn *out)
{
    int64_t end = reader->items.first + reader->items.samples, n = reader->trainers;
    int64_t step = reader->batch * n, rest = end - at->sample;
    out->epoch = at->epoch;
    out->after = *at;
    out->begin = at->sample;
    out->count = 1;
    if (reader->whole_steps) {
        out->after.sample++;
        return rest > 0;
    }
    if (rest >= step) {
        out->begin += reader->trainer * reader->batch;
        out->count = reader->batch;
        out->after.sample += step;
        return true;
    }
    if (!reader->keep_last || rest < n)
        return false;
    int64_t each = rest / n, more = rest % n, i = reader->trainer;
    out->begin += i * each + (i < more ? i : more);
    out->count = each + (i < more);
    out->after.sample = end;
    return true;
}

// ---- batches

// On the thread of prefetch, or the caller's without one.
static void fill(void *turn)
{
    struct turn *t = turn;
    struct reader *reader = t->reader;
    t->err = (struct err){0};
    if (reader->whole_steps) {
        t->rc = reader_layout_step(&reader->layout, &reader->items, t->begin, &t->batch, &t->err);
        return;
    }
    t->rc = make_order(reader, t->epoch, &t->err);
    reader_layout_begin(&t->batch);
    for (int64_t i = 0; i < t->count && t->rc == 0; i++)
        t->rc = reader_layout_add(&reader->layout, &reader->items, sample_at(reader, t->begin + i),
                                  &t->batch, &t->err);
    if (t->rc == 0)
        t->rc = reader_layout_show(&reader->layout, &t->batch, &t->err);
}

static void fill_and_tell(void *turn)
{
    struct turn *t = turn;
    fill(turn);
    sem_post(&t->reader->filled);
}

// Fills the ring up to the end of the epoch; the batch handed out is not touched, except without a
// thread, where the ring is that one batch.
static void queue_ahead(struct reader *reader)
{
    size_t most = reader->worker ? reader->turns_count - 1 : 1;
    while (reader->queued < most) {
        size_t place = (reader->current + 1 + reader->queued) % reader->turns_count;
        struct turn *turn = &reader->turns[place];
        if (!next_range(reader, &reader->ahead, turn))
            return;
        reader->ahead = turn->after;
        reader->queued++;
        if (reader->worker)
            workers_submit(reader->worker, fill_and_tell, NULL, turn);
        else
            fill_and_tell(turn);
    }
}

static void wait_filled(struct reader *reader)
{
    while (sem_wait(&reader->filled) != 0)
        ASSERT(errno == EINTR);
}

// Takes back what was prepared: the next batch is the one at the position.
static void forget_queued(struct reader *reader)
{
    for (; reader->queued; reader->queued--)
        wait_filled(reader);
    reader->ahead = reader->position;
}
