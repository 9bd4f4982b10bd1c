// SPDX-License-Identifier: Apache-2.0
// What a data format provides. One row of reader_items.c's table points at one of these.
//
// A format gives samples one of three ways: `step` (a whole batch of its own size), `sample` (every
// sample of a feed has the same number of elements: copied to where it belongs) or `append` (lines:
// all feeds of a sample at once, some of them sequences).
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"
#include "common/reader/reader.h"
#include "common/reader/reader_column.h"

#define READER_FEEDS_MAX 4096

// One feed of a format. dims are those of one sample, or of one row of a sequence: the feed is
// [B, dims...] of dtype, or [rows of the batch, dims...] with one level of LoD.
struct reader_field {
    char *name;                     // the format's own name for it; owned
    enum dtype dtype;
    struct dims dims;
    bool sequence;
};

struct reader_data {
    const struct reader_format *format;
    void *self;
    int64_t samples;                // step formats: step folders, the first is number first
    int64_t first;
    uint64_t bytes;                 // of the files, for the data identity
    struct reader_field *fields;    // owned, by reader_data_add
    size_t fields_count, fields_cap;
    uint64_t bad_lines;             // left out
    struct str_list notes;          // for people
};

struct reader_format {
    const char *scheme;             // "idx" of idx://path
    const char *what;               // for messages: "MNIST idx pair or folder"
    bool whole_steps;               // a sample is a whole batch of its own size
    bool single_files;              // a folder or a glob is a list of files
    bool optional_fields;           // only the feeds that the program wants are given
    bool (*matches)(const char *path);
    // The caller releases *out with reader_data_deinit, also after an error. options->wants and
    // ->text may be kept by copy only.
    int (*open)(const char *path, const struct reader_options *options, struct reader_data *out,
                struct err *err);
    // Copies a sample's elements of one field to out.
    int (*sample)(void *self, int64_t sample, size_t field, void *out, struct err *err);
    // Appends the elements of a sample to the columns (one a field, in the order of fields); the
    // caller ends the sample.
    int (*append)(void *self, int64_t sample, struct reader_column *columns, struct err *err);
    int (*step)(void *self, int64_t step, size_t field, struct variable *out, struct err *err);
    void (*close)(void *self);      // self is not NULL
};

extern const struct reader_format feed_dir_format;
extern const struct reader_format idx_format;
extern const struct reader_format housing_format;
extern const struct reader_format multislot_format;
extern const struct reader_format criteo_format;
extern const struct reader_format feasign_format;
extern const struct reader_format tokens_format;
extern const struct reader_format npy_files_format;
extern const struct reader_format cifar_format;

// Adds a field of dims (of a sample, or of a row of a sequence); the name is copied.
void reader_data_add(struct reader_data *data, const char *name, enum dtype dtype,
                     const struct dims *dims, bool sequence);
// Closes self, if it is set, and frees the fields.
void reader_data_deinit(struct reader_data *data);
