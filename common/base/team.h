// SPDX-License-Identifier: Apache-2.0
// A fixed number of threads that do one thing together, again and again: fork and join. For jobs
// that come singly there is workers.h.
#pragma once

struct team;

#define TEAM_MEMBERS_MAX 64

typedef void (*team_fn)(void *arg, int member);

// The caller of team_run is member 0; members - 1 threads are made (1..TEAM_MEMBERS_MAX).
struct team *team_new(int members);
void team_free(struct team *team);
// run(arg, m) once for every member m, each on a thread of its own; returns when all have returned.
// One caller at a time.
void team_run(struct team *team, team_fn run, void *arg);
