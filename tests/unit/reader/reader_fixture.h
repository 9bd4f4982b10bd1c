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
