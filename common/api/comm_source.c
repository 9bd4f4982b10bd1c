// SPDX-License-Identifier: Apache-2.0
// A checkpoint source over the servers of a job. The source and its bookkeeping are one object:
// struct ckpt_source comes first, so that its address is the object's.
//
// Variables from the servers come first in the list, then those of the local scope, which another
// source (ckpt_source_scope) reads. Used by the thread that owns the comm.
#include "common/api/comm_source.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ckpt/ckpt_source.h"
#include "common/program/slice_map.h"
#include "common/ps/comm.h"

struct comm_source {
    struct ckpt_source base;
    struct ckpt_var *vars;
    size_t remote;   // vars[0..remote) live on servers
    struct comm *comm;
    struct ckpt_source *local;   // the rest; NULL when there is none
    struct str_list local_names;
};

static int read_rows(void *self, size_t i, int64_t row, int64_t rows, void *out, struct err *err);
static bool is_loaded(struct comm *comm, const struct slice_var *var);
static void choose(struct comm *comm, const struct str_list *names, const struct slice_var **remote,
                   size_t *remote_count, struct str_list *local);
static int add_local(struct comm_source *source, const struct scope *scope, struct err *err);

int comm_source_new(struct comm *comm, const struct scope *local, const struct str_list *names,
                    struct ckpt_source **out, struct err *err)
{
    const struct slice_map *map = comm_slices(comm);
    size_t most = map->vars_count + (names ? names->count : 0);
    struct comm_source *source = MEM_NEW(struct comm_source);
    const struct slice_var **remote = mem_must_calloc(most + 1, sizeof *remote);
    source->comm = comm;
    source->vars = mem_must_calloc(most + 1, sizeof *source->vars);
    source->base.vars = source->vars;
    source->base.read_rows = read_rows;
    source->base.self = source;
    choose(comm, names, remote, &source->remote, &source->local_names);
    for (size_t i = 0; i < source->remote; i++)
        source->vars[i] = (struct ckpt_var){
            .name = remote[i]->name,
            .kind = VARIABLE_TENSOR,
            .dtype = remote[i]->dtype,
            .dims = remote[i]->dims,
        };
    source->base.count = source->remote;
    int rc = source->local_names.count ? add_local(source, local, err) : 0;
    mem_free(remote);
    if (rc < 0) {
        comm_source_free(&source->base);
        return rc;
    }
    *out = &source->base;
    return 0;
}

void comm_source_free(struct ckpt_source *base)
{
    if (!base)
        return;
    struct comm_source *source = base->self;
    ckpt_source_free(source->local);
    str_list_deinit(&source->local_names);
    mem_free(source->vars);
    mem_free(source);
}

// Servers have what only trainers hold when they loaded it: a row tells.
static bool is_loaded(struct comm *comm, const struct slice_var *var)
{
    int64_t width = dims_product(&var->dims, 1, var->dims.rank);
    void *row = mem_alloc((size_t)width * dtype_bytes(var->dtype));
    bool loaded = row && comm_read_rows(comm, var->name, 0, 1, row, NULL) == 0;
    mem_free(row);
    return loaded;
}

// Parts the wanted names into variables of the servers and names of local ones.
static void choose(struct comm *comm, const struct str_list *names, const struct slice_var **remote,
                   size_t *remote_count, struct str_list *local)
{
    const struct slice_map *map = comm_slices(comm);
    if (!names) {
        for (size_t i = 0; i < map->vars_count; i++)
            if (map->vars[i]->role == SLICE_PARAM || map->vars[i]->role == SLICE_STATE ||
                (map->vars[i]->role == SLICE_TRAINER && is_loaded(comm, map->vars[i])))
                remote[(*remote_count)++] = map->vars[i];
        return;
    }
    for (size_t i = 0; i < names->count; i++) {
        const struct slice_var *var = slice_map_find(map, names->items[i]);
        if (var && (var->role == SLICE_PARAM || var->role == SLICE_STATE))
            remote[(*remote_count)++] = var;
        else
            str_list_add(local, names->items[i]);
    }
}

static int add_local(struct comm_source *source, const struct scope *scope, struct err *err)
{
    if (!scope)
        return err_set(err, SL_ENOENT, "the servers do not hold %s", source->local_names.items[0]);
    int rc = ckpt_source_scope(scope, &source->local_names, &source->local, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < source->local->count; i++)
        source->vars[source->base.count++] = source->local->vars[i];
    return 0;
}

static int read_rows(void *self, size_t i, int64_t row, int64_t rows, void *out, struct err *err)
{
    struct comm_source *source = self;
    if (i >= source->remote)
        return source->local->read_rows(source->local->self, i - source->remote, row, rows, out,
                                        err);
    return comm_read_rows(source->comm, source->vars[i].name, row, rows, out, err);
}
