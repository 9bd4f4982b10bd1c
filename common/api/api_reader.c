// SPDX-License-Identifier: Apache-2.0
// Readers that fill feeds.

#include <string.h>

#include "common/api/api_private.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/reader/reader.h"

struct api_reader {
    struct reader *reader;
};

static sl_reader *open_reader(const char *scheme, const char *path, const struct reader_want *wants,
                              size_t wants_count, const struct sl_reader_options *options,
                              struct sl_error *err);

struct sl_reader_options sl_reader_defaults(void)
{
    return (struct sl_reader_options){
        .batch_size = 32, .shuffle = true, .drop_last = true, .trainers = 1};
}

sl_reader *sl_reader_feed_dir(const char *dir, const struct sl_reader_options *options,
                              struct sl_error *err)
{
    return open_reader("feed_dir", dir, NULL, 0, options, err);
}

sl_reader *sl_reader_idx(const char *dir, const char *image_var, const char *label_var,
                         const struct sl_reader_options *options, struct sl_error *err)
{
    const struct reader_want wants[] = {{.name = image_var}, {.name = label_var}};
    return open_reader("idx", dir, wants, 2, options, err);
}

sl_reader *sl_reader_housing(const char *path, const char *x_var, const char *y_var,
                             const struct sl_reader_options *options, struct sl_error *err)
{
    const struct reader_want wants[] = {{.name = x_var}, {.name = y_var}};
    return open_reader("housing", path, wants, 2, options, err);
}

void sl_reader_free(sl_reader *reader)
{
    if (reader == NULL)
        return;
    reader_free(reader->reader);
    mem_free(reader);
}

int sl_reader_next(sl_reader *reader, sl_feed *feed, struct sl_error *err)
{
    struct err inner = {0};
    int rc = reader_next(reader->reader, &inner);
    if (rc < 0)
        return api_executor_error(err, &inner);
    for (size_t i = 0; rc > 0 && i < reader_feeds(reader->reader); i++) {
        struct sl_tensor view;
        if (!api_feed_view(reader_feed_value(reader->reader, i), &view))
            continue;
        int set = sl_feed_set(feed, reader_feed_name(reader->reader, i), &view, err);
        if (set < 0)
            return set;
    }
    return rc;
}

static sl_reader *open_reader(const char *scheme, const char *path, const struct reader_want *wants,
                              size_t wants_count, const struct sl_reader_options *options,
                              struct sl_error *err)
{
    const struct sl_reader_options defaults = sl_reader_defaults();
    const struct sl_reader_options *o = options ? options : &defaults;
    const struct reader_options how = {
        .trainer_id = o->trainer_id,
        .trainers = o->trainers,
        .batch_size = o->batch_size,
        .seed = o->seed,
        .ordered = !o->shuffle,
        .keep_last = !o->drop_last,
        .first_step = o->first_step,
        .wants = wants,
        .wants_count = wants_count,
    };
    struct err inner = {0};
    struct reader *opened = NULL;
    char *uri = mem_must_printf("%s://%s", scheme, path ? path : "");
    int rc = reader_open(uri, &how, &opened, &inner);
    mem_free(uri);
    if (rc < 0) {
        api_executor_error(err, &inner);
        return NULL;
    }
    struct api_reader *reader = MEM_NEW(struct api_reader);
    reader->reader = opened;
    return reader;
}
