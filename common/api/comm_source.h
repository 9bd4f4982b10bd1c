// SPDX-License-Identifier: Apache-2.0
// What the servers hold, as a source for ckpt_save: parameters and optimizer state are read row by
// row from whichever servers have them, so no process ever holds a whole checkpoint.
#pragma once

struct ckpt_source;
struct comm;
struct err;
struct scope;
struct str_list;

// names NULL: every parameter and state that the servers hold, and what they loaded for the
// trainers. Else these variables: from the servers those that live there, the others from local
// (statistics that only trainers have; SL_ENOENT lists what neither holds). comm, local and names
// stay as they are until the source is freed. Pin a version (comm_pin) around the save, so that all
// rows belong to one step.
int comm_source_new(struct comm *comm, const struct scope *local, const struct str_list *names,
                    struct ckpt_source **out, struct err *err);
void comm_source_free(struct ckpt_source *source);   // NULL is fine
