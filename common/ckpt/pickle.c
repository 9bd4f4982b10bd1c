// SPDX-License-Identifier: Apache-2.0
// What the callables of an array's pickle stand for, and the writer. An array is
//
//     _reconstruct(ndarray, (0,), b'b')  BUILD  (1, shape, dtype, is_fortran, data)
//     dtype('f4', False, True)           BUILD  (3, '<', None, None, None, -1, -1, 0)
//
// and data is bytes; protocol 2 has none, so there it is _codecs.encode(text, 'latin1'), and
// Python 2 wrote a text. Pure over a source; any thread.
#include "common/ckpt/pickle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ckpt/pickle_machine.h"
#include "common/tensor/tensor_io.h"

#define CHUNK_BYTES (64u << 10)
#define ENCODED_MAX 0xffffffffull

static const struct {
    const char *code;
    enum dtype dtype;
} codes[] = {
    {"b1", DTYPE_BOOL},  {"i1", DTYPE_INT8},  {"u1", DTYPE_UINT8},
    {"i2", DTYPE_INT16}, {"i4", DTYPE_INT32}, {"i8", DTYPE_INT64},
    {"f2", DTYPE_FP16},  {"f4", DTYPE_FP32},  {"f8", DTYPE_FP64},
};
#define CODES (sizeof codes / sizeof *codes)

static int collect(struct pickle_machine *m, struct pickle_index *out, struct err *err);
static int compare_arrays(const void *a, const void *b);
static int fault(const struct pickle_machine *m, int code, const char *what, struct err *err);
static const struct pickle_node *child(const struct pickle_machine *m, size_t tuple, size_t i);
static int make_dtype(struct pickle_machine *m, size_t args, size_t *out_node, struct err *err);
static int make_bytes(struct pickle_machine *m, size_t args, size_t *out_node, struct err *err);
static int build_dtype(struct pickle_machine *m, size_t object, size_t state, struct err *err);
static int build_array(struct pickle_machine *m, size_t object, size_t state, struct err *err);
static int read_shape(struct pickle_machine *m, const struct pickle_node *shape, struct dims *out,
                      struct err *err);
static void append_text(struct buf *out, const char *text);
static void append_byte(struct buf *out, uint8_t byte);

int pickle_index_read(const struct tensor_io_source *source, struct pickle_index *out,
                      struct err *err)
{
    struct pickle_machine machine;
    struct pickle_index index = {0};
    int rc = pickle_machine_run(&machine, source, err);
    if (!rc)
        rc = collect(&machine, &index, err);
    pickle_machine_deinit(&machine);
    if (rc)
        pickle_index_deinit(&index);
    else
        *out = index;
    return rc;
}

void pickle_index_deinit(struct pickle_index *index)
{
    for (size_t i = 0; i < index->count; i++)
        mem_free(index->items[i].name);
    mem_free(index->items);
    *index = (struct pickle_index){0};
}

const struct pickle_array *pickle_index_find(const struct pickle_index *index, const char *name)
{
    const struct pickle_array key = {.name = (char *)(uintptr_t)name};
    return index->count ? bsearch(&key, index->items, index->count, sizeof key, compare_arrays)
                        : NULL;
}

int pickle_read_array(const struct tensor_io_source *source, const struct pickle_array *array,
                      void *out, struct err *err)
{
    uint64_t count = 0;
    dims_count(&array->dims, dtype_bytes(array->dtype), &count);
    uint64_t want = count * dtype_bytes(array->dtype), done = 0;
    if (!array->as_text)
        return want ? source->read(source->self, array->offset, out, (size_t)want, err) : 0;
    uint8_t chunk[CHUNK_BYTES], *to = out, lead = 0;
    for (uint64_t at = 0; at < array->bytes;) {
        uint64_t left = array->bytes - at;
        size_t n = left < sizeof chunk ? (size_t)left : sizeof chunk;
        int rc = source->read(source->self, array->offset + at, chunk, n, err);
        if (rc)
            return rc;
        for (size_t i = 0; i < n; i++) {
            uint8_t byte = chunk[i];
            bool tail = (byte & 0xc0) == 0x80;
            if (tail != (lead != 0) || (!tail && byte >= 0x80 && byte != 0xc2 && byte != 0xc3) ||
                (done == want && (tail || byte < 0x80)))
                return err_set(err, SL_EFORMAT,
                               "%s: %s: offset %" PRIu64 ": the data is not %" PRIu64
                               " bytes written as Latin-1 text",
                               source->name, array->name, array->offset + at + i, want);
            if (!tail && byte >= 0x80) {
                lead = byte;
                continue;
            }
            to[done++] = lead ? (uint8_t)(lead << 6 | (byte & 0x3f)) : byte;
            lead = 0;
        }
        at += n;
    }
    return done == want && !lead
               ? 0
               : err_set(err, SL_EFORMAT, "%s: %s: the data is shorter than its shape says",
                         source->name, array->name);
}

// ---- what callables make

int pickle_reduce(struct pickle_machine *m, size_t callable, size_t args, size_t *out_node,
                  struct err *err)
{
    if (m->nodes[callable].kind != PICKLE_CALLABLE || m->nodes[args].kind != PICKLE_TUPLE)
        return fault(m, SL_EFORMAT, "REDUCE without a callable and a tuple", err);
    const struct pickle_node *first = child(m, args, 0);
    switch ((enum pickle_callable)m->nodes[callable].number) {
    case PICKLE_RECONSTRUCT:
        if (m->nodes[args].count != 3 || first->kind != PICKLE_CALLABLE ||
            first->number != PICKLE_NDARRAY)
            return fault(m, SL_EUNSUPPORTED, "an array of another class than numpy.ndarray", err);
        *out_node = pickle_machine_new(m, PICKLE_ARRAY);
        return 0;
    case PICKLE_DTYPE_CLASS:
        return make_dtype(m, args, out_node, err);
    case PICKLE_ENCODE:
        return make_bytes(m, args, out_node, err);
    case PICKLE_ORDERED_DICT:
        if (m->nodes[args].count != 0)
            return fault(m, SL_EUNSUPPORTED, "an OrderedDict of protocol 0 or 1", err);
        *out_node = pickle_machine_new(m, PICKLE_DICT);
        return 0;
    case PICKLE_NDARRAY:
        break;
    }
    return fault(m, SL_EUNSUPPORTED, "numpy.ndarray is called itself", err);
}

int pickle_build(struct pickle_machine *m, size_t object, size_t state, struct err *err)
{
    if (m->nodes[state].kind != PICKLE_TUPLE || m->nodes[object].set)
        return fault(m, SL_EFORMAT, "BUILD of something that is no fresh array or dtype", err);
    if (m->nodes[object].kind == PICKLE_DTYPE)
        return build_dtype(m, object, state, err);
    if (m->nodes[object].kind == PICKLE_ARRAY)
        return build_array(m, object, state, err);
    return fault(m, SL_EFORMAT, "BUILD of something that is no array and no dtype", err);
}

static int collect(struct pickle_machine *m, struct pickle_index *out, struct err *err)
{
    struct map last;   // name -> entry + 1: a key that is set twice has its last value
    int rc = 0;
    map_init(&last);
    char name[LIMIT_NAME_BYTES + 1];
    for (size_t i = 0; i < m->entries_count && !rc; i++) {
        if (m->entries[i].dict != m->result)
            continue;
        rc = pickle_machine_text(m, m->entries[i].key, name, sizeof name, err);
        if (!rc)
            map_set(&last, name, &m->entries[i]);
    }
    for (const struct map_entry *e = map_first(&last); e && !rc; e = map_next(e)) {
        const struct pickle_entry *entry = map_value(e);
        const struct pickle_node *value = &m->nodes[entry->value];
        if (value->kind != PICKLE_ARRAY)
            continue;
        if (!value->set) {
            rc = fault(m, SL_EFORMAT, "an array has no shape and data", err);
            break;
        }
        MEM_GROW(out->items, out->count, out->cap);
        out->items[out->count++] = (struct pickle_array){.name = mem_must_strdup(map_key(e)),
                                                         .dtype = value->dtype,
                                                         .dims = m->shapes[value->dims],
                                                         .offset = value->offset,
                                                         .bytes = value->bytes,
                                                         .as_text = value->as_text};
    }
    map_deinit(&last);
    if (!rc && out->count)
        qsort(out->items, out->count, sizeof *out->items, compare_arrays);
    return rc;
}

static int compare_arrays(const void *a, const void *b)
{
    return strcmp(((const struct pickle_array *)a)->name, ((const struct pickle_array *)b)->name);
}

static int fault(const struct pickle_machine *m, int code, const char *what, struct err *err)
{
    return err_set(err, code, "%s: offset %" PRIu64 ": %s", m->source->name, m->at, what);
}

// The i-th part of a tuple; a value of no use when it has fewer.
static const struct pickle_node *child(const struct pickle_machine *m, size_t tuple, size_t i)
{
    static const struct pickle_node none = {.kind = PICKLE_NONE};
    const struct pickle_node *node = &m->nodes[tuple];
    return i < node->count ? &m->nodes[m->children[node->first + i]] : &none;
}

static int make_dtype(struct pickle_machine *m, size_t args, size_t *out_node, struct err *err)
{
    char code[16];
    if (m->nodes[args].count < 1)
        return fault(m, SL_EFORMAT, "a dtype without a name", err);
    int rc = pickle_machine_text(m, m->children[m->nodes[args].first], code, sizeof code, err);
    for (size_t i = 0; i < CODES && !rc; i++)
        if (str_eq(codes[i].code, code)) {
            *out_node = pickle_machine_new(m, PICKLE_DTYPE);
            m->nodes[*out_node].dtype = codes[i].dtype;
            return 0;
        }
    return rc ? rc
              : err_set(err, SL_EUNSUPPORTED, "%s: offset %" PRIu64 ": numpy dtype `%s`",
                        m->source->name, m->at, code);
}

static int make_bytes(struct pickle_machine *m, size_t args, size_t *out_node, struct err *err)
{
    char codec[16];
    struct pickle_node text = *child(m, args, 0);
    if (m->nodes[args].count != 2 || text.kind != PICKLE_TEXT || !text.as_text)
        return fault(m, SL_EFORMAT, "_codecs.encode without a text and a codec", err);
    int rc =
        pickle_machine_text(m, m->children[m->nodes[args].first + 1], codec, sizeof codec, err);
    if (rc)
        return rc;
    if (!str_eq(codec, "latin1") && !str_eq(codec, "latin-1"))
        return fault(m, SL_EUNSUPPORTED, "bytes in another codec than latin1", err);
    *out_node = pickle_machine_new(m, PICKLE_BYTES);
    m->nodes[*out_node].offset = text.offset;
    m->nodes[*out_node].bytes = text.bytes;
    m->nodes[*out_node].as_text = true;
    return 0;
}

static int build_dtype(struct pickle_machine *m, size_t object, size_t state, struct err *err)
{
    char order[4];
    if (m->nodes[state].count < 5)
        return fault(m, SL_EFORMAT, "a dtype's state is too short", err);
    int rc =
        pickle_machine_text(m, m->children[m->nodes[state].first + 1], order, sizeof order, err);
    if (rc)
        return rc;
    if (!str_eq(order, "<") && !str_eq(order, "|") && !str_eq(order, "="))
        return fault(m, SL_EUNSUPPORTED, "an array in big-endian order", err);
    for (size_t i = 2; i < 5; i++)
        if (child(m, state, i)->kind != PICKLE_NONE)
            return fault(m, SL_EUNSUPPORTED, "a dtype of several fields", err);
    m->nodes[object].set = true;
    return 0;
}

static int build_array(struct pickle_machine *m, size_t object, size_t state, struct err *err)
{
    if (m->nodes[state].count != 5)
        return fault(m, SL_EFORMAT, "an array's state has not five parts", err);
    const struct pickle_node *shape = child(m, state, 1), *dtype = child(m, state, 2);
    const struct pickle_node *fortran = child(m, state, 3), *data = child(m, state, 4);
    if (shape->kind != PICKLE_TUPLE || dtype->kind != PICKLE_DTYPE ||
        fortran->kind != PICKLE_NUMBER || (data->kind != PICKLE_BYTES && data->kind != PICKLE_TEXT))
        return fault(m, SL_EFORMAT, "an array's state is not shape, dtype, order and data", err);
    struct dims dims;
    int rc = read_shape(m, shape, &dims, err);
    if (rc)
        return rc;
    if (fortran->number && dims.rank > 1)
        return fault(m, SL_EUNSUPPORTED,
                     "an array in Fortran order: save numpy.ascontiguousarray of it", err);
    uint64_t count = 0, bytes;
    if (!dims_count(&dims, dtype_bytes(dtype->dtype), &count))
        return fault(m, SL_ELIMIT, "an array's shape is negative or too large", err);
    bytes = count * dtype_bytes(dtype->dtype);
    if (data->as_text ? data->bytes < bytes || data->bytes / 2 > bytes : data->bytes != bytes)
        return fault(m, SL_EFORMAT, "an array's data is not as long as its shape says", err);
    struct pickle_node *array = &m->nodes[object];
    array->dtype = dtype->dtype;
    array->offset = data->offset;
    array->bytes = data->bytes;
    array->as_text = data->as_text;
    array->set = true;
    array->dims = m->shapes_count;
    MEM_GROW(m->shapes, m->shapes_count, m->shapes_cap);
    m->shapes[m->shapes_count++] = dims;
    return 0;
}

static int read_shape(struct pickle_machine *m, const struct pickle_node *shape, struct dims *out,
                      struct err *err)
{
    *out = (struct dims){0};
    if (shape->count > LIMIT_RANK)
        return fault(m, SL_ELIMIT, "an array has too many dimensions", err);
    for (size_t i = 0; i < shape->count; i++) {
        const struct pickle_node *d = &m->nodes[m->children[shape->first + i]];
        if (d->kind != PICKLE_NUMBER || d->number < 0)
            return fault(m, SL_EFORMAT, "an array's shape is not made of sizes", err);
        out->d[out->rank++] = d->number;
    }
    return 0;
}

// ---- writing

void pickle_append_begin(struct buf *out)
{
    buf_append(out, "\x80\x02}", 3);
}

int pickle_append_head(struct buf *out, const char *name, enum dtype dtype, const struct dims *dims,
                       uint64_t encoded_bytes, struct err *err)
{
    const char *code = NULL;
    for (size_t i = 0; i < CODES; i++)
        if (codes[i].dtype == dtype)
            code = codes[i].code;
    if (!code)
        return err_set(err, SL_EUNSUPPORTED, "%s: numpy has no type %s", name, dtype_name(dtype));
    if (encoded_bytes > ENCODED_MAX)
        return err_set(err, SL_ELIMIT,
                       "%s: needs %" PRIu64 " bytes in a pickle, which holds 4 GiB an array; "
                       "save_persistables has no such limit",
                       name, encoded_bytes);
    append_text(out, name);
    buf_printf(out, "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n");
    buf_append(out, "K\x00\x85", 3);
    buf_printf(out, "c_codecs\nencode\n");
    append_text(out, "b");
    append_text(out, "latin1");
    buf_append(out, "\x86R\x87R(K\x01(", 8);
    for (int i = 0; i < dims->rank; i++) {
        buf_append(out, "\x8a\x08", 2);
        buf_append_u64le(out, (uint64_t)dims->d[i]);
    }
    buf_printf(out, "tcnumpy\ndtype\n");
    append_text(out, code);
    buf_append(out, "\x89\x88\x87R(K\x03", 7);
    append_text(out, dtype_bytes(dtype) == 1 ? "|" : "<");
    buf_append(out, "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89", 18);
    buf_printf(out, "c_codecs\nencode\n");
    append_byte(out, 'X');
    return buf_append_u32le(out, (uint32_t)encoded_bytes);
}

void pickle_append_tail(struct buf *out)
{
    append_text(out, "latin1");
    buf_append(out, "\x86Rtbs", 5);
}

void pickle_append_end(struct buf *out)
{
    append_byte(out, '.');
}

uint64_t pickle_encoded_bytes(const void *data, size_t bytes)
{
    const uint8_t *from = data;
    uint64_t high = 0;
    for (size_t i = 0; i < bytes; i++)
        high += from[i] >> 7;
    return bytes + high;
}

size_t pickle_encode(const void *data, size_t bytes, uint8_t *out)
{
    const uint8_t *from = data;
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (from[i] >= 0x80) {
            out[n++] = (uint8_t)(0xc0 | from[i] >> 6);
            out[n++] = (uint8_t)(0x80 | (from[i] & 0x3f));
        } else {
            out[n++] = from[i];
        }
    }
    return n;
}

static void append_text(struct buf *out, const char *text)
{
    append_byte(out, 'X');
    buf_append_u32le(out, (uint32_t)strlen(text));
    buf_append(out, text, strlen(text));
}

static void append_byte(struct buf *out, uint8_t byte)
{
    buf_append(out, &byte, 1);
}
