// SPDX-License-Identifier: Apache-2.0
// Saving: one Fluid file a variable (or one combined file), streamed with bounded memory, SHA-256
// taken while writing, manifest last, visible as one.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/fsutil.h"
#include "common/ckpt/ckpt_facts.h"
#include "common/ckpt/ckpt_progress.h"
#include "common/ckpt/ckpt_source.h"
#include "common/storage/store.h"

struct err;
struct str_list;

// A file of the folder that holds no variables: a program.
struct ckpt_blob {
    const char *name;
    const void *data;
    size_t bytes;
};

struct ckpt_save_options {
    bool into;   // the API's save: INTO dir, foreign files stay; else dir is replaced as a whole
    const char *filename;   // Fluid's filename=: one combined file; NULL: a file a variable
    // fluid.save: pickled, the variables named in pickle_params to <pickle>.pdparams, the others to
    // <pickle>.pdopt; dense ones only. NULL: Fluid's tensor files.
    const char *pickle;
    const struct str_list *pickle_params;
    const struct ckpt_blob *blobs;   // written too, listed as no variables
    size_t blobs_count;
    const struct ckpt_progress *progress;   // NULL: none
    const struct ckpt_facts *facts;         // NULL: none; its counter is filled in here
    bool allow_non_finite;       // default: a NaN or infinity in a variable refuses the save
    const struct store_io *io;   // tests; NULL
};

struct ckpt_saved {
    char *path;   // the folder
    size_t variables;
    uint64_t bytes;   // of the variable files
    char digest[FSUTIL_SHA256_HEX];
    char *note;   // what went wrong after the commit (old folders not removed), or NULL
};

// dir is a path or URI. Errors: SL_EEXIST (not ours), SL_EREFUSED (non-finite: names the variable),
// SL_EIO, whatever the source returns; the folder is then as it was.
int ckpt_save(const struct ckpt_source *source, const char *dir,
              const struct ckpt_save_options *options, struct ckpt_saved *out, struct err *err);
// Into save_dir/name ("epoch_3", "step_1404"), then save_dir/LATEST, then keeps the newest `keep`
// folders of ours named epoch_N or step_N (0: all). A failure after the commit is a note, not an
// error.
int ckpt_save_series(const struct ckpt_source *source, const char *save_dir, const char *name,
                     int keep, const struct ckpt_save_options *options, struct ckpt_saved *out,
                     struct err *err);
// Can save_dir be made and written? For the start of a run, before any work is done.
int ckpt_save_check(const char *save_dir, struct err *err);
void ckpt_save_deinit(struct ckpt_saved *saved);
