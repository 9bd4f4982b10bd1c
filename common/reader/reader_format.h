// SPDX-License-Identifier: Apache-2.0
// What a data format provides. One row of reader.c's table points at one of these.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/reader/reader.h"

#define READER_FEEDS_MAX 64

// One feed of a format with samples: [B, dims...] of dtype.
struct reader_field {
    const char *name;               // the format's own name for it
    enum dtype dtype;
    struct dims dims;               // of one sample
};

struct reader_data {
    const struct reader_format *format;
    void *self;
    int64_t samples;                // whole_steps: step folders, the first is number first
    int64_t first;
    uint64_t bytes;                 // of the files, for the data identity
    struct reader_field fields[READER_FEEDS_MAX];
    size_t fields_count;
};

struct reader_format {
    const char *scheme;             // "idx" of idx://path
    const char *what;               // for messages: "MNIST idx pair or folder"
    bool whole_steps;               // a sample is a whole batch of its own size
    bool (*matches)(const char *path);
    int (*open)(const char *path, const struct reader_options *options, struct reader_data *out,
                struct err *err);
    // Copies sample number sample of field into out; whole_steps: fills the variable instead (see
    // step).
    int (*sample)(void *self, int64_t sample, size_t field, void *out, struct err *err);
    int (*step)(void *self, int64_t step, size_t field, struct variable *out, struct err *err);
    void (*close)(void *self);
};

extern const struct reader_format feed_dir_format;
extern const struct reader_format idx_format;
extern const struct reader_format housing_format;
