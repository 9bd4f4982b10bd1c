// SPDX-License-Identifier: Apache-2.0
// .npz is a zip archive of .npy members (libzip); both ways stream, member after member. A source's
// rows are read in ascending order, each once (ckpt_source.h), so a member is never rewound.
#include "deploy/sluice/cmd_numpy.h"

#include <inttypes.h>
#include <string.h>
#include <zip.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/storage/store.h"
#include "common/tensor/npy.h"

#define SUFFIX ".npy"
#define MARK "sluice.npy.json"   // makes a folder of ours, which may be replaced
#define CHUNK_BYTES (1u << 20)

struct cmd_numpy_source {
    struct ckpt_source base;
    char *path;
    zip_t *zip;   // NULL: a folder
    struct ckpt_var *vars;
    uint64_t *offsets;   // of the data in each
    struct str_list names, files;
    zip_file_t *member;   // the one being read
    struct store_file *file;
    size_t current;
};

// One variable on its way into a member.
struct outgoing {
    const struct ckpt_source *source;
    size_t index;
    struct buf header;
    uint64_t row_bytes, at;   // bytes given so far, header included
    uint64_t total;
    uint8_t *row;   // a row of which only a part was asked for
    int64_t row_held;
    struct err *err;
    zip_error_t failure;
};

static int open_zip(struct cmd_numpy_source *numpy, struct err *err);
static int open_folder(struct cmd_numpy_source *numpy, struct err *err);
static int add_array(struct cmd_numpy_source *numpy, const char *file, const void *head,
                     size_t bytes, uint64_t file_bytes, struct err *err);
static int read_rows(void *self, size_t i, int64_t row, int64_t rows, void *out, struct err *err);
static int read_member(struct cmd_numpy_source *numpy, size_t i, void *out, size_t bytes, bool last,
                       struct err *err);
static int prepare(const struct ckpt_source *source, size_t i, struct outgoing *out,
                   struct err *err);
static int take(struct outgoing *o, uint8_t *to, size_t bytes);
static int save_folder(const struct ckpt_source *source, const char *out, uint64_t *out_bytes,
                       struct err *err);
static int save_zip(const struct ckpt_source *source, const char *out, uint64_t *out_bytes,
                    struct err *err);
static zip_int64_t give(void *self, void *data, zip_uint64_t bytes, zip_source_cmd_t command);

bool cmd_numpy_is(const char *path)
{
    if (!fsutil_is_dir(path))
        return str_ends_with(path, ".npz");
    struct str_list files = {0};
    bool found = false;
    if (store_list(path, &files, NULL) == 0)
        for (size_t i = 0; i < files.count && !found; i++)
            found = str_ends_with(files.items[i], SUFFIX);
    str_list_deinit(&files);
    return found;
}

int cmd_numpy_open(const char *path, struct cmd_numpy_source **out, struct err *err)
{
    struct cmd_numpy_source *numpy = MEM_NEW(struct cmd_numpy_source);
    numpy->path = mem_must_strdup(path);
    numpy->current = SIZE_MAX;
    int rc = fsutil_is_dir(path) ? open_folder(numpy, err) : open_zip(numpy, err);
    if (rc == 0 && numpy->names.count == 0)
        rc = err_set(err, SL_ENOENT, "%s: no %s array in it", path, SUFFIX);
    for (size_t i = 0; i < numpy->names.count; i++)
        numpy->vars[i].name = numpy->names.items[i];
    numpy->base = (struct ckpt_source){numpy->vars, numpy->names.count, read_rows, numpy};
    if (rc < 0)
        cmd_numpy_close(numpy);
    else
        *out = numpy;
    return rc;
}

const struct ckpt_source *cmd_numpy_source(const struct cmd_numpy_source *numpy)
{
    return &numpy->base;
}

void cmd_numpy_close(struct cmd_numpy_source *numpy)
{
    if (numpy == NULL)
        return;
    if (numpy->member != NULL)
        zip_fclose(numpy->member);
    if (numpy->file != NULL)
        store_file_close(numpy->file);
    if (numpy->zip != NULL)
        zip_discard(numpy->zip);
    str_list_deinit(&numpy->names);
    str_list_deinit(&numpy->files);
    mem_free(numpy->vars);
    mem_free(numpy->offsets);
    mem_free(numpy->path);
    mem_free(numpy);
}

int cmd_numpy_save(const struct ckpt_source *source, const char *out, bool npz, uint64_t *out_bytes,
                   struct err *err)
{
    *out_bytes = 0;
    for (size_t i = 0; i < source->count; i++)
        if (source->vars[i].kind != VARIABLE_TENSOR || source->vars[i].lod_levels > 0)
            return err_set(err, SL_EUNSUPPORTED, "%s: %s cannot be a numpy array",
                           source->vars[i].name,
                           source->vars[i].lod_levels > 0 ? "a tensor with LoD" : "selected rows");
    return npz ? save_zip(source, out, out_bytes, err) : save_folder(source, out, out_bytes, err);
}

static int open_zip(struct cmd_numpy_source *numpy, struct err *err)
{
    int code = 0, rc = 0;
    numpy->zip = zip_open(numpy->path, ZIP_RDONLY | ZIP_CHECKCONS, &code);
    if (numpy->zip == NULL) {
        zip_error_t why;
        zip_error_init_with_code(&why, code);
        rc = err_set(err, code == ZIP_ER_NOENT ? SL_ENOENT : SL_EFORMAT, "%s: %s", numpy->path,
                     zip_error_strerror(&why));
        zip_error_fini(&why);
        return rc;
    }
    uint8_t *head = mem_alloc(NPY_HEADER_MAX);
    if (head == NULL)
        return err_set(err, SL_ENOMEM, "no memory");
    for (zip_int64_t i = 0; i < zip_get_num_entries(numpy->zip, 0) && rc == 0; i++) {
        zip_stat_t stat;
        if (zip_stat_index(numpy->zip, (zip_uint64_t)i, 0, &stat) != 0 ||
            !(stat.valid & ZIP_STAT_NAME) || !(stat.valid & ZIP_STAT_SIZE))
            rc = err_set(err, SL_EFORMAT, "%s: member %" PRId64 " has no name or size", numpy->path,
                         (int64_t)i);
        else if (!str_ends_with(stat.name, SUFFIX))
            rc = err_set(err, SL_EFORMAT, "%s: member `%s` is no %s array", numpy->path, stat.name,
                         SUFFIX);
        zip_file_t *member =
            rc == 0 ? zip_fopen_index(numpy->zip, (zip_uint64_t)i, ZIP_FL_UNCHANGED) : NULL;
        zip_int64_t n = member != NULL ? zip_fread(member, head, NPY_HEADER_MAX) : -1;
        if (rc == 0 && n < 0)
            rc = err_set(err, SL_EFORMAT, "%s: %s cannot be read: %s", numpy->path, stat.name,
                         zip_strerror(numpy->zip));
        if (rc == 0)
            rc = add_array(numpy, stat.name, head, (size_t)n, stat.size, err);
        if (member != NULL)
            zip_fclose(member);
    }
    mem_free(head);
    return rc;
}

static int open_folder(struct cmd_numpy_source *numpy, struct err *err)
{
    struct str_list files = {0};
    uint8_t *head = mem_alloc(NPY_HEADER_MAX);
    int rc =
        head != NULL ? store_list(numpy->path, &files, err) : err_set(err, SL_ENOMEM, "no memory");
    for (size_t i = 0; i < files.count && rc == 0; i++) {
        struct store_file *file;
        if (!str_ends_with(files.items[i], SUFFIX))
            continue;
        rc = store_open(numpy->path, files.items[i], &file, err);
        if (rc < 0)
            break;
        uint64_t size = store_file_bytes(file);
        size_t bytes = size < NPY_HEADER_MAX ? (size_t)size : NPY_HEADER_MAX;
        rc = store_file_read(file, 0, head, bytes, err);
        if (rc == 0)
            rc = add_array(numpy, files.items[i], head, bytes, size, err);
        store_file_close(file);
    }
    str_list_deinit(&files);
    mem_free(head);
    return rc;
}

static int add_array(struct cmd_numpy_source *numpy, const char *file, const void *head,
                     size_t bytes, uint64_t file_bytes, struct err *err)
{
    struct npy_header header;
    char *name = mem_must_strndup(file, strlen(file) - strlen(SUFFIX));
    int rc = npy_read(head, bytes, file, &header, err);
    uint64_t count = 0;
    if (rc == 0)
        rc = fsutil_check_relative(name, err);
    if (rc == 0 && (!dims_count(&header.dims, dtype_bytes(header.dtype), &count) ||
                    count * dtype_bytes(header.dtype) != file_bytes - header.data_offset))
        rc = err_set(err, SL_EFORMAT, "%s: %" PRIu64 " bytes of data, its shape says %" PRIu64,
                     file, file_bytes - header.data_offset, count * dtype_bytes(header.dtype));
    if (rc == 0) {
        size_t i = numpy->names.count;
        numpy->vars = mem_must_realloc(numpy->vars, (i + 1) * sizeof *numpy->vars);
        numpy->offsets = mem_must_realloc(numpy->offsets, (i + 1) * sizeof *numpy->offsets);
        numpy->vars[i] =
            (struct ckpt_var){.kind = VARIABLE_TENSOR, .dtype = header.dtype, .dims = header.dims};
        numpy->offsets[i] = header.data_offset;
        str_list_add(&numpy->names, name);
        str_list_add(&numpy->files, file);
    }
    mem_free(name);
    return rc < 0 ? err_prefix(err, "%s", numpy->path) : 0;
}

static int read_rows(void *self, size_t i, int64_t row, int64_t rows, void *out, struct err *err)
{
    struct cmd_numpy_source *numpy = self;
    const struct ckpt_var *var = &numpy->vars[i];
    uint64_t row_bytes = dtype_bytes(var->dtype);
    if (var->dims.rank > 0)
        row_bytes *= (uint64_t)dims_product(&var->dims, 1, var->dims.rank);
    size_t bytes = (size_t)((uint64_t)rows * row_bytes);
    if (numpy->zip != NULL)
        return read_member(numpy, i, out, bytes,
                           row + rows == (var->dims.rank > 0 ? var->dims.d[0] : 1), err);
    if (numpy->current != i) {
        if (numpy->file != NULL)
            store_file_close(numpy->file);
        numpy->file = NULL;
        int rc = store_open(numpy->path, numpy->files.items[i], &numpy->file, err);
        if (rc < 0)
            return rc;
        numpy->current = i;
    }
    return store_file_read(numpy->file, numpy->offsets[i] + (uint64_t)row * row_bytes, out, bytes,
                           err);
}

// The next bytes of member i's data. libzip compares the archive's CRC when it is asked for more
// than there is, so the last bytes are followed by a read that must find nothing.
static int read_member(struct cmd_numpy_source *numpy, size_t i, void *out, size_t bytes, bool last,
                       struct err *err)
{
    uint8_t skipped[256];
    uint64_t skip = 0;
    if (numpy->current != i) {
        if (numpy->member != NULL)
            zip_fclose(numpy->member);
        numpy->member = zip_fopen(numpy->zip, numpy->files.items[i], ZIP_FL_UNCHANGED);
        numpy->current = i;
        skip = numpy->offsets[i];
    }
    bool ok = numpy->member != NULL;
    while (skip > 0 && ok) {
        size_t n = skip < sizeof skipped ? (size_t)skip : sizeof skipped;
        ok = zip_fread(numpy->member, skipped, n) == (zip_int64_t)n;
        skip -= n;
    }
    ok = ok && zip_fread(numpy->member, out, bytes) == (zip_int64_t)bytes;
    ok = ok && (!last || zip_fread(numpy->member, skipped, 1) == 0);
    return ok ? 0
              : err_set(err, SL_EFORMAT, "%s: %s: damaged or cut off", numpy->path,
                        numpy->files.items[i]);
}

static int prepare(const struct ckpt_source *source, size_t i, struct outgoing *out,
                   struct err *err)
{
    const struct ckpt_var *var = &source->vars[i];
    uint64_t count;
    *out = (struct outgoing){.source = source, .index = i, .row_held = -1, .err = err};
    buf_init(&out->header, 0);
    zip_error_init(&out->failure);
    out->row_bytes = dtype_bytes(var->dtype);
    if (var->dims.rank > 0)
        out->row_bytes *= (uint64_t)dims_product(&var->dims, 1, var->dims.rank);
    if (npy_append(var->dtype, &var->dims, &out->header) < 0 ||
        !dims_count(&var->dims, dtype_bytes(var->dtype), &count))
        return err_set(err, SL_EUNSUPPORTED, "%s: %s cannot be a numpy array", var->name,
                       dtype_name((int)var->dtype));
    out->row = mem_alloc((size_t)out->row_bytes);
    if (out->row == NULL)
        return err_set(err, SL_ENOMEM, "%s: no memory for a row", var->name);
    out->total = out->header.bytes + count * dtype_bytes(var->dtype);
    return 0;
}

// The next bytes of the member, at most to its end (the caller counts).
static int take(struct outgoing *o, uint8_t *to, size_t bytes)
{
    int rc = 0;
    while (bytes > 0 && rc == 0) {
        size_t n;
        if (o->at < o->header.bytes) {
            n = o->header.bytes - (size_t)o->at;
            n = n < bytes ? n : bytes;
            memcpy(to, o->header.data + o->at, n);
        } else {
            uint64_t data_at = o->at - o->header.bytes;
            int64_t row = (int64_t)(data_at / o->row_bytes);
            uint64_t within = data_at % o->row_bytes;
            int64_t whole = (int64_t)(bytes / o->row_bytes);
            if (within == 0 && whole > 0) {
                n = (size_t)((uint64_t)whole * o->row_bytes);
                rc = o->source->read_rows(o->source->self, o->index, row, whole, to, o->err);
            } else {
                if (o->row_held != row)
                    rc = o->source->read_rows(o->source->self, o->index, row, 1, o->row, o->err);
                o->row_held = row;
                n = (size_t)(o->row_bytes - within);
                n = n < bytes ? n : bytes;
                memcpy(to, o->row + within, n);
            }
        }
        to += n, bytes -= n, o->at += n;
    }
    return rc;
}

static void finish(struct outgoing *o)
{
    buf_deinit(&o->header);
    mem_free(o->row);
    zip_error_fini(&o->failure);
}

static int save_folder(const struct ckpt_source *source, const char *out, uint64_t *out_bytes,
                       struct err *err)
{
    const struct store_options options = {.mode = STORE_REPLACE, .mark = MARK};
    struct store_writer *writer = NULL;
    uint8_t *chunk = mem_alloc(CHUNK_BYTES);
    int rc = chunk != NULL ? store_begin(out, &options, &writer, err)
                           : err_set(err, SL_ENOMEM, "no memory");
    for (size_t i = 0; i < source->count && rc == 0; i++) {
        struct outgoing o;
        char *name = mem_must_printf("%s" SUFFIX, source->vars[i].name);
        rc = prepare(source, i, &o, err);
        if (rc == 0)
            rc = store_put_open(writer, name, err);
        while (rc == 0 && o.at < o.total) {
            uint64_t left = o.total - o.at;
            size_t n = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
            rc = take(&o, chunk, n);
            if (rc == 0)
                rc = store_put_write(writer, chunk, n, err);
        }
        if (rc == 0)
            rc = store_put_close(writer, err);
        *out_bytes += o.total;
        finish(&o);
        mem_free(name);
    }
    static const char mark[] = "{\"format\": 1}\n";
    if (rc == 0)
        rc = store_commit(writer, mark, strlen(mark), err);
    store_end(writer);
    mem_free(chunk);
    return rc;
}

static int save_zip(const struct ckpt_source *source, const char *out, uint64_t *out_bytes,
                    struct err *err)
{
    int code = 0, rc = 0;
    zip_t *zip = zip_open(out, ZIP_CREATE | ZIP_TRUNCATE, &code);
    if (zip == NULL)
        return err_set(err, SL_EIO, "%s: cannot be written (zip error %d)", out, code);
    struct outgoing *all = mem_must_calloc(source->count + 1, sizeof *all);
    err->text[0] = '\0';
    for (size_t i = 0; i < source->count && rc == 0; i++) {
        rc = prepare(source, i, &all[i], err);
        zip_source_t *from = rc == 0 ? zip_source_function(zip, give, &all[i]) : NULL;
        char *name = mem_must_printf("%s" SUFFIX, source->vars[i].name);
        zip_int64_t at =
            from != NULL ? zip_file_add(zip, name, from, ZIP_FL_ENC_UTF_8 | ZIP_FL_OVERWRITE) : -1;
        if (at >= 0)
            zip_set_file_compression(zip, (zip_uint64_t)at, ZIP_CM_STORE, 0);
        else if (rc == 0)
            rc = err_set(err, SL_EIO, "%s: %s: %s", out, name, zip_strerror(zip));
        *out_bytes += all[i].total;
        mem_free(name);
    }
    if (rc == 0 && zip_close(zip) != 0) {
        rc = err->text[0] != '\0' ? err->code
                                  : err_set(err, SL_EIO, "%s: %s", out, zip_strerror(zip));
        zip_discard(zip);
    } else if (rc < 0) {
        zip_discard(zip);
    }
    for (size_t i = 0; i < source->count; i++)
        finish(&all[i]);
    mem_free(all);
    return rc;
}

// libzip asks for a member's bytes.
static zip_int64_t give(void *self, void *data, zip_uint64_t bytes, zip_source_cmd_t command)
{
    struct outgoing *o = self;
    switch (command) {
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE,
                                              ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE,
                                              -1);
    case ZIP_SOURCE_OPEN:
        o->at = 0;
        return 0;
    case ZIP_SOURCE_READ: {
        uint64_t left = o->total - o->at;
        size_t n = (size_t)(bytes < left ? bytes : left);
        if (take(o, data, n) == 0)
            return (zip_int64_t)n;
        zip_error_set(&o->failure, ZIP_ER_READ, 0);
        return -1;
    }
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE:
        return 0;
    case ZIP_SOURCE_STAT: {
        zip_stat_t *stat = ZIP_SOURCE_GET_ARGS(zip_stat_t, data, bytes, &o->failure);
        if (stat == NULL)
            return -1;
        zip_stat_init(stat);
        stat->size = o->total;
        stat->valid |= ZIP_STAT_SIZE;
        return (zip_int64_t)sizeof *stat;
    }
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&o->failure, data, bytes);
    default:
        zip_error_set(&o->failure, ZIP_ER_INVAL, 0);
        return -1;
    }
}
