// SPDX-License-Identifier: Apache-2.0
// Large folders are read by a few threads, a file each: sums take longer than disks. Files that
// several variables share are read by the caller's thread, one after another.

#include "common/ckpt/ckpt_read.h"

#include <string.h>
#include <unistd.h>

#include "common/base/block_sums.h"
#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/base/workers.h"
#include "common/storage/store.h"

#define CHUNK_BYTES (1u << 20)
#define THREADS_MAX 4
#define SMALL_BYTES (8u << 20)   // a folder that threads do not make faster

struct reading {
    const struct ckpt_folder *folder;
    struct ckpt_want *want;
    const struct ckpt_file *listed;   // whose sums are to be checked; NULL: none
    int rc;
    struct err why;
};

static int threads_for(const struct ckpt_wants *wants);
static void read_want(void *arg);
static int read_open(struct reading *r, struct store_file *file, struct err *err);
static int read_pickled(struct ckpt_want *want, const struct tensor_io_source *source,
                        struct err *err);
static int make_room(struct ckpt_want *want, uint64_t *out_from, uint64_t *out_take,
                     struct err *err);
static int read_summed(struct ckpt_want *want, struct store_file *file, const char *sum,
                       struct err *err);
static int read_blocks(struct ckpt_want *want, struct store_file *file, const char *sums,
                       struct err *err);
static int sum_differs(struct store_file *file, struct err *err);
static void damage(struct ckpt_wants *wants, const struct ckpt_want *found, const char *text);

int ckpt_read_all(const struct ckpt_folder *folder, struct ckpt_wants *wants, bool *out_damaged,
                  struct err *err)
{
    struct reading *all = mem_must_calloc(wants->count + 1, sizeof *all);
    struct workers *workers = workers_new(threads_for(wants));
    struct map summed;   // shared files whose sum has been taken
    map_init(&summed);
    for (size_t i = 0; i < wants->count; i++) {
        struct reading *r = &all[i];
        *r = (struct reading){.folder = folder, .want = &wants->items[i]};
        if (!ckpt_want_is_taken(r->want))
            continue;
        const char *name = ckpt_want_file(r->want);
        // A file that others share is summed before its first variable is read.
        if (folder->has_manifest && !map_get(&summed, name))
            r->listed = ckpt_manifest_find(&folder->manifest, name);
        if (r->want->within) {
            map_set(&summed, name, wants);
            read_want(r);
        } else {
            workers_submit(workers, read_want, NULL, r);
        }
    }
    workers_wait(workers);
    int rc = 0;
    for (size_t i = 0; i < wants->count && !rc; i++) {
        if (all[i].rc == SL_ECORRUPT) {
            *out_damaged = true;
            damage(wants, all[i].want, all[i].why.text);
        } else if (all[i].rc) {
            rc = err_set(err, all[i].rc, "%s. Nothing was loaded.", all[i].why.text);
        }
    }
    workers_free(workers);
    map_deinit(&summed);
    mem_free(all);
    return rc;
}

int ckpt_read_sum(struct store_file *file, const char *sum, struct err *err)
{
    uint8_t *chunk = mem_alloc(CHUNK_BYTES);
    if (!chunk)
        return err_set(err, SL_ENOMEM, "%s: no memory", store_file_name(file));
    struct fsutil_sha256 *sha = fsutil_sha256_new();
    char found[FSUTIL_SHA256_HEX];
    int rc = 0;
    for (uint64_t at = 0, size = store_file_bytes(file); at < size && !rc; at += CHUNK_BYTES) {
        size_t n = size - at < CHUNK_BYTES ? (size_t)(size - at) : CHUNK_BYTES;
        rc = store_file_read(file, at, chunk, n, err);
        if (!rc)
            fsutil_sha256_add(sha, chunk, n);
    }
    fsutil_sha256_end(sha, found);
    mem_free(chunk);
    return !rc && !str_eq(found, sum) ? sum_differs(file, err) : rc;
}

static int threads_for(const struct ckpt_wants *wants)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < wants->count; i++)
        if (ckpt_want_is_taken(&wants->items[i]))
            bytes += wants->items[i].file_bytes;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (bytes < SMALL_BYTES || cores < 2)
        return 0;
    return cores < THREADS_MAX ? (int)cores : THREADS_MAX;
}

static void read_want(void *arg)
{
    struct reading *r = arg;
    struct store_file *file;
    r->rc = store_open(r->folder->uri, ckpt_want_file(r->want), &file, &r->why);
    if (r->rc)
        return;
    r->rc = read_open(r, file, &r->why);
    store_file_close(file);
}

static int read_open(struct reading *r, struct store_file *file, struct err *err)
{
    struct ckpt_want *want = r->want;
    struct tensor_io_source source;
    ckpt_want_source(file, &source);
    if (source.size != want->file_bytes)
        return err_set(err, SL_ECORRUPT, "%s: changed while it was being read", source.name);
    int rc = 0;
    bool in_one = r->listed && !want->within && want->kind == VARIABLE_TENSOR;
    if (r->listed && !in_one)
        rc = ckpt_read_sum(file, r->listed->sha256, err);
    if (rc)
        return rc;
    if (want->pickled)
        rc = read_pickled(want, &source, err);
    else if (want->kind == VARIABLE_SELECTED_ROWS)
        rc = tensor_io_read(&source, want->base, want->kind, &want->fresh, NULL, err);
    else if (in_one && want->sliced && r->listed->blocks)
        rc = read_blocks(want, file, r->listed->blocks, err);
    else if (in_one)
        rc = read_summed(want, file, r->listed->sha256, err);
    else
        rc =
            tensor_io_read_rows(&source, want->base, &want->header, want->sliced ? want->row : 0,
                                want->sliced ? want->rows : -1, variable_tensor(&want->fresh), err);
    if (!rc && want->kind == VARIABLE_TENSOR && !want->sliced && want->header.lod_levels)
        rc = tensor_set_lod(variable_tensor(&want->fresh), want->header.lod_levels,
                            want->header.lod);
    if (!rc && want->kind == VARIABLE_TENSOR && !tensor_lod_is_valid(&want->fresh.tensor))
        rc = err_set(err, SL_ECORRUPT, "%s: its LoD offsets are no sequences of its rows: damaged",
                     source.name);
    return rc;
}

static int read_pickled(struct ckpt_want *want, const struct tensor_io_source *source,
                        struct err *err)
{
    struct tensor *t = variable_tensor(&want->fresh);
    int rc = tensor_resize(t, want->array.dtype, &want->array.dims);
    return rc ? err_set(err, rc, "%s: no memory for %llu bytes", want->name,
                        (unsigned long long)want->header.data_bytes)
              : pickle_read_array(source, &want->array, t->data, err);
}

// Sizes the fresh tensor; its bytes are [*out_from, *out_from + *out_take) of the file.
static int make_room(struct ckpt_want *want, uint64_t *out_from, uint64_t *out_take,
                     struct err *err)
{
    const struct tensor_io_header *header = &want->header;
    struct dims dims = header->dims;
    *out_from = header->data_offset;
    *out_take = header->data_bytes;
    if (want->sliced) {
        uint64_t row_bytes = dims.d[0] > 0 ? *out_take / (uint64_t)dims.d[0] : 0;
        *out_from += (uint64_t)want->row * row_bytes;
        *out_take = (uint64_t)want->rows * row_bytes;
        dims.d[0] = want->rows;
    }
    int rc = tensor_resize(variable_tensor(&want->fresh), header->dtype, &dims);
    return rc ? err_set(err, rc, "%s: no memory for %llu bytes", want->name,
                        (unsigned long long)*out_take)
              : 0;
}

// The whole file goes through its sum, the wanted bytes into the tensor on the way.
static int read_summed(struct ckpt_want *want, struct store_file *file, const char *sum,
                       struct err *err)
{
    uint64_t from, take;
    int rc = make_room(want, &from, &take, err);
    uint8_t *chunk = rc ? NULL : mem_alloc(CHUNK_BYTES);
    if (!chunk)
        return rc ? rc : err_set(err, SL_ENOMEM, "%s: no memory", want->name);
    struct fsutil_sha256 *sha = fsutil_sha256_new();
    char found[FSUTIL_SHA256_HEX];
    uint8_t *data = tensor_bytes(variable_tensor(&want->fresh)) > 0
                        ? variable_tensor(&want->fresh)->data
                        : chunk;
    for (uint64_t at = 0, size = want->file_bytes; at < size && !rc;) {
        bool wanted = at >= from && at < from + take;
        uint64_t end = wanted ? from + take : at < from ? from : size;
        size_t n = end - at < CHUNK_BYTES ? (size_t)(end - at) : CHUNK_BYTES;
        uint8_t *to = wanted ? data + (at - from) : chunk;
        rc = store_file_read(file, at, to, n, err);
        if (!rc)
            fsutil_sha256_add(sha, to, n);
        at += n;
    }
    fsutil_sha256_end(sha, found);
    mem_free(chunk);
    return !rc && !str_eq(found, sum) ? sum_differs(file, err) : rc;
}

// Only the blocks that hold the header or wanted bytes.
static int read_blocks(struct ckpt_want *want, struct store_file *file, const char *sums,
                       struct err *err)
{
    uint64_t from, take;
    int rc = make_room(want, &from, &take, err);
    uint8_t *block = rc ? NULL : mem_alloc(BLOCK_SUMS_BYTES);
    if (!block)
        return rc ? rc : err_set(err, SL_ENOMEM, "%s: no memory", want->name);
    uint8_t *data = variable_tensor(&want->fresh)->data;
    uint64_t next = 0, end = take > 0 ? (from + take - 1) / BLOCK_SUMS_BYTES + 1 : 1;
    while (next < end && !rc) {
        uint64_t at = next * BLOCK_SUMS_BYTES, size = want->file_bytes;
        size_t n = size - at < BLOCK_SUMS_BYTES ? (size_t)(size - at) : BLOCK_SUMS_BYTES;
        rc = store_file_read(file, at, block, n, err);
        if (!rc && block_sums_of(block, n) != block_sums_at(sums, next))
            rc =
                err_set(err, SL_ECORRUPT,
                        "%s: the %u bytes from %llu on differ from the manifest's sum: damaged, or "
                        "changed after the save",
                        store_file_name(file), (unsigned)n, (unsigned long long)at);
        uint64_t lo = from > at ? from : at;
        uint64_t hi = from + take < at + n ? from + take : at + n;
        if (!rc && lo < hi)
            memcpy(data + (lo - from), block + (lo - at), (size_t)(hi - lo));
        next = next == 0 && take > 0 && from / BLOCK_SUMS_BYTES > 0 ? from / BLOCK_SUMS_BYTES
                                                                    : next + 1;
    }
    mem_free(block);
    return rc;
}

static int sum_differs(struct store_file *file, struct err *err)
{
    return err_set(err, SL_ECORRUPT,
                   "%s: sha256 differs from the manifest's: damaged, or changed after the save",
                   store_file_name(file));
}

// found, and all that share its file, do not fit.
static void damage(struct ckpt_wants *wants, const struct ckpt_want *found, const char *text)
{
    const char *name = ckpt_want_file(found);
    for (size_t i = 0; i < wants->count; i++)
        if (ckpt_want_is_taken(&wants->items[i]) && str_eq(ckpt_want_file(&wants->items[i]), name))
            ckpt_want_set(&wants->items[i], CKPT_DIFFERS, "%s", text);
}
