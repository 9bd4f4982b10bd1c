// SPDX-License-Identifier: Apache-2.0
// Order and division. An epoch is one permutation of all samples by splitmix64 from (seed, epoch);
// every trainer computes the same one and takes its part of each step, so nothing is exchanged and
// the position is two numbers. In the shards `file` and `none` a trainer's own data is the whole
// epoch, as if it were alone. A format of whole steps (feed_dir) has neither order nor division:
// sample s is step folder s.
//
// Invariant: order holds the permutation of position.epoch whenever order_epoch == position.epoch.
// No thread of its own; one reader belongs to one thread.
#include "common/reader/reader.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/str.h"
#include "common/reader/reader_format.h"

#define TRAINER_PLACE "{trainer_id}"
#define SAMPLES_MAX (INT64_MAX / 2)
#define ITEMS_MAX 4096u

struct item {
    char *uri;                  // as given
    struct reader_data data;
    bool open;                  // a file of another trainer is not opened
    int64_t first;              // number of its first sample in this trainer's data
};

struct reader {
    struct item *items;
    size_t items_count, items_cap;
    enum reader_shard shard;
    bool whole_steps, ordered, keep_last;
    int64_t trainers, trainer;  // of the division: 1 and 0 unless global
    int64_t batch;
    uint64_t seed;
    int64_t first, samples;     // sample numbers are first .. first + samples - 1
    struct reader_position position;
    int64_t *order;             // NULL while ordered
    int64_t order_epoch;
    const struct reader_data *layout;
    char *names[READER_FEEDS_MAX];
    struct dims wants[READER_FEEDS_MAX];    // rank 0: the format's own shape
    struct variable values[READER_FEEDS_MAX];
    int64_t batch_samples;
};

static const struct reader_format *const formats[] = {&feed_dir_format, &idx_format,
                                                      &housing_format};

static int add_items(struct reader *reader, const char *uri, struct err *err);
static int open_item(struct reader *reader, struct item *item, const struct reader_options *options,
                     struct err *err);
static char *expand(const char *uri, int trainer_id);
static int find_format(const char *uri, const struct reader_format **out, const char **out_path,
                       struct err *err);
static int check_layout(const struct reader *reader, const struct item *item, struct err *err);
static void name_feeds(struct reader *reader, const struct reader_options *options);
static int make_order(struct reader *reader, struct err *err);
static bool next_range(const struct reader *reader, int64_t *out_begin, int64_t *out_count,
                       int64_t *out_position);
static int fill_batch(struct reader *reader, int64_t begin, int64_t count, struct err *err);
static int fill_feed(struct reader *reader, size_t field, int64_t begin, int64_t count,
                     struct err *err);
static int fill_step(struct reader *reader, int64_t step, struct err *err);
static const struct item *item_of(const struct reader *reader, int64_t sample);

int reader_open(const char *uri, const struct reader_options *options, struct reader **out,
                struct err *err)
{
    int trainers = options->trainers > 0 ? options->trainers : 1;
    if (options->trainer_id < 0 || options->trainer_id >= trainers)
        return err_set(err, SL_EINVAL, "data %s: trainer %d of %d trainers", uri,
                       options->trainer_id, trainers);
    struct reader *reader = MEM_NEW(struct reader);
    for (size_t i = 0; i < READER_FEEDS_MAX; i++)
        variable_init(&reader->values[i]);
    reader->shard = options->shard;
    reader->ordered = options->ordered;
    reader->keep_last = options->keep_last;
    reader->seed = options->seed;
    reader->batch = options->batch_size;
    reader->order_epoch = -1;
    reader->trainers = options->shard == READER_GLOBAL ? trainers : 1;
    reader->trainer = options->shard == READER_GLOBAL ? options->trainer_id : 0;
    int rc = add_items(reader, uri, err);
    for (size_t i = 0; i < reader->items_count && !rc; i++) {
        bool mine = options->shard != READER_FILE ||
                    (int64_t)(i % (size_t)trainers) == options->trainer_id;
        if (mine)
            rc = open_item(reader, &reader->items[i], options, err);
    }
    if (!rc && !reader->layout)
        rc = err_set(err, SL_EINVAL,
                     "data %s: %zu files for %d trainers: none is left for trainer %d", uri,
                     reader->items_count, trainers, options->trainer_id);
    if (!rc && !reader->whole_steps && reader->batch < 1)
        rc = err_set(err, SL_EINVAL, "data %s: --batch_size must be at least 1", uri);
    if (!rc) {
        name_feeds(reader, options);
        reader->position.sample = reader->first;
        if (reader_steps(reader) < 1)
            rc = err_set(
                err, SL_EINVAL,
                "data %s: %lld samples are not enough for one step of %lld trainers with batches "
                "of %lld (--drop_last false keeps an incomplete step)",
                uri, (long long)reader->samples, (long long)reader->trainers,
                (long long)reader->batch);
    }
    if (rc)
        reader_free(reader);
    else
        *out = reader;
    return rc;
}

void reader_free(struct reader *reader)
{
    if (!reader)
        return;
    for (size_t i = 0; i < reader->items_count; i++) {
        if (reader->items[i].open)
            reader->items[i].data.format->close(reader->items[i].data.self);
        mem_free(reader->items[i].uri);
    }
    for (size_t i = 0; i < READER_FEEDS_MAX; i++) {
        variable_deinit(&reader->values[i]);
        mem_free(reader->names[i]);
    }
    mem_free(reader->items);
    mem_free(reader->order);
    mem_free(reader);
}

int reader_next(struct reader *reader, struct err *err)
{
    int64_t begin, count, after;
    if (!next_range(reader, &begin, &count, &after)) {
        reader->position = (struct reader_position){reader->position.epoch + 1, reader->first};
        return 0;
    }
    int rc =
        reader->whole_steps ? fill_step(reader, begin, err) : fill_batch(reader, begin, count, err);
    if (rc)
        return rc;
    reader->position.sample = after;
    return 1;
}

size_t reader_feeds(const struct reader *reader)
{
    return reader->layout->fields_count;
}

const char *reader_feed_name(const struct reader *reader, size_t i)
{
    return reader->names[i];
}

const struct variable *reader_feed_value(const struct reader *reader, size_t i)
{
    return &reader->values[i];
}

int64_t reader_batch_samples(const struct reader *reader)
{
    return reader->batch_samples;
}

void reader_tell(const struct reader *reader, struct reader_position *out)
{
    *out = reader->position;
}

int reader_seek(struct reader *reader, const struct reader_position *position, struct err *err)
{
    if (position->epoch < 0 || position->sample < reader->first ||
        position->sample > reader->first + reader->samples)
        return err_set(
            err, SL_EMISMATCH,
            "data %s: there is no position epoch %lld sample %lld: an epoch has samples %lld "
            "to %lld",
            reader->items[0].uri, (long long)position->epoch, (long long)position->sample,
            (long long)reader->first, (long long)(reader->first + reader->samples - 1));
    reader->position = *position;
    return 0;
}

void reader_rewind(struct reader *reader)
{
    reader->position.sample = reader->first;
}

int64_t reader_samples(const struct reader *reader)
{
    return reader->samples;
}

int64_t reader_steps(const struct reader *reader)
{
    if (reader->whole_steps)
        return reader->samples;
    int64_t step = reader->batch * reader->trainers, rest = reader->samples % step;
    return reader->samples / step + (reader->keep_last && rest >= reader->trainers);
}

size_t reader_items(const struct reader *reader)
{
    return reader->items_count;
}

const char *reader_item_uri(const struct reader *reader, size_t i)
{
    return reader->items[i].uri;
}

uint64_t reader_item_bytes(const struct reader *reader, size_t i)
{
    return reader->items[i].data.bytes;
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

// Cuts "a,b,c". A path with a comma cannot be given, as everywhere in such lists.
static int add_items(struct reader *reader, const char *uri, struct err *err)
{
    for (const char *at = uri;;) {
        size_t bytes = strcspn(at, ",");
        if (!bytes || reader->items_count >= ITEMS_MAX)
            return err_set(err, SL_EINVAL, "data %s: an empty path in the list, or over %u of them",
                           uri, ITEMS_MAX);
        MEM_GROW(reader->items, reader->items_count, reader->items_cap);
        struct item *item = &reader->items[reader->items_count++];
        memset(item, 0, sizeof *item);
        item->uri = mem_must_strndup(at, bytes);
        if (!at[bytes])
            return 0;
        at += bytes + 1;
    }
}

static int open_item(struct reader *reader, struct item *item, const struct reader_options *options,
                     struct err *err)
{
    const struct reader_format *format = NULL;
    const char *path = NULL;
    char *uri = expand(item->uri, options->trainer_id);
    int rc = find_format(uri, &format, &path, err);
    if (!rc) {
        item->data.format = format;
        rc = format->open(path, options, &item->data, err);
        item->open = rc == 0;
        if (rc)
            err_prefix(err, "data");
    }
    mem_free(uri);
    if (rc)
        return rc;
    if (!reader->layout) {
        reader->layout = &item->data;
        reader->whole_steps = format->whole_steps;
        reader->first = item->data.first;
    } else {
        rc = check_layout(reader, item, err);
    }
    item->first = reader->first + reader->samples;
    if (!rc && item->data.samples > SAMPLES_MAX - reader->samples)
        rc = err_set(err, SL_ELIMIT, "data %s: too many samples", item->uri);
    if (!rc)
        reader->samples += item->data.samples;
    return rc;
}

static char *expand(const char *uri, int trainer_id)
{
    const char *place;
    char *out = mem_must_strdup("");
    while ((place = strstr(uri, TRAINER_PLACE)) != NULL) {
        char *longer = mem_must_printf("%s%.*s%d", out, (int)(place - uri), uri, trainer_id);
        mem_free(out);
        out = longer;
        uri = place + strlen(TRAINER_PLACE);
    }
    char *whole = mem_must_printf("%s%s", out, uri);
    mem_free(out);
    return whole;
}

static int find_format(const char *uri, const struct reader_format **out, const char **out_path,
                       struct err *err)
{
    size_t count = sizeof formats / sizeof *formats;
    const char *colon = strstr(uri, "://");
    for (size_t i = 0; i < count; i++) {
        size_t bytes = strlen(formats[i]->scheme);
        if (colon && (size_t)(colon - uri) == bytes &&
            memcmp(uri, formats[i]->scheme, bytes) == 0) {
            *out = formats[i];
            *out_path = colon + 3;
            return 0;
        }
    }
    if (colon)
        return err_set(
            err, SL_EUNSUPPORTED,
            "data %s: unknown scheme; known are feed_dir://, idx://, housing:// and plain paths",
            uri);
    for (size_t i = 0; i < count; i++)
        if (formats[i]->matches(uri)) {
            *out = formats[i];
            *out_path = uri;
            return 0;
        }
    return err_set(
        err, SL_ENOENT,
        "data %s: no such file or folder, or none of a known format: %s; %s; %s. A scheme "
        "in front (idx://PATH) chooses one",
        uri, formats[0]->what, formats[1]->what, formats[2]->what);
}

// All items of a list have the same feeds.
static int check_layout(const struct reader *reader, const struct item *item, struct err *err)
{
    const struct reader_data *a = reader->layout, *b = &item->data;
    bool same =
        a->format == b->format && a->fields_count == b->fields_count && !reader->whole_steps;
    for (size_t i = 0; same && i < a->fields_count; i++)
        same = str_eq(a->fields[i].name, b->fields[i].name) &&
               a->fields[i].dtype == b->fields[i].dtype &&
               dims_equal(&a->fields[i].dims, &b->fields[i].dims);
    return same ? 0
                : err_set(err, SL_EMISMATCH,
                          "data %s: other feeds or shapes than %s, or a list of step folders",
                          item->uri, reader->items[0].uri);
}

// Names and shapes of the program's feeds where they can hold the format's samples.
static void name_feeds(struct reader *reader, const struct reader_options *options)
{
    const struct reader_data *layout = reader->layout;
    for (size_t i = 0; i < layout->fields_count; i++) {
        const struct reader_want *want = NULL;
        for (size_t k = 0; k < options->wants_count && !want; k++)
            if (str_eq(options->wants[k].name, layout->fields[i].name))
                want = &options->wants[k];
        if (!want && !reader->whole_steps && options->wants_count == layout->fields_count)
            want = &options->wants[i];
        reader->names[i] = mem_must_strdup(want ? want->name : layout->fields[i].name);
        if (!want || reader->whole_steps || want->dims.rank < 1)
            continue;
        const struct dims *own = &layout->fields[i].dims;
        int64_t elements = 1;
        for (int d = 1; d < want->dims.rank && elements > 0; d++)
            if (want->dims.d[d] < 0 || __builtin_mul_overflow(elements, want->dims.d[d], &elements))
                elements = -1;
        if (elements == dims_product(own, 0, own->rank))
            reader->wants[i] = want->dims;
    }
}

// The permutation of the current epoch: Fisher-Yates with numbers from (seed, epoch).
static int make_order(struct reader *reader, struct err *err)
{
    if (reader->ordered || reader->order_epoch == reader->position.epoch)
        return 0;
    size_t count = (size_t)reader->samples;
    if (!reader->order)
        reader->order = mem_alloc(count * sizeof *reader->order);
    if (!reader->order)
        return err_set(err, SL_ENOMEM, "data: no memory for the order of %zu samples", count);
    for (size_t i = 0; i < count; i++)
        reader->order[i] = (int64_t)i;
    uint64_t state = reader->seed;
    state = rng_next_u64(&state) ^ (uint64_t)reader->position.epoch;
    for (size_t i = count - 1; i > 0; i--) {
        size_t k = (size_t)(rng_next_u64(&state) % (i + 1));
        int64_t kept = reader->order[i];
        reader->order[i] = reader->order[k];
        reader->order[k] = kept;
    }
    reader->order_epoch = reader->position.epoch;
    return 0;
}

// This trainer's part of the next step, in permuted order, and where the step ends.
static bool next_range(const struct reader *reader, int64_t *out_begin, int64_t *out_count,
                       int64_t *out_position)
{
    int64_t at = reader->position.sample, end = reader->first + reader->samples;
    if (reader->whole_steps) {
        *out_begin = at;
        *out_count = 1;
        *out_position = at + 1;
        return at < end;
    }
    int64_t n = reader->trainers, step = reader->batch * n, rest = end - at;
    if (rest >= step) {
        *out_begin = at + reader->trainer * reader->batch;
        *out_count = reader->batch;
        *out_position = at + step;
        return true;
    }
    if (!reader->keep_last || rest < n)
        return false;
    int64_t each = rest / n, more = rest % n, i = reader->trainer;
    *out_begin = at + i * each + (i < more ? i : more);
    *out_count = each + (i < more);
    *out_position = end;
    return true;
}

static int fill_batch(struct reader *reader, int64_t begin, int64_t count, struct err *err)
{
    int rc = make_order(reader, err);
    for (size_t i = 0; i < reader->layout->fields_count && !rc; i++)
        rc = fill_feed(reader, i, begin, count, err);
    reader->batch_samples = count;
    return rc;
}

static int fill_feed(struct reader *reader, size_t field, int64_t begin, int64_t count,
                     struct err *err)
{
    const struct reader_field *own = &reader->layout->fields[field];
    struct dims dims = reader->wants[field];
    if (!dims.rank) {
        dims.rank = own->dims.rank + 1;
        for (int d = 0; d < own->dims.rank; d++)
            dims.d[d + 1] = own->dims.d[d];
    }
    dims.d[0] = count;
    struct tensor *t = variable_tensor(&reader->values[field]);
    int rc = tensor_resize(t, own->dtype, &dims);
    if (rc)
        return err_set(err, rc, "data: feed %s: no room for %lld samples", reader->names[field],
                       (long long)count);
    size_t bytes = (size_t)dims_product(&own->dims, 0, own->dims.rank) * dtype_bytes(own->dtype);
    for (int64_t i = 0; i < count && !rc; i++) {
        int64_t sample = reader->ordered ? begin + i : reader->order[begin + i];
        const struct item *item = item_of(reader, sample);
        rc = item->data.format->sample(item->data.self, sample - item->first, field,
                                       (char *)t->data + (size_t)i * bytes, err);
    }
    return rc;
}

static int fill_step(struct reader *reader, int64_t step, struct err *err)
{
    int rc = 0;
    const struct reader_data *data = reader->layout;
    reader->batch_samples = 0;
    for (size_t i = 0; i < data->fields_count && !rc; i++) {
        rc = data->format->step(data->self, step, i, &reader->values[i], err);
        if (rc)
            break;
        const struct tensor *t = &reader->values[i].tensor;
        int64_t rows = t->dims.rank ? t->dims.d[0] : 1;
        if (t->lod_levels)
            rows = (int64_t)t->lod[0].count - 1;
        if (rows > reader->batch_samples)
            reader->batch_samples = rows;
    }
    return rc;
}

static const struct item *item_of(const struct reader *reader, int64_t sample)
{
    const struct item *found = NULL;
    for (size_t i = 0; i < reader->items_count; i++)
        if (reader->items[i].open && reader->items[i].first <= sample)
            found = &reader->items[i];
    return found;
}
