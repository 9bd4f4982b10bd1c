// SPDX-License-Identifier: Apache-2.0
// A file ready for reading at any offset: as it is, or out of gzip and through a command into an
// unnamed temporary file.
#pragma once

#include <stdint.h>

struct err;

struct unpacked {
    int fd;                // readable by pread; -1: none
    uint64_t bytes;        // behind fd
    uint64_t file_bytes;   // of the file as it lies there
};

// folder/stem followed by ending, else by ending and .gz, when that is a file (mem_free it); or
// NULL.
char *unpack_find(const char *folder, const char *stem, const char *ending);
// gzip is known by its first two bytes. command NULL: none (pipe_command.h). More than bytes_max
// unpacked bytes, a cut or broken gzip stream and a command that fails are errors that name path.
int unpack_open(const char *path, const char *command, uint64_t bytes_max, struct unpacked *out,
                struct err *err);
void unpack_close(struct unpacked *file);
