// SPDX-License-Identifier: Apache-2.0
// The manifest of a checkpoint: progress and, for each file, its size and SHA-256. Written last, so
// its presence means that the folder is complete. Pure: bytes in, bytes out. The text starts with
// the SHA-256 of all that follows that line, so any changed byte is noticed.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/fsutil.h"
#include "common/ckpt/ckpt_facts.h"
#include "common/ckpt/ckpt_progress.h"

struct buf;
struct err;
struct str_list;

#define CKPT_MANIFEST_NAME "sluice.manifest.json"
#define CKPT_MANIFEST_FORMAT 1
// Beside the manifest, for `sha256sum -c`: a line a file.
#define CKPT_SUMS_NAME "sluice.sha256"

struct ckpt_file {
    char *name;   // relative to the folder
    uint64_t bytes;
    char sha256[FSUTIL_SHA256_HEX];
    char *blocks;   // block_sums of a file longer than one block, or NULL
    bool other;     // no variables: a program, the sums
    int64_t step;   // of an older save that this file is from; -1: of progress
};

struct ckpt_manifest {
    struct ckpt_progress progress;
    bool has_progress;   // the API saves without
    struct ckpt_facts facts;
    bool has_facts;
    bool busy;                 // a save into the folder was interrupted
    struct ckpt_file *files;   // sorted by name, owned
    size_t files_count, files_cap;
    char digest[FSUTIL_SHA256_HEX];   // SHA-256 of the whole text; set by parse and format
};

void ckpt_manifest_init(struct ckpt_manifest *manifest);
void ckpt_manifest_deinit(struct ckpt_manifest *manifest);
// The new entry, valid until the next one is added.
struct ckpt_file *ckpt_manifest_add(struct ckpt_manifest *manifest, const char *name,
                                    uint64_t bytes, const char *sha256);
const struct ckpt_file *ckpt_manifest_find(const struct ckpt_manifest *manifest, const char *name);
void ckpt_manifest_sort(struct ckpt_manifest *manifest);   // by name, as it is written
int ckpt_manifest_format(struct ckpt_manifest *manifest, struct buf *out);   // sorts the files
// What `sha256sum -c` reads: a line a file, in the manifest's order.
int ckpt_manifest_sums(const struct ckpt_manifest *manifest, struct buf *out);
// name stands in errors. SL_EFORMAT; SL_ECORRUPT when bytes changed; SL_EUNSUPPORTED for a newer
// format.
int ckpt_manifest_parse(const void *data, size_t bytes, const char *name, struct ckpt_manifest *out,
                        struct err *err);
// Reads and parses uri's manifest. SL_ENOENT when the folder has none.
int ckpt_manifest_read(const char *uri, struct ckpt_manifest *out, struct err *err);
// For struct store_options.
int ckpt_manifest_is_ours(const void *data, size_t bytes, struct str_list *out_names,
                          struct err *err);
