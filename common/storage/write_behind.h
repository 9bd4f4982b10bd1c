// SPDX-License-Identifier: Apache-2.0
// Files written and flushed by a thread of their own, in the order they were given: while the disk
// works, the caller makes the next bytes. Nothing is durable before write_behind_drain has returned
// 0. One caller's thread.
#pragma once

#include <stddef.h>

struct err;
struct store_io;
struct write_behind;

// io is borrowed; it is called from the other thread, one call at a time.
struct write_behind *write_behind_new(const struct store_io *io);
// Waits, and closes what is open. NULL is fine.
void write_behind_free(struct write_behind *behind);

// The file that the next puts go to: fd is taken over, name (for errors) copied.
void write_behind_open(struct write_behind *behind, int fd, const char *name);
// Copies the bytes; waits only while all buffers are on their way. An error may be that of an
// earlier put: the first one is returned from then on.
int write_behind_put(struct write_behind *behind, const void *data, size_t bytes, struct err *err);
int write_behind_close(struct write_behind *behind, struct err *err);
// Waits until everything is on disk: fsync has returned for every file.
int write_behind_drain(struct write_behind *behind, struct err *err);
