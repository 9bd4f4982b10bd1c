// SPDX-License-Identifier: Apache-2.0
// Runs programs. For each program it keeps a plan and a scope of temporaries; both are found again
// by the program's address and revision (which is unique in the process), the least recently used
// one goes when there are ENTRIES_MAX. Persistable variables are looked up in the executor's scope,
// which outlives it.
//
// Fed tensors are borrowed from the caller for the length of a run; what the caller fed last time
// and does not feed now counts as missing. A fed variable that the program itself writes, or that
// is persistable, is copied instead. An executor and its scope belong to one thread.

#include "common/exec/executor.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/exec/plan_op.h"
#include "common/exec/scope.h"
#include "common/program/program.h"

#define ENTRIES_MAX 16

// A variable that was fed at least once.
struct feed_slot {
    char *name;
    struct variable *var;
    const struct var_desc *desc;
    bool copied;
    uint64_t fed_in;   // the run that it was fed in last
};

struct entry {
    const struct program *program;   // only compared, never followed, once it may be gone
    uint64_t revision;
    uint64_t last_used;
    struct plan *plan;
    struct scope *temps;
    struct feed_slot *feeds;
    size_t feeds_count, feeds_cap;
};

struct executor {
    struct scope *scope;
    struct plan_host *hosts;
    size_t hosts_count;
    struct entry *entries[ENTRIES_MAX];
    size_t entries_count;
    uint64_t runs;
};

// What executor_bind needs to know.
struct binding {
    struct executor *exe;
    struct entry *entry;
    const struct block *block;
};

static int find_entry(struct executor *exe, const struct program *program, struct entry **out,
                      struct err *err);
static void free_entry(struct entry *entry);
static int feed_one(struct executor *exe, struct entry *entry, const struct executor_feed *feed,
                    struct err *err);
static void forget_old_feeds(struct entry *entry, uint64_t run);
static int fetch_one(const struct executor *exe, const struct entry *entry,
                     struct executor_fetch *fetch, struct err *err);

struct executor *executor_new(struct scope *scope, const struct plan_host *hosts,
                              size_t hosts_count)
{
    struct executor *exe = MEM_NEW(struct executor);
    exe->scope = scope;
    exe->hosts = mem_must_calloc(hosts_count + 1, sizeof *exe->hosts);
    if (hosts_count > 0)
        memcpy(exe->hosts, hosts, hosts_count * sizeof *hosts);
    exe->hosts_count = hosts_count;
    return exe;
}

void executor_free(struct executor *exe)
{
    if (exe == NULL)
        return;
    for (size_t i = 0; i < exe->entries_count; i++)
        free_entry(exe->entries[i]);
    mem_free(exe->hosts);
    mem_free(exe);
}

struct scope *executor_scope(const struct executor *exe)
{
    return exe->scope;
}

int executor_run(struct executor *exe, const struct program *program,
                 const struct executor_feed *feeds, size_t feeds_count,
                 struct executor_fetch *fetches, size_t fetches_count, struct err *err)
{
    struct entry *entry;
    int rc = find_entry(exe, program, &entry, err);
    if (rc < 0)
        return rc;
    entry->last_used = ++exe->runs;
    for (size_t i = 0; rc == 0 && i < feeds_count; i++)
        rc = feed_one(exe, entry, &feeds[i], err);
    forget_old_feeds(entry, exe->runs);
    if (rc == 0)
        rc = plan_run(entry->plan, err);
    for (size_t i = 0; rc == 0 && i < fetches_count; i++)
        rc = fetch_one(exe, entry, &fetches[i], err);
    return rc;
}

// Persistable variables and those that no block declares but the scope has live in the scope.
static struct variable *executor_bind(void *self, const char *name, bool write, bool written)
{
    struct binding *binding = self;
    const struct var_desc *desc = block_find_var(binding->block, name);
    (void)write;
    (void)written;
    if (desc != NULL && desc->persistable)
        return scope_var(binding->exe->scope, name);
    struct variable *known = desc == NULL ? scope_find(binding->exe->scope, name) : NULL;
    return known != NULL ? known : scope_var(binding->entry->temps, name);
}

static int make_entry(struct executor *exe, const struct program *program, struct entry **out,
                      struct err *err)
{
    int rc = plan_check(program, exe->hosts, exe->hosts_count, NULL, err);
    if (rc < 0)
        return rc;
    struct entry *entry = MEM_NEW(struct entry);
    struct binding binding = {exe, entry, program_block(program, 0)};
    struct plan_binder binder = {executor_bind, &binding};
    entry->program = program;
    entry->revision = program->revision;
    entry->temps = scope_new();
    rc = plan_new(binding.block, 0, 0, &binder, exe->hosts, exe->hosts_count, &entry->plan, err);
    if (rc < 0) {
        free_entry(entry);
        return rc;
    }
    *out = entry;
    return 0;
}

static int find_entry(struct executor *exe, const struct program *program, struct entry **out,
                      struct err *err)
{
    size_t at = exe->entries_count, oldest = 0;
    for (size_t i = 0; i < exe->entries_count; i++) {
        struct entry *entry = exe->entries[i];
        if (entry->program == program && entry->revision == program->revision) {
            *out = entry;
            return 0;
        }
        if (entry->program == program)
            at = i;
        if (entry->last_used < exe->entries[oldest]->last_used)
            oldest = i;
    }
    int rc = make_entry(exe, program, out, err);
    if (rc < 0)
        return rc;
    if (at == ENTRIES_MAX)
        at = oldest;
    if (at < exe->entries_count)
        free_entry(exe->entries[at]);
    else
        exe->entries_count++;
    exe->entries[at] = *out;
    return 0;
}

static void free_entry(struct entry *entry)
{
    plan_free(entry->plan);
    scope_free(entry->temps);
    for (size_t i = 0; i < entry->feeds_count; i++)
        mem_free(entry->feeds[i].name);
    mem_free(entry->feeds);
    mem_free(entry);
}

// "img, label": what the program wants to be fed.
static int unknown_feed(const struct entry *entry, const char *name, struct err *err)
{
    struct str_list wanted = {0};
    for (size_t i = 0; i < entry->plan->inputs_count; i++) {
        const struct var_desc *desc =
            block_find_var(entry->plan->block, entry->plan->inputs[i].name);
        if (desc != NULL && !desc->persistable)
            str_list_add(&wanted, desc->name);
    }
    char *list = str_list_join(&wanted, ", ");
    err_set(err, SL_ENOENT, "feed %s: block 0 has no such variable (the program reads: %s)", name,
            wanted.count > 0 ? list : "nothing that is fed");
    mem_free(list);
    str_list_deinit(&wanted);
    return SL_ENOENT;
}

static int find_feed(struct executor *exe, struct entry *entry, const char *name,
                     struct feed_slot **out, struct err *err)
{
    const struct block *block = entry->plan->block;
    for (size_t i = 0; i < entry->feeds_count; i++) {
        if (str_eq(entry->feeds[i].name, name)) {
            *out = &entry->feeds[i];
            return 0;
        }
    }
    const struct var_desc *desc = block_find_var(block, name);
    if (desc == NULL)
        return unknown_feed(entry, name, err);
    MEM_GROW(entry->feeds, entry->feeds_count, entry->feeds_cap);
    struct feed_slot *slot = &entry->feeds[entry->feeds_count++];
    *slot = (struct feed_slot){
        .name = mem_must_strdup(name), .desc = desc, .copied = desc->persistable};
    slot->var = desc->persistable ? scope_var(exe->scope, name) : scope_var(entry->temps, name);
    for (size_t i = 0; i < block->ops_count && !slot->copied; i++)
        slot->copied = op_desc_writes(block->ops[i], name) && !str_eq(block->ops[i]->type, "feed");
    *out = slot;
    return 0;
}

// The first op that reads a fed variable, as " (read first by op 3 `mul`)", for errors.
static const char *first_reader(const struct block *block, const char *name, char *text,
                                size_t bytes)
{
    text[0] = '\0';
    for (size_t i = 0; i < block->ops_count; i++) {
        if (op_desc_reads(block->ops[i], name)) {
            snprintf(text, bytes, " (read first by op %zu `%s`)", i, block->ops[i]->type);
            break;
        }
    }
    return text;
}

int executor_check_feed(const struct block *block, const struct var_desc *desc, bool written,
                        const struct variable *value, struct err *err)
{
    char got[DIMS_TEXT_MAX], want[DIMS_TEXT_MAX], reader[160];
    if (!plan_shape_is_set(value))
        return err_set(err, SL_EINVAL, "feed %s: the value is empty", desc->name);
    if (value->kind != VARIABLE_TENSOR || !desc->has_tensor || desc->kind != VAR_LOD_TENSOR)
        return 0;
    // A temporary that an op writes has the shape declared that the op gives it.
    const struct tensor *t = &value->tensor;
    bool any_shape = written && !desc->persistable;
    bool fits = desc->dtype == (int)t->dtype && (any_shape || desc->dims.rank == t->dims.rank);
    for (int i = 0; fits && !any_shape && i < desc->dims.rank; i++)
        fits = op_dims_fit(desc->dims.d[i], t->dims.d[i]);
    if (!fits)
        return err_set(err, SL_EMISMATCH, "feed %s: %s %s is given, block 0 declares %s %s%s",
                       desc->name, dtype_name((int)t->dtype), dims_format(&t->dims, got),
                       dtype_name(desc->dtype), dims_format(&desc->dims, want),
                       first_reader(block, desc->name, reader, sizeof reader));
    if (!tensor_lod_is_valid(t))
        return err_set(err, SL_EINVAL, "feed %s: its LoD does not fit its %s", desc->name,
                       dims_format(&t->dims, got));
    return 0;
}

static int feed_one(struct executor *exe, struct entry *entry, const struct executor_feed *feed,
                    struct err *err)
{
    struct feed_slot *slot;
    int rc = find_feed(exe, entry, feed->name, &slot, err);
    if (rc < 0)
        return rc;
    rc = executor_check_feed(entry->plan->block, slot->desc, slot->copied, feed->value, err);
    if (rc < 0)
        return rc;
    slot->fed_in = exe->runs;
    if (slot->copied || feed->value->kind != VARIABLE_TENSOR) {
        rc = variable_copy(slot->var, feed->value);
        return rc < 0 ? err_set(err, rc, "feed %s: %s", feed->name, err_name(rc)) : 0;
    }
    const struct tensor *value = &feed->value->tensor;
    struct tensor *t = variable_tensor(slot->var);
    tensor_borrow(t, value->dtype, &value->dims, value->data, tensor_bytes(value));
    rc = tensor_set_lod(t, value->lod_levels, value->lod);
    return rc < 0 ? err_set(err, rc, "feed %s: LoD: %s", feed->name, err_name(rc)) : 0;
}

// A temporary that was fed in an earlier run and is not fed now has no value.
static void forget_old_feeds(struct entry *entry, uint64_t run)
{
    for (size_t i = 0; i < entry->feeds_count; i++) {
        struct feed_slot *slot = &entry->feeds[i];
        if (slot->fed_in != run && !slot->desc->persistable)
            variable_deinit(slot->var);
    }
}

static int fetch_one(const struct executor *exe, const struct entry *entry,
                     struct executor_fetch *fetch, struct err *err)
{
    const struct variable *var = scope_find(entry->temps, fetch->name);
    if (var == NULL)
        var = scope_find(exe->scope, fetch->name);
    if (var == NULL)
        return err_set(err, SL_ENOENT, "fetch %s: the program has no such variable", fetch->name);
    if (!plan_shape_is_set(var))
        return err_set(err, SL_EUSAGE, "fetch %s: no op gave it a value", fetch->name);
    fetch->value = var;
    return 0;
}
