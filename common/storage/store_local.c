// SPDX-License-Identifier: Apache-2.0
// Folders on the local file system.
//
// A write goes into a hidden temporary folder beside the target: files (by a thread of their own,
// all flushed before the commit), their folders, the mark last, then ONE rename makes it visible:
// onto nothing, or exchanged with the older folder, whose foreign files were hard-linked into the
// new one before. So the target is at every instant the old folder or the new one, whole. Where
// folders cannot be exchanged (the target is a mount point, its parent is read-only, it has foreign
// sub-folders, the file system has no hard links) files are renamed into it one by one, under a
// mark that says so; a reader refuses a folder in that state.
//
// A temporary folder is locked (flock) while its writer lives; unlocked ones are left-overs of a
// crash and are removed by the next write to the same target. Links inside a folder are never
// followed; the target itself may be a link.
#include "common/storage/store_kind.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/limits.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/storage/folder.h"
#include "common/storage/write_behind.h"

#define LIST_MAX (1u << 20)
#define TEMP_NAME_MAX 300

struct writer {
    struct store_options options;
    const struct store_io *io;
    char *path;                 // of the target, links resolved
    char *shown;                // as the caller named it
    char *home;                 // folder that the temporary folder is in: the parent, or the target
    char *base;                 // last component of path
    char *temp;                 // path of the temporary folder
    int home_fd, temp_fd;
    bool exists;                // the target is there and holds something
    bool in_place;              // files go into the target one by one
    bool committed;
    struct map names;           // put so far
    struct map listed;          // the old mark speaks of these
    struct write_behind *behind;
    bool file_open;
};

struct file {
    int fd;
};

static int system_rename(int from_dir, const char *from, int to_dir, const char *to,
                         unsigned flags);
static int locate(struct writer *w, struct err *err);
static int judge_existing(struct writer *w, struct err *err);
static int read_mark(const char *path, const struct store_options *options, struct map *out_listed,
                     bool *out_ours, struct err *err);
static int make_temp(struct writer *w, struct err *err);
static int write_new_file(struct writer *w, const char *name, const void *data, size_t bytes,
                          struct err *err);
static int carry_foreign(struct writer *w);
static int publish(struct writer *w, struct err *err);
static int swap_by_two(struct writer *w, struct err *err);
static void rescue_late(struct writer *w);
static int put_one_by_one(struct writer *w, const void *mark, size_t mark_bytes, struct err *err);

static const struct store_io system_io = {write, fsync, system_rename};

static int local_begin(const char *path, const struct store_options *options, void **out,
                       struct err *err)
{
    struct writer *w = MEM_NEW(struct writer);
    w->options = *options;
    w->io = options->io ? options->io : &system_io;
    w->shown = mem_must_strdup(path);
    w->home_fd = w->temp_fd = -1;
    w->behind = write_behind_new(w->io);
    map_init(&w->names);
    map_init(&w->listed);
    int rc = locate(w, err);
    if (!rc && w->exists)
        rc = judge_existing(w, err);
    if (!rc)
        rc = make_temp(w, err);
    if (rc) {
        store_local_kind.end(w);
        return rc;
    }
    *out = w;
    return 0;
}

static int local_put_open(void *self, const char *name, struct err *err)
{
    struct writer *w = self;
    if (w->file_open)
        return err_set(err, SL_EUSAGE, "%s: a file is still open", w->shown);
    int rc = fsutil_check_relative(name, err);
    if (rc)
        return err_prefix(err, "%s", w->shown);
    if (strncmp(name, w->options.mark, strlen(w->options.mark)) == 0 ||
        strncmp(name, FOLDER_TEMP_TAG, strlen(FOLDER_TEMP_TAG)) == 0)
        return err_set(err, SL_EREFUSED, "%s: `%s` is a reserved name", w->shown, name);
    if (map_get(&w->names, name))
        return err_set(err, SL_EEXIST, "%s: `%s` comes twice", w->shown, name);
    int fd = fsutil_open_beneath(w->temp, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666, err);
    if (fd < 0)
        return fd;
    write_behind_open(w->behind, fd, name);
    w->file_open = true;
    map_set(&w->names, name, w);
    return 0;
}

static int local_put_write(void *self, const void *data, size_t bytes, struct err *err)
{
    struct writer *w = self;
    int rc = write_behind_put(w->behind, data, bytes, err);
    return rc ? err_prefix(err, "%s", w->shown) : 0;
}

static int local_put_close(void *self, struct err *err)
{
    struct writer *w = self;
    int rc = write_behind_close(w->behind, err);
    w->file_open = false;
    return rc ? err_prefix(err, "%s", w->shown) : 0;
}

static int local_commit(void *self, const void *mark, size_t mark_bytes, struct err *err)
{
    struct writer *w = self;
    if (w->file_open)
        return err_set(err, SL_EUSAGE, "%s: a file is still open", w->shown);
    int rc = write_behind_drain(w->behind, err);
    if (rc)
        return err_prefix(err, "%s", w->shown);
    rc = folder_sync_tree(w->io, w->temp_fd, &w->names, w->shown, err);
    if (!rc && w->exists && !w->in_place && carry_foreign(w) != 0)
        w->in_place = true;
    if (!rc && w->in_place) {
        rc = put_one_by_one(w, mark, mark_bytes, err);
        w->committed = rc == 0;
        return rc;
    }
    if (!rc)
        rc = write_new_file(w, w->options.mark, mark, mark_bytes, err);
    if (!rc)
        rc = folder_sync(w->io, w->temp_fd, w->shown, err);
    return rc ? rc : publish(w, err);
}

static void local_end(void *self)
{
    struct writer *w = self;
    write_behind_free(w->behind);
    if (w->temp && !w->committed)
        fsutil_remove_tree(w->temp, NULL);
    if (w->temp_fd >= 0)
        close(w->temp_fd);
    if (w->home_fd >= 0)
        close(w->home_fd);
    map_deinit(&w->names);
    map_deinit(&w->listed);
    mem_free(w->path);
    mem_free(w->shown);
    mem_free(w->home);
    mem_free(w->base);
    mem_free(w->temp);
    mem_free(w);
}

static int local_write_file(const char *path, const char *name, const void *data, size_t bytes,
                            const struct store_io *io, struct err *err)
{
    if (!io)
        io = &system_io;
    int dir_fd = folder_open(path);
    if (dir_fd < 0)
        return folder_fail(err, "open folder", path);
    char *beside = mem_must_printf(".%s.tmp", name);
    int rc = 0;
    int fd = openat(dir_fd, beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0) {
        rc = folder_fail(err, "create", beside);
    } else {
        rc = folder_write(io, fd, data, bytes, name, err);
        if (!rc && io->fsync(fd) != 0)
            rc = folder_fail(err, "flush to disk", name);
        if (close(fd) != 0 && !rc)
            rc = folder_fail(err, "close", name);
        if (!rc && io->rename(dir_fd, beside, dir_fd, name, 0) != 0)
            rc = folder_fail(err, "rename into", name);
        if (rc)
            unlinkat(dir_fd, beside, 0);
        else
            rc = folder_sync(io, dir_fd, path, err);
    }
    mem_free(beside);
    close(dir_fd);
    return rc ? err_prefix(err, "%s", path) : 0;
}

// What a removal must know: is there a file that the mark does not speak of?
struct foreign_search {
    const struct map *listed;
    const char *mark;
    char *found;
};

static int find_foreign(void *self, const char *name, bool folder)
{
    struct foreign_search *search = self;
    if (folder || str_eq(name, search->mark) || map_get(search->listed, name))
        return 0;
    search->found = mem_must_strdup(name);
    return 1;
}

static int local_remove(const char *path, const struct store_options *options, struct err *err)
{
    struct writer *w = MEM_NEW(struct writer);
    struct foreign_search search = {&w->listed, options->mark, NULL};
    w->io = options->io ? options->io : &system_io;
    w->shown = mem_must_strdup(path);
    w->home_fd = w->temp_fd = -1;
    w->behind = write_behind_new(w->io);
    w->committed = true;        // nothing to clean up behind us
    bool ours = false;
    map_init(&w->names);
    map_init(&w->listed);
    int rc = locate(w, err);
    if (!rc)
        rc = read_mark(w->path, options, &w->listed, &ours, err);
    if (!rc && !ours)
        rc = err_set(err, SL_EREFUSED, "%s: has no %s: not ours, it stays", path, options->mark);
    if (!rc) {
        int fd = folder_open(w->path);
        if (fd < 0 || folder_walk(fd, "", 0, find_foreign, &search) < 0)
            rc = folder_fail(err, "list", path);
        if (fd >= 0)
            close(fd);
    }
    if (!rc && search.found)
        rc = err_set(err, SL_EREFUSED, "%s: holds %s, which is not ours: it stays", path,
                     search.found);
    if (!rc) {
        char temp[TEMP_NAME_MAX];
        snprintf(temp, sizeof temp, ".%.200s" FOLDER_TEMP_TAG "%016llx", w->base,
                 (unsigned long long)rng_entropy_u64());
        w->home_fd = folder_open(w->home);
        if (w->home_fd < 0 || w->io->rename(w->home_fd, w->base, w->home_fd, temp, 0) != 0) {
            rc = folder_fail(err, "remove", path);
        } else {
            w->temp = fsutil_join(w->home, temp);
            rc = fsutil_remove_tree(w->temp, err);
        }
    }
    mem_free(search.found);
    store_local_kind.end(w);
    return rc;
}

struct listing {
    struct str_list *names;
    bool folders;
};

static int list_visit(void *self, const char *name, bool folder)
{
    struct listing *listing = self;
    if (listing->names->count >= LIST_MAX)
        return -1;
    if (folder == listing->folders)
        str_list_add(listing->names, name);
    return 0;
}

static int local_list(const char *path, bool folders, struct str_list *out_names, struct err *err)
{
    int fd = folder_open(path);
    if (fd < 0)
        return folder_fail(err, "open folder", path);
    struct listing listing = {out_names, folders};
    int rc = folder_walk(fd, "", folders ? FOLDER_DEPTH_MAX : 0, list_visit, &listing) < 0
                 ? err_set(err, SL_ELIMIT, "%s: cannot be listed: over %u files, or folders over "
                           "%d deep, or unreadable", path, LIST_MAX, FOLDER_DEPTH_MAX) : 0;
    close(fd);
    str_list_sort(out_names);
    return rc;
}

static int local_open(const char *path, const char *name, void **out, uint64_t *out_bytes,
                      struct err *err)
{
    int fd = fsutil_open_beneath(path, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0, err);
    if (fd < 0)
        return fd;
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return err_set(err, SL_EINVAL, "%s/%s: is not a regular file", path, name);
    }
    struct file *file = MEM_NEW(struct file);
    file->fd = fd;
    *out = file;
    *out_bytes = (uint64_t)st.st_size;
    return 0;
}

static int local_read(void *self, const char *shown, uint64_t offset, void *out, size_t bytes,
                      struct err *err)
{
    struct file *file = self;
    return fsutil_pread_all(file->fd, out, bytes, offset, shown, err);
}

static void local_close(void *self)
{
    struct file *file = self;
    close(file->fd);
    mem_free(file);
}

const struct store_kind store_local_kind = {
    .begin = local_begin,
    .put_open = local_put_open,
    .put_write = local_put_write,
    .put_close = local_put_close,
    .commit = local_commit,
    .end = local_end,
    .write_file = local_write_file,
    .remove = local_remove,
    .list = local_list,
    .is_folder = fsutil_is_dir,
    .open = local_open,
    .read = local_read,
    .close = local_close,
};

static int system_rename(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    return flags ? renameat2(from_dir, from, to_dir, to, flags)
                 : renameat(from_dir, from, to_dir, to);
}

// Sets path, home (the parent), base and exists. The parents of a new target are made.
static int locate(struct writer *w, struct err *err)
{
    char *path = mem_must_strdup(w->shown);
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
        path[n - 1] = 0;
    int rc = 0;
    struct stat st;
    if (lstat(path, &st) == 0) {
        char *real = realpath(path, NULL);
        if (!real || stat(real, &st) != 0)
            rc = folder_fail(err, "resolve", w->shown);
        else if (!S_ISDIR(st.st_mode))
            rc = err_set(err, SL_EEXIST, "%s: exists and is not a folder", w->shown);
        else
            w->path = mem_must_strdup(real);
        free(real);
        w->exists = true;
    } else {
        w->path = mem_must_strdup(path);
    }
    mem_free(path);
    if (rc)
        return rc;
    char *slash = strrchr(w->path, '/');
    w->base = mem_must_strdup(slash ? slash + 1 : w->path);
    w->home = !slash ? mem_must_strdup(".")
                     : mem_must_strndup(w->path, slash == w->path ? 1 : (size_t)(slash - w->path));
    if (strlen(w->base) > 200)
        return err_set(err, SL_EINVAL, "%s: the name of the folder is over 200 bytes", w->shown);
    return w->exists ? 0 : fsutil_mkdirs(w->home, err);
}

static int count_entry(void *self, const char *name, bool folder)
{
    (void)name;
    (void)folder;
    *(bool *)self = true;
    return 1;
}

// May the folder that is there be written to? An empty one counts as absent.
static int judge_existing(struct writer *w, struct err *err)
{
    bool any = false, ours = false;
    int fd = folder_open(w->path);
    if (fd < 0)
        return folder_fail(err, "open folder", w->shown);
    folder_remove_leftovers(w->path, FOLDER_TEMP_TAG);
    int rc = folder_walk(fd, "", 0, count_entry, &any) < 0 ? folder_fail(err, "list", w->shown) : 0;
    close(fd);
    w->in_place = folder_is_mount_point(w->path) ||
                  faccessat(AT_FDCWD, w->home, W_OK, AT_EACCESS) != 0 || !*w->base;
    w->exists = any || w->in_place;
    if (rc || !any)
        return rc;
    rc = read_mark(w->path, &w->options, &w->listed, &ours, err);
    if (rc && w->options.mode == STORE_INTO)
        rc = 0;                 // a damaged mark is replaced; what it spoke of stays
    if (!rc && w->options.mode == STORE_REPLACE && !ours)
        rc = err_set(err, SL_EEXIST,
                     "%s: exists and has no %s: it is not ours and will not be replaced. "
                     "Move it away or choose another folder", w->shown, w->options.mark);
    return rc;
}

// *out_ours: there is a mark and it is one of ours. Names it speaks of go to out_listed.
static int read_mark(const char *path, const struct store_options *options, struct map *out_listed,
                     bool *out_ours, struct err *err)
{
    char *mark = fsutil_join(path, options->mark);
    struct stat st;
    int rc = 0;
    if (lstat(mark, &st) == 0 && S_ISREG(st.st_mode)) {
        struct buf data;
        struct str_list names = {0};
        buf_init(&data, 0);
        rc = fsutil_read(mark, LIMIT_JSON_BYTES, &data, err);
        if (!rc && options->is_ours)
            rc = options->is_ours(data.data, data.bytes, &names, err);
        if (rc)
            err_prefix(err, "%s", path);
        for (size_t i = 0; i < names.count; i++)
            map_set(out_listed, names.items[i], out_listed);
        str_list_deinit(&names);
        buf_deinit(&data);
        *out_ours = rc == 0;
    }
    mem_free(mark);
    return rc;
}

static int make_temp(struct writer *w, struct err *err)
{
    char name[TEMP_NAME_MAX], prefix[TEMP_NAME_MAX];
    if (w->in_place) {
        mem_free(w->home);
        w->home = mem_must_strdup(w->path);
        snprintf(prefix, sizeof prefix, FOLDER_TEMP_TAG);
    } else {
        snprintf(prefix, sizeof prefix, ".%s" FOLDER_TEMP_TAG, w->base);
    }
    folder_remove_leftovers(w->home, prefix);
    snprintf(name, sizeof name, "%.280s%016llx", prefix, (unsigned long long)rng_entropy_u64());
    w->home_fd = folder_open(w->home);
    if (w->home_fd < 0)
        return folder_fail(err, "open folder", w->home);
    if (mkdirat(w->home_fd, name, 0777) != 0)
        return folder_fail(err, "create a folder for it", w->shown);
    w->temp = fsutil_join(w->home, name);
    w->temp_fd = openat(w->home_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (w->temp_fd < 0)
        return folder_fail(err, "open", w->temp);
    flock(w->temp_fd, LOCK_EX | LOCK_NB);   // without locks left-overs stay, that is all
    struct stat st;
    if (w->exists && !w->in_place && stat(w->path, &st) == 0) {
        // An older folder's rights go on; its owner too where we may set it.
        if (fchown(w->temp_fd, st.st_uid, st.st_gid) != 0 && errno != EPERM)
            return folder_fail(err, "set the owner of", w->temp);
        if (fchmod(w->temp_fd, st.st_mode & 07777) != 0)
            return folder_fail(err, "set the rights of", w->temp);
    }
    return 0;
}

static int write_new_file(struct writer *w, const char *name, const void *data, size_t bytes,
                          struct err *err)
{
    int fd = openat(w->temp_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0)
        return folder_fail(err, "create", name);
    int rc = folder_write(w->io, fd, data, bytes, name, err);
    if (!rc && w->io->fsync(fd) != 0)
        rc = folder_fail(err, "flush to disk", name);
    if (close(fd) != 0 && !rc)
        rc = folder_fail(err, "close", name);
    return rc ? err_prefix(err, "%s", w->shown) : 0;
}

static bool is_foreign(const struct writer *w, const char *name)
{
    return !str_eq(name, w->options.mark) && !map_get(&w->names, name) &&
           !(w->options.mode == STORE_REPLACE && map_get(&w->listed, name));
}

struct carry {
    struct writer *w;
    int from_fd;
    struct str_list empty;      // folders in which nothing was seen yet
};

static int carry_visit(void *self, const char *name, bool folder)
{
    struct carry *carry = self;
    if (folder) {
        str_list_addf(&carry->empty, "%s/", name);
        return 0;
    }
    bool foreign = is_foreign(carry->w, name);
    if (strchr(name, '/')) {
        for (size_t i = 0; i < carry->empty.count; i++)
            if (str_starts_with(name, carry->empty.items[i]))
                carry->empty.items[i][0] = 0;
        return foreign;         // a foreign sub-folder stays where it is
    }
    return foreign && linkat(carry->from_fd, name, carry->w->temp_fd, name, 0) != 0;
}

// Links the target's foreign files into the new folder. Not 0: it cannot be done that way.
static int carry_foreign(struct writer *w)
{
    struct carry carry = {.w = w, .from_fd = folder_open(w->path)};
    int rc = carry.from_fd < 0 ? -1 : folder_walk(carry.from_fd, "", 0, carry_visit, &carry);
    for (size_t i = 0; i < carry.empty.count && !rc; i++)
        rc = carry.empty.items[i][0] != 0;
    str_list_deinit(&carry.empty);
    if (carry.from_fd >= 0)
        close(carry.from_fd);
    return rc;
}

// Makes the finished temporary folder the target.
static int publish(struct writer *w, struct err *err)
{
    const char *temp = strrchr(w->temp, '/') + 1;
    int rc = 0;
    if (!w->exists) {
        // A plain rename replaces an empty folder and nothing else.
        if (w->io->rename(w->home_fd, temp, w->home_fd, w->base, 0) != 0)
            rc = folder_fail(err, "rename the finished folder into place", w->shown);
    } else if (w->io->rename(w->home_fd, temp, w->home_fd, w->base, RENAME_EXCHANGE) != 0) {
        rc = errno == EINVAL || errno == ENOSYS
                 ? swap_by_two(w, err)
                 : folder_fail(err, "exchange with the new folder", w->shown);
    } else {
        rescue_late(w);
    }
    if (rc)
        return rc;
    w->committed = true;
    rc = folder_sync(w->io, w->home_fd, w->home, err);
    if (w->exists)
        fsutil_remove_tree(w->temp, NULL);
    return rc;
}

// For file systems that cannot exchange: the old folder steps aside, and back when the new one
// cannot take its place. A crash between the two renames leaves both, hidden, beside the target.
static int swap_by_two(struct writer *w, struct err *err)
{
    const char *temp = strrchr(w->temp, '/') + 1;
    char aside[TEMP_NAME_MAX];
    snprintf(aside, sizeof aside, ".%.200s.old-%016llx", w->base,
             (unsigned long long)rng_entropy_u64());
    if (w->io->rename(w->home_fd, w->base, w->home_fd, aside, 0) != 0)
        return folder_fail(err, "move the older folder aside", w->shown);
    if (w->io->rename(w->home_fd, temp, w->home_fd, w->base, 0) != 0) {
        int rc = folder_fail(err, "rename the finished folder into place", w->shown);
        if (renameat(w->home_fd, aside, w->home_fd, w->base) != 0)
            err_prefix(err, "the older folder is now %s/%s", w->home, aside);
        return rc;
    }
    mem_free(w->temp);
    w->temp = fsutil_join(w->home, aside);
    rescue_late(w);
    return 0;
}

static int rescue_visit(void *self, const char *name, bool folder)
{
    struct carry *carry = self;
    if (!folder && !strchr(name, '/') && is_foreign(carry->w, name))
        renameat2(carry->from_fd, name, carry->w->temp_fd, name, RENAME_NOREPLACE);
    return 0;
}

// Foreign files that appeared in the old folder after the links were made move over too.
static void rescue_late(struct writer *w)
{
    struct carry carry = {.w = w, .from_fd = folder_open(w->temp)};
    if (carry.from_fd >= 0) {
        folder_walk(carry.from_fd, "", 0, rescue_visit, &carry);
        close(carry.from_fd);
    }
}

static int move_in(struct writer *w, int target_fd, const char *from, const char *to,
                   struct err *err)
{
    const char *last_from, *last_to;
    int from_fd = folder_open_parent(w->temp_fd, from, false, &last_from);
    int to_fd = folder_open_parent(target_fd, to, true, &last_to);
    int rc = 0;
    if (from_fd < 0 || to_fd < 0 || w->io->rename(from_fd, last_from, to_fd, last_to, 0) != 0)
        rc = folder_fail(err, "rename into place", to);
    if (from_fd >= 0)
        close(from_fd);
    if (to_fd >= 0)
        close(to_fd);
    return rc;
}

static int put_one_by_one(struct writer *w, const void *mark, size_t mark_bytes, struct err *err)
{
    const char *busy = FOLDER_TEMP_TAG "busy", *last = FOLDER_TEMP_TAG "mark";
    int rc = write_new_file(w, last, mark, mark_bytes, err);
    if (!rc && w->options.busy_mark)
        rc = write_new_file(w, busy, w->options.busy_mark, strlen(w->options.busy_mark), err);
    if (rc)
        return rc;
    int target_fd = folder_open(w->path);
    if (target_fd < 0)
        return folder_fail(err, "open folder", w->shown);
    if (w->options.busy_mark) {
        rc = move_in(w, target_fd, busy, w->options.mark, err);
        if (!rc)
            rc = folder_sync(w->io, target_fd, w->shown, err);
    }
    for (const struct map_entry *e = map_first(&w->names); e && !rc; e = map_next(e))
        rc = move_in(w, target_fd, map_key(e), map_key(e), err);
    for (const struct map_entry *e = map_first(&w->listed); e && !rc; e = map_next(e)) {
        const char *name;
        if (w->options.mode != STORE_REPLACE || map_get(&w->names, map_key(e)))
            continue;
        int fd = folder_open_parent(target_fd, map_key(e), false, &name);
        if (fd >= 0) {
            unlinkat(fd, name, 0);
            close(fd);
        }
    }
    if (!rc)
        rc = folder_sync_tree(w->io, target_fd, &w->names, w->shown, err);
    if (!rc)
        rc = move_in(w, target_fd, last, w->options.mark, err);
    if (!rc)
        rc = folder_sync(w->io, target_fd, w->shown, err);
    close(target_fd);
    if (rc)
        return err_prefix(err, "%s: stopped half-way, loading it will be refused", w->shown);
    fsutil_remove_tree(w->temp, NULL);
    return 0;
}
