// SPDX-License-Identifier: Apache-2.0
// Readers that fill feeds.

#include <string.h>

#include "common/api/api_private.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/program/var_desc.h"
#include "common/reader/reader.h"

struct api_reader {
    struct reader *reader;
};

static sl_reader *open_reader(const char *scheme, const char *path, const struct reader_want *wants,
                              size_t wants_count, const struct sl_reader_options *options,
                              struct sl_error *err);
static void take_text(const struct sl_text_options *text, struct str_list *slots,
                      struct reader_options *out);

struct sl_reader_options sl_reader_defaults(void)
{
    return (struct sl_reader_options){
        .batch_size = 32, .shuffle = true, .drop_last = true, .trainers = 1, .prefetch = 2};
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

sl_reader *sl_reader_open(const char *uri, sl_var *const *feeds, size_t feeds_count,
                          const struct sl_reader_options *options, struct sl_error *err)
{
    struct reader_want *wants = mem_must_calloc(feeds_count + 1, sizeof *wants);
    for (size_t i = 0; i < feeds_count; i++)
        wants[i] = (struct reader_want){
            .name = feeds[i]->name,
            .dims = feeds[i]->dims,
            .typed = dtype_is_valid(feeds[i]->dtype),
            .dtype = (enum dtype)feeds[i]->dtype,
            .lod_levels = feeds[i]->lod_level,
        };
    sl_reader *reader = open_reader(NULL, uri, wants, feeds_count, options, err);
    mem_free(wants);
    return reader;
}

uint64_t sl_reader_bad_lines(const sl_reader *reader)
{
    return reader_bad_lines(reader->reader);
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
    struct reader_options how = {
        .trainer_id = o->trainer_id,
        .trainers = o->trainers,
        .batch_size = o->batch_size,
        .seed = o->seed,
        .ordered = !o->shuffle,
        .keep_last = !o->drop_last,
        .first_step = o->first_step,
        .prefetch = o->prefetch,
        .wants = wants,
        .wants_count = wants_count,
    };
    struct err inner = {0};
    struct reader *opened = NULL;
    struct str_list slots = {0};
    char *uri =
        mem_must_printf("%s%s%s", scheme ? scheme : "", scheme ? "://" : "", path ? path : "");
    if (o->text)
        take_text(o->text, &slots, &how);
    int rc = reader_open(uri, &how, &opened, &inner);
    str_list_deinit(&slots);
    mem_free(uri);
    if (rc < 0) {
        api_executor_error(err, &inner);
        return NULL;
    }
    struct api_reader *reader = MEM_NEW(struct api_reader);
    reader->reader = opened;
    return reader;
}

static void take_text(const struct sl_text_options *text, struct str_list *slots,
                      struct reader_options *out)
{
    if (text->slots)
        str_list_split(slots, text->slots, ',');
    out->format = text->format;
    out->text = (struct reader_text){
        .slots = slots,
        .feasign_first = text->feasign_first,
        .pipe_command = text->pipe_command,
        .skip_bad_lines = text->skip_bad_lines,
        .hash_dim = text->hash_dim,
        .label = (enum reader_label)text->label,
        .ngram = text->ngram,
    };
}
