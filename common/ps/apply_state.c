// SPDX-License-Identifier: Apache-2.0
// What of a server program is state: every slice that is no gradient, and what else is persistable
// and has a value; which of it the blocks write: always, perhaps, or some rows of it. Values go in
// from the scope and come back.
#include "common/ps/apply.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/exec/scope.h"
#include "common/ops/op.h"
#include "common/program/program.h"
#include "common/ps/shard.h"
#include "common/ps/state.h"

// Values of a map of writes; they are told apart by their address.
static char write_whole[] = "whole", write_perhaps[] = "perhaps", write_rows[] = "rows";

static int scan_program(const struct program *program, struct map *writes, struct err *err);
static void note_write(struct map *writes, const char *name, char *how);
static bool scope_holds(const struct scope *scope, const struct shard_slice *slice);
static int add_entry(const struct scope *scope, const char *name, enum dtype dtype,
                     const struct dims *dims, const struct map *writes, bool must,
                     struct state *state, struct err *err);
static int load_entries(struct scope *scope, struct state *state);

int apply_state_fill(const struct program *program, const struct shard *shard, struct scope *scope,
                     uint64_t version, uint32_t hash_bytes, struct state *state, struct err *err)
{
    struct map writes;
    map_init(&writes);
    int rc = scan_program(program, &writes, err);
    for (size_t i = 0; rc >= 0 && i < shard->slices_count; i++) {
        const struct shard_slice *slice = &shard->slices[i];
        if (slice->role == SLICE_TRAINER && !scope_holds(scope, slice))
            continue;   // nothing was loaded for the trainers
        if (slice->role != SLICE_GRAD)
            rc = add_entry(scope, slice->place->name, slice->dtype, &slice->dims, &writes, true,
                           state, err);
    }
    const struct block *global = program_block(program, 0);
    for (size_t i = 0; rc >= 0 && i < global->vars_count; i++) {
        const struct var_desc *var = global->vars[i];
        int trainer;
        if (!var->persistable || !var->has_tensor || var->kind != VAR_LOD_TENSOR ||
            !dtype_is_valid(var->dtype) || state_find(state, var->name) ||
            shard_grad_by_name(shard, var->name, &trainer))
            continue;
        rc = add_entry(scope, var->name, (enum dtype)var->dtype, &var->dims, &writes, false, state,
                       err);
    }
    map_deinit(&writes);
    if (rc >= 0)
        rc = state_layout(state, version, hash_bytes, err);
    return rc < 0 ? rc : load_entries(scope, state);
}

int apply_state_return(struct state *state, struct scope *scope, struct err *err)
{
    state_end(state);
    for (size_t i = 0; i < state->count; i++) {
        const struct state_entry *entry = state->entries[i];
        struct tensor *tensor = variable_tensor(scope_var(scope, entry->name));
        int rc = tensor_resize(tensor, entry->dtype, &entry->dims);
        if (rc < 0)
            return err_set(err, rc, "%s: no memory for its last value", entry->name);
        if (entry->bytes)
            memcpy(tensor->data, state_at(state, entry, state->version, NULL),
                   (size_t)entry->bytes);
    }
    return 0;
}

const struct op_desc *apply_state_serv(const struct program *program, struct err *err)
{
    const struct block *global = program_block(program, 0);
    for (size_t i = 0; i < global->ops_count; i++)
        if (str_eq(global->ops[i]->type, "listen_and_serv"))
            return global->ops[i];
    err_set(err, SL_EINVAL, "block 0 has no listen_and_serv: this is no server program");
    return NULL;
}

bool apply_state_by_rows(const struct block *block, const struct op_desc *op)
{
    const char *grad = op_desc_input1(op, "Grad");
    const struct var_desc *var = grad ? block_find_var(block, grad) : NULL;
    const struct op_def *def = op_table_find(op->type);
    return var && var->kind == VAR_SELECTED_ROWS && def && def->rows_only && def->rows_only(op);
}

void apply_state_writes(const struct program *program, const struct block *block, bool maybe,
                        struct map *writes)
{
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        bool by_rows = apply_state_by_rows(block, op);
        const char *param = by_rows ? op_desc_input1(op, "Param") : NULL;
        const struct var_desc *table = param ? block_find_var(block, param) : NULL;
        for (size_t s = 0; s < op->outputs_count; s++) {
            for (size_t a = 0; a < op->outputs[s].args.count; a++) {
                const char *name = op->outputs[s].args.items[a];
                const struct var_desc *var = by_rows ? block_find_var(block, name) : NULL;
                bool rows = var && table && dims_equal(&var->dims, &table->dims);
                note_write(writes, name,
                           maybe || (by_rows && !rows) ? write_perhaps
                           : by_rows                   ? write_rows
                                                       : write_whole);
            }
        }
        const struct attr *sub = op_desc_attr(op, "sub_block");
        if (sub && sub->type == ATTR_BLOCK && sub->i > 0 && (size_t)sub->i < program->blocks_count)
            apply_state_writes(program, program_block(program, (size_t)sub->i), true, writes);
    }
}

// What is written in two ways is copied first.
static void note_write(struct map *writes, const char *name, char *how)
{
    const char *before = map_get(writes, name);
    map_set(writes, name, !before || before == how ? how : write_perhaps);
}

static int scan_program(const struct program *program, struct map *writes, struct err *err)
{
    const struct op_desc *serv = apply_state_serv(program, err);
    if (!serv)
        return err ? err->code : SL_EINVAL;
    int64_t mode = op_desc_get_int(serv, "distributed_mode", 0);
    if (mode != 0 || !op_desc_get_int(serv, "sync_mode", 1))
        return err_set(err, SL_EUNSUPPORTED,
                       "listen_and_serv: only sync mode works so far (distributed_mode %lld)",
                       (long long)mode);
    const struct attr *listed = op_desc_attr(serv, "optimize_blocks");
    int64_t lr_index = op_desc_get_int(serv, "lr_decay_block_id", -1);
    size_t count = listed ? listed->count : 0;
    for (size_t i = 0; i <= count; i++) {
        int64_t index = i < count ? listed->ints[i] : lr_index;
        if (index < 0 && i == count)
            continue;
        if (index <= 0 || (size_t)index >= program->blocks_count)
            return err_set(err, SL_EINVAL, "listen_and_serv: there is no block %lld",
                           (long long)index);
        apply_state_writes(program, program_block(program, (size_t)index), false, writes);
    }
    return 0;
}

static bool scope_holds(const struct scope *scope, const struct shard_slice *slice)
{
    const struct variable *var = scope_find(scope, slice->place->name);
    return var && var->kind == VARIABLE_TENSOR && var->tensor.data;
}

static int add_entry(const struct scope *scope, const char *name, enum dtype dtype,
                     const struct dims *dims, const struct map *writes, bool must,
                     struct state *state, struct err *err)
{
    const struct variable *var = scope_find(scope, name);
    bool there = var && var->kind == VARIABLE_TENSOR && var->tensor.data;
    if (!there && !must)
        return 0;
    if (!there)
        return err_set(err, SL_ENOENT,
                       "%s: not initialised (run the server's startup program first)", name);
    char have[DIMS_TEXT_MAX], want[DIMS_TEXT_MAX];
    if (must && (var->tensor.dtype != dtype || !dims_equal(&var->tensor.dims, dims)))
        return err_set(err, SL_EMISMATCH, "%s: the scope has %s %s, the slice map says %s %s", name,
                       dtype_name((int)var->tensor.dtype), dims_format(&var->tensor.dims, have),
                       dtype_name((int)dtype), dims_format(dims, want));
    const char *how = map_get(writes, name);
    enum state_write write = !how                 ? STATE_NEVER
                             : how == write_whole ? STATE_WHOLE
                             : how == write_rows  ? STATE_ROWS
                                                  : STATE_PERHAPS;
    int rc = state_add(state, name, var->tensor.dtype, &var->tensor.dims, write, err);
    return rc < 0 ? rc : 0;
}

static int load_entries(struct scope *scope, struct state *state)
{
    for (size_t i = 0; i < state->count; i++) {
        struct variable *var = scope_var(scope, state->entries[i]->name);
        state_load(state, state->entries[i], variable_tensor(var)->data);
        variable_deinit(var);
        variable_init(var);
    }
    return 0;
}
