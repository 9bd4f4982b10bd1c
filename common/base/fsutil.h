// SPDX-License-Identifier: Apache-2.0
// Files: whole reads with a cap, durable writes, folders, SHA-256. All errors name the path.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/str.h"

struct buf;
struct err;

#define FSUTIL_SHA256_HEX 65   // 64 digits and the NUL

// Reads a whole regular file of at most bytes_max bytes into out (cleared first).
int fsutil_read(const char *path, size_t bytes_max, struct buf *out, struct err *err);
// Writes path + ".tmp", fsyncs, renames over path, fsyncs the folder. A link, a device or a pipe
// that is there (/dev/stdout, /dev/null) is written into and never replaced.
int fsutil_write_atomic(const char *path, const void *data, size_t bytes, struct err *err);
int fsutil_mkdirs(const char *path, struct err *err);                // like mkdir -p
int fsutil_fsync_dir(const char *path, struct err *err);
// Removes a file or a folder with all that is in it; never follows links; missing is fine.
int fsutil_remove_tree(const char *path, struct err *err);
bool fsutil_is_dir(const char *path);
bool fsutil_is_file(const char *path);
int fsutil_list(const char *path, struct str_list *out_names, struct err *err);   // sorted, no . ..
// dir + "/" + name; mem_free it.
char *fsutil_join(const char *dir, const char *name);
// Is name usable below a folder: components split at '/', none empty, "." or "..", none over 255
// bytes, the whole not absolute and under LIMIT_PATH_BYTES? SL_EINVAL with the reason.
int fsutil_check_relative(const char *name, struct err *err);
// Opens dir/name (checked as above) beneath dir without following any link (openat2). Returns the
// descriptor; flags and mode as open(2); missing sub-folders are made when O_CREAT is among flags.
int fsutil_open_beneath(const char *dir, const char *name, int flags, int mode, struct err *err);
// Tests: behaves like a kernel without openat2 (the walk over the components does the same).
void fsutil_without_openat2(bool without);
// path is for the error text only. A file that ends too early is SL_EFORMAT.
int fsutil_pread_all(int fd, void *out, size_t bytes, uint64_t offset, const char *path,
                     struct err *err);
int fsutil_write_all(int fd, const void *data, size_t bytes, const char *path, struct err *err);
// out_bytes (may be NULL) gets the length of the file.
int fsutil_sha256_file(const char *path, char out_hex[FSUTIL_SHA256_HEX], uint64_t *out_bytes,
                       struct err *err);

// Streaming SHA-256 (OpenSSL behind it).
struct fsutil_sha256;
struct fsutil_sha256 *fsutil_sha256_new(void);
void fsutil_sha256_add(struct fsutil_sha256 *sha, const void *data, size_t bytes);
// Frees sha too.
void fsutil_sha256_end(struct fsutil_sha256 *sha, char out_hex[FSUTIL_SHA256_HEX]);
