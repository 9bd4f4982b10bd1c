// SPDX-License-Identifier: Apache-2.0
// The scheme of a URI chooses the kind of store; everything else is the kind's. Adding one is a
// store_x.c and a row in the table. A path without scheme is local; "file://" is the same.
// No state, any thread; a writer or file belongs to one thread at a time.
#include "common/storage/store.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/storage/store_kind.h"

struct store_writer {
    const struct store_kind *kind;
    void *self;
};

struct store_file {
    const struct store_kind *kind;
    void *self;
    uint64_t bytes;
    char *name;
};

static const struct {
    const char *scheme;
    const struct store_kind *kind;
} table[] = {
    {"file", &store_local_kind},
};

static int dispatch(const char *uri, const struct store_kind **out_kind, const char **out_path,
                    struct err *err);

int store_begin(const char *uri, const struct store_options *options, struct store_writer **out,
                struct err *err)
{
    const struct store_kind *kind;
    const char *path;
    void *self;
    int rc = dispatch(uri, &kind, &path, err);
    if (!rc)
        rc = kind->begin(path, options, &self, err);
    if (rc)
        return rc;
    struct store_writer *writer = MEM_NEW(struct store_writer);
    writer->kind = kind;
    writer->self = self;
    *out = writer;
    return 0;
}

int store_put_open(struct store_writer *writer, const char *name, struct err *err)
{
    return writer->kind->put_open(writer->self, name, err);
}

int store_put_write(struct store_writer *writer, const void *data, size_t bytes, struct err *err)
{
    return writer->kind->put_write(writer->self, data, bytes, err);
}

int store_put_close(struct store_writer *writer, struct err *err)
{
    return writer->kind->put_close(writer->self, err);
}

int store_commit(struct store_writer *writer, const void *mark, size_t mark_bytes, struct err *err)
{
    return writer->kind->commit(writer->self, mark, mark_bytes, err);
}

void store_end(struct store_writer *writer)
{
    if (!writer)
        return;
    writer->kind->end(writer->self);
    mem_free(writer);
}

int store_write_file(const char *uri, const char *name, const void *data, size_t bytes,
                     const struct store_io *io, struct err *err)
{
    const struct store_kind *kind;
    const char *path;
    int rc = dispatch(uri, &kind, &path, err);
    return rc ? rc : kind->write_file(path, name, data, bytes, io, err);
}

int store_remove(const char *uri, const struct store_options *options, struct err *err)
{
    const struct store_kind *kind;
    const char *path;
    int rc = dispatch(uri, &kind, &path, err);
    return rc ? rc : kind->remove(path, options, err);
}

int store_list(const char *uri, struct str_list *out_names, struct err *err)
{
    const struct store_kind *kind;
    const char *path;
    int rc = dispatch(uri, &kind, &path, err);
    return rc ? rc : kind->list(path, false, out_names, err);
}

int store_list_folders(const char *uri, struct str_list *out_names, struct err *err)
{
    const struct store_kind *kind;
    const char *path;
    int rc = dispatch(uri, &kind, &path, err);
    return rc ? rc : kind->list(path, true, out_names, err);
}

bool store_is_folder(const char *uri)
{
    const struct store_kind *kind;
    const char *path;
    return dispatch(uri, &kind, &path, NULL) == 0 && kind->is_folder(path);
}

int store_open(const char *uri, const char *name, struct store_file **out, struct err *err)
{
    const struct store_kind *kind;
    const char *path;
    void *self;
    uint64_t bytes;
    int rc = dispatch(uri, &kind, &path, err);
    if (!rc)
        rc = kind->open(path, name, &self, &bytes, err);
    if (rc)
        return rc;
    struct store_file *file = MEM_NEW(struct store_file);
    file->kind = kind;
    file->self = self;
    file->bytes = bytes;
    file->name = mem_must_printf("%s/%s", uri, name);
    *out = file;
    return 0;
}

uint64_t store_file_bytes(const struct store_file *file)
{
    return file->bytes;
}

const char *store_file_name(const struct store_file *file)
{
    return file->name;
}

int store_file_read(struct store_file *file, uint64_t offset, void *out, size_t bytes,
                    struct err *err)
{
    if (offset > file->bytes || bytes > file->bytes - offset)
        return err_set(err, SL_EFORMAT, "%s: offset %llu: wants %zu bytes, the file has %llu",
                       file->name, (unsigned long long)offset, bytes,
                       (unsigned long long)file->bytes);
    return file->kind->read(file->self, file->name, offset, out, bytes, err);
}

void store_file_close(struct store_file *file)
{
    if (!file)
        return;
    file->kind->close(file->self);
    mem_free(file->name);
    mem_free(file);
}

static int dispatch(const char *uri, const struct store_kind **out_kind, const char **out_path,
                    struct err *err)
{
    const char *colon = strstr(uri, "://");
    if (!*uri)
        return err_set(err, SL_EINVAL, "the name of a folder is empty");
    if (!colon) {
        *out_kind = &store_local_kind;
        *out_path = uri;
        return 0;
    }
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        size_t bytes = strlen(table[i].scheme);
        if ((size_t)(colon - uri) == bytes && memcmp(uri, table[i].scheme, bytes) == 0) {
            if (!colon[3])
                return err_set(err, SL_EINVAL, "%s: no path behind the scheme", uri);
            *out_kind = table[i].kind;
            *out_path = colon + 3;
            return 0;
        }
    }
    return err_set(err, SL_EUNSUPPORTED,
                   "%s: no store for this scheme; a path or file://PATH is supported", uri);
}
