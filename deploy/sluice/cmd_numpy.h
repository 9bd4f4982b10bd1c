// SPDX-License-Identifier: Apache-2.0
// numpy's files as checkpoints: a folder of NAME.npy, or one .npz of them.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ckpt/ckpt_source.h"

struct err;

struct cmd_numpy_source;

// path: an .npz file or a folder; every array becomes a variable of its name. SL_ENOENT: no array.
int cmd_numpy_open(const char *path, struct cmd_numpy_source **out, struct err *err);
const struct ckpt_source *cmd_numpy_source(const struct cmd_numpy_source *numpy);
void cmd_numpy_close(struct cmd_numpy_source *numpy);   // NULL is fine
// Does path look like one: a file NAME.npz, or a folder with .npy files?
bool cmd_numpy_is(const char *path);

// Writes the source's variables to the folder out, or (npz) to the file out; replaced as one.
// SL_EUNSUPPORTED names a variable with LoD or selected rows, which .npy cannot hold.
int cmd_numpy_save(const struct ckpt_source *source, const char *out, bool npz, uint64_t *out_bytes,
                   struct err *err);
