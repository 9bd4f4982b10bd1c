// SPDX-License-Identifier: Apache-2.0
// The list of data that a URI names: cut at commas, {trainer_id} put in, globs and folders of
// single files opened up, each item's format found and opened. Samples are numbered through.
#pragma once

#include "common/reader/reader_format.h"

struct err;

struct reader_item {
    char *uri;   // as given; of the file, out of a glob or folder
    struct reader_data data;
    bool open;       // a file of another trainer is not opened
    int64_t first;   // number of its first sample
};

struct reader_items {
    struct reader_item *items;
    size_t count, cap;
    const struct reader_item *layout;   // the first open one: all have its fields
    int64_t first, samples;             // numbers are first .. first + samples - 1
    uint64_t bad_lines;
    struct str_list notes;
};

// Release with reader_items_deinit in any case.
int reader_items_open(const char *uri, const struct reader_options *options,
                      struct reader_items *out, struct err *err);
void reader_items_deinit(struct reader_items *items);
// The item that has the sample.
const struct reader_item *reader_items_of(const struct reader_items *items, int64_t sample);
