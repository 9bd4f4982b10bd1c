// SPDX-License-Identifier: Apache-2.0
// Batches of training data, with an exact position. A format (reader_format) gives samples by
// number, or whole steps; the reader adds order, division among trainers, batches and epochs.
//
// One global order of an epoch, permuted by (seed, epoch). Step s takes N x B samples in a row,
// trainer i the i-th B of them. The position is (epoch, global sample): it does not depend on N, so
// a run saved with two trainers goes on with three. The incomplete last step is dropped; when kept,
// its samples are divided evenly in order (and a rest of fewer samples than trainers is dropped:
// nobody gets an empty batch).
//
// With prefetch a thread of the reader prepares the next batches; every position told is that of
// the batch handed out, never of a prepared one. Calls of one reader come from one thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tensor/variable.h"

struct err;
struct reader;
struct str_list;

enum reader_shard {
    READER_GLOBAL,      // default
    READER_FILE,        // the URI is a list "a,b,c": trainer i takes items i, i + N, ...
    READER_NONE,        // each trainer its own path ({trainer_id} expands)
};

enum reader_label { READER_LABEL_FIRST, READER_LABEL_LAST, READER_LABEL_NONE };

// What the program feeds, so that formats can give names, shapes ([-1,1,28,28] for images of 784),
// types and sequences as the program has them. Matched by name; what is then left over on both
// sides by order, when the numbers agree.
struct reader_want {
    const char *name;
    struct dims dims;   // dims.d[0] is the batch
    bool typed;         // dtype and lod_levels are known
    enum dtype dtype;
    int lod_levels;
};

// How text is read; see README.md of this folder. Zeroed: the defaults.
struct reader_text {
    const struct str_list *slots;   // declarations; NULL or empty: from wants
    bool feasign_first;             // pairs are feasign:slot instead of slot:feasign
    const char *pipe_command;       // every file goes through it first; NULL: none
    bool skip_bad_lines;
    int64_t hash_dim;               // ids are taken modulo this; 0: the format's own way
    enum reader_label label;        // of token lines
    int ngram;                      // tokens: n ids in a row are a sample; 0: a line is
    uint64_t unpacked_max;          // of one file, out of gzip or the pipe; 0: READER_UNPACKED_MAX
};

#define READER_UNPACKED_MAX (1ull << 36)   // 64 GiB
#define READER_PREFETCH_MAX 64

struct reader_options {
    int trainer_id, trainers;           // trainers 0 counts as 1
    enum reader_shard shard;
    int64_t batch_size;                 // of one trainer; not used by feed_dir
    uint64_t seed;
    bool ordered;                       // do not permute (test data)
    bool keep_last;                     // --drop_last false
    bool test;   // the test part of the data (t10k of idx, last 20% of housing)
    int64_t first_step;                 // feed_dir: the data set begins at this step folder
    const struct reader_want *wants;    // borrowed during open only; may be NULL
    size_t wants_count;
    const struct str_list *rows_vars;   // feed_dir: files that hold SelectedRows; may be NULL
    const char *format;                 // scheme of items that name none; NULL: look at the file
    struct reader_text text;            // its texts are borrowed during open only
    int prefetch;                       // batches prepared ahead; 0: none, no thread
};

// Where the next batch begins. feed_dir: sample is the number of the next step folder.
struct reader_position {
    int64_t epoch;
    int64_t sample;
};

// uri: a path, "format://path" or a list "a,b" of them; formats of single files also take a folder
// or a glob, whose files become items in byte order. Errors name file and offset or line. The
// position is the start of epoch 0.
int reader_open(const char *uri, const struct reader_options *options, struct reader **out,
                struct err *err);
void reader_free(struct reader *reader);

// The next batch: 1; 0 at the end of the epoch (the position is then the start of the next one).
int reader_next(struct reader *reader, struct err *err);
// The batch of the last reader_next, valid until the next call; feeds are the same in all batches.
size_t reader_feeds(const struct reader *reader);
const char *reader_feed_name(const struct reader *reader, size_t i);
const struct variable *reader_feed_value(const struct reader *reader, size_t i);
int64_t reader_batch_samples(const struct reader *reader);      // rows of this trainer's last batch

void reader_tell(const struct reader *reader, struct reader_position *out);
// SL_EMISMATCH when the data has no such sample.
int reader_seek(struct reader *reader, const struct reader_position *position, struct err *err);
void reader_rewind(struct reader *reader);                      // to the start of the current epoch

int64_t reader_samples(const struct reader *reader);   // of an epoch, all trainers together
int64_t reader_steps(const struct reader *reader);              // of a whole epoch
// Data identity: the items of the URI as given ({trainer_id} not expanded unless a glob or folder
// was), the bytes of their files and their samples.
size_t reader_items(const struct reader *reader);
const char *reader_item_uri(const struct reader *reader, size_t i);
uint64_t reader_item_bytes(const struct reader *reader, size_t i);
int64_t reader_item_samples(const struct reader *reader, size_t i);   // 0: another trainer's
// Lines left out with skip_bad_lines, in the items of this trainer; and lines about them for
// people.
uint64_t reader_bad_lines(const struct reader *reader);
const struct str_list *reader_notes(const struct reader *reader);

// "global", "file" or "none". SL_EINVAL.
int reader_parse_shard(const char *text, enum reader_shard *out, struct err *err);
// "first", "last" or "none". SL_EINVAL.
int reader_parse_label(const char *text, enum reader_label *out, struct err *err);
