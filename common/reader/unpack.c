// SPDX-License-Identifier: Apache-2.0
// Temporary files have no name (O_TMPFILE, or unlinked at once where the file system cannot), so
// nothing is left behind however the process ends. They hold what the page cache does not, so a
// file larger than memory is fine; disc space is checked by writing.
#include "common/reader/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/reader/pipe_command.h"

#define BLOCK_BYTES (256u << 10)

static int open_regular(const char *path, int *out_fd, uint64_t *out_bytes, struct err *err);
static int temporary(const char *path, int *out_fd, struct err *err);
static int gunzip(int in, int out, const char *path, uint64_t bytes_max, uint64_t *out_bytes,
                  struct err *err);
static int copy_all(gzFile file, int out, const char *path, uint64_t bytes_max, uint64_t *out_bytes,
                    struct err *err);

char *unpack_find(const char *folder, const char *stem, const char *ending)
{
    static const char *const packings[] = {"", ".gz"};
    for (size_t i = 0; i < 2; i++) {
        char *path = mem_must_printf("%s/%s%s%s", folder, stem, ending, packings[i]);
        if (fsutil_is_file(path))
            return path;
        mem_free(path);
    }
    return NULL;
}

int unpack_open(const char *path, const char *command, uint64_t bytes_max, struct unpacked *out,
                struct err *err)
{
    struct unpacked file = {.fd = -1};
    unsigned char magic[2];
    int rc = open_regular(path, &file.fd, &file.file_bytes, err);
    if (rc < 0)
        return rc;
    file.bytes = file.file_bytes;
    bool packed =
        pread(file.fd, magic, sizeof magic, 0) == 2 && magic[0] == 0x1f && magic[1] == 0x8b;
    for (int pass = 0; pass < 2 && rc == 0; pass++) {
        if (pass == 0 ? !packed : command == NULL)
            continue;
        int fd = -1;
        rc = temporary(path, &fd, err);
        if (rc == 0 && pass == 0)
            rc = gunzip(file.fd, fd, path, bytes_max, &file.bytes, err);
        else if (rc == 0)
            rc = pipe_command_run(command, file.fd, fd, bytes_max, path, &file.bytes, err);
        close(file.fd);
        file.fd = fd;
    }
    if (rc < 0)
        unpack_close(&file);
    else
        *out = file;
    return rc;
}

void unpack_close(struct unpacked *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

static int open_regular(const char *path, int *out_fd, uint64_t *out_bytes, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return err_set(err, errno == ENOENT ? SL_ENOENT : SL_EIO, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return err_set(err, SL_EINVAL, "%s: is not a regular file", path);
    }
    *out_fd = fd;
    *out_bytes = (uint64_t)st.st_size;
    return 0;
}

static int temporary(const char *path, int *out_fd, struct err *err)
{
    const char *folder = getenv("TMPDIR");
    if (!folder || !*folder)
        folder = "/tmp";
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        char *name = mem_must_printf("%s/sluice-XXXXXX", folder);
        fd = mkostemp(name, O_CLOEXEC);
        if (fd >= 0)
            unlink(name);
        mem_free(name);
    }
    if (fd < 0)
        return err_set(err, SL_EIO,
                       "%s: no temporary file in %s to unpack it into: %s (TMPDIR chooses another "
                       "folder)",
                       path, folder, strerror(errno));
    *out_fd = fd;
    return 0;
}

static int gunzip(int in, int out, const char *path, uint64_t bytes_max, uint64_t *out_bytes,
                  struct err *err)
{
    int copy = fcntl(in, F_DUPFD_CLOEXEC, 0);
    if (copy >= 0)
        (void)lseek(copy, 0, SEEK_SET);
    gzFile file = copy >= 0 ? gzdopen(copy, "rb") : NULL;
    if (!file) {
        if (copy >= 0)
            close(copy);
        return err_set(err, SL_EIO, "%s: cannot open: %s", path, strerror(errno));
    }
    int rc = copy_all(file, out, path, bytes_max, out_bytes, err);
    int closed = gzclose_r(file);
    if (rc == 0 && closed == Z_BUF_ERROR)
        rc = err_set(err, SL_EFORMAT, "%s: the gzip stream is cut short after %llu unpacked bytes",
                     path, (unsigned long long)*out_bytes);
    return rc;
}

static int copy_all(gzFile file, int out, const char *path, uint64_t bytes_max, uint64_t *out_bytes,
                    struct err *err)
{
    int rc = 0, got;
    uint64_t bytes = 0;
    char *block = mem_must_calloc(1, BLOCK_BYTES);
    gzbuffer(file, BLOCK_BYTES);
    while ((got = gzread(file, block, BLOCK_BYTES)) > 0 && rc == 0) {
        bytes += (unsigned)got;
        rc = bytes <= bytes_max
                 ? fsutil_write_all(out, block, (size_t)got, "temporary file", err)
                 : err_set(err, SL_ELIMIT,
                           "more than %llu bytes when unpacked (--unpacked_max allows more)",
                           (unsigned long long)bytes_max);
        if (rc < 0)
            err_prefix(err, "%s", path);
    }
    if (rc == 0 && got < 0) {
        int code = 0;
        const char *why = gzerror(file, &code);
        rc = err_set(err, code == Z_ERRNO ? SL_EIO : SL_EFORMAT,
                     "%s: broken gzip stream after %llu unpacked bytes: %s", path,
                     (unsigned long long)bytes,
                     code == Z_ERRNO       ? strerror(errno)
                     : code == Z_BUF_ERROR ? "it is cut short"
                                           : why);
    }
    mem_free(block);
    *out_bytes = bytes;
    return rc;
}
