// SPDX-License-Identifier: Apache-2.0
// Folders by descriptor, for store_local.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct err;
struct map;
struct store_io;

#define FOLDER_TEMP_TAG ".sluice-"      // begins or is inside the names of our temporary folders
#define FOLDER_DEPTH_MAX 64

// errno as our code: "<path>: cannot <what>: <why>".
int folder_fail(struct err *err, const char *what, const char *path);
// A descriptor, or -1 and errno.
int folder_open(const char *path);
// A descriptor of the folder that holds name below root_fd, links refused, or -1 and errno;
// *out_last is the last component. create makes what is missing on the way.
int folder_open_parent(int root_fd, const char *name, bool create, const char **out_last);
// Calls visit for all below dir_fd, a folder before what is in it, our temporary folders left out.
// Stops with what visit returns when that is not 0; -1 when something cannot be read. Begin with
// prefix "" and depth 0; a depth of FOLDER_DEPTH_MAX shows the first level only, hidden names left
// out.
int folder_walk(int dir_fd, const char *prefix, int depth,
                int (*visit)(void *self, const char *name, bool folder), void *self);
int folder_write(const struct store_io *io, int fd, const void *data, size_t bytes,
                 const char *shown, struct err *err);
int folder_sync(const struct store_io *io, int fd, const char *shown, struct err *err);
// Flushes the folders that hold the files named by the keys of names, and the root.
int folder_sync_tree(const struct store_io *io, int root_fd, const struct map *names,
                     const char *shown, struct err *err);
bool folder_is_mount_point(const char *path);
// Removes the sub-folders of home that begin with prefix and that nobody has locked: their writers
// died.
void folder_remove_leftovers(const char *home, const char *prefix);
