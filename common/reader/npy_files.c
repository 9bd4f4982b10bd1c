// SPDX-License-Identifier: Apache-2.0
// NumPy's .npy files, one array a feed; the first axis counts samples.
//
//   folder              every NAME.npy (or .npy.gz) in it feeds NAME
//   file.npy            feeds `file`
//   x=a.npy;y=b.npy     feeds x and y
//
// File: \x93NUMPY, version 1.0, 2.0 or 3.0, length of the header (2 bytes, from 2.0 on 4), a Python
// dictionary with descr, fortran_order and shape, then the elements. Elements must be little endian
// in C order. Types: float16/32/64, int8/16/32/64, uint8, bool; uint64 is fed as the same bits in
// int64. The length of the file must be what the shape says. Rows are read where they lie.
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/reader/reader_format.h"
#include "common/reader/text_scan.h"
#include "common/reader/unpack.h"

#define MAGIC "\x93NUMPY"
#define MAGIC_BYTES 6u
#define HEADER_MAX (64u << 10)
#define ENDING ".npy"

struct npy_array {
    char *path;
    struct unpacked file;
    uint64_t data_offset, sample_bytes;
};

struct npy {
    struct npy_array *arrays;
    size_t count, cap;
};

// What a header says.
struct npy_header {
    enum dtype dtype;
    struct dims dims;
    uint64_t data_offset;
};

static int open_folder(struct npy *npy, const char *path, uint64_t bytes_max,
                       struct reader_data *out, struct err *err);
static int open_pairs(struct npy *npy, const char *text, uint64_t bytes_max,
                      struct reader_data *out, struct err *err);
static int open_array(struct npy *npy, const char *name, const char *path, uint64_t bytes_max,
                      struct reader_data *out, struct err *err);
static int read_header(const struct unpacked *file, const char *path, struct npy_header *out,
                       struct err *err);
static int parse_header(const char *text, const char *path, struct npy_header *out,
                        struct err *err);
static const char *value_of(const char *text, const char *key);
static bool parse_descr(const char *value, enum dtype *out);
static bool parse_shape(const char *value, struct dims *out);
static char *bare_name(const char *path);
static bool is_npy(const char *name);

static bool npy_matches(const char *path)
{
    struct str_list names = {0};
    bool found = strchr(path, '=') != NULL || (is_npy(path) && fsutil_is_file(path));
    if (!found && fsutil_is_dir(path) && fsutil_list(path, &names, NULL) == 0)
        for (size_t i = 0; i < names.count && !found; i++)
            found = is_npy(names.items[i]);
    str_list_deinit(&names);
    return found;
}

static void npy_close(void *self)
{
    struct npy *npy = self;
    for (size_t i = 0; i < npy->count; i++) {
        unpack_close(&npy->arrays[i].file);
        mem_free(npy->arrays[i].path);
    }
    mem_free(npy->arrays);
    mem_free(npy);
}

static int npy_open(const char *path, const struct reader_options *options, struct reader_data *out,
                    struct err *err)
{
    uint64_t most = options->text.unpacked_max ? options->text.unpacked_max : READER_UNPACKED_MAX;
    struct npy *npy = MEM_NEW(struct npy);
    out->self = npy;
    out->samples = -1;
    if (fsutil_is_dir(path))
        return open_folder(npy, path, most, out, err);
    if (strchr(path, '='))
        return open_pairs(npy, path, most, out, err);
    char *name = bare_name(path);
    int rc = open_array(npy, name, path, most, out, err);
    mem_free(name);
    return rc;
}

static int npy_sample(void *self, int64_t sample, size_t field, void *out, struct err *err)
{
    const struct npy *npy = self;
    const struct npy_array *array = &npy->arrays[field];
    return fsutil_pread_all(array->file.fd, out, (size_t)array->sample_bytes,
                            array->data_offset + (uint64_t)sample * array->sample_bytes,
                            array->path, err);
}

const struct reader_format npy_format = {
    .scheme = "npy",
    .what = "NumPy arrays (a folder of NAME.npy, a file, or npy://x=a.npy;y=b.npy)",
    .optional_fields = true,
    .matches = npy_matches,
    .open = npy_open,
    .sample = npy_sample,
    .close = npy_close,
};

static int open_folder(struct npy *npy, const char *path, uint64_t bytes_max,
                       struct reader_data *out, struct err *err)
{
    struct str_list names = {0};
    int rc = fsutil_list(path, &names, err);
    for (size_t i = 0; i < names.count && rc == 0; i++) {
        if (!is_npy(names.items[i]))
            continue;
        char *name = bare_name(names.items[i]), *file = fsutil_join(path, names.items[i]);
        rc = open_array(npy, name, file, bytes_max, out, err);
        mem_free(name);
        mem_free(file);
    }
    str_list_deinit(&names);
    return rc == 0 && npy->count == 0 ? err_set(err, SL_ENOENT, "%s: has no files *.npy", path)
                                      : rc;
}

static int open_pairs(struct npy *npy, const char *text, uint64_t bytes_max,
                      struct reader_data *out, struct err *err)
{
    struct str_list pairs = {0};
    int rc = 0;
    str_list_split(&pairs, text, ';');
    for (size_t i = 0; i < pairs.count && rc == 0; i++) {
        char *equals = strchr(pairs.items[i], '=');
        if (!equals || equals == pairs.items[i] || !equals[1]) {
            rc = err_set(err, SL_EINVAL, "npy://%s: must be NAME=FILE;NAME=FILE", text);
        } else {
            *equals = 0;
            rc = open_array(npy, pairs.items[i], equals + 1, bytes_max, out, err);
        }
    }
    str_list_deinit(&pairs);
    return rc;
}

static int open_array(struct npy *npy, const char *name, const char *path, uint64_t bytes_max,
                      struct reader_data *out, struct err *err)
{
    struct npy_array array = {.file = {.fd = -1}};
    struct npy_header header = {.dtype = DTYPE_FP32};
    if (npy->count == READER_FEEDS_MAX)
        return err_set(err, SL_ELIMIT, "%s: more than %d arrays", path, READER_FEEDS_MAX);
    int rc = unpack_open(path, NULL, bytes_max, &array.file, err);
    if (rc < 0)
        return rc;
    rc = read_header(&array.file, path, &header, err);
    uint64_t bytes = 0;
    bool fits = rc == 0;
    array.sample_bytes = rc == 0 ? dtype_bytes(header.dtype) : 0;
    for (int d = 1; rc == 0 && d < header.dims.rank && fits; d++)
        fits = limit_mul_u64(array.sample_bytes, (uint64_t)header.dims.d[d], &array.sample_bytes) &&
               array.sample_bytes <= LIMIT_TENSOR_BYTES;
    if (fits)
        fits = limit_mul_u64(array.sample_bytes, (uint64_t)header.dims.d[0], &bytes) &&
               limit_add_u64(bytes, header.data_offset, &bytes) && bytes == array.file.bytes;
    if (rc == 0 && !fits)
        rc = err_set(err, SL_EFORMAT,
                     "%s: is %llu bytes long, which is not what its header says (its shape, and "
                     "nothing behind the array)",
                     path, (unsigned long long)array.file.bytes);
    if (rc == 0 && out->samples >= 0 && header.dims.d[0] != out->samples)
        rc = err_set(err, SL_EMISMATCH, "%s: has %lld rows, %s has %lld", path,
                     (long long)header.dims.d[0], npy->arrays[0].path, (long long)out->samples);
    if (rc < 0) {
        unpack_close(&array.file);
        return rc;
    }
    array.path = mem_must_strdup(path);
    array.data_offset = header.data_offset;
    out->samples = header.dims.d[0];
    out->bytes += array.file.file_bytes;
    struct dims dims = {.rank = header.dims.rank - 1};
    for (int d = 0; d < dims.rank; d++)
        dims.d[d] = header.dims.d[d + 1];
    reader_data_add(out, name, header.dtype, &dims, false);
    MEM_GROW(npy->arrays, npy->count, npy->cap);
    npy->arrays[npy->count++] = array;
    return 0;
}

static int read_header(const struct unpacked *file, const char *path, struct npy_header *out,
                       struct err *err)
{
    uint8_t head[MAGIC_BYTES + 6] = {0};
    ssize_t got = pread(file->fd, head, sizeof head, 0);
    if (got < (ssize_t)sizeof head || memcmp(head, MAGIC, MAGIC_BYTES) != 0)
        return err_set(err, SL_EFORMAT, "%s: offset 0: does not begin as a .npy file does", path);
    if (head[6] < 1 || head[6] > 3)
        return err_set(err, SL_EUNSUPPORTED, "%s: offset 6: version %d of .npy; 1 to 3 are known",
                       path, head[6]);
    uint32_t bytes = (uint32_t)head[8] | (uint32_t)head[9] << 8, at = 10;
    if (head[6] > 1) {
        bytes |= (uint32_t)head[10] << 16 | (uint32_t)head[11] << 24;
        at = 12;
    }
    if (bytes > HEADER_MAX || at + bytes > file->bytes)
        return err_set(err, SL_EFORMAT,
                       "%s: offset 8: a header of %u bytes; the file has %llu, and %u are the most",
                       path, bytes, (unsigned long long)file->bytes, HEADER_MAX);
    char *text = mem_must_calloc(1, bytes + 1);
    int rc = fsutil_pread_all(file->fd, text, bytes, at, path, err);
    if (rc == 0)
        rc = parse_header(text, path, out, err);
    mem_free(text);
    out->data_offset = at + bytes;
    return rc;
}

static int parse_header(const char *text, const char *path, struct npy_header *out, struct err *err)
{
    const char *descr = value_of(text, "descr"), *order = value_of(text, "fortran_order");
    const char *shape = value_of(text, "shape");
    if (!descr || !order || !shape)
        return err_set(err, SL_EFORMAT, "%s: its header has no descr, fortran_order or shape",
                       path);
    if (str_starts_with(order, "True"))
        return err_set(err, SL_EUNSUPPORTED,
                       "%s: is in Fortran order; numpy.ascontiguousarray before numpy.save makes "
                       "it C order",
                       path);
    if (!str_starts_with(order, "False"))
        return err_set(err, SL_EFORMAT, "%s: fortran_order is neither True nor False", path);
    if (!parse_descr(descr, &out->dtype))
        return err_set(err, SL_EUNSUPPORTED,
                       "%s: elements of type %.*s; float, int, uint8, uint64 and bool in little "
                       "endian are known",
                       path, (int)strcspn(descr, ",}\n") % 40, descr);
    if (!parse_shape(shape, &out->dims))
        return err_set(err, SL_EFORMAT, "%s: shape %.*s: must have 1 to %d axes of at least 1",
                       path, (int)strcspn(shape, ")\n") % 80, shape, LIMIT_RANK);
    return 0;
}

// Behind "'key':" and blanks; NULL without.
static const char *value_of(const char *text, const char *key)
{
    size_t bytes = strlen(key);
    for (const char *p = text; (p = strstr(p, key)) != NULL; p++) {
        if (p == text || (p[-1] != '\'' && p[-1] != '"') || p[bytes] != p[-1])
            continue;
        p += bytes + 1;
        p += strspn(p, " ");
        if (*p != ':')
            return NULL;
        return p + 1 + strspn(p + 1, " ");
    }
    return NULL;
}

static bool parse_descr(const char *value, enum dtype *out)
{
    static const struct {
        const char *text;
        enum dtype dtype;
    } known[] = {{"<f2'", DTYPE_FP16},  {"<f4'", DTYPE_FP32},  {"<f8'", DTYPE_FP64},
                 {"|i1'", DTYPE_INT8},  {"<i2'", DTYPE_INT16}, {"<i4'", DTYPE_INT32},
                 {"<i8'", DTYPE_INT64}, {"|u1'", DTYPE_UINT8}, {"<u8'", DTYPE_INT64},
                 {"|b1'", DTYPE_BOOL}};
    if (*value != '\'')
        return false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_starts_with(value + 1, known[i].text)) {
            *out = known[i].dtype;
            return true;
        }
    return false;
}

// "(3, 4)" or "(3,)".
static bool parse_shape(const char *value, struct dims *out)
{
    struct text_scan scan = {value + 1, value + strlen(value)};
    out->rank = 0;
    if (*value != '(')
        return false;
    while (out->rank < LIMIT_RANK) {
        uint64_t size;
        text_scan_blanks(&scan);
        if (*scan.at == ')')
            return out->rank > 0;
        if (!text_scan_u64(&scan, &size) || size < 1 || size > INT64_MAX)
            return false;
        out->d[out->rank++] = (int64_t)size;
        scan.at += *scan.at == 'L';   // Python 2 wrote long numbers so
        text_scan_blanks(&scan);
        if (*scan.at == ',')
            scan.at++;
        else if (*scan.at != ')')
            return false;
    }
    text_scan_blanks(&scan);
    return *scan.at == ')';
}

static char *bare_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t bytes = strlen(name);
    if (str_ends_with(name, ".gz"))
        bytes -= 3;
    if (bytes > strlen(ENDING) &&
        memcmp(name + bytes - strlen(ENDING), ENDING, strlen(ENDING)) == 0)
        bytes -= strlen(ENDING);
    return mem_must_strndup(name, bytes);
}

static bool is_npy(const char *name)
{
    return str_ends_with(name, ENDING) || str_ends_with(name, ENDING ".gz");
}
