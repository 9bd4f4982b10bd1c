// SPDX-License-Identifier: Apache-2.0
// Every trainer gets the same values, those that trainer 0 saved: statistics that differ between
// trainers are not kept apart, as a checkpoint has one file a variable. Used by the thread that
// owns the comm.
#include "common/api/comm_restore.h"

#include "common/base/err.h"
#include "common/exec/scope.h"
#include "common/program/slice_map.h"
#include "common/ps/comm.h"

static int restore(struct comm *comm, const struct slice_var *var, struct scope *scope,
                   struct err *err);

int comm_restore_variables(struct comm *comm, struct scope *scope, struct err *err)
{
    const struct slice_map *map = comm_slices(comm);
    uint64_t step;
    int filled = 0, rc = comm_welcome(comm)->loaded ? comm_pin(comm, &step, err) : 0;
    if (rc < 0 || !comm_welcome(comm)->loaded)
        return rc;
    for (size_t i = 0; rc >= 0 && i < map->vars_count; i++) {
        if (map->vars[i]->role != SLICE_TRAINER)
            continue;
        rc = restore(comm, map->vars[i], scope, err);
        filled += rc > 0;
    }
    int unpinned = comm_unpin(comm, rc < 0 ? NULL : err);
    if (rc < 0 || unpinned < 0)
        return err_prefix(err, "start-up");
    return filled;
}

// 1 when filled, 0 when the servers have no value.
static int restore(struct comm *comm, const struct slice_var *var, struct scope *scope,
                   struct err *err)
{
    struct tensor fresh;
    struct err why = {0};
    tensor_init(&fresh);
    int rc = tensor_resize(&fresh, var->dtype, &var->dims);
    if (rc < 0)
        return err_set(err, rc, "%s: no memory", var->name);
    rc = comm_read_rows(comm, var->name, 0, var->dims.rank > 0 ? var->dims.d[0] : 1, fresh.data,
                        &why);
    struct variable *to = scope_var(scope, var->name);
    if (rc == 0 && to->kind == VARIABLE_TENSOR && to->tensor.data &&
        to->tensor.dtype == fresh.dtype && dims_equal(&to->tensor.dims, &fresh.dims))
        rc = tensor_copy(&to->tensor, &fresh);   // in place: a plan may know the address
    else if (rc == 0)
        tensor_move(variable_tensor(to), &fresh);
    tensor_deinit(&fresh);
    if (rc == SL_ENOENT)
        return 0;
    if (rc < 0)
        return why.code ? err_set(err, rc, "%s", why.text) : err_set(err, rc, "%s", var->name);
    return 1;
}
