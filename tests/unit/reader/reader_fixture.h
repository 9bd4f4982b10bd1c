// SPDX-License-Identifier: Apache-2.0
// Small data sets for reader tests.
#pragma once

#include "tests/unit/storage/temp_folder.h"

#include <math.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/reader/feed_dir.h"
#include "common/reader/reader.h"
#include "common/tensor/tensor_io.h"

// rows lines of 14 numbers; the price of row i is i.
static inline size_t housing_text(int rows, char *text)
{
    char *p = text;
    for (int i = 0; i < rows; i++) {
        for (int c = 0; c < 13; c++)
            p += sprintf(p, " %d.%02d", (i * 7 + c * 3) % 11, c);
        p += sprintf(p, "  %d.0\n", i);
    }
    return (size_t)(p - text);
}

static inline const struct tensor *feed(const struct reader *reader, const char *name)
{
    for (size_t i = 0; i < reader_feeds(reader); i++)
        if (str_eq(reader_feed_name(reader, i), name))
            return &reader_feed_value(reader, i)->tensor;
    fail_msg("no feed %s", name);
    return NULL;
}
