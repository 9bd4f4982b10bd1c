// SPDX-License-Identifier: Apache-2.0
// What the calls that save and load have in common: who may, from where, and what is reported.
#pragma once

#include "common/ckpt/ckpt_load.h"
#include "common/ckpt/ckpt_save.h"

struct api_executor;
struct err;
struct program;
struct sl_error;
struct sl_load_options;
struct sl_load_report;
struct str_list;

// Saves the variables called names INTO dirname, from this scope or from the servers. program says
// whose part of the job this is (a trainer's, or of one process) and what the network is. how: its
// into, progress and facts are filled in here. Returns SL_SKIPPED, with err's text, on a trainer
// other than 0.
int api_io_save(struct api_executor *exe, const char *dirname, const struct program *program,
                const struct str_list *names, const struct ckpt_save_options *how, struct err *err);
// Persistables of program and, in a distributed job, of the servers; or Parameters only.
void api_io_names(const struct api_executor *exe, const struct program *program, bool params_only,
                  struct str_list *out);
// Opens the connection to the servers when program is a trainer's. SL_SKIPPED as above.
int api_io_prepare(struct api_executor *exe, const char *dirname, const struct program *program,
                   struct err *err);

// Loads as how says, with what the caller's options (NULL: defaults) add: except, partial,
// filename. Fills report (may be NULL) and the executor's items.
int api_load_into(struct api_executor *exe, const char *dirname, const struct program *program,
                const struct ckpt_load_options *how, const struct sl_load_options *options,
                struct sl_load_report *report, struct err *err);
// Copies *from to the public error when rc is not 0 (a skipped save has a text, too). Returns rc.
int api_io_give(struct sl_error *to, const struct err *from, int rc);
