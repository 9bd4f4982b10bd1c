// SPDX-License-Identifier: Apache-2.0
// Dense tensors. Memory is in one of three states:
//   empty     storage NULL, data NULL
//   shared    storage counts its users; data points anywhere inside it
//   borrowed  storage NULL, data set: another owner keeps it alive, nothing here frees or replaces
//   it
// capacity_bytes is what this tensor may use from data on, so a view can never grow over its
// neighbours. The reference count is atomic, because a push may outlive the step on another thread;
// everything else of a tensor belongs to one thread at a time.
#include "common/tensor/tensor.h"

#include <stdatomic.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#define STORAGE_HEADER_BYTES 64     // keeps the data behind it aligned for vector loads

struct tensor_storage {
    atomic_size_t refs;
};

_Static_assert(sizeof(struct tensor_storage) <= STORAGE_HEADER_BYTES, "header holds the storage");

static struct tensor_storage *storage_new(uint64_t bytes);
static void storage_unref(struct tensor_storage *storage);
static bool is_borrowed(const struct tensor *t);
static void drop_memory(struct tensor *t);
static int reserve_levels(struct tensor *t, int levels);
static int reserve_level(struct lod_level *level, size_t count);
static int copy_level(struct lod_level *dst, const struct lod_level *src);

void tensor_init(struct tensor *t)
{
    *t = (struct tensor){.dtype = DTYPE_FP32, .dims = {.rank = 1}};
}

void tensor_deinit(struct tensor *t)
{
    if (!t)
        return;
    drop_memory(t);
    for (int i = 0; i < t->lod_levels_cap; i++)
        mem_free(t->lod[i].offsets);
    mem_free(t->lod);
    tensor_init(t);
}

int tensor_resize(struct tensor *t, enum dtype dtype, const struct dims *dims)
{
    uint64_t count = 0;
    size_t elem = dtype_bytes(dtype);
    if (!elem || dims->rank < 0 || dims->rank > LIMIT_RANK)
        return SL_EINVAL;
    for (int i = 0; i < dims->rank; i++)
        if (dims->d[i] < 0)
            return SL_EINVAL;
    if (!dims_count(dims, elem, &count))
        return SL_ELIMIT;
    uint64_t bytes = count * elem;
    bool alone = !t->storage || atomic_load_explicit(&t->storage->refs, memory_order_acquire) == 1;
    if (is_borrowed(t)) {
        if (bytes > t->capacity_bytes)
            return SL_ELIMIT;
    } else if (bytes > t->capacity_bytes || (!alone && bytes)) {
        struct tensor_storage *fresh = storage_new(bytes);
        if (!fresh)
            return SL_ENOMEM;
        storage_unref(t->storage);
        t->storage = fresh;
        t->data = (char *)fresh + STORAGE_HEADER_BYTES;
        t->capacity_bytes = bytes;
    }
    t->dtype = dtype;
    t->dims = *dims;
    return 0;
}

uint64_t tensor_count(const struct tensor *t)
{
    return (uint64_t)dims_product(&t->dims, 0, t->dims.rank);
}

uint64_t tensor_bytes(const struct tensor *t)
{
    return tensor_count(t) * dtype_bytes(t->dtype);
}

int tensor_share_rows(struct tensor *dst, const struct tensor *src, int64_t row, int64_t rows)
{
    ASSERT(dst != src);
    if (src->dims.rank < 1 || row < 0 || rows < 0 || row > src->dims.d[0] ||
        rows > src->dims.d[0] - row)
        return SL_EINVAL;
    uint64_t row_bytes =
        (uint64_t)dims_product(&src->dims, 1, src->dims.rank) * dtype_bytes(src->dtype);
    if (src->storage)
        atomic_fetch_add_explicit(&src->storage->refs, 1, memory_order_relaxed);
    drop_memory(dst);
    dst->storage = src->storage;
    dst->data = src->data ? (char *)src->data + (uint64_t)row * row_bytes : NULL;
    dst->capacity_bytes = (uint64_t)rows * row_bytes;
    dst->dtype = src->dtype;
    dst->dims = src->dims;
    dst->dims.d[0] = rows;
    tensor_clear_lod(dst);
    return 0;
}

void tensor_share(struct tensor *dst, const struct tensor *src)
{
    ASSERT(dst != src);
    if (src->storage)
        atomic_fetch_add_explicit(&src->storage->refs, 1, memory_order_relaxed);
    drop_memory(dst);
    dst->storage = src->storage;
    dst->data = src->data;
    dst->capacity_bytes = src->capacity_bytes;
    dst->dtype = src->dtype;
    dst->dims = src->dims;
    if (tensor_set_lod(dst, src->lod_levels, src->lod))
        tensor_clear_lod(dst);
}

int tensor_copy(struct tensor *dst, const struct tensor *src)
{
    if (dst == src)
        return 0;
    int rc = tensor_resize(dst, src->dtype, &src->dims);
    if (!rc)
        rc = tensor_set_lod(dst, src->lod_levels, src->lod);
    if (rc)
        return rc;
    uint64_t bytes = tensor_bytes(src);
    if (bytes && dst->data != src->data)
        memmove(dst->data, src->data, bytes);
    return 0;
}

void tensor_borrow(struct tensor *dst, enum dtype dtype, const struct dims *dims, void *data,
                   size_t capacity_bytes)
{
    drop_memory(dst);
    dst->dtype = dtype;
    dst->dims = *dims;
    dst->data = data;
    dst->capacity_bytes = capacity_bytes;
    ASSERT(tensor_bytes(dst) <= capacity_bytes);
}

void tensor_move(struct tensor *dst, struct tensor *src)
{
    if (dst == src)
        return;
    tensor_deinit(dst);
    *dst = *src;
    tensor_init(src);
}

int tensor_set_lod(struct tensor *t, int levels, const struct lod_level *lod)
{
    int rc = reserve_levels(t, levels);
    if (rc)
        return rc;
    for (int i = 0; i < levels; i++) {
        rc = copy_level(&t->lod[i], &lod[i]);
        if (rc)
            return rc;
    }
    t->lod_levels = levels;
    return 0;
}

int tensor_reserve_lod(struct tensor *t, int levels, int level, size_t count)
{
    int rc = level < 0 || level >= levels ? SL_ELIMIT : reserve_levels(t, levels);
    if (rc == 0)
        rc = reserve_level(&t->lod[level], count);
    if (rc)
        return rc;
    t->lod[level].count = count;
    for (int i = t->lod_levels; i < levels; i++)
        if (i != level)
            t->lod[i].count = 0;
    t->lod_levels = levels;
    return 0;
}

void tensor_clear_lod(struct tensor *t)
{
    t->lod_levels = 0;
}

bool tensor_lod_is_valid(const struct tensor *t)
{
    for (int i = 0; i < t->lod_levels; i++) {
        const struct lod_level *level = &t->lod[i];
        uint64_t end = t->dims.rank ? (uint64_t)t->dims.d[0] : 1;
        if (i + 1 < t->lod_levels)
            end = t->lod[i + 1].count - 1;
        if (!level->count || level->offsets[0] || level->offsets[level->count - 1] != end)
            return false;
        for (size_t k = 1; k < level->count; k++)
            if (level->offsets[k] < level->offsets[k - 1])
                return false;
    }
    return true;
}

static struct tensor_storage *storage_new(uint64_t bytes)
{
    struct tensor_storage *storage = mem_alloc_aligned(STORAGE_HEADER_BYTES + bytes);
    if (storage)
        atomic_init(&storage->refs, 1);
    return storage;
}

static void storage_unref(struct tensor_storage *storage)
{
    if (storage && atomic_fetch_sub_explicit(&storage->refs, 1, memory_order_acq_rel) == 1)
        mem_free(storage);
}

static bool is_borrowed(const struct tensor *t)
{
    return !t->storage && t->data;
}

static void drop_memory(struct tensor *t)
{
    storage_unref(t->storage);
    t->storage = NULL;
    t->data = NULL;
    t->capacity_bytes = 0;
}

static int reserve_levels(struct tensor *t, int levels)
{
    if (levels < 0 || levels > LIMIT_LOD_LEVELS)
        return SL_ELIMIT;
    if (levels <= t->lod_levels_cap)
        return 0;
    struct lod_level *grown = mem_realloc(t->lod, (size_t)levels * sizeof *grown);
    if (!grown)
        return SL_ENOMEM;
    memset(grown + t->lod_levels_cap, 0, (size_t)(levels - t->lod_levels_cap) * sizeof *grown);
    t->lod = grown;
    t->lod_levels_cap = levels;
    return 0;
}

static int reserve_level(struct lod_level *level, size_t count)
{
    if (count <= level->cap)
        return 0;
    if (count > LIMIT_LOD_OFFSETS)
        return SL_ELIMIT;
    uint64_t *grown = mem_realloc(level->offsets, count * sizeof *grown);
    if (!grown)
        return SL_ENOMEM;
    level->offsets = grown;
    level->cap = count;
    return 0;
}

static int copy_level(struct lod_level *dst, const struct lod_level *src)
{
    if (dst == src)
        return 0;
    int rc = reserve_level(dst, src->count);
    if (rc)
        return rc;
    if (src->count)
        memcpy(dst->offsets, src->offsets, src->count * sizeof *dst->offsets);
    dst->count = src->count;
    return 0;
}
