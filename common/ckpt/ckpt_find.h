// SPDX-License-Identifier: Apache-2.0
// Which checkpoint is meant by a folder, and is it whole.
#pragma once

#include "common/ckpt/ckpt_report.h"

struct err;
struct program;
struct str_list;

// dir is a checkpoint itself (has our manifest) or the parent of checkpoints: the newest complete
// one by the manifest's step, then epoch; or a plain Fluid folder. out_skipped (may be NULL) gets a
// line for each incomplete or damaged one passed over. SL_ENOENT: nothing there (--if_no_checkpoint
// may allow it); SL_ECORRUPT: checkpoints are there, none is complete; SL_EINVAL: only folders
// without a manifest are below it, one must be named.
int ckpt_find_newest(const char *dir, char **out_path, struct str_list *out_skipped,
                     struct err *err);
// Checks every file of dir against its manifest (sizes, sums, headers, nothing missing) and, when
// program is given, that each saved variable of it has a file that fits. The report has what
// differs. Without manifest: headers and sizes only. SL_ECORRUPT or SL_EMISMATCH: not whole.
int ckpt_find_verify(const char *dir, const struct program *program, struct ckpt_report *report,
                     struct err *err);
// Is one file of dir as its manifest says? 0 also without a manifest, or when it does not speak of
// the file. SL_ECORRUPT.
int ckpt_find_check_file(const char *dir, const char *name, struct err *err);
// What a load of program (a server's too, then with its slices) from dir would do, judged by
// headers and sizes: the report as ckpt_load fills it, nothing read or changed. SL_EMISMATCH lists
// what is missing or does not fit.
int ckpt_find_rehearse(const char *dir, const struct program *program, struct ckpt_report *report,
                       struct err *err);
