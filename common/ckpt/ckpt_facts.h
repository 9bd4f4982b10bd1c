// SPDX-License-Identifier: Apache-2.0
// What a manifest says of the job that saved: for people, and to tell another network.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct op_desc;
struct program;

struct ckpt_facts {
    int servers;    // that held the variables; 0: one process
    int trainers;   // 0: not known
    bool has_counter;
    int64_t counter;     // @LR_DECAY_COUNTER@, taken from what was saved
    uint64_t *forward;   // of the network, a number an operator (forward_hash.h); owned
    size_t forward_count;
};

void ckpt_facts_init(struct ckpt_facts *facts);
void ckpt_facts_deinit(struct ckpt_facts *facts);
void ckpt_facts_copy(struct ckpt_facts *dst, const struct ckpt_facts *src);   // dst initialised
// The network's hashes from any program of the job that has its forward part.
void ckpt_facts_network(struct ckpt_facts *facts, const struct program *program);
// Adds the operators of another network whose variables share the folder.
void ckpt_facts_add_network(struct ckpt_facts *facts, const struct ckpt_facts *more);
// One line of JSON, and back. name stands in errors. SL_EFORMAT.
int ckpt_facts_format(const struct ckpt_facts *facts, struct buf *out);
int ckpt_facts_parse(const char *text, size_t bytes, const char *name, struct ckpt_facts *out,
                     struct err *err);
// Is program's forward part the one that was saved, or a part of it? 0, or SL_EMISMATCH with the
// operators that the saved network has not. Without hashes every network passes.
int ckpt_facts_check_network(const struct ckpt_facts *facts, const struct program *program,
                             struct err *err);
