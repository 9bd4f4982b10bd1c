// SPDX-License-Identifier: Apache-2.0
// MNIST's idx files, plain or gzipped, always as a pair:
//
//   images  u32 0x00000803, u32 count, u32 rows, u32 columns, then count x rows x columns bytes
//   labels  u32 0x00000801, u32 count, then count bytes                          (big endian)
//
// Feeds: img [B, rows x columns] float32, each pixel x / 255 * 2 - 1 in float as Fluid's mnist
// reader does; label [B, 1] int64. A path is a folder with train-* and t10k-* pairs (the test part
// takes t10k) or the images file of a pair. The bytes are held in memory as they are, and scaled
// batch by batch.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <zlib.h>

#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/reader/reader_format.h"
#include "common/reader/unpack.h"

#define IMAGES_MAGIC 0x00000803u
#define LABELS_MAGIC 0x00000801u
#define IMAGES_HEAD 16u
#define LABELS_HEAD 8u
#define IMAGES_PART "-images-idx3-ubyte"
#define LABELS_PART "-labels-idx1-ubyte"
#define SIDE_MAX 16384u
#define DATA_BYTES_MAX (1ull << 36)

struct idx {
    uint8_t *pixels, *labels;
    size_t image_bytes;
    float scaled[256];          // pixel -> feed
};

static int find_pair(const char *path, bool test, char **out_images, char **out_labels,
                     struct err *err);
static int read_images(const char *path, struct idx *idx, int64_t *out_count, struct err *err);
static int read_labels(const char *path, struct idx *idx, int64_t count, struct err *err);
static int read_head(gzFile file, const char *path, uint32_t magic, uint8_t *head, size_t bytes,
                     struct err *err);
static int read_exactly(gzFile file, const char *path, uint64_t offset, uint8_t *out,
                        uint64_t bytes, struct err *err);
static int expect_end(gzFile file, const char *path, uint64_t offset, struct err *err);
static uint32_t be32(const uint8_t *p);
static uint64_t file_bytes(const char *path);

static bool idx_matches(const char *path)
{
    const char *name = strrchr(path, '/');
    if (!fsutil_is_dir(path))
        return fsutil_is_file(path) && strstr(name ? name : path, IMAGES_PART);
    char *images = unpack_find(path, "train" IMAGES_PART, "");
    if (!images)
        images = unpack_find(path, "t10k" IMAGES_PART, "");
    mem_free(images);
    return images != NULL;
}

static void idx_close(void *self)
{
    struct idx *idx = self;
    mem_free(idx->pixels);
    mem_free(idx->labels);
    mem_free(idx);
}

static int idx_open(const char *path, const struct reader_options *options, struct reader_data *out,
                    struct err *err)
{
    char *images = NULL, *labels = NULL;
    struct idx *idx = MEM_NEW(struct idx);
    int rc = find_pair(path, options->test, &images, &labels, err);
    if (!rc)
        rc = read_images(images, idx, &out->samples, err);
    if (!rc)
        rc = read_labels(labels, idx, out->samples, err);
    if (!rc) {
        for (int i = 0; i < 256; i++)
            idx->scaled[i] = (float)i / 255.0f * 2.0f - 1.0f;
        out->bytes = file_bytes(images) + file_bytes(labels);
        const struct dims image = {.rank = 1, .d = {(int64_t)idx->image_bytes}};
        const struct dims one = {.rank = 1, .d = {1}};
        reader_data_add(out, "img", DTYPE_FP32, &image, false);
        reader_data_add(out, "label", DTYPE_INT64, &one, false);
        out->self = idx;
    } else {
        idx_close(idx);
    }
    mem_free(images);
    mem_free(labels);
    return rc;
}

static int idx_sample(void *self, int64_t sample, size_t field, void *out, struct err *err)
{
    (void)err;
    const struct idx *idx = self;
    if (field == 1) {
        int64_t label = idx->labels[sample];
        memcpy(out, &label, sizeof label);
        return 0;
    }
    const uint8_t *pixels = idx->pixels + (size_t)sample * idx->image_bytes;
    float *to = out;
    for (size_t i = 0; i < idx->image_bytes; i++)
        to[i] = idx->scaled[pixels[i]];
    return 0;
}

const struct reader_format idx_format = {
    .scheme = "idx",
    .what =
        "MNIST idx files (a folder with train-images-idx3-ubyte.gz and its labels, or that file)",
    .matches = idx_matches,
    .open = idx_open,
    .sample = idx_sample,
    .close = idx_close,
};

static int find_pair(const char *path, bool test, char **out_images, char **out_labels,
                     struct err *err)
{
    if (fsutil_is_dir(path)) {
        const char *const stems[] = {test ? "t10k" IMAGES_PART : "train" IMAGES_PART,
                                     test ? "t10k" LABELS_PART : "train" LABELS_PART};
        char **outs[] = {out_images, out_labels};
        for (size_t i = 0; i < 2; i++) {
            *outs[i] = unpack_find(path, stems[i], "");
            if (!*outs[i])
                return err_set(err, SL_ENOENT, "%s: has no %s(.gz)", path, stems[i]);
        }
        return 0;
    }
    const char *at = strstr(path, IMAGES_PART);
    if (!at)
        return err_set(err, SL_EINVAL, "%s: is no folder, and its name has no -images-idx3-ubyte",
                       path);
    for (const char *more; (more = strstr(at + 1, IMAGES_PART)) != NULL;)
        at = more;
    *out_images = mem_must_strdup(path);
    *out_labels = mem_must_printf("%.*s" LABELS_PART "%s", (int)(at - path), path,
                                  at + strlen(IMAGES_PART));
    if (!fsutil_is_file(*out_labels))
        return err_set(err, SL_ENOENT, "%s: has no labels beside it: %s is missing", path,
                       *out_labels);
    return 0;
}

static int read_images(const char *path, struct idx *idx, int64_t *out_count, struct err *err)
{
    uint8_t head[IMAGES_HEAD];
    gzFile file = gzopen(path, "rb");
    if (!file)
        return err_set(err, SL_EIO, "%s: cannot open: %s", path, strerror(errno));
    int rc = read_head(file, path, IMAGES_MAGIC, head, sizeof head, err);
    uint64_t count = 0, rows = 0, columns = 0, bytes = 0;
    if (!rc) {
        count = be32(head + 4);
        rows = be32(head + 8);
        columns = be32(head + 12);
        if (!count || !rows || rows > SIDE_MAX || !columns || columns > SIDE_MAX ||
            !limit_mul_u64(count, rows * columns, &bytes) || bytes > DATA_BYTES_MAX)
            rc = err_set(
                err, SL_EFORMAT, "%s: offset 4: %llu images of %llu x %llu are not possible", path,
                (unsigned long long)count, (unsigned long long)rows, (unsigned long long)columns);
    }
    // Memory grows with what the file really has: its header may promise anything.
    uint64_t cap = 0;
    for (uint64_t at = 0; at < bytes && !rc;) {
        uint64_t n = bytes - at < (1u << 24) ? bytes - at : (1u << 24);
        if (at + n > cap) {
            cap = cap * 2 > at + n ? cap * 2 : at + n;
            cap = cap < bytes ? cap : bytes;
            uint8_t *more = mem_realloc(idx->pixels, (size_t)cap);
            if (!more) {
                rc = err_set(err, SL_ENOMEM, "%s: no memory for %llu bytes", path,
                             (unsigned long long)cap);
                break;
            }
            idx->pixels = more;
        }
        rc = read_exactly(file, path, IMAGES_HEAD + at, idx->pixels + at, n, err);
        at += n;
    }
    if (!rc)
        rc = expect_end(file, path, IMAGES_HEAD + bytes, err);
    gzclose_r(file);
    idx->image_bytes = (size_t)(rows * columns);
    *out_count = (int64_t)count;
    return rc;
}

static int read_labels(const char *path, struct idx *idx, int64_t count, struct err *err)
{
    uint8_t head[LABELS_HEAD];
    gzFile file = gzopen(path, "rb");
    if (!file)
        return err_set(err, SL_EIO, "%s: cannot open: %s", path, strerror(errno));
    int rc = read_head(file, path, LABELS_MAGIC, head, sizeof head, err);
    if (!rc && (int64_t)be32(head + 4) != count)
        rc = err_set(err, SL_EFORMAT, "%s: offset 4: %u labels for %lld images", path,
                     be32(head + 4), (long long)count);
    if (!rc) {
        idx->labels = mem_alloc((size_t)count);
        rc = idx->labels ? read_exactly(file, path, LABELS_HEAD, idx->labels, (uint64_t)count, err)
                         : err_set(err, SL_ENOMEM, "%s: no memory for its labels", path);
    }
    if (!rc)
        rc = expect_end(file, path, LABELS_HEAD + (uint64_t)count, err);
    gzclose_r(file);
    return rc;
}

static int read_head(gzFile file, const char *path, uint32_t magic, uint8_t *head, size_t bytes,
                     struct err *err)
{
    int rc = read_exactly(file, path, 0, head, bytes, err);
    if (!rc && be32(head) != magic)
        rc = err_set(err, SL_EFORMAT, "%s: offset 0: begins with %08x, %s file begins with %08x",
                     path, be32(head), magic == IMAGES_MAGIC ? "an idx3 images" : "an idx1 labels",
                     magic);
    return rc;
}

// Offsets in messages count unpacked bytes.
static int read_exactly(gzFile file, const char *path, uint64_t offset, uint8_t *out,
                        uint64_t bytes, struct err *err)
{
    for (uint64_t at = 0; at < bytes;) {
        unsigned n = bytes - at < (1u << 24) ? (unsigned)(bytes - at) : (1u << 24);
        int got = gzread(file, out + at, n), code = 0;
        const char *why = gzerror(file, &code);
        if (got < 0 || (code != Z_OK && code != Z_BUF_ERROR && code != Z_STREAM_END))
            return err_set(err, SL_EFORMAT, "%s: offset %llu: %s", path,
                           (unsigned long long)(offset + at),
                           code == Z_ERRNO ? strerror(errno) : why);
        if (got == 0)
            return err_set(err, SL_EFORMAT,
                           "%s: offset %llu: the file ends here, %llu bytes are missing", path,
                           (unsigned long long)(offset + at), (unsigned long long)(bytes - at));
        at += (unsigned)got;
    }
    return 0;
}

// Also makes zlib check the sum at the end of a gzip file.
static int expect_end(gzFile file, const char *path, uint64_t offset, struct err *err)
{
    uint8_t more;
    int got = gzread(file, &more, 1), code = 0;
    const char *why = gzerror(file, &code);
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END))
        return err_set(err, SL_EFORMAT, "%s: offset %llu: %s", path, (unsigned long long)offset,
                       code == Z_BUF_ERROR ? "the gzip stream is cut short" : why);
    return got == 0 ? 0
                    : err_set(err, SL_EFORMAT, "%s: offset %llu: bytes behind the end of the data",
                              path, (unsigned long long)offset);
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t file_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}
