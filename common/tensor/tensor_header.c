// SPDX-License-Identifier: Apache-2.0
// The header of a variable's bytes. A cursor walks over the source; every length is checked
// against what the source still holds before anything is allocated or read, so memory is bounded
// by the file's size. TensorDesc is two protobuf fields, read here directly: the tensor layer knows
// no schema.
#include "common/tensor/tensor_header.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensor files are read and written in memory order, which has to be little endian"
#endif

struct cursor {
    const struct tensor_io_source *source;
    uint64_t offset;    // of the next byte, in the source
    struct err *err;
};

// A protobuf message in memory.
struct wire {
    const uint8_t *at, *end;
};

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
enum { DESC_DATA_TYPE = 1, DESC_DIMS = 2 };

static int parse(struct cursor *c, enum variable_kind kind, struct tensor_io_header *out);
static int read_lod(struct cursor *c, struct tensor_io_header *out);
static int read_level(struct cursor *c, struct lod_level *level);
static int read_rows(struct cursor *c, struct tensor_io_header *out);
static int read_desc(struct cursor *c, struct tensor_io_header *out);
static int decode_desc(struct cursor *c, struct wire w, struct tensor_io_header *out);
static int add_dim(struct cursor *c, struct dims *dims, uint64_t value);
static int check_shape(struct cursor *c, uint64_t start, struct tensor_io_header *out);
static int take(struct cursor *c, const char *field, void *out, uint64_t bytes);
static int take_version(struct cursor *c, const char *field);
static int bad(struct cursor *c, const char *what);
static bool wire_varint(struct wire *w, uint64_t *out);
static bool wire_skip(struct wire *w, unsigned type);
static size_t put_varint(uint8_t *out, uint64_t value);

int tensor_header_read(const struct tensor_io_source *source, uint64_t offset,
                       enum variable_kind kind, struct tensor_io_header *out, struct err *err)
{
    struct cursor c = {source, offset, err};
    struct tensor_io_header header = {.kind = kind};
    if (offset > source->size)
        return err_set(err, SL_EFORMAT,
                       "%s: byte %" PRIu64 " lies behind the end (%" PRIu64 " bytes)", source->name,
                       offset, source->size);
    int rc = parse(&c, kind, &header);
    if (rc) {
        tensor_io_header_deinit(&header);
        return rc;
    }
    header.data_offset = c.offset - offset;
    *out = header;
    return 0;
}

int tensor_header_append(enum dtype dtype, const struct dims *dims, struct buf *out)
{
    uint8_t desc[2 + LIMIT_RANK * 11];
    size_t bytes = 0;
    desc[bytes++] = DESC_DATA_TYPE << 3 | WIRE_VARINT;
    bytes += put_varint(desc + bytes, (uint64_t)dtype);
    for (int i = 0; i < dims->rank; i++) {
        desc[bytes++] = DESC_DIMS << 3 | WIRE_VARINT;
        bytes += put_varint(desc + bytes, (uint64_t)dims->d[i]);
    }
    int rc = buf_append_u32le(out, 0);
    if (!rc)
        rc = buf_append_u32le(out, (uint32_t)bytes);
    return rc ? rc : buf_append(out, desc, bytes);
}

static int parse(struct cursor *c, enum variable_kind kind, struct tensor_io_header *out)
{
    int rc = take_version(c, "version");
    if (!rc)
        rc = kind == VARIABLE_SELECTED_ROWS ? read_rows(c, out) : read_lod(c, out);
    if (!rc)
        rc = take_version(c, "tensor version");
    return rc ? rc : read_desc(c, out);
}

static int read_lod(struct cursor *c, struct tensor_io_header *out)
{
    uint64_t levels;
    int rc = take(c, "LoD level count", &levels, sizeof levels);
    if (rc)
        return rc;
    if (levels > LIMIT_LOD_LEVELS)
        return err_set(c->err, SL_EFORMAT,
                       "%s: byte %" PRIu64 ": LoD level count %" PRIu64
                       ", at most %d are possible: "
                       "not a LoDTensor file?",
                       c->source->name, c->offset - sizeof levels, levels, LIMIT_LOD_LEVELS);
    if (!levels)
        return 0;
    out->lod = mem_calloc(levels, sizeof *out->lod);
    if (!out->lod)
        return err_set(c->err, SL_ENOMEM, "%s: no memory for its LoD", c->source->name);
    out->lod_levels = (int)levels;
    for (int i = 0; i < out->lod_levels; i++) {
        rc = read_level(c, &out->lod[i]);
        if (rc)
            return rc;
    }
    return 0;
}

static int read_level(struct cursor *c, struct lod_level *level)
{
    uint64_t bytes;
    int rc = take(c, "bytes of a LoD level", &bytes, sizeof bytes);
    if (rc)
        return rc;
    if (bytes % sizeof(uint64_t) || bytes / sizeof(uint64_t) > LIMIT_LOD_OFFSETS)
        return bad(c, "the bytes of a LoD level are no whole number of 8-byte offsets");
    if (bytes > c->source->size - c->offset)
        return take(c, "LoD offsets", NULL, bytes);
    level->offsets = mem_alloc(bytes);
    if (!level->offsets)
        return err_set(c->err, SL_ENOMEM, "%s: no memory for %" PRIu64 " bytes of LoD",
                       c->source->name, bytes);
    level->count = level->cap = bytes / sizeof(uint64_t);
    return take(c, "LoD offsets", level->offsets, bytes);
}

static int read_rows(struct cursor *c, struct tensor_io_header *out)
{
    uint64_t count;
    int rc = take(c, "row count", &count, sizeof count);
    if (rc)
        return rc;
    if (count > (c->source->size - c->offset) / sizeof(int64_t))
        return take(c, "row indices", NULL,
                    count > UINT64_MAX / sizeof(int64_t) ? UINT64_MAX : count * sizeof(int64_t));
    out->rows = mem_alloc(count * sizeof(int64_t));
    if (!out->rows)
        return err_set(c->err, SL_ENOMEM, "%s: no memory for %" PRIu64 " row indices",
                       c->source->name, count);
    out->rows_count = count;
    rc = take(c, "row indices", out->rows, count * sizeof(int64_t));
    if (!rc)
        rc = take(c, "height", &out->height, sizeof out->height);
    if (rc)
        return rc;
    if (out->height < 0)
        return bad(c, "the height is negative");
    for (size_t i = 0; i < count; i++)
        if (out->rows[i] < 0 || out->rows[i] >= out->height)
            return bad(c, "a row index is not below the height");
    return 0;
}

static int read_desc(struct cursor *c, struct tensor_io_header *out)
{
    uint8_t desc[LIMIT_TENSOR_DESC_BYTES];
    int32_t bytes;
    int rc = take(c, "length of the TensorDesc", &bytes, sizeof bytes);
    if (rc)
        return rc;
    if (bytes <= 0 || bytes > LIMIT_TENSOR_DESC_BYTES)
        return bad(c, "the length of the TensorDesc is out of range");
    uint64_t start = c->offset;
    rc = take(c, "TensorDesc", desc, (uint64_t)bytes);
    if (!rc)
        rc = decode_desc(c, (struct wire){desc, desc + bytes}, out);
    return rc ? rc : check_shape(c, start, out);
}

static int decode_desc(struct cursor *c, struct wire w, struct tensor_io_header *out)
{
    bool has_type = false;
    int rc = 0;
    while (w.at < w.end && !rc) {
        uint64_t key, value;
        if (!wire_varint(&w, &key))
            return bad(c, "the TensorDesc is malformed");
        unsigned type = (unsigned)(key & 7);
        uint64_t field = key >> 3;
        bool is_scalar = type == WIRE_VARINT && (field == DESC_DATA_TYPE || field == DESC_DIMS);
        bool is_packed = type == WIRE_BYTES && field == DESC_DIMS;
        if (!is_scalar && !is_packed) {
            if (!field || !wire_skip(&w, type))
                return bad(c, "the TensorDesc is malformed");
            continue;
        }
        if (!wire_varint(&w, &value) || (is_packed && value > (uint64_t)(w.end - w.at)))
            return bad(c, "the TensorDesc is malformed");
        if (is_packed) {
            struct wire packed = {w.at, w.at + value};
            w.at = packed.end;
            while (packed.at < packed.end && !rc)
                rc = wire_varint(&packed, &value) ? add_dim(c, &out->dims, value)
                                                  : bad(c, "the TensorDesc is malformed");
        } else if (field == DESC_DIMS) {
            rc = add_dim(c, &out->dims, value);
        } else {
            if (value > INT32_MAX || !dtype_is_valid((int)value))
                return bad(c, "the TensorDesc's data_type is no element type");
            out->dtype = (enum dtype)value;
            has_type = true;
        }
    }
    if (!rc && !has_type)
        return bad(c, "the TensorDesc has no data_type");
    return rc;
}

static int add_dim(struct cursor *c, struct dims *dims, uint64_t value)
{
    if (dims->rank == LIMIT_RANK)
        return bad(c, "the TensorDesc has too many dimensions");
    dims->d[dims->rank++] = (int64_t)value;
    return 0;
}

static int check_shape(struct cursor *c, uint64_t start, struct tensor_io_header *out)
{
    char text[DIMS_TEXT_MAX];
    uint64_t count, left = c->source->size - c->offset;
    if (!dims_count(&out->dims, dtype_bytes(out->dtype), &count))
        return err_set(c->err, SL_EFORMAT,
                       "%s: byte %" PRIu64 ": the TensorDesc's dims %s are negative or too large",
                       c->source->name, start, dims_format(&out->dims, text));
    out->data_bytes = count * dtype_bytes(out->dtype);
    if (out->data_bytes > left)
        return err_set(c->err, SL_EFORMAT,
                       "%s: cut off: dims %s of %s need %" PRIu64
                       " bytes of data from byte %" PRIu64 " on, the file has %" PRIu64,
                       c->source->name, dims_format(&out->dims, text), dtype_name((int)out->dtype),
                       out->data_bytes, c->offset, left);
    if (out->kind == VARIABLE_SELECTED_ROWS &&
        (out->dims.rank < 1 || (uint64_t)out->dims.d[0] != out->rows_count))
        return err_set(c->err, SL_EFORMAT,
                       "%s: byte %" PRIu64 ": the TensorDesc's dims %s do not begin with the %zu "
                       "row indices",
                       c->source->name, start, dims_format(&out->dims, text), out->rows_count);
    return 0;
}

static int take(struct cursor *c, const char *field, void *out, uint64_t bytes)
{
    uint64_t left = c->source->size - c->offset;
    if (bytes > left)
        return err_set(c->err, SL_EFORMAT,
                       "%s: cut off at byte %" PRIu64 ": %s needs %" PRIu64 " bytes, %" PRIu64
                       " are left",
                       c->source->name, c->offset, field, bytes, left);
    int rc = c->source->read(c->source->self, c->offset, out, bytes, c->err);
    if (!rc)
        c->offset += bytes;
    return rc;
}

static int take_version(struct cursor *c, const char *field)
{
    uint32_t version;
    int rc = take(c, field, &version, sizeof version);
    if (!rc && version)
        return err_set(c->err, SL_EFORMAT,
                       "%s: byte %" PRIu64 ": %s is %u, only 0 exists: not a Fluid variable file?",
                       c->source->name, c->offset - sizeof version, field, version);
    return rc;
}

static int bad(struct cursor *c, const char *what)
{
    return err_set(c->err, SL_EFORMAT, "%s: before byte %" PRIu64 ": %s", c->source->name,
                   c->offset, what);
}

static bool wire_varint(struct wire *w, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && w->at < w->end; shift += 7) {
        uint8_t byte = *w->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *out = value;
            return true;
        }
    }
    return false;
}

static bool wire_skip(struct wire *w, unsigned type)
{
    uint64_t bytes;
    switch (type) {
    case WIRE_VARINT:
        return wire_varint(w, &bytes);
    case WIRE_FIXED64:
        bytes = 8;
        break;
    case WIRE_FIXED32:
        bytes = 4;
        break;
    case WIRE_BYTES:
        if (!wire_varint(w, &bytes))
            return false;
        break;
    default:
        return false;
    }
    if (bytes > (uint64_t)(w->end - w->at))
        return false;
    w->at += bytes;
    return true;
}

static size_t put_varint(uint8_t *out, uint64_t value)
{
    size_t bytes = 0;
    for (; value >= 0x80; value >>= 7)
        out[bytes++] = (uint8_t)(value | 0x80);
    out[bytes++] = (uint8_t)value;
    return bytes;
}
