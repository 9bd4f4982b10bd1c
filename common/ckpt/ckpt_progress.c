// SPDX-License-Identifier: Apache-2.0
// Progress as one JSON object. The seed is text, because JSON numbers end at 2^63 in many readers.
// Numbers are judged here, once: nobody behind this file sees a negative step.
// Pure, any thread.
#include "common/ckpt/ckpt_progress.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include <jansson.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/base/str.h"

#define PROGRESS_BYTES_MAX (4u << 20)

static int read_fields(const json_t *root, const char *name, struct ckpt_progress *out,
                       struct err *err);
static int read_data(const json_t *list, const char *name, struct ckpt_progress *out,
                     struct err *err);
static int read_count(const json_t *object, const char *key, const char *name, int64_t *out,
                      struct err *err);

void ckpt_progress_init(struct ckpt_progress *progress)
{
    memset(progress, 0, sizeof *progress);
}

void ckpt_progress_deinit(struct ckpt_progress *progress)
{
    for (size_t i = 0; i < progress->data_count; i++)
        mem_free(progress->data[i].uri);
    mem_free(progress->data);
    ckpt_progress_init(progress);
}

void ckpt_progress_copy(struct ckpt_progress *dst, const struct ckpt_progress *src)
{
    ckpt_progress_deinit(dst);
    *dst = *src;
    dst->data = NULL;
    dst->data_count = dst->data_cap = 0;
    for (size_t i = 0; i < src->data_count; i++) {
        ckpt_progress_add_data(dst, src->data[i].uri, src->data[i].bytes);
        ckpt_progress_set_samples(dst, src->data[i].samples);
    }
}

void ckpt_progress_add_data(struct ckpt_progress *progress, const char *uri, uint64_t bytes)
{
    MEM_GROW(progress->data, progress->data_count, progress->data_cap);
    progress->data[progress->data_count++] = (struct ckpt_data){mem_must_strdup(uri), bytes, 0};
}

void ckpt_progress_set_samples(struct ckpt_progress *progress, int64_t samples)
{
    progress->data[progress->data_count - 1].samples = samples;
}

int ckpt_progress_format(const struct ckpt_progress *progress, struct buf *out)
{
    char seed[32];
    snprintf(seed, sizeof seed, "%" PRIu64, progress->seed);
    json_t *data = json_array();
    for (size_t i = 0; i < progress->data_count; i++) {
        const struct ckpt_data *one = &progress->data[i];
        json_t *item = json_pack("{s:s, s:I}", "uri", one->uri, "bytes", (json_int_t)one->bytes);
        if (item && one->samples)
            json_object_set_new(item, "samples", json_integer(one->samples));
        json_array_append_new(data, item);
    }
    json_t *root =
        json_pack("{s:I, s:I, s:I, s:I, s:s}", "step", (json_int_t)progress->step, "epoch",
                  (json_int_t)progress->epoch, "reader_epoch", (json_int_t)progress->reader_epoch,
                  "reader_sample", (json_int_t)progress->reader_sample, "seed", seed);
    bool whole = root && json_array_size(data) == progress->data_count;
    if (whole && progress->has_learning_rate && isfinite(progress->learning_rate))
        json_object_set_new(root, "learning_rate", json_real(progress->learning_rate));
    if (whole)
        json_object_set(root, "data", data);
    char *text = whole ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    // A URI that is not UTF-8 cannot be written.
    int rc = text ? buf_append(out, text, strlen(text)) : SL_EINVAL;
    free(text);
    json_decref(data);
    json_decref(root);
    return rc;
}

int ckpt_progress_parse(const char *text, size_t bytes, const char *name, struct ckpt_progress *out,
                        struct err *err)
{
    json_error_t at;
    if (bytes > PROGRESS_BYTES_MAX)
        return err_set(err, SL_ELIMIT, "%s: progress of %zu bytes, at most %u", name, bytes,
                       PROGRESS_BYTES_MAX);
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &at);
    if (!root)
        return err_set(err, SL_EFORMAT, "%s: offset %d: progress: %s", name, at.position, at.text);
    struct ckpt_progress fresh;
    ckpt_progress_init(&fresh);
    int rc = read_fields(root, name, &fresh, err);
    json_decref(root);
    if (rc) {
        ckpt_progress_deinit(&fresh);
        return rc;
    }
    ckpt_progress_deinit(out);
    *out = fresh;
    return 0;
}

int ckpt_progress_check_data(const struct ckpt_progress *saved, const struct ckpt_progress *now,
                             struct err *err)
{
    struct buf differs;
    buf_init(&differs, 700);
    if (saved->data_count != now->data_count)
        buf_printf(&differs, "%zu sources then, %zu now", saved->data_count, now->data_count);
    for (size_t i = 0; i < saved->data_count && saved->data_count == now->data_count; i++) {
        const struct ckpt_data *a = &saved->data[i], *b = &now->data[i];
        bool counted = a->samples && b->samples && a->samples != b->samples;
        if (str_eq(a->uri, b->uri) && a->bytes == b->bytes && !counted)
            continue;
        if (str_eq(a->uri, b->uri) && a->bytes == b->bytes) {
            buf_printf(&differs,
                       "%s%s: %" PRId64 " samples then, %" PRId64
                       " now (--bad_lines, --ngram and --slots as they were?)",
                       differs.bytes ? "; " : "", a->uri, a->samples, b->samples);
            continue;
        }
        buf_printf(&differs, "%s%s (%" PRIu64 " bytes) then, %s (%" PRIu64 " bytes) now",
                   differs.bytes ? "; " : "", a->uri, a->bytes, b->uri, b->bytes);
    }
    if (!differs.bytes && saved->seed != now->seed)
        buf_printf(&differs, "seed %" PRIu64 " then, %" PRIu64 " now", saved->seed, now->seed);
    int rc = 0;
    if (differs.bytes)
        rc =
            err_set(err, SL_EMISMATCH,
                    "the checkpoint was made with other data: %s. A run cannot be resumed on other "
                    "data; to go on training with new data use --load_dir",
                    buf_text(&differs));
    buf_deinit(&differs);
    return rc;
}

static int read_fields(const json_t *root, const char *name, struct ckpt_progress *out,
                       struct err *err)
{
    if (!json_is_object(root))
        return err_set(err, SL_EFORMAT, "%s: progress is not a JSON object", name);
    int rc = read_count(root, "step", name, &out->step, err);
    if (!rc)
        rc = read_count(root, "epoch", name, &out->epoch, err);
    if (!rc)
        rc = read_count(root, "reader_epoch", name, &out->reader_epoch, err);
    if (!rc)
        rc = read_count(root, "reader_sample", name, &out->reader_sample, err);
    if (rc)
        return rc;
    const char *seed = json_string_value(json_object_get(root, "seed"));
    if (!seed || !str_parse_u64(seed, &out->seed))
        return err_set(err, SL_EFORMAT, "%s: progress: seed is not a number in quotes", name);
    const json_t *rate = json_object_get(root, "learning_rate");
    if (rate && !json_is_number(rate))
        return err_set(err, SL_EFORMAT, "%s: progress: learning_rate is not a number", name);
    out->has_learning_rate = rate != NULL;
    out->learning_rate = rate ? json_number_value(rate) : 0;
    return read_data(json_object_get(root, "data"), name, out, err);
}

static int read_data(const json_t *list, const char *name, struct ckpt_progress *out,
                     struct err *err)
{
    if (!json_is_array(list) || json_array_size(list) > LIMIT_TRAINERS)
        return err_set(err, SL_EFORMAT, "%s: progress: data is not a list of at most %d", name,
                       LIMIT_TRAINERS);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const char *uri = json_string_value(json_object_get(item, "uri"));
        int64_t bytes;
        if (!uri)
            return err_set(err, SL_EFORMAT, "%s: progress: data %zu has no uri", name, i);
        int rc = read_count(item, "bytes", name, &bytes, err);
        if (rc)
            return rc;
        int64_t samples = 0;
        if (json_object_get(item, "samples"))
            rc = read_count(item, "samples", name, &samples, err);
        if (rc)
            return rc;
        ckpt_progress_add_data(out, uri, (uint64_t)bytes);
        ckpt_progress_set_samples(out, samples);
    }
    return 0;
}

static int read_count(const json_t *object, const char *key, const char *name, int64_t *out,
                      struct err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return err_set(err, SL_EFORMAT, "%s: `%s` is not a number of at least 0", name, key);
    *out = json_integer_value(value);
    return 0;
}
