// SPDX-License-Identifier: Apache-2.0
// Variables from and to bytes. The header comes from tensor_header.c; here are the sources, the
// reading of rows and the small-file convenience. Nothing is resized before the header has been
// checked against the source's size. Any thread; a source is used by one at a time.
#include "common/tensor/tensor_io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/tensor/tensor_header.h"

struct file {
    int fd;
    char *path;
};

static int file_read(void *self, uint64_t offset, void *out, size_t bytes, struct err *err);
static int memory_read(void *self, uint64_t offset, void *out, size_t bytes, struct err *err);
static int read_variable(const struct tensor_io_source *source, uint64_t offset,
                         const struct tensor_io_header *header, struct variable *out,
                         struct err *err);
static int encode(const struct variable *var, struct buf *head, const struct tensor **out_data);

int tensor_io_open(struct tensor_io_source *out, const char *path, struct err *err)
{
    // O_NONBLOCK: a FIFO in a checkpoint folder must not hang the open; it is refused just after.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        int code = errno == ENOENT || errno == ENOTDIR ? SL_ENOENT : SL_EIO;
        return err_set(err, code, "%s: cannot open: %s", path, strerror(errno));
    }
    return tensor_io_open_fd(out, fd, path, err);
}

int tensor_io_open_fd(struct tensor_io_source *out, int fd, const char *name, struct err *err)
{
    struct stat st;
    int rc = 0;
    if (fstat(fd, &st))
        rc = err_set(err, SL_EIO, "%s: cannot stat: %s", name, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        rc = err_set(err, SL_EFORMAT, "%s: not a regular file", name);
    if (rc) {
        close(fd);
        return rc;
    }
    struct file *file = MEM_NEW(struct file);
    file->fd = fd;
    file->path = mem_must_strdup(name);
    *out = (struct tensor_io_source){file_read, file, (uint64_t)st.st_size, file->path};
    return 0;
}

void tensor_io_close(struct tensor_io_source *source)
{
    if (source && source->read == file_read && source->self) {
        struct file *file = source->self;
        close(file->fd);
        mem_free(file->path);
        mem_free(file);
        source->self = NULL;
    }
}

void tensor_io_memory(struct tensor_io_source *out, const void *data, size_t bytes,
                      const char *name)
{
    // The source never writes through self.
    *out = (struct tensor_io_source){memory_read, (void *)(uintptr_t)data, bytes, name};
}

int tensor_io_read_header(const struct tensor_io_source *source, uint64_t offset,
                          enum variable_kind kind, struct tensor_io_header *out, struct err *err)
{
    if (kind == VARIABLE_EMPTY)
        return err_set(err, SL_EINVAL, "%s: neither a tensor nor selected rows are expected",
                       source->name);
    return tensor_header_read(source, offset, kind, out, err);
}

void tensor_io_header_deinit(struct tensor_io_header *header)
{
    if (!header)
        return;
    for (int i = 0; i < header->lod_levels; i++)
        mem_free(header->lod[i].offsets);
    mem_free(header->lod);
    mem_free(header->rows);
    *header = (struct tensor_io_header){0};
}

int tensor_io_read_rows(const struct tensor_io_source *source, uint64_t offset,
                        const struct tensor_io_header *header, int64_t row, int64_t rows,
                        struct tensor *out, struct err *err)
{
    char text[DIMS_TEXT_MAX];
    struct dims dims = header->dims;
    uint64_t skip = 0;
    if (rows == -1 && row == 0) {
        rows = dims.rank ? dims.d[0] : 1;
    } else if (dims.rank < 1 || row < 0 || rows < 0 || row > dims.d[0] || rows > dims.d[0] - row) {
        return err_set(err, SL_EMISMATCH,
                       "%s: %" PRId64 " rows from row %" PRId64 " are not within dims %s",
                       source->name, rows, row, dims_format(&dims, text));
    } else {
        dims.d[0] = rows;
        skip = (uint64_t)row * (uint64_t)dims_product(&dims, 1, dims.rank) *
               dtype_bytes(header->dtype);
    }
    int rc = tensor_resize(out, header->dtype, &dims);
    if (rc)
        return err_set(err, rc, "%s: no room for dims %s of %s: %s", source->name,
                       dims_format(&dims, text), dtype_name((int)header->dtype), err_name(rc));
    uint64_t bytes = tensor_bytes(out);
    return bytes ? source->read(source->self, offset + header->data_offset + skip, out->data, bytes,
                                err)
                 : 0;
}

int tensor_io_read(const struct tensor_io_source *source, uint64_t offset, enum variable_kind kind,
                   struct variable *out, uint64_t *out_bytes, struct err *err)
{
    struct tensor_io_header header;
    int rc = tensor_io_read_header(source, offset, kind, &header, err);
    if (rc)
        return rc;
    rc = read_variable(source, offset, &header, out, err);
    if (!rc && out_bytes)
        *out_bytes = header.data_offset + header.data_bytes;
    tensor_io_header_deinit(&header);
    return rc;
}

int tensor_io_encode_header(const struct tensor *shape_of, struct buf *out)
{
    int rc = buf_append_u32le(out, 0);
    if (!rc)
        rc = buf_append_u64le(out, (uint64_t)shape_of->lod_levels);
    for (int i = 0; !rc && i < shape_of->lod_levels; i++) {
        const struct lod_level *level = &shape_of->lod[i];
        rc = buf_append_u64le(out, level->count * sizeof(uint64_t));
        if (!rc)
            rc = buf_append(out, level->offsets, level->count * sizeof(uint64_t));
    }
    return rc ? rc : tensor_header_append(shape_of->dtype, &shape_of->dims, out);
}

int tensor_io_encode_rows_header(const struct selected_rows *rows, struct buf *out)
{
    int rc = buf_append_u32le(out, 0);
    if (!rc)
        rc = buf_append_u64le(out, rows->rows_count);
    if (!rc && rows->rows_count)
        rc = buf_append(out, rows->rows, rows->rows_count * sizeof(int64_t));
    if (!rc)
        rc = buf_append_u64le(out, (uint64_t)rows->height);
    return rc ? rc : tensor_header_append(rows->value.dtype, &rows->value.dims, out);
}

int tensor_io_save(const struct variable *var, const char *path, struct err *err)
{
    struct buf head;
    const struct tensor *data;
    buf_init(&head, 0);
    int rc = encode(var, &head, &data);
    if (rc) {
        err_set(err, rc, "%s: cannot write the variable: %s", path, err_name(rc));
        goto out;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        rc = err_set(err, SL_EIO, "%s: cannot create: %s", path, strerror(errno));
        goto out;
    }
    rc = fsutil_write_all(fd, head.data, head.bytes, path, err);
    if (!rc && tensor_bytes(data))
        rc = fsutil_write_all(fd, data->data, tensor_bytes(data), path, err);
    if (close(fd) && !rc)
        rc = err_set(err, SL_EIO, "%s: cannot write: %s", path, strerror(errno));
out:
    buf_deinit(&head);
    return rc;
}

int tensor_io_load(const char *path, enum variable_kind kind, struct variable *out, struct err *err)
{
    struct tensor_io_source source;
    int rc = tensor_io_open(&source, path, err);
    if (rc)
        return rc;
    rc = tensor_io_read(&source, 0, kind, out, NULL, err);
    tensor_io_close(&source);
    return rc;
}

static int file_read(void *self, uint64_t offset, void *out, size_t bytes, struct err *err)
{
    const struct file *file = self;
    return fsutil_pread_all(file->fd, out, bytes, offset, file->path, err);
}

static int memory_read(void *self, uint64_t offset, void *out, size_t bytes, struct err *err)
{
    (void)err;      // the caller has compared with the source's size
    if (bytes)
        memcpy(out, (const char *)self + offset, bytes);
    return 0;
}

static int read_variable(const struct tensor_io_source *source, uint64_t offset,
                         const struct tensor_io_header *header, struct variable *out,
                         struct err *err)
{
    if (header->kind == VARIABLE_TENSOR) {
        struct tensor *t = variable_tensor(out);
        int rc = tensor_io_read_rows(source, offset, header, 0, -1, t, err);
        if (!rc)
            rc = tensor_set_lod(t, header->lod_levels, header->lod);
        return rc;
    }
    struct selected_rows *sr = variable_rows(out);
    int rc = selected_rows_resize(sr, header->rows_count);
    if (rc)
        return err_set(err, rc, "%s: no room for %zu row indices", source->name,
                       header->rows_count);
    if (header->rows_count)
        memcpy(sr->rows, header->rows, header->rows_count * sizeof *sr->rows);
    sr->height = header->height;
    return tensor_io_read_rows(source, offset, header, 0, -1, &sr->value, err);
}

static int encode(const struct variable *var, struct buf *head, const struct tensor **out_data)
{
    switch (var->kind) {
    case VARIABLE_TENSOR:
        *out_data = &var->tensor;
        return tensor_io_encode_header(&var->tensor, head);
    case VARIABLE_SELECTED_ROWS:
        *out_data = &var->rows.value;
        return tensor_io_encode_rows_header(&var->rows, head);
    case VARIABLE_EMPTY:
        break;
    }
    return SL_EINVAL;
}
