// SPDX-License-Identifier: Apache-2.0
// Runs a program on several workers, stage by stage (parallel_split.c tells which). A program gets
// an entry like the executor's: a copy of it in which the loss's gradient is 1 / workers, plans for
// every stage and worker, a scope of temporaries a worker.
//
// Where a name lives: what exists once, in the executor's scope (persistable) or in the temporaries
// of worker 0; what is the workers' own, in their temporaries, and when it is persistable (the
// statistics of batch_norm, the counts of auc) for worker 0 in the executor's scope and for the
// others in scopes of this entry, copied from there when the entry is made. So what is saved is
// worker 0's, as in Fluid.
//
// Threads: a team, whose member 0 is the caller. A stage gives each worker one job and waits for
// all, so between stages only the caller touches anything; within a stage nobody writes what
// another touches. Nothing is allocated once shapes stay.

#include "common/exec/parallel_executor.h"

#include <string.h>

#include "common/base/assert.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/base/team.h"
#include "common/exec/parallel_cut.h"
#include "common/exec/parallel_split.h"
#include "common/exec/parallel_sum.h"
#include "common/exec/plan_op.h"
#include "common/exec/scope.h"
#include "common/program/program.h"

#define ENTRIES_MAX 16
#define WORTH_A_THREAD 32768   // elements: waking a thread costs about as much as writing these
#define LOSS_GRADIENT_ROLE (OP_ROLE_BACKWARD | OP_ROLE_LOSS)

struct feed_slot {
    char *name;
    const struct var_desc *desc;
    bool copied;
    uint64_t fed_in;   // the run that it was fed in last
};

// A fetched variable, joined.
struct fetch_slot {
    char *name;
    struct variable value;
};

// What a worker's job needs, and what came of it.
struct worker {
    struct entry *entry;
    const struct parallel_stage *stage;   // of the job; its plan is plans[stage index]
    int index;
    struct scope *temps;
    struct scope *own;     // persistable variables that are this worker's; NULL for worker 0
    struct plan **plans;   // by stage; NULL: nothing to do
    int rc;
    struct err err;
};

struct entry {
    struct parallel_executor *exe;
    const struct program *key;   // only compared
    uint64_t revision;
    uint64_t last_used;
    struct program *program;
    struct parallel_split split;
    struct worker *workers;
    struct variable **grads;   // of each sum, one a worker
    struct variable *spares;   // of each sum
    struct feed_slot *feeds;
    size_t feeds_count, feeds_cap;
    struct fetch_slot **fetches;
    size_t fetches_count, fetches_cap;
};

struct parallel_executor {
    struct scope *scope;
    struct plan_host *hosts;
    size_t hosts_count;
    int workers;
    struct team *team;
    struct entry *entries[ENTRIES_MAX];
    size_t entries_count;
    uint64_t runs;
};

static int find_entry(struct parallel_executor *exe, const struct program *program,
                      struct entry **out, struct err *err);
static void free_entry(struct entry *entry);
static int feed_one(struct entry *entry, const struct executor_feed *feed, struct err *err);
static void forget_old_feeds(struct entry *entry);
static int copy_own(struct entry *entry, struct err *err);
static int run_stage(struct entry *entry, const struct parallel_stage *stage, struct err *err);
static int fetch_one(struct entry *entry, struct executor_fetch *fetch, struct err *err);

struct parallel_executor *parallel_executor_new(struct scope *scope, const struct plan_host *hosts,
                                                size_t hosts_count, int workers)
{
    ASSERT(workers >= 1 && workers <= PARALLEL_EXECUTOR_WORKERS_MAX);
    struct parallel_executor *exe = MEM_NEW(struct parallel_executor);
    exe->scope = scope;
    exe->hosts = mem_must_calloc(hosts_count + 1, sizeof *exe->hosts);
    if (hosts_count > 0)
        memcpy(exe->hosts, hosts, hosts_count * sizeof *hosts);
    exe->hosts_count = hosts_count;
    exe->workers = workers;
    exe->team = team_new(workers);
    return exe;
}

void parallel_executor_free(struct parallel_executor *exe)
{
    if (exe == NULL)
        return;
    for (size_t i = 0; i < exe->entries_count; i++)
        free_entry(exe->entries[i]);
    team_free(exe->team);
    mem_free(exe->hosts);
    mem_free(exe);
}

int parallel_executor_run(struct parallel_executor *exe, const struct program *program,
                          const struct executor_feed *feeds, size_t feeds_count,
                          struct executor_fetch *fetches, size_t fetches_count, struct err *err)
{
    struct entry *entry;
    int rc = find_entry(exe, program, &entry, err);
    if (rc < 0)
        return rc;
    entry->last_used = ++exe->runs;
    for (size_t i = 0; rc == 0 && i < feeds_count; i++)
        rc = feed_one(entry, &feeds[i], err);
    forget_old_feeds(entry);
    if (rc == 0)
        rc = copy_own(entry, err);
    for (size_t s = 0; rc == 0 && s < entry->split.stages_count; s++)
        rc = run_stage(entry, &entry->split.stages[s], err);
    for (size_t i = 0; rc == 0 && i < fetches_count; i++)
        rc = fetch_one(entry, &fetches[i], err);
    return rc;
}

const struct variable *parallel_executor_find(const struct parallel_executor *exe,
                                              const struct program *program, const char *name,
                                              int worker)
{
    const struct variable *own = NULL;
    for (size_t i = 0; i < exe->entries_count; i++) {
        const struct entry *entry = exe->entries[i];
        if (entry->key == program && worker < exe->workers && entry->workers[worker].own != NULL)
            own = scope_find(entry->workers[worker].own, name);
    }
    return own != NULL ? own : scope_find(exe->scope, name);
}

// ---- entries

// Where a name lives for a worker. What no block declares is the scope's when it is there.
static struct variable *find_var(const struct worker *worker, const char *name)
{
    const struct entry *entry = worker->entry;
    const struct var_desc *desc = block_find_var(program_block(entry->program, 0), name);
    bool own = parallel_split_is_own(&entry->split, name);
    if (desc != NULL && desc->persistable)
        return scope_var(own && worker->own != NULL ? worker->own : entry->exe->scope, name);
    struct variable *known = desc == NULL ? scope_find(entry->exe->scope, name) : NULL;
    return known != NULL && !own ? known
                                 : scope_var(own ? worker->temps : entry->workers[0].temps, name);
}

static struct variable *parallel_bind(void *self, const char *name, bool write, bool written)
{
    (void)write;
    (void)written;
    return find_var(self, name);
}

// Fluid puts 1 / workers in place of the 1 that the loss's gradient begins with.
static void scale_loss(struct program *program, int workers)
{
    struct block *block = program_block(program, 0);
    for (size_t i = 0; i < block->ops_count; i++) {
        struct op_desc *op = block->ops[i];
        if (op_desc_role(op) != LOSS_GRADIENT_ROLE || !str_eq(op->type, "fill_constant"))
            continue;
        op_desc_set_float(op, "value", 1.0f / (float)workers);
        op_desc_remove_attr(op, "str_value");
    }
}

// The plan of one worker (part) in one stage; none when it has nothing to do there.
static int make_plan(struct entry *entry, size_t s, int w, struct err *err)
{
    const struct parallel_stage *stage = &entry->split.stages[s];
    struct parallel_executor *exe = entry->exe;
    bool once = stage->kind == PARALLEL_ONCE;
    size_t *ops = mem_must_calloc(stage->count + 1, sizeof *ops), count = 0;
    for (size_t i = 0; i < stage->count; i++)
        if (!once || stage->parts[i] == w)
            ops[count++] = stage->items[i];
    // Parts of what runs once see the variables as worker 0 does.
    struct plan_binder binder = {parallel_bind, &entry->workers[once ? 0 : w]};
    int rc = count == 0 || stage->kind == PARALLEL_SUM
                 ? 0
                 : plan_new_of(program_block(entry->program, 0), ops, count, &binder, exe->hosts,
                               exe->hosts_count, &entry->workers[w].plans[s], err);
    mem_free(ops);
    return rc;
}

static int make_plans(struct entry *entry, struct err *err)
{
    int rc = 0, workers = entry->exe->workers;
    for (int w = 0; w < workers; w++)
        entry->workers[w].plans = mem_must_calloc(entry->split.stages_count + 1, sizeof(void *));
    for (size_t s = 0; rc == 0 && s < entry->split.stages_count; s++)
        for (int w = 0; rc == 0 && w < workers; w++)
            rc = make_plan(entry, s, w, err);
    if (rc < 0)
        return rc;
    size_t sums = entry->split.sums_count;
    entry->grads = mem_must_calloc(sums * (size_t)workers + 1, sizeof(struct variable *));
    entry->spares = mem_must_calloc(sums + 1, sizeof *entry->spares);
    for (size_t i = 0; i < sums; i++) {
        variable_init(&entry->spares[i]);
        for (int w = 0; w < workers; w++)
            entry->grads[i * (size_t)workers + (size_t)w] =
                find_var(&entry->workers[w], entry->split.sums[i].name);
    }
    return 0;
}

static int make_entry(struct parallel_executor *exe, const struct program *program,
                      struct entry **out, struct err *err)
{
    int rc = plan_check(program, exe->hosts, exe->hosts_count, NULL, err);
    if (rc < 0)
        return rc;
    struct entry *entry = MEM_NEW(struct entry);
    entry->exe = exe;
    entry->key = program;
    entry->revision = program->revision;
    entry->program = program_clone(program);
    scale_loss(entry->program, exe->workers);
    entry->workers = mem_must_calloc((size_t)exe->workers, sizeof *entry->workers);
    for (int w = 0; w < exe->workers; w++)
        entry->workers[w] = (struct worker){
            .entry = entry, .index = w, .temps = scope_new(), .own = w > 0 ? scope_new() : NULL};
    rc = parallel_split_init(entry->program, exe->hosts, exe->hosts_count, exe->workers,
                             &entry->split, err);
    if (rc == 0)
        rc = make_plans(entry, err);
    if (rc < 0) {
        free_entry(entry);
        return rc;
    }
    *out = entry;
    return 0;
}

static int find_entry(struct parallel_executor *exe, const struct program *program,
                      struct entry **out, struct err *err)
{
    size_t at = exe->entries_count, oldest = 0;
    for (size_t i = 0; i < exe->entries_count; i++) {
        struct entry *entry = exe->entries[i];
        if (entry->key == program && entry->revision == program->revision) {
            *out = entry;
            return 0;
        }
        if (entry->key == program)
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
    for (int w = 0; w < entry->exe->workers; w++) {
        struct worker *worker = &entry->workers[w];
        for (size_t s = 0; worker->plans != NULL && s < entry->split.stages_count; s++)
            plan_free(worker->plans[s]);
        mem_free(worker->plans);
        scope_free(worker->temps);
        scope_free(worker->own);
    }
    for (size_t i = 0; entry->spares != NULL && i < entry->split.sums_count; i++)
        variable_deinit(&entry->spares[i]);
    for (size_t i = 0; i < entry->feeds_count; i++)
        mem_free(entry->feeds[i].name);
    for (size_t i = 0; i < entry->fetches_count; i++) {
        mem_free(entry->fetches[i]->name);
        variable_deinit(&entry->fetches[i]->value);
        mem_free(entry->fetches[i]);
    }
    mem_free(entry->spares);
    mem_free(entry->grads);
    mem_free(entry->feeds);
    mem_free(entry->fetches);
    mem_free(entry->workers);
    parallel_split_deinit(&entry->split);
    program_free(entry->program);
    mem_free(entry);
}

// ---- feeding

static int find_feed(struct entry *entry, const char *name, struct feed_slot **out, struct err *err)
{
    const struct block *block = program_block(entry->program, 0);
    for (size_t i = 0; i < entry->feeds_count; i++) {
        if (str_eq(entry->feeds[i].name, name)) {
            *out = &entry->feeds[i];
            return 0;
        }
    }
    const struct var_desc *desc = block_find_var(block, name);
    if (desc == NULL)
        return err_set(err, SL_ENOENT, "feed %s: block 0 has no such variable", name);
    MEM_GROW(entry->feeds, entry->feeds_count, entry->feeds_cap);
    struct feed_slot *slot = &entry->feeds[entry->feeds_count++];
    *slot = (struct feed_slot){
        .name = mem_must_strdup(name), .desc = desc, .copied = desc->persistable};
    for (size_t i = 0; i < block->ops_count && !slot->copied; i++)
        slot->copied = op_desc_writes(block->ops[i], name) && !str_eq(block->ops[i]->type, "feed");
    *out = slot;
    return 0;
}

static int feed_part(struct entry *entry, const struct feed_slot *slot, const struct tensor *value,
                     int w, struct err *err)
{
    struct variable *var = scope_var(entry->workers[w].temps, slot->name);
    struct tensor part;
    int64_t first, count;
    parallel_cut_range(parallel_cut_samples(value), entry->exe->workers, w, &first, &count);
    if (!slot->copied) {
        int rc = parallel_cut_view(value, first, count, variable_tensor(var));
        return rc < 0 ? err_set(err, rc, "feed %s: %s", slot->name, err_name(rc)) : 0;
    }
    tensor_init(&part);
    int rc = parallel_cut_view(value, first, count, &part);
    if (rc == 0)
        rc = tensor_copy(variable_tensor(var), &part);
    tensor_deinit(&part);
    return rc < 0 ? err_set(err, rc, "feed %s: %s", slot->name, err_name(rc)) : 0;
}

// A persistable variable is what it is for everybody.
static int feed_all(struct entry *entry, const char *name, const struct variable *value,
                    struct err *err)
{
    int rc = 0;
    for (int w = 0; rc == 0 && w < entry->exe->workers; w++)
        rc = variable_copy(find_var(&entry->workers[w], name), value);
    return rc < 0 ? err_set(err, rc, "feed %s: %s", name, err_name(rc)) : 0;
}

static int feed_one(struct entry *entry, const struct executor_feed *feed, struct err *err)
{
    struct feed_slot *slot = NULL;
    int rc = find_feed(entry, feed->name, &slot, err), workers = entry->exe->workers;
    if (rc == 0)
        rc = executor_check_feed(program_block(entry->program, 0), slot->desc, slot->copied,
                                 feed->value, err);
    if (rc < 0)
        return rc;
    slot->fed_in = entry->exe->runs;
    if (slot->desc->persistable)
        return feed_all(entry, slot->name, feed->value, err);
    if (feed->value->kind != VARIABLE_TENSOR)
        return err_set(err, SL_EUNSUPPORTED,
                       "feed %s: selected rows cannot be divided among %d workers (CPU_NUM)",
                       slot->name, workers);
    const struct tensor *value = &feed->value->tensor;
    int64_t samples = parallel_cut_samples(value);
    if (samples < workers)
        return err_set(err, SL_EINVAL,
                       "feed %s: %lld sample%s cannot be divided among %d workers: feed at least "
                       "as many samples as CPU_NUM (--cpu_num) says, or lower it",
                       slot->name, (long long)samples, samples == 1 ? "" : "s", workers);
    if (!tensor_lod_is_valid(value))
        return err_set(err, SL_EINVAL, "feed %s: its LoD does not fit its rows", slot->name);
    for (int w = 0; rc == 0 && w < workers; w++)
        rc = feed_part(entry, slot, value, w, err);
    return rc;
}

// A temporary that was fed in an earlier run and is not fed now has no value.
static void forget_old_feeds(struct entry *entry)
{
    for (size_t i = 0; i < entry->feeds_count; i++) {
        const struct feed_slot *slot = &entry->feeds[i];
        for (int w = 0; w < entry->exe->workers; w++)
            if (slot->fed_in != entry->exe->runs && !slot->desc->persistable)
                variable_deinit(scope_var(entry->workers[w].temps, slot->name));
    }
}

// The workers' own persistable variables begin as worker 0's.
static int copy_own(struct entry *entry, struct err *err)
{
    const struct block *block = program_block(entry->program, 0);
    const struct map *own = &entry->split.own;
    for (const struct map_entry *e = map_first(own); e != NULL; e = map_next(e)) {
        const struct var_desc *desc = block_find_var(block, map_key(e));
        const struct variable *from = scope_find(entry->exe->scope, map_key(e));
        if (desc == NULL || !desc->persistable || from == NULL || !plan_shape_is_set(from))
            continue;
        for (int w = 1; w < entry->exe->workers; w++) {
            struct variable *to = scope_var(entry->workers[w].own, map_key(e));
            int rc = plan_shape_is_set(to) ? 0 : variable_copy(to, from);
            if (rc < 0)
                return err_set(err, rc, "variable %s of worker %d: %s", map_key(e), w,
                               err_name(rc));
        }
    }
    return 0;
}

// ---- running

static int sum_all(struct worker *worker)
{
    struct entry *entry = worker->entry;
    int workers = entry->exe->workers, rc = 0;
    for (size_t i = 0; rc == 0 && i < worker->stage->count; i++) {
        size_t n = worker->stage->items[i];
        const struct parallel_sum *sum = &entry->split.sums[n];
        rc = parallel_sum_part(entry->grads + n * (size_t)workers, workers, worker->index, workers,
                               (int)(n % (size_t)workers), sum->spread, &entry->spares[n],
                               &worker->err);
        if (rc < 0)
            err_prefix(&worker->err, "sum of gradient %s", sum->name);
    }
    return rc;
}

static void run_job(void *arg, int member)
{
    struct entry *entry = arg;
    struct worker *worker = &entry->workers[member];
    worker->rc = 0;
    worker->err = (struct err){0};
    if (worker->stage->kind == PARALLEL_SUM) {
        worker->rc = sum_all(worker);
        return;
    }
    struct plan *plan = worker->plans[worker->stage - entry->split.stages];
    if (plan != NULL)
        worker->rc = plan_run(plan, &worker->err);
}

// Runs a stage's jobs; those of a small stage on the caller's thread. Of several errors the lowest
// worker's counts.
static int run_jobs(struct entry *entry, const struct parallel_stage *stage, struct err *err)
{
    bool workers_differ = stage->kind != PARALLEL_ONCE;
    for (int w = 0; w < entry->exe->workers; w++)
        entry->workers[w].stage = stage;
    if (stage->kind == PARALLEL_WORKERS || stage->elements >= WORTH_A_THREAD)
        team_run(entry->exe->team, run_job, entry);
    else
        for (int w = 0; w < entry->exe->workers; w++)
            run_job(entry, w);
    for (int w = 0; w < entry->exe->workers; w++) {
        struct worker *worker = &entry->workers[w];
        if (worker->rc >= 0)
            continue;
        err_set(err, worker->rc, "%s", worker->err.text);
        if (workers_differ)
            err_prefix(err, "worker %d of %d", w, entry->exe->workers);
        return worker->rc;
    }
    return 0;
}

static int check_sums(const struct entry *entry, const struct parallel_stage *stage,
                      struct err *err)
{
    for (size_t i = 0; i < stage->count; i++) {
        size_t n = stage->items[i];
        int rc = parallel_sum_check(entry->grads + n * (size_t)entry->exe->workers,
                                    entry->exe->workers, err);
        if (rc < 0)
            return err_prefix(err, "sum of gradient %s", entry->split.sums[n].name);
    }
    return 0;
}

static int run_stage(struct entry *entry, const struct parallel_stage *stage, struct err *err)
{
    size_t s = (size_t)(stage - entry->split.stages);
    int rc = stage->kind == PARALLEL_SUM ? check_sums(entry, stage, err) : 0;
    if (stage->kind == PARALLEL_TURNS) {
        for (int w = 0; rc == 0 && w < entry->exe->workers; w++)
            if ((rc = plan_run(entry->workers[w].plans[s], err)) < 0)
                err_prefix(err, "worker %d of %d", w, entry->exe->workers);
        return rc;
    }
    return rc < 0 ? rc : run_jobs(entry, stage, err);
}

// ---- fetching

static struct fetch_slot *fetch_slot(struct entry *entry, const char *name)
{
    for (size_t i = 0; i < entry->fetches_count; i++)
        if (str_eq(entry->fetches[i]->name, name))
            return entry->fetches[i];
    struct fetch_slot *slot = MEM_NEW(struct fetch_slot);
    slot->name = mem_must_strdup(name);
    variable_init(&slot->value);
    MEM_GROW(entry->fetches, entry->fetches_count, entry->fetches_cap);
    entry->fetches[entry->fetches_count++] = slot;
    return slot;
}

static bool is_summed(const struct entry *entry, const char *name)
{
    for (size_t i = 0; i < entry->split.sums_count; i++)
        if (str_eq(entry->split.sums[i].name, name))
            return true;
    return false;
}

// The variable of worker w, or NULL. A sum is worker 0's.
static const struct variable *fetched_of(const struct entry *entry, const char *name, int w)
{
    const struct worker *worker = &entry->workers[w];
    bool own = parallel_split_is_own(&entry->split, name) && !is_summed(entry, name);
    const struct variable *var = scope_find(own ? worker->temps : entry->workers[0].temps, name);
    if (var == NULL && own && worker->own != NULL)
        var = scope_find(worker->own, name);
    return var != NULL ? var : scope_find(entry->exe->scope, name);
}

static int fetch_one(struct entry *entry, struct executor_fetch *fetch, struct err *err)
{
    const struct variable *parts[PARALLEL_EXECUTOR_WORKERS_MAX];
    int workers = entry->exe->workers;
    for (int w = 0; w < workers; w++) {
        parts[w] = fetched_of(entry, fetch->name, w);
        if (parts[w] == NULL)
            return err_set(err, SL_ENOENT, "fetch %s: the program has no such variable",
                           fetch->name);
        if (!plan_shape_is_set(parts[w]))
            return err_set(err, SL_EUSAGE, "fetch %s: no op gave it a value", fetch->name);
    }
    bool once = workers == 1 || parts[0] == parts[1];
    if (once && (workers == 1 || parts[0]->kind == VARIABLE_SELECTED_ROWS)) {
        fetch->value = parts[0];
        return 0;
    }
    struct fetch_slot *slot = fetch_slot(entry, fetch->name);
    int rc = parallel_cut_join(parts, workers, &slot->value, err);
    if (rc < 0)
        return err_prefix(err, "fetch %s", fetch->name);
    fetch->value = &slot->value;
    return 0;
}
