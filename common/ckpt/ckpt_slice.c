// SPDX-License-Identifier: Apache-2.0
// Everything streams: a file is never in memory as a whole.
#include "common/ckpt/ckpt_slice.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/ckpt/ckpt_view.h"
#include "common/storage/store.h"

#define CHUNK_BYTES (1u << 20)
#define LIST_BYTES_MAX (256u << 20)   // of a list of files
#define FORMAT 1
#define OTHERS "others"

// A run of bytes of a file, or of memory when from is NULL.
struct part {
    struct store_file *from;
    uint64_t offset, bytes;
    const void *data;
};

struct slicing {
    struct store_writer *writer;
    struct fsutil_sha256 *sha;   // of the file being read or made; NULL: nobody asks
    uint8_t *chunk;
    struct err *err;
};

static int begin(struct slicing *s, const char *out, const char *mark, struct err *err);
static void end(struct slicing *s);
static int cut(struct slicing *s, struct ckpt_view *view, size_t i, int servers, int64_t blocks,
               int *next_server, json_t *variables, struct ckpt_slice_done *done);
static int64_t count_blocks(const struct ckpt_view_var *var, int servers, int64_t min_block_size);
static int cut_piece(struct slicing *s, const char *to, const struct tensor_io_header *header,
                     int64_t rows, const struct part *data);
static int copy_whole(struct slicing *s, const char *uri, const char *name, const char *to);
static int put_part(struct slicing *s, const struct part *part);
static int read_map(const char *dir, json_t **out, struct err *err);
static int join_variable(struct slicing *s, const char *dir, const json_t *entry,
                         struct ckpt_manifest *manifest, struct ckpt_slice_done *done);
static int join_pieces(struct slicing *s, const char *dir, const char *name, const json_t *entry,
                       uint64_t *out_bytes);
static int put_header(struct slicing *s, const char *name, const json_t *entry,
                      uint64_t *out_bytes);
static int put_piece(struct slicing *s, const char *dir, const char *name, const json_t *piece,
                     uint64_t *out_bytes);
static int join_others(struct slicing *s, const char *dir, const json_t *names, struct buf *mark,
                       struct ckpt_slice_done *done);
static int commit(struct slicing *s, struct ckpt_manifest *manifest, struct buf *mark);

int ckpt_slice(struct ckpt_view *view, int servers, int64_t min_block_size, const char *out,
               struct ckpt_slice_done *done, struct err *err)
{
    struct slicing s;
    int next_server = 0;
    *done = (struct ckpt_slice_done){0};
    int rc = begin(&s, out, CKPT_SLICE_MARK, err);
    json_t *variables = json_array(), *others = json_array();
    for (size_t i = 0; i < view->count && rc == 0; i++)
        rc = cut(&s, view, i, servers, count_blocks(&view->vars[i], servers, min_block_size),
                 &next_server, variables, done);
    // The folder's own lists, which a view does not count as files.
    static const char *const lists[] = {CKPT_MANIFEST_NAME, CKPT_SUMS_NAME};
    for (size_t i = 0; i < sizeof lists / sizeof *lists && rc == 0; i++) {
        struct store_file *file;
        if (store_open(view->uri, lists[i], &file, NULL) < 0)
            continue;
        store_file_close(file);
        str_list_add(&view->others, lists[i]);
    }
    for (size_t i = 0; i < view->others.count && rc == 0; i++) {
        char *to = fsutil_join(OTHERS, view->others.items[i]);
        rc = copy_whole(&s, view->uri, view->others.items[i], to);
        json_array_append_new(others, json_string(view->others.items[i]));
        done->others++;
        mem_free(to);
    }
    json_t *map = json_pack("{s:i, s:i, s:o, s:o}", "format", FORMAT, "servers", servers,
                            "variables", variables, "others", others);
    char *text = json_dumps(map, JSON_INDENT(1));
    if (rc == 0 && text == NULL)
        rc = err_set(err, SL_EFORMAT, "slice %s: a file name is not UTF-8", view->uri);
    if (rc == 0)
        rc = store_commit(s.writer, text, strlen(text), err);
    free(text);
    json_decref(map);
    end(&s);
    return rc;
}

int ckpt_slice_join(const char *dir, const char *out, struct ckpt_slice_done *done, struct err *err)
{
    struct slicing s;
    struct ckpt_manifest manifest;
    struct buf mark;
    json_t *map = NULL;
    *done = (struct ckpt_slice_done){0};
    ckpt_manifest_init(&manifest);
    buf_init(&mark, 0);
    int rc = read_map(dir, &map, err);
    if (rc == 0) {
        rc = begin(&s, out, CKPT_MANIFEST_NAME, err);
        const json_t *variables = json_object_get(map, "variables");
        for (size_t i = 0; i < json_array_size(variables) && rc == 0; i++)
            rc = join_variable(&s, dir, json_array_get(variables, i), &manifest, done);
        if (rc == 0)
            rc = join_others(&s, dir, json_object_get(map, "others"), &mark, done);
        if (rc == 0)
            rc = commit(&s, &manifest, &mark);
        end(&s);
    }
    json_decref(map);
    buf_deinit(&mark);
    ckpt_manifest_deinit(&manifest);
    return rc < 0 ? err_prefix(err, "join %s", dir) : 0;
}

static int begin(struct slicing *s, const char *out, const char *mark, struct err *err)
{
    const struct store_options options = {
        .mode = STORE_REPLACE,
        .mark = mark,
        .is_ours = str_eq(mark, CKPT_MANIFEST_NAME) ? ckpt_manifest_is_ours : NULL};
    *s = (struct slicing){.err = err, .chunk = mem_alloc(CHUNK_BYTES)};
    if (s->chunk == NULL)
        return err_set(err, SL_ENOMEM, "no memory");
    return store_begin(out, &options, &s->writer, err);
}

static void end(struct slicing *s)
{
    store_end(s->writer);
    mem_free(s->chunk);
}

// Fluid's rule: as many as there are servers, each of at least min_block_size elements; the pieces
// have equally many whole rows, but the last.
static int64_t count_blocks(const struct ckpt_view_var *var, int servers, int64_t min_block_size)
{
    const struct tensor_io_header *header = &var->header;
    if (header->kind != VARIABLE_TENSOR || header->lod_levels > 0 || var->surplus > 0 ||
        header->dims.rank == 0)
        return 1;
    int64_t elements = (int64_t)(header->data_bytes / dtype_bytes(header->dtype));
    int64_t blocks = elements / min_block_size;
    if (blocks > servers)
        blocks = servers;
    if (blocks < 2)
        return 1;
    int64_t width = elements / header->dims.d[0], block = (elements + blocks - 1) / blocks;
    int64_t rows = (block + width - 1) / width;
    return (header->dims.d[0] + rows - 1) / rows;
}

static int cut(struct slicing *s, struct ckpt_view *view, size_t i, int servers, int64_t blocks,
               int *next_server, json_t *variables, struct ckpt_slice_done *done)
{
    const struct ckpt_view_var *var = &view->vars[i];
    const struct tensor_io_header *header = &var->header;
    int64_t total = ckpt_view_rows(var), rows = (total + blocks - 1) / blocks;
    uint64_t row_bytes = ckpt_view_row_bytes(var);
    struct store_file *file;
    int rc = store_open(view->uri, var->file, &file, s->err);
    if (rc < 0)
        return rc;
    json_t *dims = json_array(), *pieces = json_array();
    for (int d = 0; d < header->dims.rank; d++)
        json_array_append_new(dims, json_integer(header->dims.d[d]));
    s->sha = fsutil_sha256_new();
    const struct part head = {file, 0, var->header.data_offset, NULL};
    if (blocks > 1)
        rc = put_part(&(struct slicing){.chunk = s->chunk, .sha = s->sha, .err = s->err}, &head);
    for (int64_t b = 0; b < blocks && rc == 0; b++) {
        int64_t row = b * rows, count = total - row < rows ? total - row : rows;
        char *name = blocks > 1 ? mem_must_printf("%s.block%" PRId64, var->name, b)
                                : mem_must_strdup(var->name);
        char *to = mem_must_printf("server_%d/%s", *next_server, name);
        const struct part whole = {file, 0, store_file_bytes(file), NULL};
        const struct part piece = {file, header->data_offset + (uint64_t)row * row_bytes,
                                   (uint64_t)count * row_bytes, NULL};
        rc = cut_piece(s, to, blocks > 1 ? header : NULL, count, blocks > 1 ? &piece : &whole);
        json_array_append_new(pieces,
                              json_pack("{s:i, s:s, s:I, s:I}", "server", *next_server, "name",
                                        name, "row", (json_int_t)row, "rows", (json_int_t)count));
        *next_server = (*next_server + 1) % servers;
        done->pieces++;
        mem_free(name);
        mem_free(to);
    }
    char hex[FSUTIL_SHA256_HEX];
    fsutil_sha256_end(s->sha, hex);
    s->sha = NULL;
    done->variables++;
    done->bytes += store_file_bytes(file);
    store_file_close(file);
    json_array_append_new(variables, json_pack("{s:s, s:i, s:o, s:b, s:o, s:s}", "name", var->name,
                                               "dtype", (int)header->dtype, "dims", dims, "cut",
                                               blocks > 1, "pieces", pieces, "sha256", hex));
    return rc;
}

// A file of data, behind a header for rows rows when header is given.
static int cut_piece(struct slicing *s, const char *to, const struct tensor_io_header *header,
                     int64_t rows, const struct part *data)
{
    int rc = store_put_open(s->writer, to, s->err);
    if (rc == 0 && header != NULL) {
        struct tensor shape = {.dtype = header->dtype, .dims = header->dims};
        struct buf text;
        shape.dims.d[0] = rows;
        buf_init(&text, 0);
        rc = tensor_io_encode_header(&shape, &text);
        if (rc == 0)
            rc = store_put_write(s->writer, text.data, text.bytes, s->err);
        buf_deinit(&text);
    }
    if (rc == 0)
        rc = put_part(s, data);
    return rc < 0 ? rc : store_put_close(s->writer, s->err);
}

static int copy_whole(struct slicing *s, const char *uri, const char *name, const char *to)
{
    struct store_file *file;
    int rc = store_open(uri, name, &file, s->err);
    if (rc < 0)
        return rc;
    const struct part whole = {file, 0, store_file_bytes(file), NULL};
    rc = store_put_open(s->writer, to, s->err);
    if (rc == 0)
        rc = put_part(s, &whole);
    if (rc == 0)
        rc = store_put_close(s->writer, s->err);
    store_file_close(file);
    return rc;
}

static int put_part(struct slicing *s, const struct part *part)
{
    int rc = 0;
    for (uint64_t at = 0; at < part->bytes && rc == 0; at += CHUNK_BYTES) {
        size_t n = part->bytes - at < CHUNK_BYTES ? (size_t)(part->bytes - at) : CHUNK_BYTES;
        const void *data = part->from == NULL ? (const uint8_t *)part->data + at : s->chunk;
        if (part->from != NULL)
            rc = store_file_read(part->from, part->offset + at, s->chunk, n, s->err);
        if (rc == 0 && s->sha != NULL)
            fsutil_sha256_add(s->sha, data, n);
        if (rc == 0 && s->writer != NULL)
            rc = store_put_write(s->writer, data, n, s->err);
    }
    return rc;
}

static int read_map(const char *dir, json_t **out, struct err *err)
{
    struct buf text;
    json_error_t where;
    char *path = fsutil_join(dir, CKPT_SLICE_MARK);
    buf_init(&text, 0);
    int rc = fsutil_read(path, LIST_BYTES_MAX, &text, err);
    if (rc == SL_ENOENT)
        rc = err_set(err, rc, "%s is not there: no folder of `sluice ckpt slice`", path);
    if (rc == 0) {
        *out = json_loadb((const char *)text.data, text.bytes, 0, &where);
        if (*out == NULL || json_integer_value(json_object_get(*out, "format")) != FORMAT)
            rc = err_set(err, SL_EFORMAT, "%s: not a list of slices: %s", path,
                         *out == NULL ? where.text : "unknown format");
    }
    buf_deinit(&text);
    mem_free(path);
    return rc;
}

static int join_variable(struct slicing *s, const char *dir, const json_t *entry,
                         struct ckpt_manifest *manifest, struct ckpt_slice_done *done)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    const char *sum = json_string_value(json_object_get(entry, "sha256"));
    if (name == NULL || sum == NULL || fsutil_check_relative(name, s->err) < 0)
        return err_set(s->err, SL_EFORMAT, "%s/%s: an entry without a name or a sum", dir,
                       CKPT_SLICE_MARK);
    char hex[FSUTIL_SHA256_HEX];
    uint64_t bytes = 0;
    s->sha = fsutil_sha256_new();
    int rc = store_put_open(s->writer, name, s->err);
    if (rc == 0)
        rc = join_pieces(s, dir, name, entry, &bytes);
    if (rc == 0)
        rc = store_put_close(s->writer, s->err);
    fsutil_sha256_end(s->sha, hex);
    s->sha = NULL;
    if (rc == 0 && !str_eq(hex, sum))
        rc = err_set(s->err, SL_ECORRUPT,
                     "%s: the joined file is not the one that was cut: a piece was changed", name);
    if (rc == 0)
        ckpt_manifest_add(manifest, name, bytes, hex);
    done->variables++;
    done->pieces += json_array_size(json_object_get(entry, "pieces"));
    done->bytes += bytes;
    return rc;
}

static int join_pieces(struct slicing *s, const char *dir, const char *name, const json_t *entry,
                       uint64_t *out_bytes)
{
    const json_t *pieces = json_object_get(entry, "pieces");
    bool was_cut = json_is_true(json_object_get(entry, "cut"));
    int rc = was_cut ? put_header(s, name, entry, out_bytes) : 0;
    if (!was_cut && json_array_size(pieces) != 1)
        rc = err_set(s->err, SL_EFORMAT, "%s: uncut, but not one piece", name);
    for (size_t i = 0; i < json_array_size(pieces) && rc == 0; i++) {
        const json_t *piece = json_array_get(pieces, i);
        if (was_cut) {
            rc = put_piece(s, dir, name, piece, out_bytes);
            continue;
        }
        char *path = mem_must_printf(
            "server_%d/%s", (int)json_integer_value(json_object_get(piece, "server")), name);
        struct store_file *file;
        rc = store_open(dir, path, &file, s->err);
        if (rc == 0) {
            const struct part whole = {file, 0, store_file_bytes(file), NULL};
            rc = put_part(s, &whole);
            *out_bytes = store_file_bytes(file);
            store_file_close(file);
        }
        mem_free(path);
    }
    return rc;
}

// The header of the whole variable.
static int put_header(struct slicing *s, const char *name, const json_t *entry, uint64_t *out_bytes)
{
    const json_t *dims = json_object_get(entry, "dims");
    struct tensor shape = {.dtype = (enum dtype)json_integer_value(json_object_get(entry, "dtype")),
                           .dims = {.rank = (int)json_array_size(dims)}};
    uint64_t count;
    if (!dtype_is_valid((int)shape.dtype) || json_array_size(dims) > LIMIT_RANK)
        return err_set(s->err, SL_EFORMAT, "%s: impossible type or shape in %s", name,
                       CKPT_SLICE_MARK);
    for (int d = 0; d < shape.dims.rank; d++)
        shape.dims.d[d] = json_integer_value(json_array_get(dims, (size_t)d));
    if (!dims_count(&shape.dims, dtype_bytes(shape.dtype), &count))
        return err_set(s->err, SL_EFORMAT, "%s: impossible shape in %s", name, CKPT_SLICE_MARK);
    struct buf text;
    buf_init(&text, 0);
    int rc = tensor_io_encode_header(&shape, &text);
    const struct part head = {NULL, 0, text.bytes, text.data};
    if (rc == 0)
        rc = put_part(s, &head);
    *out_bytes += text.bytes;
    buf_deinit(&text);
    return rc;
}

// The data of one piece.
static int put_piece(struct slicing *s, const char *dir, const char *name, const json_t *piece,
                     uint64_t *out_bytes)
{
    const char *file_name = json_string_value(json_object_get(piece, "name"));
    struct tensor_io_source source;
    struct tensor_io_header header;
    struct store_file *file;
    if (file_name == NULL)
        return err_set(s->err, SL_EFORMAT, "%s: a piece without a name", name);
    char *path = mem_must_printf(
        "server_%d/%s", (int)json_integer_value(json_object_get(piece, "server")), file_name);
    int rc = store_open(dir, path, &file, s->err);
    if (rc == 0) {
        ckpt_want_source(file, &source);
        rc = tensor_io_read_header(&source, 0, VARIABLE_TENSOR, &header, s->err);
        if (rc == 0 && (header.dims.rank < 1 ||
                        header.dims.d[0] != json_integer_value(json_object_get(piece, "rows"))))
            rc = err_set(s->err, SL_EMISMATCH, "%s: not the rows that %s speaks of", path,
                         CKPT_SLICE_MARK);
        const struct part data = {file, header.data_offset, header.data_bytes, NULL};
        if (rc == 0)
            rc = put_part(s, &data);
        if (rc == 0)
            *out_bytes += header.data_bytes;
        tensor_io_header_deinit(&header);
        store_file_close(file);
    }
    mem_free(path);
    return rc;
}

// The manifest, if it is among them, goes to mark.
static int join_others(struct slicing *s, const char *dir, const json_t *names, struct buf *mark,
                       struct ckpt_slice_done *done)
{
    int rc = 0;
    for (size_t i = 0; i < json_array_size(names) && rc == 0; i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (name == NULL)
            return err_set(s->err, SL_EFORMAT, "%s: a file without a name", CKPT_SLICE_MARK);
        char *from = fsutil_join(OTHERS, name);
        if (str_eq(name, CKPT_MANIFEST_NAME)) {
            char *path = fsutil_join(dir, from);
            rc = fsutil_read(path, LIST_BYTES_MAX, mark, s->err);
            mem_free(path);
        } else {
            rc = copy_whole(s, dir, from, name);
        }
        done->others++;
        mem_free(from);
    }
    return rc;
}

static int commit(struct slicing *s, struct ckpt_manifest *manifest, struct buf *mark)
{
    int rc = mark->bytes == 0 ? ckpt_manifest_format(manifest, mark) : 0;
    return rc < 0 ? rc : store_commit(s->writer, mark->data, mark->bytes, s->err);
}
