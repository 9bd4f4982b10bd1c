// SPDX-License-Identifier: Apache-2.0
// NumPy's .npy files, one array a feed; the first axis counts samples.
//
//   folder              every NAME.npy (or .npy.gz) in it feeds NAME
//   file.npy            feeds `file`
//   x=a.npy;y=b.npy     feeds x and y
//
// The header of a file is common/tensor/npy.h's: little endian, C order. The length of the file
// must be what the shape says. Rows are read where they lie.
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/reader/reader_format.h"
#include "common/reader/unpack.h"
#include "common/tensor/npy.h"

#define ENDING ".npy"

struct npy_array {
    char *path;
    struct unpacked file;
    uint64_t data_offset, sample_bytes;
};

struct npy_files {
    struct npy_array *arrays;
    size_t count, cap;
};

static int open_folder(struct npy_files *npy, const char *path, uint64_t bytes_max,
                       struct reader_data *out, struct err *err);
static int open_pairs(struct npy_files *npy, const char *text, uint64_t bytes_max,
                      struct reader_data *out, struct err *err);
static int open_array(struct npy_files *npy, const char *name, const char *path, uint64_t bytes_max,
                      struct reader_data *out, struct err *err);
static int read_header(const struct unpacked *file, const char *path, struct npy_header *out,
                       struct err *err);
static char *bare_name(const char *path);
static bool is_npy(const char *name);

static bool npy_files_matches(const char *path)
{
    struct str_list names = {0};
    bool found = is_npy(path) && (fsutil_is_file(path) || strchr(path, '='));
    if (!found && fsutil_is_dir(path) && fsutil_list(path, &names, NULL) == 0)
        for (size_t i = 0; i < names.count && !found; i++)
            found = is_npy(names.items[i]);
    str_list_deinit(&names);
    return found;
}

static void npy_files_close(void *self)
{
    struct npy_files *npy = self;
    for (size_t i = 0; i < npy->count; i++) {
        unpack_close(&npy->arrays[i].file);
        mem_free(npy->arrays[i].path);
    }
    mem_free(npy->arrays);
    mem_free(npy);
}

static int npy_files_open(const char *path, const struct reader_options *options,
                          struct reader_data *out, struct err *err)
{
    uint64_t most = options->text.unpacked_max ? options->text.unpacked_max : READER_UNPACKED_MAX;
    struct npy_files *npy = MEM_NEW(struct npy_files);
    out->self = npy;
    out->samples = -1;
    if (fsutil_is_dir(path))
        return open_folder(npy, path, most, out, err);
    if (strchr(path, '=') && !fsutil_is_file(path))
        return open_pairs(npy, path, most, out, err);
    char *name = bare_name(path);
    int rc = open_array(npy, name, path, most, out, err);
    mem_free(name);
    return rc;
}

static int npy_files_sample(void *self, int64_t sample, size_t field, void *out, struct err *err)
{
    const struct npy_files *npy = self;
    const struct npy_array *array = &npy->arrays[field];
    return fsutil_pread_all(array->file.fd, out, (size_t)array->sample_bytes,
                            array->data_offset + (uint64_t)sample * array->sample_bytes,
                            array->path, err);
}

const struct reader_format npy_files_format = {
    .scheme = "npy",
    .what = "NumPy arrays (a folder of NAME.npy, a file, or npy://x=a.npy;y=b.npy)",
    .optional_fields = true,
    .matches = npy_files_matches,
    .open = npy_files_open,
    .sample = npy_files_sample,
    .close = npy_files_close,
};

static int open_folder(struct npy_files *npy, const char *path, uint64_t bytes_max,
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

static int open_pairs(struct npy_files *npy, const char *text, uint64_t bytes_max,
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

static int open_array(struct npy_files *npy, const char *name, const char *path, uint64_t bytes_max,
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
    size_t bytes = file->bytes < NPY_HEADER_MAX ? (size_t)file->bytes : NPY_HEADER_MAX;
    char *head = mem_must_calloc(1, bytes + 1);
    int rc = fsutil_pread_all(file->fd, head, bytes, 0, path, err);
    if (rc == 0)
        rc = npy_read(head, bytes, path, out, err);
    mem_free(head);
    if (rc == 0 && out->dims.rank < 1)
        rc = err_set(err, SL_EFORMAT, "%s: one number without an axis of samples", path);
    for (int d = 1; rc == 0 && d < out->dims.rank; d++)
        if (out->dims.d[d] < 1)
            rc = err_set(err, SL_EFORMAT, "%s: its samples have no elements", path);
    return rc;
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
