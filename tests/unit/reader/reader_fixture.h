// SPDX-License-Identifier: Apache-2.0
// Small data sets for reader tests.
#pragma once

#include "tests/unit/storage/temp_folder.h"

#include <math.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/reader/feed_dir.h"
#include "common/base/buf.h"
#include "common/reader/reader.h"
#include "common/tensor/tensor_io.h"

// rows lines of 14 numbers; the price of row i is i.
static inline size_t housing_text(int rows, char *text)
{
    struct buf buf;
    buf_init(&buf, 0);
    for (int i = 0; i < rows; i++) {
        for (int c = 0; c < 13; c++)
            buf_printf(&buf, " %d.%02d", (i * 7 + c * 3) % 11, c);
        buf_printf(&buf, "  %d.0\n", i);
    }
    size_t bytes = buf.bytes;
    memcpy(text, buf_text(&buf), bytes + 1);
    buf_deinit(&buf);
    return bytes;
}

static inline const struct tensor *feed(const struct reader *reader, const char *name)
{
    for (size_t i = 0; i < reader_feeds(reader); i++)
        if (str_eq(reader_feed_name(reader, i), name))
            return &reader_feed_value(reader, i)->tensor;
    fail_msg("no feed %s", name);
    return NULL;
}

// Options for text in the file's order, in batches of batch.
static inline struct reader_options text_options(int64_t batch)
{
    return (struct reader_options){.batch_size = batch, .ordered = true, .keep_last = true};
}

// Opens a path or fails the test.
static inline struct reader *open_data(const char *uri, const struct reader_options *options)
{
    struct reader *reader = NULL;
    struct err err = {0};
    if (reader_open(uri, options, &reader, &err))
        fail_msg("%s", err.text);
    return reader;
}

static inline void next_batch(struct reader *reader)
{
    struct err err = {0};
    if (reader_next(reader, &err) != 1)
        fail_msg("no batch: %s", err.text);
}

// Opening, or the first pass, ends in an error that says it.
static inline void refuses(const char *uri, const struct reader_options *options, const char *says)
{
    struct reader *reader = NULL;
    struct err err = {0};
    int rc = reader_open(uri, options, &reader, &err);
    for (int more = rc == 0; more > 0;)
        rc = more = reader_next(reader, &err);
    reader_free(reader);
    if (rc >= 0)
        fail_msg("%s is taken; wanted: %s", uri, says);
    if (!strstr(err.text, says))
        fail_msg("`%s` does not say `%s`", err.text, says);
}
