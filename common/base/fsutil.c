// SPDX-License-Identifier: Apache-2.0
// Files and folders. Reads are bounded, writes are whole (EINTR and short writes are gone on with),
// and a durable write is: write beside, fsync, rename, fsync the folder. A name that came from a
// program or a peer is opened beneath a folder only, and no link on the way is followed: by openat2
// where the kernel has it, else component by component with O_NOFOLLOW.
// No state, any thread.
#include "common/base/fsutil.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"

#define COMPONENT_BYTES_MAX 255
#define TREE_DEPTH_MAX 256
#define SHA_CHUNK_BYTES (1u << 20)

static atomic_bool openat2_missing;

static int fail(struct err *err, const char *what, const char *path);
static int write_into(const char *path, const void *data, size_t bytes, struct err *err);
static int open_retry(const char *path, int flags, int mode);
static int make_parents(int dir_fd, char *name, struct err *err, const char *shown);
static int open_by_walk(int dir_fd, const char *name, int flags, int mode);
static int open_by_openat2(int dir_fd, const char *name, int flags, int mode);
static int remove_entry(int dir_fd, const char *name, int depth, const char *shown,
                        struct err *err);

int fsutil_read(const char *path, size_t bytes_max, struct buf *out, struct err *err)
{
    buf_clear(out);
    int fd = open_retry(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);   // a pipe would block
    if (fd < 0)
        return fail(err, "open", path);
    int rc = 0;
    struct stat st;
    if (fstat(fd, &st) != 0) {
        rc = fail(err, "stat", path);
    } else if (!S_ISREG(st.st_mode)) {
        rc = err_set(err, SL_EINVAL, "%s: is not a regular file", path);
    } else if ((uint64_t)st.st_size > bytes_max) {
        rc = err_set(err, SL_ELIMIT, "%s: %lld bytes, more than the %zu that are allowed here",
                     path, (long long)st.st_size, bytes_max);
    } else if ((rc = buf_reserve(out, (size_t)st.st_size)) != 0) {
        err_set(err, rc, "%s: no memory for %lld bytes", path, (long long)st.st_size);
    } else {
        rc = fsutil_pread_all(fd, out->data, (size_t)st.st_size, 0, path, err);
        if (!rc)
            out->bytes = (size_t)st.st_size;
        buf_text(out);
    }
    close(fd);
    return rc;
}

int fsutil_write_atomic(const char *path, const void *data, size_t bytes, struct err *err)
{
    struct stat there;
    if (lstat(path, &there) == 0 && !S_ISREG(there.st_mode) && !S_ISDIR(there.st_mode))
        return write_into(path, data, bytes, err);
    char *beside = mem_must_printf("%s.tmp", path);
    int rc = 0;
    int fd = open_retry(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) {
        rc = fail(err, "create", beside);
        mem_free(beside);
        return rc;
    }
    rc = fsutil_write_all(fd, data, bytes, beside, err);
    if (!rc && fsync(fd) != 0)
        rc = fail(err, "fsync", beside);
    if (close(fd) != 0 && !rc)
        rc = fail(err, "close", beside);
    if (!rc && rename(beside, path) != 0)
        rc = fail(err, "rename into", path);
    if (rc) {
        unlink(beside);
    } else {
        const char *slash = strrchr(path, '/');
        size_t dir_bytes = slash ? (size_t)(slash - path) : 1;
        char *dir = mem_must_strndup(slash ? path : ".", dir_bytes ? dir_bytes : 1);
        rc = fsutil_fsync_dir(dir, err);
        mem_free(dir);
    }
    mem_free(beside);
    return rc;
}

static int write_into(const char *path, const void *data, size_t bytes, struct err *err)
{
    int fd = open_retry(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd < 0)
        return fail(err, "open", path);
    int rc = fsutil_write_all(fd, data, bytes, path, err);
    if (close(fd) != 0 && !rc)
        rc = fail(err, "close", path);
    return rc;
}

int fsutil_mkdirs(const char *path, struct err *err)
{
    if (!*path)
        return err_set(err, SL_EINVAL, "the name of a folder is empty");
    char *part = mem_must_strdup(path);
    int rc = 0;
    for (char *at = part + 1;; at++) {
        if (*at && *at != '/')
            continue;
        char kept = *at;
        *at = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            rc = fail(err, "create folder", part);
        else if (!fsutil_is_dir(part))
            rc = err_set(err, SL_EEXIST, "%s: exists and is not a folder", part);
        *at = kept;
        if (rc || !kept)
            break;
    }
    mem_free(part);
    return rc;
}

int fsutil_fsync_dir(const char *path, struct err *err)
{
    int fd = open_retry(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return fail(err, "open folder", path);
    int rc = fsync(fd) == 0 ? 0 : fail(err, "fsync folder", path);
    close(fd);
    return rc;
}

int fsutil_remove_tree(const char *path, struct err *err)
{
    return remove_entry(AT_FDCWD, path, 0, path, err);
}

bool fsutil_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool fsutil_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

int fsutil_list(const char *path, struct str_list *out_names, struct err *err)
{
    DIR *dir = opendir(path);
    if (!dir)
        return fail(err, "open folder", path);
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)) != NULL)
        if (!str_eq(entry->d_name, ".") && !str_eq(entry->d_name, ".."))
            str_list_add(out_names, entry->d_name);
    int rc = errno ? fail(err, "read folder", path) : 0;
    closedir(dir);
    str_list_sort(out_names);
    return rc;
}

char *fsutil_join(const char *dir, const char *name)
{
    return mem_must_printf("%s%s%s", dir, *dir && !str_ends_with(dir, "/") ? "/" : "", name);
}

int fsutil_check_relative(const char *name, struct err *err)
{
    size_t bytes = strlen(name);
    if (bytes == 0)
        return err_set(err, SL_EINVAL, "an empty name cannot be a file");
    if (bytes >= LIMIT_PATH_BYTES)
        return err_set(err, SL_EINVAL, "name of %zu bytes cannot be a file: at most %d", bytes,
                       LIMIT_PATH_BYTES - 1);
    if (*name == '/')
        return err_set(err, SL_EINVAL, "name `%s` cannot be a file here: it is absolute", name);
    for (const char *at = name;;) {
        size_t part = strcspn(at, "/");
        const char *why = NULL;
        if (part == 0)
            why = "it has an empty component";
        else if ((part == 1 && at[0] == '.') || (part == 2 && at[0] == '.' && at[1] == '.'))
            why = "it has a component `.` or `..`";
        else if (part > COMPONENT_BYTES_MAX)
            why = "it has a component over 255 bytes";
        if (why)
            return err_set(err, SL_EINVAL, "name `%s` cannot be a file here: %s", name, why);
        if (!at[part])
            return 0;
        at += part + 1;
    }
}

int fsutil_open_beneath(const char *dir, const char *name, int flags, int mode, struct err *err)
{
    int rc = fsutil_check_relative(name, err);
    if (rc)
        return rc;
    int dir_fd = open_retry(dir, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (dir_fd < 0)
        return fail(err, "open folder", dir);
    char *shown = fsutil_join(dir, name);
    if (flags & O_CREAT) {
        char *parts = mem_must_strdup(name);
        rc = make_parents(dir_fd, parts, err, shown);
        mem_free(parts);
    }
    int fd = -1;
    if (!rc) {
        errno = ENOSYS;
        if (!atomic_load(&openat2_missing))
            fd = open_by_openat2(dir_fd, name, flags | O_CLOEXEC, mode);
        if (fd < 0 && errno == ENOSYS)
            fd = open_by_walk(dir_fd, name, flags | O_CLOEXEC, mode);
        if (fd < 0 && (errno == ELOOP || errno == EXDEV))
            rc = err_set(err, SL_EREFUSED, "%s: refused, a link is on the way", shown);
        else if (fd < 0)
            rc = fail(err, "open", shown);
    }
    mem_free(shown);
    close(dir_fd);
    return rc ? rc : fd;
}

void fsutil_without_openat2(bool without)
{
    atomic_store(&openat2_missing, without);
}

int fsutil_pread_all(int fd, void *out, size_t bytes, uint64_t offset, const char *path,
                     struct err *err)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t got = pread(fd, (char *)out + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(err, "read", path);
        if (got == 0)
            return err_set(err, SL_EFORMAT, "%s: ends at byte %llu, %zu more were expected", path,
                           (unsigned long long)(offset + done), bytes - done);
        done += (size_t)got;
    }
    return 0;
}

int fsutil_write_all(int fd, const void *data, size_t bytes, const char *path, struct err *err)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t wrote = write(fd, (const char *)data + done, bytes - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return fail(err, "write", path);
        done += (size_t)wrote;
    }
    return 0;
}

int fsutil_sha256_file(const char *path, char out_hex[FSUTIL_SHA256_HEX], uint64_t *out_bytes,
                       struct err *err)
{
    int fd = open_retry(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fail(err, "open", path);
    char *chunk = mem_alloc(SHA_CHUNK_BYTES);
    if (!chunk) {
        close(fd);
        return err_set(err, SL_ENOMEM, "%s: no memory to read it", path);
    }
    struct fsutil_sha256 *sha = fsutil_sha256_new();
    uint64_t total = 0;
    int rc = 0;
    for (;;) {
        ssize_t got = read(fd, chunk, SHA_CHUNK_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            rc = fail(err, "read", path);
        if (got <= 0)
            break;
        fsutil_sha256_add(sha, chunk, (size_t)got);
        total += (uint64_t)got;
    }
    char hex[FSUTIL_SHA256_HEX];
    fsutil_sha256_end(sha, hex);
    if (!rc) {
        memcpy(out_hex, hex, sizeof hex);
        if (out_bytes)
            *out_bytes = total;
    }
    mem_free(chunk);
    close(fd);
    return rc;
}

// OpenSSL's context under our own name, so that its type stays in this file.
struct fsutil_sha256 *fsutil_sha256_new(void)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    ASSERT(context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1);
    return (struct fsutil_sha256 *)context;
}

void fsutil_sha256_add(struct fsutil_sha256 *sha, const void *data, size_t bytes)
{
    ASSERT(EVP_DigestUpdate((EVP_MD_CTX *)sha, data, bytes) == 1);
}

void fsutil_sha256_end(struct fsutil_sha256 *sha, char out_hex[FSUTIL_SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int bytes = 0;
    ASSERT(EVP_DigestFinal_ex((EVP_MD_CTX *)sha, digest, &bytes) == 1 && bytes == 32);
    EVP_MD_CTX_free((EVP_MD_CTX *)sha);
    for (unsigned int i = 0; i < bytes; i++) {
        out_hex[2 * i] = digits[digest[i] >> 4];
        out_hex[2 * i + 1] = digits[digest[i] & 15];
    }
    out_hex[2 * bytes] = 0;
}

// errno as our code, with what could not be done to which path.
static int fail(struct err *err, const char *what, const char *path)
{
    int code = SL_EIO, number = errno;
    if (number == ENOENT || number == ENOTDIR)
        code = SL_ENOENT;
    else if (number == EEXIST || number == ENOTEMPTY)
        code = SL_EEXIST;
    else if (number == ENOMEM)
        code = SL_ENOMEM;
    else if (number == EACCES || number == EPERM || number == EROFS)
        code = SL_EREFUSED;
    return err_set(err, code, "%s: cannot %s: %s", path, what, strerror(number));
}

static int open_retry(const char *path, int flags, int mode)
{
    int fd;
    do {
        fd = open(path, flags, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

// Makes the folders of name beneath dir_fd. name is cut up while this runs.
static int make_parents(int dir_fd, char *name, struct err *err, const char *shown)
{
    int at_fd = dir_fd, rc = 0;
    for (char *slash; !rc && (slash = strchr(name, '/')) != NULL; name = slash + 1) {
        *slash = 0;
        if (mkdirat(at_fd, name, 0777) != 0 && errno != EEXIST) {
            rc = fail(err, "create its folder", shown);
            break;
        }
        int next = openat(at_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0)
            rc = err_set(err, SL_EREFUSED, "%s: refused, `%s` on the way is a link or no folder",
                         shown, name);
        if (at_fd != dir_fd)
            close(at_fd);
        at_fd = next;
    }
    if (at_fd >= 0 && at_fd != dir_fd)
        close(at_fd);
    return rc;
}

static int open_by_openat2(int dir_fd, const char *name, int flags, int mode)
{
    struct open_how how = {
        .flags = (unsigned int)flags,
        .mode = flags & O_CREAT ? (unsigned int)mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long fd;
    do {
        fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof how);
    } while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    return (int)fd;
}

// The same without openat2: each folder is opened by itself, and never through a link.
static int open_by_walk(int dir_fd, const char *name, int flags, int mode)
{
    int at_fd = dir_fd;
    char part[COMPONENT_BYTES_MAX + 1];
    const char *slash;
    while ((slash = strchr(name, '/')) != NULL) {
        memcpy(part, name, (size_t)(slash - name));
        part[slash - name] = 0;
        struct stat st;
        int next = -1, number;
        if (fstatat(at_fd, part, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
            errno = ELOOP;
        else
            next = openat(at_fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        number = errno;
        if (at_fd != dir_fd)
            close(at_fd);
        if (next < 0) {
            errno = number;
            return -1;
        }
        at_fd = next;
        name = slash + 1;
    }
    int fd;
    do {
        fd = openat(at_fd, name, flags | O_NOFOLLOW, mode);
    } while (fd < 0 && errno == EINTR);
    int number = errno;
    if (at_fd != dir_fd)
        close(at_fd);
    errno = number;
    return fd;
}

static int remove_entry(int dir_fd, const char *name, int depth, const char *shown, struct err *err)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return fail(err, "remove", shown);
    if (depth >= TREE_DEPTH_MAX)
        return err_set(err, SL_ELIMIT, "%s: folders are nested over %d deep", shown,
                       TREE_DEPTH_MAX);
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail(err, "open folder", shown);
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int rc = fail(err, "open folder", shown);
        close(fd);
        return rc;
    }
    struct dirent *entry;
    int rc = 0;
    while (!rc && (errno = 0, (entry = readdir(dir)) != NULL)) {
        if (str_eq(entry->d_name, ".") || str_eq(entry->d_name, ".."))
            continue;
        char *inner = fsutil_join(shown, entry->d_name);
        rc = remove_entry(fd, entry->d_name, depth + 1, inner, err);
        mem_free(inner);
    }
    closedir(dir);
    if (!rc && unlinkat(dir_fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        rc = fail(err, "remove", shown);
    return rc;
}
