// SPDX-License-Identifier: Apache-2.0
// Folders of files at a URI, written as one: begin, put file after file, commit. Until commit
// nothing that existed has changed; after it all files are there. The scheme of the URI chooses the
// kind of store (store.c has the table); no scheme or file:// is the local file system.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/str.h"

struct err;
struct store_writer;
struct store_file;

// The calls that make data durable, apart so that tests can fail the N-th one.
struct store_io {
    ssize_t (*write)(int fd, const void *data, size_t bytes);
    int (*fsync)(int fd);
    int (*rename)(int from_dir, const char *from, int to_dir, const char *to,
                  unsigned flags);   // renameat2
};

// What happens to a folder that is there already.
enum store_mode {
    STORE_REPLACE,   // only a folder of ours (see is_ours) or an empty one is replaced; else
                     // SL_EEXIST
    STORE_INTO,      // files go into it, files that we do not write stay
};

struct store_options {
    enum store_mode mode;
    const char *mark;   // file that makes a folder ours; written last, by store_commit; reserved
    // Judges the bytes of a mark: 0 when ours, and adds the names of the files it speaks of. NULL:
    // any.
    int (*is_ours)(const void *data, size_t bytes, struct str_list *out_names, struct err *err);
    // Written as the mark while files are replaced one by one, where a folder cannot be exchanged
    // whole (a mount point): a reader refuses such a folder. NULL: none.
    const char *busy_mark;
    const struct store_io *io;      // NULL: the system's
};

// Starts a write of the folder at uri (its parents are made). Borrows what options point at.
// SL_EEXIST: what is there is not ours. SL_EUNSUPPORTED: scheme.
int store_begin(const char *uri, const struct store_options *options, struct store_writer **out,
                struct err *err);
// One file after another: open, write any number of times, close. What cannot be written is told by
// a later call, at last by store_commit, which flushes everything to disk. name is relative
// (fsutil_check_relative), may have sub-folders, must not be the mark nor start with its name.
int store_put_open(struct store_writer *writer, const char *name, struct err *err);
int store_put_write(struct store_writer *writer, const void *data, size_t bytes, struct err *err);
int store_put_close(struct store_writer *writer, struct err *err);
// Writes the mark with these bytes and makes everything visible and durable. On an error the old
// folder is as it was. Frees nothing.
int store_commit(struct store_writer *writer, const void *mark, size_t mark_bytes, struct err *err);
// Ends a write: removes what was not committed. NULL is fine.
void store_end(struct store_writer *writer);

// A single small file, replaced as one and durable.
int store_write_file(const char *uri, const char *name, const void *data, size_t bytes,
                     const struct store_io *io, struct err *err);
// Removes a folder of ours. SL_EREFUSED when it holds files that its mark does not speak of.
int store_remove(const char *uri, const struct store_options *options, struct err *err);

// Reading. All regular files below uri, sorted, sub-folders as "sub/name", hidden temporary
// folders left out, links never followed. SL_ENOENT when uri is no folder.
int store_list(const char *uri, struct str_list *out_names, struct err *err);
// Sub-folders directly below uri, sorted.
int store_list_folders(const char *uri, struct str_list *out_names, struct err *err);
bool store_is_folder(const char *uri);
int store_open(const char *uri, const char *name, struct store_file **out, struct err *err);
uint64_t store_file_bytes(const struct store_file *file);
const char *store_file_name(const struct store_file *file);      // uri/name, for errors
// Fills exactly bytes or fails (SL_EIO, SL_EFORMAT past the end).
int store_file_read(struct store_file *file, uint64_t offset, void *out, size_t bytes,
                    struct err *err);
void store_file_close(struct store_file *file);
