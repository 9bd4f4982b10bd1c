// SPDX-License-Identifier: Apache-2.0
// A copy of the program is made fit for pruning (no feeds, fetches and readers, local lookups),
// pruned by clone_pruned, checked for what must be fed, and given its ends. Pure, any thread.
#include "common/passes/prune.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/passes/clone.h"
#include "common/passes/op_build.h"
#include "common/program/program.h"

#define EMPTY_NAME "@EMPTY@"
#define MISSING_BYTES_MAX 700

static void strip(struct program *program);
static int localize(struct program *program, struct err *err);
static int localize_op(struct block *block, size_t at, struct err *err);
static int check_feeds(const struct program *program, const struct str_list *feeds,
                       struct err *err);
static int check_made(const struct program *program, const struct str_list *feeds, struct err *err);
static void set_test(struct program *program);
static int add_scales(struct program *program, const struct program *from,
                      const struct str_list *targets, struct str_list *out_names, struct err *err);
static int add_feeds(struct program *program, const struct str_list *feeds, struct err *err);
static int add_fetches(struct program *program, const struct str_list *names, struct err *err);
static void add_holder(struct block *block, const char *name, enum var_kind kind);
static void list_columns(const struct program *program, const char *type, struct str_list *out);

int prune_inference(const struct program *program, const struct str_list *feeds,
                    const struct str_list *targets, struct program **out,
                    struct str_list *out_names, struct err *err)
{
    struct program *copy = program_clone(program), *pruned = NULL;
    struct str_list names = {0};
    strip(copy);
    int rc = localize(copy, err);
    if (!rc)
        rc = check_feeds(copy, feeds, err);
    if (!rc && targets->count == 0)
        rc = err_set(err, SL_EINVAL, "prune: no target is given");
    if (!rc)
        rc = clone_pruned(copy, feeds, targets, &pruned, err);
    if (!rc)
        rc = check_made(pruned, feeds, err);
    if (!rc) {
        set_test(pruned);
        rc = add_scales(pruned, program, targets, &names, err);
    }
    if (!rc)
        rc = add_feeds(pruned, feeds, err);
    if (!rc)
        rc = add_fetches(pruned, &names, err);
    program_free(copy);
    if (rc) {
        program_free(pruned);
        str_list_deinit(&names);
        return rc;
    }
    *out = pruned;
    *out_names = names;
    return 0;
}

void prune_feeds(const struct program *program, struct str_list *out)
{
    list_columns(program, "feed", out);
}

void prune_fetches(const struct program *program, struct str_list *out)
{
    list_columns(program, "fetch", out);
}

// Takes away feeds and fetches, and a reader with all that leads to it.
static void strip(struct program *program)
{
    struct block *block = program_block(program, 0);
    size_t read = block->ops_count;
    for (size_t i = 0; i < block->ops_count && read == block->ops_count; i++)
        if (str_eq(block->ops[i]->type, "read"))
            read = i;
    for (size_t i = block->ops_count; i-- > 0;)
        if ((read < block->ops_count && i <= read) || str_eq(block->ops[i]->type, "feed") ||
            str_eq(block->ops[i]->type, "fetch"))
            block_remove_op(block, i);
}

// Lookups that a transpiler has put together are taken apart, and ask no server.
static int localize(struct program *program, struct err *err)
{
    struct block *block = program_block(program, 0);
    for (size_t i = 0; i < block->ops_count; i++) {
        if (!str_eq(block->ops[i]->type, "distributed_lookup_table"))
            continue;
        int rc = localize_op(block, i, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int localize_op(struct block *block, size_t at, struct err *err)
{
    struct op_desc *old = op_desc_clone(block->ops[at]);
    const struct op_slot *ids = op_desc_input(old, "Ids"), *outs = op_desc_output(old, "Outputs");
    const char *table = op_desc_input1(old, "W");
    int rc = 0;
    if (!ids || !outs || !table || ids->args.count != outs->args.count || !ids->args.count)
        rc = err_set(err, SL_EINVAL,
                     "prune: op %zu, distributed_lookup_table: ids and outputs do "
                     "not pair up",
                     at);
    else
        block_remove_op(block, at);
    for (size_t k = 0; !rc && k < ids->args.count; k++) {
        struct op_desc *op =
            op_desc_new(op_desc_get_string(old, "lookup_table_version", "lookup_table"));
        op_desc_add_input(op, "Ids", ids->args.items[k]);
        op_desc_add_input(op, "W", table);
        op_desc_add_output(op, "Out", outs->args.items[k]);
        op_desc_set_bool(op, "is_sparse", true);
        op_desc_set_bool(op, "remote_prefetch", true);   // as Fluid sets it with is_sparse
        op_desc_set_long(op, "padding_idx", op_desc_get_int(old, "padding_idx", -1));
        rc = op_build_complete(op, OP_ROLE_FORWARD, err);
        block_insert_op(block, at + k, op);
    }
    op_desc_free(old);
    return rc;
}

static int check_feeds(const struct program *program, const struct str_list *feeds, struct err *err)
{
    for (size_t i = 0; i < feeds->count; i++)
        if (!block_var(program_block(program, 0), feeds->items[i]))
            return err_set(err, SL_ENOENT, "prune: feed `%s` is not a variable of block 0",
                           feeds->items[i]);
    return 0;
}

// Everything that is read is fed, persists, or was made before.
static int check_made(const struct program *program, const struct str_list *feeds, struct err *err)
{
    const struct block *block = program_block(program, 0);
    struct map there;
    struct buf missing;
    map_init(&there);
    buf_init(&missing, 0);
    for (size_t i = 0; i < feeds->count; i++)
        map_set(&there, feeds->items[i], &there);
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        for (size_t s = 0; s < op->inputs_count; s++)
            for (size_t k = 0; k < op->inputs[s].args.count; k++) {
                const char *name = op->inputs[s].args.items[k];
                const struct var_desc *var = block_var(block, name);
                if (map_get(&there, name) || str_eq(name, EMPTY_NAME) ||
                    (var && var->has_persistable && var->persistable))
                    continue;
                map_set(&there, name, &there);
                if (missing.bytes < MISSING_BYTES_MAX)
                    buf_printf(&missing, "%s%s", missing.bytes ? ", " : "", name);
            }
        for (size_t s = 0; s < op->outputs_count; s++)
            for (size_t k = 0; k < op->outputs[s].args.count; k++)
                map_set(&there, op->outputs[s].args.items[k], &there);
    }
    int rc = missing.bytes ? err_set(err, SL_EINVAL,
                                     "prune: the targets need more than the listed feeds: %s must "
                                     "be fed, too",
                                     buf_text(&missing))
                           : 0;
    buf_deinit(&missing);
    map_deinit(&there);
    return rc;
}

static void set_test(struct program *program)
{
    for (size_t b = 0; b < program->blocks_count; b++) {
        struct block *block = program_block(program, b);
        for (size_t i = 0; i < block->ops_count; i++)
            if (op_desc_attr(block->ops[i], "is_test"))
                op_desc_set_bool(block->ops[i], "is_test", true);
    }
}

// k is the first number whose name the whole program does not have.
static int add_scales(struct program *program, const struct program *from,
                      const struct str_list *targets, struct str_list *out_names, struct err *err)
{
    struct block *block = program_block(program, 0);
    int rc = 0;
    for (size_t i = 0; i < targets->count && !rc; i++) {
        char *name = NULL;
        for (size_t k = 0; !name; k++) {
            name = mem_must_printf("save_infer_model/scale_%zu.tmp_%zu", i, k);
            if (block_var(program_block(from, 0), name) || block_var(block, name)) {
                mem_free(name);
                name = NULL;
            }
        }
        const struct var_desc *target = block_var(block, targets->items[i]);
        if (!target) {   // fed and fetched, and nothing else names it
            block_add_var(block,
                          var_desc_clone(block_var(program_block(from, 0), targets->items[i])));
            target = block_var(block, targets->items[i]);
        }
        struct var_desc *var = var_desc_new(name);
        var->dtype = target->dtype;
        var->has_tensor = true;
        block_add_var(block, var);
        struct op_desc *op = op_desc_new("scale");
        op_desc_add_input(op, "X", targets->items[i]);
        op_desc_add_output(op, "Out", name);
        op_desc_set_float(op, "scale", 1);
        rc = op_build_append(block, op, OP_ROLE_FORWARD, err);
        str_list_add(out_names, name);
        mem_free(name);
    }
    return rc;
}

static int add_feeds(struct program *program, const struct str_list *feeds, struct err *err)
{
    struct block *block = program_block(program, 0);
    int rc = 0;
    if (feeds->count)
        add_holder(block, "feed", VAR_FEED_MINIBATCH);
    for (size_t i = 0; i < feeds->count && !rc; i++) {
        if (!block_var(block, feeds->items[i]))
            return err_set(err, SL_EINVAL, "prune: feed `%s` is not needed for the targets",
                           feeds->items[i]);
        struct op_desc *op = op_desc_new("feed");
        op_desc_add_input(op, "X", "feed");
        op_desc_add_output(op, "Out", feeds->items[i]);
        op_desc_set_int(op, "col", (int64_t)i);
        rc = op_build_complete(op, OP_ROLE_FORWARD, err);
        block_insert_op(block, 0, op);
    }
    return rc;
}

static int add_fetches(struct program *program, const struct str_list *names, struct err *err)
{
    struct block *block = program_block(program, 0);
    int rc = 0;
    add_holder(block, "fetch", VAR_FETCH_LIST);
    for (size_t i = 0; i < names->count && !rc; i++) {
        struct op_desc *op = op_desc_new("fetch");
        op_desc_add_input(op, "X", names->items[i]);
        op_desc_add_output(op, "Out", "fetch");
        op_desc_set_int(op, "col", (int64_t)i);
        rc = op_build_complete(op, OP_ROLE_FORWARD, err);
        block_append_op(block, op);
    }
    return rc;
}

static void add_holder(struct block *block, const char *name, enum var_kind kind)
{
    struct var_desc *var = var_desc_new(name);
    var->kind = (int)kind;
    var->has_tensor = false;
    var->has_persistable = var->persistable = true;
    block_add_var(block, var);
}

static void list_columns(const struct program *program, const char *type, struct str_list *out)
{
    const struct block *block = program_block(program, 0);
    bool feeds = str_eq(type, "feed");
    // Columns are few: the operator of each is looked for.
    for (size_t col = 0; col < block->ops_count; col++) {
        const char *name = NULL;
        for (size_t i = 0; i < block->ops_count && !name; i++) {
            const struct op_desc *op = block->ops[i];
            if (str_eq(op->type, type) && op_desc_get_int(op, "col", -1) == (int64_t)col)
                name = feeds ? op_desc_output1(op, "Out") : op_desc_input1(op, "X");
        }
        if (!name)
            return;
        str_list_add(out, name);
    }
}
