// SPDX-License-Identifier: Apache-2.0
// What a load (or a verification) did with each variable, and in one line.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/fsutil.h"
#include "common/ckpt/ckpt_facts.h"
#include "common/ckpt/ckpt_progress.h"

struct buf;

enum ckpt_fate {
    CKPT_LOADED,   // whole
    CKPT_SLICED,   // some rows of the file
    CKPT_KEPT,   // the folder may lack it (or the job's learning rate wins): value before the load
    CKPT_EXCEPTED,   // left out on request
    CKPT_MISSING,    // no file
    CKPT_DIFFERS,    // shape, type or size does not fit, or damaged
    CKPT_EXTRA,      // a file that no variable wants
};

struct ckpt_item {
    char *name;   // variable of the program (on a server: the slice); EXTRA: the file
    char *file;   // file of the folder; NULL when there is none
    enum ckpt_fate fate;
    int64_t row, rows;                // of the file, SLICED only
    uint64_t offset;                  // of the first byte taken, from the start of the file
    uint64_t bytes;                   // taken
    uint64_t surplus;                 // bytes in the file behind what its dims say
    char sha256[FSUTIL_SHA256_HEX];   // of the file, by the manifest; "": no checksum
    int64_t step;                     // when the file was saved; -1: not known
    char *note;                       // what differs, why kept; or NULL
};

struct ckpt_report {
    char *path;          // the folder that was read
    bool has_manifest;   // then all sums were checked
    bool has_progress;
    struct ckpt_progress progress;
    struct ckpt_facts facts;
    char digest[FSUTIL_SHA256_HEX];   // of the manifest; of names, sizes and first bytes for a
                                      // plain folder
    struct ckpt_item *items;          // in order of name, extras last
    size_t items_count, items_cap;
    uint64_t bytes;    // taken in all
    char *rate_line;   // one line on the learning rate when job and checkpoint differ, or NULL
};

void ckpt_report_init(struct ckpt_report *report);
void ckpt_report_deinit(struct ckpt_report *report);
struct ckpt_item *ckpt_report_add(struct ckpt_report *report, enum ckpt_fate fate, const char *name,
                                  const char *file);
size_t ckpt_report_count(const struct ckpt_report *report, enum ckpt_fate fate);
// "<verb> models/epoch_2 (step 936): 9 slices of 8 variables, 1.9 MiB, sha256 ok; 0 missing, 1
// extra (notes.txt)" verb is "load", "resume", "init", "verify" ...
void ckpt_report_summary(const struct ckpt_report *report, const char *verb, struct buf *out);
// A line a variable, for logs and people.
void ckpt_report_table(const struct ckpt_report *report, struct buf *out);
// "loaded", "sliced", "kept", "left out", "missing", "differs", "extra"
const char *ckpt_report_fate_name(enum ckpt_fate fate);
// One JSON object, for --summary.
int ckpt_report_json(const struct ckpt_report *report, struct buf *out);
// "1.9 MiB", into text of at least 32 bytes; returns text.
const char *ckpt_report_size(uint64_t bytes, char *text);
