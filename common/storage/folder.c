// SPDX-License-Identifier: Apache-2.0
// Folders by descriptor: what is below is reached component by component and no link is followed,
// so a name that was checked cannot lead elsewhere. Writes and flushes go through struct store_io.
// No state, any thread.
#include "common/storage/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/storage/store.h"

int folder_fail(struct err *err, const char *what, const char *path)
{
    int number = errno, code = SL_EIO;
    if (number == ENOENT || number == ENOTDIR)
        code = SL_ENOENT;
    else if (number == EACCES || number == EPERM || number == EROFS)
        code = SL_EREFUSED;
    return err_set(err, code, "%s: cannot %s: %s", path, what, strerror(number));
}

int folder_open(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int folder_open_parent(int root_fd, const char *name, bool create, const char **out_last)
{
    int fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *slash;
    while (fd >= 0 && (slash = strchr(name, '/')) != NULL) {
        char part[NAME_MAX + 1];
        size_t bytes = (size_t)(slash - name);
        int next = -1;
        if (bytes < sizeof part) {
            memcpy(part, name, bytes);
            part[bytes] = 0;
            if (create && mkdirat(fd, part, 0777) != 0 && errno != EEXIST)
                next = -1;
            else
                next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        } else {
            errno = ENAMETOOLONG;
        }
        close(fd);
        fd = next;
        name = slash + 1;
    }
    *out_last = name;
    return fd;
}

int folder_walk(int dir_fd, const char *prefix, int depth,
                int (*visit)(void *self, const char *name, bool folder), void *self)
{
    int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    if (!dir) {
        if (copy >= 0)
            close(copy);
        return -1;
    }
    int rc = 0;
    bool flat = depth == FOLDER_DEPTH_MAX && !*prefix;
    struct dirent *entry;
    while (!rc && (errno = 0, entry = readdir(dir)) != NULL) {
        struct stat st;
        const char *part = entry->d_name;
        if (str_eq(part, ".") || str_eq(part, "..") ||
            (!*prefix && str_starts_with(part, FOLDER_TEMP_TAG)) || (flat && *part == '.'))
            continue;
        if (fstatat(copy, part, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;           // gone meanwhile
        bool folder = S_ISDIR(st.st_mode);
        char *name = mem_must_printf("%s%s", prefix, part);
        rc = visit(self, name, folder);
        if (!rc && folder && !flat) {
            char *inner = mem_must_printf("%s/", name);
            int fd = openat(copy, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            rc = fd < 0 || depth + 1 >= FOLDER_DEPTH_MAX
                     ? -1
                     : folder_walk(fd, inner, depth + 1, visit, self);
            if (fd >= 0)
                close(fd);
            mem_free(inner);
        }
        mem_free(name);
    }
    if (!rc && errno)
        rc = -1;
    closedir(dir);
    return rc;
}

int folder_write(const struct store_io *io, int fd, const void *data, size_t bytes,
                     const char *shown, struct err *err)
{
    const char *at = data;
    while (bytes) {
        ssize_t n = io->write(fd, at, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = EIO;
            return folder_fail(err, "write", shown);
        }
        at += n;
        bytes -= (size_t)n;
    }
    return 0;
}

int folder_sync(const struct store_io *io, int fd, const char *shown, struct err *err)
{
    // Some file systems have no fsync for folders and say EINVAL.
    return io->fsync(fd) != 0 && errno != EINVAL ? folder_fail(err, "flush folder to disk", shown)
                                                 : 0;
}

int folder_sync_tree(const struct store_io *io, int root_fd, const struct map *names,
                     const char *shown, struct err *err)
{
    struct map done;
    int rc = 0;
    map_init(&done);
    for (const struct map_entry *e = map_first(names); e && !rc; e = map_next(e)) {
        char *folder = mem_must_strdup(map_key(e));
        for (char *slash; !rc && (slash = strrchr(folder, '/')) != NULL;) {
            *slash = 0;
            if (map_get(&done, folder))
                break;
            map_set(&done, folder, &done);
            const char *last;
            int parent = folder_open_parent(root_fd, folder, false, &last);
            int fd = parent < 0 ? -1
                     : openat(parent, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            rc =
                fd < 0 ? folder_fail(err, "open folder", folder) : folder_sync(io, fd, folder, err);
            if (fd >= 0)
                close(fd);
            if (parent >= 0)
                close(parent);
        }
        mem_free(folder);
    }
    map_deinit(&done);
    if (!rc)
        rc = folder_sync(io, root_fd, shown, err);
    return rc ? err_prefix(err, "%s", shown) : 0;
}

bool folder_is_mount_point(const char *path)
{
    struct statx stx;
    if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &stx) != 0)
        return false;
    return (stx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) &&
           (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

void folder_remove_leftovers(const char *home, const char *prefix)
{
    struct str_list names = {0};
    if (fsutil_list(home, &names, NULL) == 0) {
        for (size_t i = 0; i < names.count; i++) {
            if (!str_starts_with(names.items[i], prefix))
                continue;
            char *path = fsutil_join(home, names.items[i]);
            int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
                fsutil_remove_tree(path, NULL);
            if (fd >= 0)
                close(fd);
            mem_free(path);
        }
    }
    str_list_deinit(&names);
}
