// SPDX-License-Identifier: Apache-2.0
// A parameter server: runs the listen_and_serv op of a transpiled server program.
//
// serve_new takes the persistables out of the scope into the server's state (the scope's variables
// are empty meanwhile and own their last values again after serve_run, or after serve_free when it
// never ran). serve_run owns the calling
// thread: it is the loop thread, and everything but compute jobs happens on it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct op_def;
struct program;
struct scope;
struct serve;

// Where the values in the scope came from; trainers compare it across servers.
struct serve_origin {
    bool loaded;          // from a checkpoint, or fresh from the startup program
    const char *digest;   // the checkpoint's; NULL or "" when fresh
    uint64_t step;        // global step to go on from
    int64_t epoch;
    const char *progress;   // JSON text for the trainers, opaque here; NULL or "" for none
};

struct serve_options {
    const char *endpoint;         // "host:port", port 0 allowed; NULL: the op's endpoint attribute
    bool insecure;                // allows an address beyond loopback
    const char *job_id;           // NULL: none
    const char *congestion;       // TCP congestion control, NULL: the system's
    uint64_t silent_ms;           // a trainer that says nothing for so long is dead; 0 = 10 000
    uint64_t lost_ms;             // a lost connection must be back by then; 0 = 4 000
    uint64_t connect_ms;          // a trainer must be here by then; 0 = waits for ever
    int threads;                  // compute threads beside the loop; 0: blocks run on the loop
    struct serve_origin origin;   // copied
    // All may be NULL; called on the loop thread. Texts are one line without a newline.
    void (*ready)(void *self, const char *bound);    // listening on "127.0.0.1:6174"
    void (*waiting)(void *self, const char *text);   // about once a second while a step waits
    void (*notice)(void *self, const char *text);    // "trainer 1 is here from 127.0.0.1:51122"
    void (*committed)(void *self, uint64_t step);    // steps done so far, after each
    void *self;
};

// program: a server program with one listen_and_serv op in block 0 and its slice_map. All three
// outlive the serve. Checks that scope holds every persistable with its shape; plans the blocks.
// Async mode (distributed_mode other than sync) is SL_EUNSUPPORTED.
int serve_new(const struct serve_options *options, const struct program *program,
              struct scope *scope, struct serve **out, struct err *err);
void serve_free(struct serve *serve);

// Serves until every trainer has completed: 0. Else one error: a trainer died (named, with what was
// waited for), a block failed, the port is taken, serve_stop was called (SL_ESTOPPED). On an error
// the trainers that are still there are told the same text before the connections close.
int serve_run(struct serve *serve, struct err *err);
// Asks serve_run to end soon. Safe from any thread and from a signal handler.
void serve_stop(struct serve *serve);

// Only on the loop thread (in callbacks) or while serve_run is not running.
uint64_t serve_step(const struct serve *serve);          // committed steps, origin's included
uint64_t serve_state_bytes(const struct serve *serve);   // of one version
size_t serve_slices(const struct serve *serve);

struct serve_stats {
    uint64_t steps;
    uint64_t bytes_sent, bytes_received;
    uint64_t apply_ns;   // running optimize blocks
    uint64_t wait_ns;    // from a step's first push to its last barrier
    uint64_t chunks, chunks_repeated, chunks_stale, chunks_corrupt;
    uint64_t reconnects;
};
void serve_stats(const struct serve *serve, struct serve_stats *out);

// listen_and_serv: give {op_serve_table, serve} to an executor as plan_host.
extern const struct op_def *const op_serve_table[];
