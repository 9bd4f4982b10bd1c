// SPDX-License-Identifier: Apache-2.0
// A checkpoint cut into a folder of rows a server, as Fluid's transpiler deals parameters out, and
// joined again to the same bytes. (Servers of ours need no such folders: they take their rows out
// of full files. Other tools and machines without a common file system do.)
//
//   OUT/sluice.slices.json   every variable: type, shape, its pieces in order, SHA-256 of its file
//   OUT/server_K/NAME        an uncut variable; NAME.blockB a piece, rows in order of B
//   OUT/others/NAME          files that hold no variable, and the manifest
//
// A dense tensor of at least twice min_block_size elements is cut along its rows. Selected rows and
// tensors with LoD or surplus bytes stay whole.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct ckpt_view;
struct err;

#define CKPT_SLICE_MARK "sluice.slices.json"

struct ckpt_slice_done {
    size_t variables, pieces, others;
    uint64_t bytes;
};

// view: separate files. out is made, or replaced when it is a folder of this kind.
int ckpt_slice(struct ckpt_view *view, int servers, int64_t min_block_size, const char *out,
               struct ckpt_slice_done *done, struct err *err);
// dir: what ckpt_slice made. SL_ECORRUPT: a joined file differs from the one that was cut. A folder
// without a manifest gets one.
int ckpt_slice_join(const char *dir, const char *out, struct ckpt_slice_done *done,
                    struct err *err);
