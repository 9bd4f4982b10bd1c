// SPDX-License-Identifier: Apache-2.0
// Sparse tables. A parameter whose gradient is selected rows, and of which trainers only ever look
// up rows, is remote: it lives on the servers, and the lookups of one table become one
// distributed_lookup_table, which asks the servers for the rows of the batch. Any other sparse
// parameter (nce's, a table that a matmul reads too) is received whole, like a dense one; its
// gradient travels as rows all the same.
//
// The merged lookup stands behind the operator that makes the last of its ids. Where 1.8.5's rules
// give a program that cannot run or that computes something else (a result is used before the last
// ids are there, lookups differ in padding_idx or version), each lookup is replaced on its own;
// fluid_exact gives 1.8.5's text or its refusal. The deciding operators are those of block 0, as in
// Fluid: a table that an operator of another block reads is received whole.

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/passes/hash_order.h"
#include "common/passes/transpiler_plan.h"

// The lookups of one table that become one operator, by index in the block.
struct group {
    size_t *ops;
    size_t count;
    int64_t made;   // the last operator that writes one of their ids; -1: they are fed
};

static bool is_lookup(const struct op_desc *op);
static bool is_remote_lookup(const struct transpiler *t, const struct op_desc *op);
static bool is_remote(const struct transpiler *t, const struct transpiler_pair *pair);
static int check_exact(const struct transpiler *t, struct err *err);
static void list_faked(struct transpiler *t, const struct block *block);
static int prefetch_table(const struct transpiler *t, const struct transpiler_pair *pair,
                          struct block *block, int trainer_id, struct err *err);

int transpiler_tables_find(struct transpiler *t, struct err *err)
{
    const struct block *block = program_block(t->main, 0);
    int rc = t->config.fluid_exact ? check_exact(t, err) : 0;
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < t->count; i++) {
        struct transpiler_pair *pair = &t->pairs[i];
        pair->sparse = block_var(block, pair->grad)->kind == VAR_SELECTED_ROWS;
        pair->remote = pair->sparse && is_remote(t, pair);
    }
    struct program *trial = program_clone(t->main);
    rc = transpiler_tables_prefetch(t, program_block(trial, 0), 0, err);
    if (rc == 0)
        list_faked(t, program_block(trial, 0));
    program_free(trial);
    return rc;
}

int transpiler_tables_prefetch(const struct transpiler *t, struct block *block, int trainer_id,
                               struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < t->count; i++)
        if (t->pairs[i].remote)
            rc = prefetch_table(t, &t->pairs[i], block, trainer_id, err);
    return rc;
}

void transpiler_tables_fake(const struct transpiler *t, struct block *startup)
{
    for (size_t i = 0; i < t->faked.count; i++) {
        const char *table = t->faked.items[i];
        const struct var_desc *var = block_var(program_block(t->main, 0), table);
        struct op_desc *op = transpiler_plan_op("fake_init", OP_ROLE_FORWARD);
        op_desc_add_output(op, "Out", table);
        op_desc_set_longs(op, "shape", var->dims.d, (size_t)var->dims.rank);
        for (size_t k = startup->ops_count; k-- > 0;)
            if (op_desc_writes(startup->ops[k], table))
                block_remove_op(startup, k);
        if (block_var(startup, table) == NULL) {
            struct var_desc *held = transpiler_plan_var_like(var, table, NULL);
            held->persistable = true;
            block_add_var(startup, held);
        }
        block_append_op(startup, op);
    }
}

// ---- which tables

static bool is_lookup(const struct op_desc *op)
{
    return str_eq(op->type, "lookup_table") || str_eq(op->type, "lookup_table_v2");
}

// 1.8.5 fails for every is_distributed table of lookup_table: here it is a remote one.
static bool is_remote_lookup(const struct transpiler *t, const struct op_desc *op)
{
    if (!is_lookup(op))
        return false;
    return op_desc_get_int(op, "remote_prefetch", 0) != 0 ||
           (!t->config.fluid_exact && str_eq(op->type, "lookup_table") &&
            op_desc_get_int(op, "is_distributed", 0) != 0 &&
            op_desc_get_int(op, "is_sparse", 0) != 0);
}

// Reads this operator of a trainer the values of a table?
static bool needs_values(const struct transpiler *t, const struct block *block, size_t at,
                         const char *table)
{
    const struct op_desc *op = block->ops[at];
    if (!op_desc_reads(op, table) || str_eq(op->type, "lookup_table_grad") ||
        str_eq(op->type, "lookup_table_v2_grad"))
        return false;
    if (block->idx != 0)
        return true;
    return !transpiler_plan_is_optimize(t, at) && !is_remote_lookup(t, op);
}

static bool is_remote(const struct transpiler *t, const struct transpiler_pair *pair)
{
    const struct block *block = program_block(t->main, 0);
    bool looked_up = false;
    for (size_t i = 0; i < block->ops_count && !looked_up; i++)
        looked_up = is_remote_lookup(t, block->ops[i]) && op_desc_reads(block->ops[i], pair->param);
    for (size_t b = 0; b < t->main->blocks_count && !t->config.fluid_exact; b++)
        for (size_t i = 0; i < program_block(t->main, b)->ops_count; i++)
            if (needs_values(t, program_block(t->main, b), i, pair->param))
                return false;
    return looked_up;
}

static int check_exact(const struct transpiler *t, struct err *err)
{
    const struct block *block = program_block(t->main, 0);
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        const char *why = NULL;
        if (str_eq(op->type, "lookup_table") && op_desc_get_int(op, "is_distributed", 0) != 0)
            why = "an is_distributed table";
        else if (str_eq(op->type, "nce") && op_desc_get_int(op, "is_sparse", 0) != 0)
            why = "is_sparse";
        if (why != NULL)
            return err_set(err, SL_EUNSUPPORTED,
                           "transpiler: block 0 op %zu `%s`: Fluid 1.8.5 fails for %s "
                           "(fluid_exact)",
                           i, op->type, why);
    }
    return 0;
}

// block is a trainer's. 1.8.5 takes every is_sparse table of lookup_table, also one that trainers
// then lack.
static void list_faked(struct transpiler *t, const struct block *block)
{
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        const char *table = op_desc_input1(op, "W");
        bool sparse = str_eq(op->type, "lookup_table") && op_desc_get_int(op, "is_sparse", 0) != 0;
        if (table != NULL &&
            (str_eq(op->type, "distributed_lookup_table") || (t->config.fluid_exact && sparse)))
            str_list_add(&t->faked, table);
    }
    hash_order_sort(&t->faked);
}

// ---- lookups

static int64_t last_writer(const struct block *block, const char *name)
{
    for (size_t i = block->ops_count; i-- > 0;)
        if (op_desc_writes(block->ops[i], name))
            return (int64_t)i;
    return -1;
}

// From the front: the first reader, or ops_count; from the back: the last one, or -1.
static int64_t reader(const struct block *block, const char *name, bool last)
{
    int64_t found = last ? -1 : (int64_t)block->ops_count;
    for (size_t i = 0; i < block->ops_count && (last || found == (int64_t)block->ops_count); i++)
        if (op_desc_reads(block->ops[i], name))
            found = (int64_t)i;
    return found;
}

// Can the group's operators become one without changing what the program computes?
static bool can_merge(const struct block *block, const struct group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        const struct op_desc *op = block->ops[group->ops[i]];
        int64_t written = last_writer(block, op_desc_input1(op, "Ids"));
        if (reader(block, op_desc_output1(op, "Out"), false) <= group->made ||
            written > (int64_t)group->ops[i])
            return false;
    }
    return true;
}

// 1.8.5 looks at the last readers, and asks for one.
static bool fluid_merges(const struct block *block, const struct group *group)
{
    for (size_t i = 0; i < group->count; i++)
        if (reader(block, op_desc_output1(block->ops[group->ops[i]], "Out"), true) <= group->made)
            return false;
    return true;
}

static struct op_desc *make_prefetch(const struct transpiler *t, const struct transpiler_pair *pair,
                                     const struct block *block, const size_t *ops, size_t count,
                                     int trainer_id)
{
    const struct op_desc *first = block->ops[ops[0]];
    struct op_desc *op = transpiler_plan_op("distributed_lookup_table", OP_ROLE_FORWARD);
    struct str_list tables = {0};
    int64_t *sections = mem_must_calloc(pair->count, sizeof *sections);
    for (size_t i = 0; i < count; i++) {
        op_desc_add_input(op, "Ids", op_desc_input1(block->ops[ops[i]], "Ids"));
        op_desc_add_output(op, "Outputs", op_desc_output1(block->ops[ops[i]], "Out"));
    }
    op_desc_add_input(op, "W", pair->param);
    for (size_t k = 0; k < pair->count; k++) {
        str_list_add(&tables, pair->slices[k].param);
        sections[k] = pair->slices[k].rows;
    }
    op_desc_set_strings(op, "table_names", &tables);
    op_desc_set_longs(op, "height_sections", sections, pair->count);
    transpiler_plan_set_endpoints(t, op, "endpoints", pair->slices, pair->count);
    op_desc_set_long(op, "padding_idx", op_desc_get_int(first, "padding_idx", -1));
    op_desc_set_int(op, "trainer_id", trainer_id);
    op_desc_set_string(op, "lookup_table_version", first->type);
    op_desc_set_int(op, "dtype", DTYPE_FP32);
    mem_free(sections);
    str_list_deinit(&tables);
    return op;
}

// Ids of two dimensions are all that 1.8.5's operator takes.
static int check_fluid(const struct block *block, const struct group *group, struct err *err)
{
    for (size_t i = 0; i < group->count; i++) {
        const char *name = op_desc_input1(block->ops[group->ops[i]], "Ids");
        const struct var_desc *ids = name ? block_var(block, name) : NULL;
        if (ids == NULL || ids->dims.rank != 2)
            return err_set(err, SL_EUNSUPPORTED,
                           "transpiler: block 0 op %zu `%s`: Fluid 1.8.5 refuses ids `%s` that "
                           "have not 2 dimensions (fluid_exact)",
                           group->ops[i], block->ops[group->ops[i]]->type, name ? name : "");
    }
    if (!fluid_merges(block, group))
        return err_set(err, SL_EUNSUPPORTED,
                       "transpiler: block 0 op %zu `%s`: Fluid 1.8.5 cannot make one operator of "
                       "the table's lookups (fluid_exact)",
                       group->ops[0], block->ops[group->ops[0]]->type);
    return 0;
}

// The remote lookups of a table that go with the first one not replaced yet.
static void find_group(const struct transpiler *t, const struct transpiler_pair *pair,
                       const struct block *block, struct group *out)
{
    const struct op_desc *first = NULL;
    *out = (struct group){.made = -1};
    out->ops = mem_must_calloc(block->ops_count + 1, sizeof *out->ops);
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        if (!is_remote_lookup(t, op) || !str_eq(op_desc_input1(op, "W"), pair->param))
            continue;
        first = first ? first : op;
        bool same = str_eq(op->type, first->type) &&
                    (t->config.fluid_exact || op_desc_get_int(op, "padding_idx", -1) ==
                                                  op_desc_get_int(first, "padding_idx", -1));
        if (!same)
            continue;
        int64_t made = last_writer(block, op_desc_input1(op, "Ids"));
        out->made = made > out->made ? made : out->made;
        out->ops[out->count++] = i;
    }
}

static int prefetch_group(const struct transpiler *t, const struct transpiler_pair *pair,
                          struct block *block, const struct group *group, int trainer_id,
                          struct err *err)
{
    int rc = t->config.fluid_exact ? check_fluid(block, group, err) : 0;
    if (rc < 0)
        return rc;
    if (!t->config.fluid_exact && !can_merge(block, group)) {
        for (size_t i = 0; i < group->count; i++) {
            struct op_desc *op = make_prefetch(t, pair, block, &group->ops[i], 1, trainer_id);
            block_remove_op(block, group->ops[i]);
            block_insert_op(block, group->ops[i], op);
        }
        return 0;
    }
    size_t at = (size_t)(group->made + 1);
    struct op_desc *op = make_prefetch(t, pair, block, group->ops, group->count, trainer_id);
    for (size_t i = group->count; i-- > 0;) {
        block_remove_op(block, group->ops[i]);
        at -= group->ops[i] < at;
    }
    block_insert_op(block, at, op);
    return 0;
}

static int prefetch_table(const struct transpiler *t, const struct transpiler_pair *pair,
                          struct block *block, int trainer_id, struct err *err)
{
    for (;;) {
        struct group group;
        find_group(t, pair, block, &group);
        int rc = group.count > 0 ? prefetch_group(t, pair, block, &group, trainer_id, err) : 0;
        bool done = rc < 0 || group.count == 0 || t->config.fluid_exact;
        mem_free(group.ops);
        if (done)
            return rc;
    }
}
