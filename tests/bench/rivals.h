// SPDX-License-Identifier: Apache-2.0
// Rivals of a benchmark: each has servers and trainers, every one a process; all stay alive and
// take turns of a few steps, so that the load of the machine meets all.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RIVALS_MAX 4   // trainers, servers
#define RIVALS_STEPS_MAX 10000

struct rivals_shape {
    int trainers, servers;
};

struct rival;
struct rival_ops {
    const char *name;
    bool toy;   // its servers listen on a socket that is made for them; others tell an endpoint
    // In a process each; a server writes its endpoint (64 bytes) to tell when it is no toy.
    void (*server)(int index, int listener, int tell);
    void (*trainer)(int id, const int *ports, const char *const *endpoints, int go, int done);
};

struct rival {
    const struct rival_ops *ops;
    int go[RIVALS_MAX];     // the parent tells a trainer how many steps
    int done[RIVALS_MAX];   // trainer 0 tells how long each took, the others one number
    pid_t pids[2 * RIVALS_MAX];
    int pids_count;
    double cpu_ms;
    double *ms;
    size_t ms_count;
};

extern struct rivals_shape rivals_shape;

// ---- the parent
// Starts all, lets them take rounds turns of steps each, ends them. 0, or 1 when one failed.
int rivals_race(struct rival *rivals, int count, long rounds, long steps);
double rivals_median_ms(const struct rival *rival);
double rivals_least_ms(const struct rival *rival);
void rivals_print(const struct rival *rival);   // "name": {...},

// ---- a trainer
// Runs step as often as the parent says, until it says 0.
void rivals_serve_parent(int go, int done, bool timed, void (*step)(void *self), void *self);

// ---- sockets and memory; they end the process when they fail
_Noreturn void rivals_die(const char *what);
void rivals_read(int fd, void *data, size_t bytes);
void rivals_write(int fd, const void *data, size_t bytes);
float *rivals_floats(uint64_t count, float value);
void rivals_tune(int fd);
int rivals_connect(int port, int id);             // as trainer id
void rivals_accept(int listener, int *out_fds);   // of all trainers, by id
