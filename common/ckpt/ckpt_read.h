// SPDX-License-Identifier: Apache-2.0
// The second step of a load: the data of the wanted variables into fresh tensors. Of a file that
// the manifest lists the sums are checked: of a whole file its SHA-256, of a file of which a server
// takes its rows only the blocks that hold them (and the header's), so that no server reads more
// than its part. What was summed is what is used: no byte is read twice.
#pragma once

#include <stdbool.h>

#include "common/ckpt/ckpt_want.h"

struct err;
struct store_file;

// Fills the fresh variable of each want that is taken. A file whose sum differs becomes
// CKPT_DIFFERS, with all that share it, and sets *out_damaged; other errors end it.
int ckpt_read_all(const struct ckpt_folder *folder, struct ckpt_wants *wants, bool *out_damaged,
                  struct err *err);
// SL_ECORRUPT when the SHA-256 of the whole file is another one.
int ckpt_read_sum(struct store_file *file, const char *sum, struct err *err);
