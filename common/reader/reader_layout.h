// SPDX-License-Identifier: Apache-2.0
// What a batch looks like: which of a format's fields are fed, under which names and in which
// shapes; and the memory of one batch, filled sample by sample.
#pragma once

#include "common/reader/reader_items.h"

struct err;

struct reader_feed {
    size_t field;
    char *name;
    enum dtype dtype;
    struct dims dims;   // of a sample, or of a row of a sequence
    bool sequence;
};

struct reader_layout {
    const struct reader_format *format;
    const struct reader_field *fields;   // borrowed of the first item
    size_t fields_count;
    struct reader_feed *feeds;
    size_t feeds_count;
};

struct reader_batch {
    struct reader_column *columns;   // one a field
    size_t columns_count;
    struct variable *values;   // one a feed
    size_t values_count;
    int64_t samples;
};

// SL_EMISMATCH when the program wants what the format cannot give. uri stands in errors. Release
// with reader_layout_deinit in any case.
int reader_layout_make(const struct reader_items *items, const struct reader_options *options,
                       const char *uri, struct reader_layout *out, struct err *err);
void reader_layout_deinit(struct reader_layout *layout);

void reader_layout_batch(const struct reader_layout *layout, struct reader_batch *out);
void reader_layout_release(struct reader_batch *batch);
// A batch is begun, gets samples by number and is shown: then its values are valid.
void reader_layout_begin(struct reader_batch *batch);
int reader_layout_add(const struct reader_layout *layout, const struct reader_items *items,
                      int64_t sample, struct reader_batch *batch, struct err *err);
int reader_layout_show(const struct reader_layout *layout, struct reader_batch *batch,
                       struct err *err);
// A format of whole steps: the batch is that step.
int reader_layout_step(const struct reader_layout *layout, const struct reader_items *items,
                       int64_t step, struct reader_batch *batch, struct err *err);
