// SPDX-License-Identifier: Apache-2.0
// CIFAR's binary files: records of one label byte (CIFAR-10) or a coarse and a fine one (CIFAR-100)
// and 3 x 32 x 32 bytes of red, green and blue.
//
// Feeds: img [B, 3, 32, 32] float32, each byte / 255 as Fluid's cifar reader does; label [B, 1]
// int64, the fine one of CIFAR-100. A path is a folder of data_batch_1.bin .. _5 and
// test_batch.bin, or of train.bin and test.bin, or one such file; .gz too. Records are read where
// they lie.
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/reader/reader_format.h"
#include "common/reader/unpack.h"

#define PIXELS 3072u
#define SIDE 32
#define FILES_MAX 5

struct cifar {
    struct unpacked files[FILES_MAX];
    char *paths[FILES_MAX];
    int64_t records[FILES_MAX];
    size_t count;
    size_t labels;   // bytes in front of the pixels
};

static int open_file(struct cifar *cifar, const char *path, uint64_t bytes_max,
                     struct reader_data *out, struct err *err);
static int read_record(const struct cifar *cifar, int64_t sample, size_t skip, void *out,
                       size_t bytes, struct err *err);

static bool cifar_matches(const char *path)
{
    if (!fsutil_is_dir(path)) {
        const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
        bool known = str_starts_with(name, "data_batch_") || str_starts_with(name, "test_batch") ||
                     str_starts_with(name, "train.bin") || str_starts_with(name, "test.bin");
        return fsutil_is_file(path) && known && strstr(name, ".bin") != NULL;
    }
    static const char *const stems[] = {"data_batch_1", "train", "test_batch", "test"};
    char *found = NULL;
    for (size_t i = 0; i < 4 && !found; i++)
        found = unpack_find(path, stems[i], ".bin");
    mem_free(found);
    return found != NULL;
}

static void cifar_close(void *self)
{
    struct cifar *cifar = self;
    for (size_t i = 0; i < cifar->count; i++) {
        unpack_close(&cifar->files[i]);
        mem_free(cifar->paths[i]);
    }
    mem_free(cifar);
}

static int cifar_open(const char *path, const struct reader_options *options,
                      struct reader_data *out, struct err *err)
{
    uint64_t most = options->text.unpacked_max ? options->text.unpacked_max : READER_UNPACKED_MAX;
    const struct dims image = {.rank = 3, .d = {3, SIDE, SIDE}}, one = {.rank = 1, .d = {1}};
    struct cifar *cifar = MEM_NEW(struct cifar);
    int rc = 0;
    out->self = cifar;
    if (!fsutil_is_dir(path)) {
        rc = open_file(cifar, path, most, out, err);
    } else {
        for (int i = 0; i <= FILES_MAX && rc == 0; i++) {
            char stem[32];
            snprintf(stem, sizeof stem, "data_batch_%d", i);
            if (i == 0)
                snprintf(stem, sizeof stem, options->test ? "test" : "train");
            else if (options->test)
                snprintf(stem, sizeof stem, "test_batch");
            char *file = unpack_find(path, stem, ".bin");
            if (file)
                rc = open_file(cifar, file, most, out, err);
            mem_free(file);
            if (cifar->count && (i == 0 || options->test))
                break;
        }
        if (rc == 0 && cifar->count == 0)
            rc = err_set(err, SL_ENOENT, "%s: has no %s", path,
                         options->test ? "test_batch.bin or test.bin"
                                       : "data_batch_1.bin or train.bin");
    }
    reader_data_add(out, "img", DTYPE_FP32, &image, false);
    reader_data_add(out, "label", DTYPE_INT64, &one, false);
    return rc;
}

static int cifar_sample(void *self, int64_t sample, size_t field, void *out, struct err *err)
{
    const struct cifar *cifar = self;
    uint8_t bytes[PIXELS];
    if (field == 1) {
        int rc = read_record(cifar, sample, cifar->labels - 1, bytes, 1, err);
        int64_t label = bytes[0];
        if (rc == 0)
            memcpy(out, &label, sizeof label);
        return rc;
    }
    int rc = read_record(cifar, sample, cifar->labels, bytes, PIXELS, err);
    float *to = out;
    for (size_t i = 0; i < PIXELS && rc == 0; i++)
        to[i] = (float)bytes[i] / 255.0f;
    return rc;
}

const struct reader_format cifar_format = {
    .scheme = "cifar",
    .what = "CIFAR-10 or CIFAR-100 binary files",
    .matches = cifar_matches,
    .open = cifar_open,
    .sample = cifar_sample,
    .close = cifar_close,
};

static int open_file(struct cifar *cifar, const char *path, uint64_t bytes_max,
                     struct reader_data *out, struct err *err)
{
    struct unpacked *file = &cifar->files[cifar->count];
    int rc = unpack_open(path, NULL, bytes_max, file, err);
    if (rc < 0)
        return rc;
    cifar->paths[cifar->count] = mem_must_strdup(path);
    int64_t *records = &cifar->records[cifar->count++];
    // A length that both kinds of record divide is over 9 million bytes and no known file's.
    for (size_t labels = 2; labels >= 1; labels--)
        if (file->bytes % (labels + PIXELS) == 0 && file->bytes > 0 &&
            (cifar->count == 1 || cifar->labels == labels)) {
            cifar->labels = labels;
            *records = (int64_t)(file->bytes / (labels + PIXELS));
        }
    if (*records == 0)
        return err_set(err, SL_EFORMAT,
                       "%s: %llu bytes are no whole number of records of %u (CIFAR-10) or %u "
                       "(CIFAR-100) bytes",
                       path, (unsigned long long)file->bytes, 1 + PIXELS, 2 + PIXELS);
    out->samples += *records;
    out->bytes += file->file_bytes;
    return 0;
}

static int read_record(const struct cifar *cifar, int64_t sample, size_t skip, void *out,
                       size_t bytes, struct err *err)
{
    size_t i = 0;
    for (; sample >= cifar->records[i]; i++)
        sample -= cifar->records[i];
    uint64_t offset = (uint64_t)sample * (cifar->labels + PIXELS) + skip;
    return fsutil_pread_all(cifar->files[i].fd, out, bytes, offset, cifar->paths[i], err);
}
