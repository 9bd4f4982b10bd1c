// SPDX-License-Identifier: Apache-2.0
// fluid.io of 1.x builds small programs of these operators and runs them; so programs that hold
// them run here too:
//
//   save          X -> file_path             save_combine   X... -> file_path, one behind the other
//   load          file_path -> Out           load_combine   file_path -> Out...
//
// load with `seek` (elements, -1 none) and `shape` reads a piece of the data, which is how Fluid's
// servers read their slices. A save is written beside, flushed and renamed. The path is the
// program's and is taken as it is. No manifest is written or looked at.
#include "common/ckpt/op_save_load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ops/op.h"
#include "common/tensor/tensor_io.h"

enum { SAVE_OVERWRITE, SAVE_AS_FP16, SAVE_PATH, SAVE_TO_MEMORY };
enum { LOAD_AS_FP16, LOAD_PATH, LOAD_SEEK, LOAD_SHAPE };

static int write_vars(struct op_ctx *ctx, const char *path);
static int write_var(int fd, const struct variable *var, const char *path, struct err *err);
static int read_piece(const struct tensor_io_source *source, int64_t seek, const struct attr *shape,
                      struct tensor *out, struct err *err);
static enum variable_kind wanted_kind(const struct variable *var);

static const struct op_slot_def save_inputs[] = {{"X", OP_SLOT_ROWS}, {NULL, 0}};
static const struct op_slot_def save_combine_inputs[] = {{"X", OP_SLOT_LIST | OP_SLOT_ROWS},
                                                         {NULL, 0}};
static const struct op_slot_def save_outputs[] = {
    {"kLookupTablePath", OP_SLOT_OPTIONAL | OP_SLOT_RAW}, {NULL, 0}};
static const struct op_slot_def save_combine_outputs[] = {
    {"Y", OP_SLOT_OPTIONAL | OP_SLOT_RAW}, {NULL, 0}};
static const struct op_slot_def no_slots[] = {{NULL, 0}};
static const struct op_slot_def load_outputs[] = {{"Out", OP_SLOT_ROWS}, {NULL, 0}};
static const struct op_slot_def load_combine_outputs[] = {{"Out", OP_SLOT_LIST | OP_SLOT_ROWS},
                                                          {NULL, 0}};

static const struct op_attr_def save_attrs[] = {
    OP_ATTR_BOOL("overwrite", 1), OP_ATTR_BOOL("save_as_fp16", 0), OP_ATTR_STRING("file_path", ""),
    {.name = NULL}};
static const struct op_attr_def save_combine_attrs[] = {
    OP_ATTR_BOOL("overwrite", 1), OP_ATTR_BOOL("save_as_fp16", 0), OP_ATTR_STRING("file_path", ""),
    OP_ATTR_BOOL("save_to_memory", 0), {.name = NULL}};
static const struct op_attr_def load_attrs[] = {
    OP_ATTR_BOOL("load_as_fp16", 0), OP_ATTR_STRING("file_path", ""), OP_ATTR_LONG("seek", -1),
    OP_ATTR_LIST("shape", ATTR_LONGS), {.name = NULL}};
static const struct op_attr_def load_combine_attrs[] = {
    OP_ATTR_BOOL("load_as_fp16", 0), OP_ATTR_STRING("file_path", ""),
    OP_ATTR_BOOL("model_from_memory", 0), {.name = NULL}};

static int no_shape(struct op_shape *shape)
{
    (void)shape;        // what a file holds is known when it is read
    return 0;
}

static int save_kernel(struct op_ctx *ctx)
{
    const char *path = ctx->attr[SAVE_PATH]->s;
    if (attr_bool(ctx->attr[SAVE_AS_FP16]))
        return err_set(ctx->err, SL_EUNSUPPORTED, "save_as_fp16 is not supported");
    if (ctx->def->attrs == save_combine_attrs && attr_bool(ctx->attr[SAVE_TO_MEMORY]))
        return err_set(ctx->err, SL_EUNSUPPORTED, "save_to_memory is not supported");
    if (!path || !*path || strlen(path) != ctx->attr[SAVE_PATH]->s_bytes)
        return err_set(ctx->err, SL_EINVAL, "file_path is empty or has a zero byte");
    if (!attr_bool(ctx->attr[SAVE_OVERWRITE]) && access(path, F_OK) == 0)
        return err_set(ctx->err, SL_EEXIST, "%s: exists, and overwrite is false", path);
    return write_vars(ctx, path);
}

static int load_kernel(struct op_ctx *ctx)
{
    const char *path = ctx->attr[LOAD_PATH]->s;
    struct tensor_io_source source;
    if (attr_bool(ctx->attr[LOAD_AS_FP16]))
        return err_set(ctx->err, SL_EUNSUPPORTED, "load_as_fp16 is not supported");
    if (!path || !*path)
        return err_set(ctx->err, SL_EINVAL, "file_path is empty");
    int rc = tensor_io_open(&source, path, ctx->err);
    if (rc)
        return rc;
    struct variable *out = ctx->out[0].vars[0];
    if (ctx->attr[LOAD_SEEK]->i >= 0 && wanted_kind(out) == VARIABLE_TENSOR)
        rc = read_piece(&source, ctx->attr[LOAD_SEEK]->i, ctx->attr[LOAD_SHAPE],
                        variable_tensor(out), ctx->err);
    else
        rc = tensor_io_read(&source, 0, wanted_kind(out), out, NULL, ctx->err);
    tensor_io_close(&source);
    return rc;
}

static int load_combine_kernel(struct op_ctx *ctx)
{
    const char *path = ctx->attr[LOAD_PATH]->s;
    struct tensor_io_source source;
    if (attr_bool(ctx->attr[LOAD_AS_FP16]) || attr_bool(ctx->attr[2]))
        return err_set(ctx->err, SL_EUNSUPPORTED,
                       "load_as_fp16 and model_from_memory are not supported");
    if (!path || !*path)
        return err_set(ctx->err, SL_EINVAL, "file_path is empty");
    int rc = tensor_io_open(&source, path, ctx->err);
    if (rc)
        return rc;
    uint64_t at = 0;
    for (size_t i = 0; i < ctx->out[0].count && !rc; i++) {
        uint64_t bytes = 0;
        struct variable *out = ctx->out[0].vars[i];
        rc = tensor_io_read(&source, at, wanted_kind(out), out, &bytes, ctx->err);
        at += bytes;
    }
    if (!rc && at != source.size)
        rc = err_set(ctx->err, SL_EMISMATCH,
                     "%s: %llu bytes are left behind the last of %zu variables", path,
                     (unsigned long long)(source.size - at), ctx->out[0].count);
    tensor_io_close(&source);
    return rc;
}

static const struct op_def op_save = {
    .type = "save", .inputs = save_inputs, .outputs = save_outputs, .attrs = save_attrs,
    .infer_shape = no_shape, .kernel = save_kernel, .kernel_resizes = true,
};
static const struct op_def op_save_combine = {
    .type = "save_combine",
    .inputs = save_combine_inputs,
    .outputs = save_combine_outputs,
    .attrs = save_combine_attrs,
    .infer_shape = no_shape,
    .kernel = save_kernel,
    .kernel_resizes = true,
};
static const struct op_def op_load = {
    .type = "load", .inputs = no_slots, .outputs = load_outputs, .attrs = load_attrs,
    .infer_shape = no_shape, .kernel = load_kernel, .kernel_resizes = true,
};
static const struct op_def op_load_combine = {
    .type = "load_combine", .inputs = no_slots, .outputs = load_combine_outputs,
    .attrs = load_combine_attrs, .infer_shape = no_shape, .kernel = load_combine_kernel,
    .kernel_resizes = true,
};

const struct op_def *const op_save_load_table[] = {&op_save, &op_save_combine, &op_load,
                                                   &op_load_combine, NULL};

static int write_vars(struct op_ctx *ctx, const char *path)
{
    struct err *err = ctx->err;
    const char *slash = strrchr(path, '/');
    char *dir = !slash ? mem_must_strdup(".")
                       : mem_must_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    char *beside = mem_must_printf("%s.sluice-tmp", path);
    int rc = fsutil_mkdirs(dir, err), fd = -1;
    if (!rc) {
        fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (fd < 0)
            rc = err_set(err, SL_EIO, "%s: cannot create: %s", beside, strerror(errno));
    }
    for (size_t i = 0; i < ctx->in[0].count && !rc; i++)
        rc = write_var(fd, ctx->in[0].vars[i], path, err);
    if (!rc && fsync(fd) != 0)
        rc = err_set(err, SL_EIO, "%s: cannot flush to disk: %s", path, strerror(errno));
    if (fd >= 0 && close(fd) != 0 && !rc)
        rc = err_set(err, SL_EIO, "%s: cannot close: %s", path, strerror(errno));
    if (!rc && rename(beside, path) != 0)
        rc = err_set(err, SL_EIO, "%s: cannot rename into place: %s", path, strerror(errno));
    if (!rc)
        rc = fsutil_fsync_dir(dir, err);
    else if (fd >= 0)
        unlink(beside);
    mem_free(beside);
    mem_free(dir);
    return rc;
}

static int write_var(int fd, const struct variable *var, const char *path, struct err *err)
{
    struct buf header;
    buf_init(&header, 0);
    const struct tensor *t = &var->tensor;
    int rc = 0;
    if (var->kind == VARIABLE_SELECTED_ROWS) {
        t = &var->rows.value;
        rc = tensor_io_encode_rows_header(&var->rows, &header);
    } else if (var->kind == VARIABLE_TENSOR) {
        rc = tensor_io_encode_header(t, &header);
    } else {
        rc = SL_ENOENT;
    }
    if (rc)
        rc = err_set(err, rc, "%s: the variable cannot be saved: %s", path,
                     rc == SL_ENOENT ? "it holds nothing" : err_name(rc));
    if (!rc)
        rc = fsutil_write_all(fd, header.data, header.bytes, path, err);
    if (!rc && tensor_bytes(t))
        rc = fsutil_write_all(fd, t->data, (size_t)tensor_bytes(t), path, err);
    buf_deinit(&header);
    return rc;
}

static int read_piece(const struct tensor_io_source *source, int64_t seek, const struct attr *shape,
                      struct tensor *out, struct err *err)
{
    struct tensor_io_header header = {0};
    struct dims dims = {0};
    uint64_t count = 0, offset = 0;
    int rc = tensor_io_read_header(source, 0, VARIABLE_TENSOR, &header, err);
    if (rc)
        return rc;
    size_t elem = dtype_bytes(header.dtype);
    bool fits = shape->count <= LIMIT_RANK;
    if (fits)
        dims = dims_make((int)shape->count, shape->ints);
    fits = fits && dims_count(&dims, elem, &count) &&
           limit_mul_u64((uint64_t)seek, elem, &offset) && offset <= header.data_bytes &&
           count * elem <= header.data_bytes - offset;
    if (!fits)
        rc =
            err_set(err, SL_EMISMATCH, "%s: seek %lld and shape lead out of its %llu bytes of data",
                    source->name, (long long)seek, (unsigned long long)header.data_bytes);
    if (!rc)
        rc = op_resize(out, header.dtype, &dims, err);
    if (!rc && count)
        rc = source->read(source->self, header.data_offset + offset, out->data,
                          (size_t)(count * elem), err);
    tensor_io_header_deinit(&header);
    return rc;
}

static enum variable_kind wanted_kind(const struct variable *var)
{
    return var->kind == VARIABLE_SELECTED_ROWS ? VARIABLE_SELECTED_ROWS : VARIABLE_TENSOR;
}
