// SPDX-License-Identifier: Apache-2.0
// The slice_map seen from one server. Read-only after shard_init; any thread may look things up.
// It holds no tensor: values live in `state`, gradients in `round`.
#include "common/ps/shard.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/base/str.h"

static size_t count_here(const struct slice_map *map, int server);
static int fill_slice(struct shard_slice *out, const struct slice_map *map, size_t v, size_t s,
                      struct err *err);

int shard_init(struct shard *shard, const struct slice_map *map, int server, struct err *err)
{
    memset(shard, 0, sizeof *shard);
    map_init(&shard->by_name);
    if (server < 0 || server >= map->servers)
        return err_set(err, SL_EINVAL, "server %d: the slice map has servers 0..%d", server,
                       map->servers - 1);
    shard->map = map;
    shard->server = server;
    shard->cell_bytes = SHARD_CELL_BYTES;
    size_t count = count_here(map, server);
    shard->slices = mem_must_calloc(count ? count : 1, sizeof *shard->slices);
    shard->grads = mem_must_calloc(count ? count : 1, sizeof(struct shard_slice *));
    shard->first = mem_must_calloc(map->vars_count + 1, sizeof *shard->first);
    for (size_t v = 0; v < map->vars_count; v++) {
        shard->first[v] = shard->slices_count;
        for (size_t s = 0; s < map->vars[v]->slices_count; s++) {
            if (map->vars[v]->slices[s].server != server)
                continue;
            struct shard_slice *slice = &shard->slices[shard->slices_count];
            int rc = fill_slice(slice, map, v, s, err);
            if (rc < 0)
                return rc;
            shard->slices_count++;
            slice->grad = -1;
            if (slice->role == SLICE_GRAD) {
                slice->grad = (int)shard->grads_count;
                shard->grads[shard->grads_count++] = slice;
            }
            map_set(&shard->by_name, slice->place->name, slice);
        }
    }
    shard->first[map->vars_count] = shard->slices_count;
    return 0;
}

void shard_deinit(struct shard *shard)
{
    map_deinit(&shard->by_name);
    mem_free(shard->slices);
    mem_free(shard->grads);
    mem_free(shard->first);
    memset(shard, 0, sizeof *shard);
}

const struct shard_slice *shard_find(const struct shard *shard, uint32_t variable, uint32_t slice)
{
    if (variable >= shard->map->vars_count)
        return NULL;
    for (size_t i = shard->first[variable]; i < shard->first[variable + 1]; i++)
        if (shard->slices[i].slice == slice)
            return &shard->slices[i];
    return NULL;
}

const struct shard_slice *shard_by_name(const struct shard *shard, const char *name)
{
    return map_get(&shard->by_name, name);
}

const struct shard_slice *shard_grad_by_name(const struct shard *shard, const char *name,
                                             int *out_trainer)
{
    *out_trainer = -1;
    const struct shard_slice *slice = shard_by_name(shard, name);
    if (!slice) {
        size_t bytes = shard_stem(name, out_trainer);
        if (*out_trainer < 0)
            return NULL;
        char *stem = mem_must_strndup(name, bytes);
        slice = shard_by_name(shard, stem);
        mem_free(stem);
    }
    return slice && slice->role == SLICE_GRAD ? slice : NULL;
}

uint32_t shard_cells(const struct shard *shard, const struct shard_slice *slice)
{
    return (uint32_t)((slice->bytes + shard->cell_bytes - 1) / shard->cell_bytes);
}

int shard_check_chunk(const struct shard *shard, const struct shard_slice *slice, uint64_t offset,
                      uint64_t bytes, struct err *err)
{
    uint64_t end;
    if (!bytes || !limit_add_u64(offset, bytes, &end) || end > slice->bytes)
        return err_set(err, SL_EINVAL, "%s: bytes %llu..+%llu are outside its %llu bytes",
                       slice->place->name, (unsigned long long)offset, (unsigned long long)bytes,
                       (unsigned long long)slice->bytes);
    if (offset % shard->cell_bytes || (end % shard->cell_bytes && end != slice->bytes))
        return err_set(err, SL_EINVAL, "%s: bytes %llu..+%llu do not lie on the grid of %u",
                       slice->place->name, (unsigned long long)offset, (unsigned long long)bytes,
                       shard->cell_bytes);
    return 0;
}

int shard_check_rows(const struct shard *shard, const struct shard_slice *slice, uint32_t rows,
                     uint64_t offset, uint64_t bytes, struct err *err)
{
    uint64_t total = rows * (sizeof(int64_t) + slice->row_bytes), end;
    if (rows > (uint64_t)slice->dims.d[0])
        return err_set(err, SL_EINVAL, "%s: a push of %u rows, but the slice has %lld",
                       slice->place->name, rows, (long long)slice->dims.d[0]);
    if (total > LIMIT_ROWS_BYTES)
        return err_set(err, SL_EINVAL,
                       "%s: a push of %u rows has %llu bytes, at most %llu may come",
                       slice->place->name, rows, (unsigned long long)total, LIMIT_ROWS_BYTES);
    if (!limit_add_u64(offset, bytes, &end) || end > total || (!bytes && total))
        return err_set(err, SL_EINVAL, "%s: bytes %llu..+%llu are outside the %llu of %u rows",
                       slice->place->name, (unsigned long long)offset, (unsigned long long)bytes,
                       (unsigned long long)total, rows);
    if (offset % shard->cell_bytes || (end % shard->cell_bytes && end != total))
        return err_set(err, SL_EINVAL,
                       "%s: bytes %llu..+%llu of %u rows do not lie on the grid of %u",
                       slice->place->name, (unsigned long long)offset, (unsigned long long)bytes,
                       rows, shard->cell_bytes);
    return 0;
}

int shard_check_order(const char *name, const int64_t *rows, size_t count, int64_t height,
                      struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i] < 0 || rows[i] >= height)
            return err_set(err, SL_EINVAL, "%s: row %lld is not in [0,%lld)", name,
                           (long long)rows[i], (long long)height);
        if (i && rows[i] <= rows[i - 1])
            return err_set(err, SL_EINVAL, "%s: rows are not ascending: %lld comes after %lld",
                           name, (long long)rows[i], (long long)rows[i - 1]);
    }
    return 0;
}

uint64_t shard_row_bytes(const struct slice_var *var)
{
    uint64_t elements = (uint64_t)dims_product(&var->dims, var->dims.rank > 0, var->dims.rank);
    return elements * dtype_bytes(var->dtype);
}

struct dims shard_slice_dims(const struct slice_var *var, const struct slice *slice)
{
    struct dims dims = var->dims;
    if (!var->replicated && dims.rank > 0)
        dims.d[0] = slice->rows;
    return dims;
}

bool shard_slice_bytes(const struct slice_var *var, const struct slice *slice, uint64_t *out_bytes)
{
    struct dims dims = shard_slice_dims(var, slice);
    uint64_t count;
    return dims_count(&dims, dtype_bytes(var->dtype), &count) &&
           limit_mul_u64(count, dtype_bytes(var->dtype), out_bytes);
}

size_t shard_stem(const char *name, int *out_trainer)
{
    static const char suffix[] = ".trainer_";
    *out_trainer = -1;
    const char *found = NULL;
    for (const char *at = strstr(name, suffix); at; at = strstr(at + 1, suffix))
        found = at;
    uint64_t id;
    if (!found || !str_parse_u64(found + sizeof suffix - 1, &id) || id >= LIMIT_TRAINERS)
        return strlen(name);
    *out_trainer = (int)id;
    return (size_t)(found - name);
}

static size_t count_here(const struct slice_map *map, int server)
{
    size_t count = 0;
    for (size_t v = 0; v < map->vars_count; v++)
        for (size_t s = 0; s < map->vars[v]->slices_count; s++)
            count += map->vars[v]->slices[s].server == server;
    return count;
}

static int fill_slice(struct shard_slice *out, const struct slice_map *map, size_t v, size_t s,
                      struct err *err)
{
    const struct slice_var *var = map->vars[v];
    out->variable = (uint32_t)v;
    out->slice = (uint32_t)s;
    out->var = var;
    out->place = &var->slices[s];
    out->role = var->role;
    out->dtype = var->dtype;
    out->dims = shard_slice_dims(var, out->place);
    if (!shard_slice_bytes(var, out->place, &out->bytes))
        return err_set(err, SL_ELIMIT, "%s: too large", out->place->name);
    uint64_t rows = out->dims.rank > 0 ? (uint64_t)out->dims.d[0] : 1;
    out->row_bytes = rows ? out->bytes / rows : 0;
    out->sparse = var->role == SLICE_GRAD && var->sparse;
    if (out->sparse && !limit_mul_u64(rows, sizeof(int64_t) + out->row_bytes, &out->rows_bytes))
        return err_set(err, SL_ELIMIT, "%s: too large", out->place->name);
    if (out->rows_bytes > LIMIT_ROWS_BYTES)
        out->rows_bytes = LIMIT_ROWS_BYTES;
    return 0;
}
