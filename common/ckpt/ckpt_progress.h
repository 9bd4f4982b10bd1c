// SPDX-License-Identifier: Apache-2.0
// How far a training run has come: what a checkpoint records beside the variables, and what servers
// hand to trainers as opaque JSON text. It does not depend on how many servers or trainers there
// are.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;

// One source of data that the run reads: the URI as given, the bytes of its files, and how many
// samples were found in them (0: not known). The samples tell whether they are numbered the same
// way now: lines that are left out have no number.
struct ckpt_data {
    char *uri;
    uint64_t bytes;
    int64_t samples;
};

struct ckpt_progress {
    int64_t step;               // steps done, over all runs
    int64_t epoch;              // epochs done, over all runs: epoch_N folders count this
    int64_t reader_epoch;       // where the reader stands: the next sample is number reader_sample
    int64_t reader_sample;      // (global, in permuted order) of epoch reader_epoch
    uint64_t seed;
    struct ckpt_data *data;     // owned
    size_t data_count, data_cap;
    bool has_learning_rate;     // the constant learning rate that was in force
    double learning_rate;
};

void ckpt_progress_init(struct ckpt_progress *progress);
void ckpt_progress_deinit(struct ckpt_progress *progress);
void ckpt_progress_copy(struct ckpt_progress *dst,
                        const struct ckpt_progress *src);   // dst initialised
void ckpt_progress_add_data(struct ckpt_progress *progress, const char *uri, uint64_t bytes);
void ckpt_progress_set_samples(struct ckpt_progress *progress, int64_t samples);   // last added
// One line of JSON, the same bytes for equal progress.
int ckpt_progress_format(const struct ckpt_progress *progress, struct buf *out);
// text need not be terminated; name stands in errors. SL_EFORMAT.
int ckpt_progress_parse(const char *text, size_t bytes, const char *name, struct ckpt_progress *out,
                        struct err *err);
// For --resume: is this the same data? SL_EMISMATCH lists what differs and names --load_dir.
int ckpt_progress_check_data(const struct ckpt_progress *saved, const struct ckpt_progress *now,
                             struct err *err);
