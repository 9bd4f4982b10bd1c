// SPDX-License-Identifier: Apache-2.0
// The program that save_inference_model writes.
#pragma once

struct err;
struct program;
struct str_list;

// What program needs to make targets from feeds, ready to be saved: pruned, is_test set in every
// operator that has it, a `scale` by 1 for each target (save_infer_model/scale_<i>.tmp_<k>, names
// in out_names, in order), feed operators in front (the last column first, as Fluid stores them)
// and fetch operators behind. Feed, fetch and read operators of program do not count; a transpiled
// table lookup becomes a local one again. program stays as it is; the caller frees *out.
// SL_ENOENT: a feed or target that is no variable of block 0; SL_EINVAL: a target that nothing
// makes, or something must be fed that is not in feeds (all of it is listed).
int prune_inference(const struct program *program, const struct str_list *feeds,
                    const struct str_list *targets, struct program **out,
                    struct str_list *out_names, struct err *err);
// The variables that the feed (fetch) operators of block 0 name, in order of their columns.
void prune_feeds(const struct program *program, struct str_list *out);
void prune_fetches(const struct program *program, struct str_list *out);
