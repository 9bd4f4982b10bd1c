// SPDX-License-Identifier: Apache-2.0
// Divides a program in two passes over its block 0.
//
// The first tells what is the worker's own. Ops of forward and backward belong to every worker;
// ops that optimize, schedule, send or receive run once, unless they read what differs between
// workers (a value that was fed and what was made of it) or write a variable that is the worker's
// own anyway. A gradient is the same everywhere from the op on whose op_role_var names it, because
// it is summed there. Which variables are the workers' own grows until nothing changes.
//
// The second puts ops and sums into stages. A stage has one kind; a node goes to the first stage of
// its kind that is not before what it depends on (a value that it reads or overwrites, a variable
// that others still read). Order within a stage is the program's.
//
// Ops that run once are divided further into parts that have nothing to do with each other and may
// run at once. An op that needs several parts (the sum of all norms of a clip) begins a part in a
// stage of its own, and what each parameter goes on to do with that number stands in parts again.
//
// Nothing is run here. Invariant: two ops of different parts of a stage never touch a variable that
// one of them writes.

#include "common/exec/parallel_split.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/exec/plan_op.h"
#include "common/program/program.h"

#define ROLES_ONCE (OP_ROLE_OPTIMIZE | OP_ROLE_RPC | OP_ROLE_DIST | OP_ROLE_LR_SCHED)
#define HOST_ORDER "\nhost"   // ops of hosts are in program order as if all wrote this variable

struct names {
    const char **items;   // borrowed of the program
    size_t count, cap;
};

struct use {
    struct names reads, writes;   // sub-blocks included
    enum parallel_kind kind;
    bool host;
    size_t level;
    size_t parent;   // union-find over ops that run once, by part
    bool joins;      // of a root: the part needed several others
    double cost;     // of a root after stages are known: elements written
};

// How far stages have gone with a variable, as level + 1; 0: nobody.
struct reach {
    size_t written, read;
    size_t writer, reader;   // ops, when these ran once
    bool many_readers;       // of different parts at level read
};

struct analysis {
    const struct block *block;
    struct parallel_split *split;
    struct use *ops;
    int parts;
    struct map varies;   // differs between workers at this place of the walk
    struct map summed;   // gradients summed before this place
    struct map spread;   // summed names that a worker touches afterwards
    struct map reaches;
    bool grew;
};

static int refuse_inner_optimizers(const struct program *program, struct err *err);
static void collect_uses(struct analysis *a, const struct plan_host *hosts, size_t hosts_count);
static void walk(struct analysis *a);
static void place_all(struct analysis *a);
static void make_stages(struct analysis *a);

int parallel_split_init(const struct program *program, const struct plan_host *hosts,
                        size_t hosts_count, int parts, struct parallel_split *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    out->program = program;
    map_init(&out->own);
    int rc = refuse_inner_optimizers(program, err);
    if (rc < 0)
        return rc;
    struct analysis a = {.block = program_block(program, 0), .split = out, .parts = parts};
    a.ops = mem_must_calloc(a.block->ops_count + 1, sizeof *a.ops);
    map_init(&a.varies);
    map_init(&a.summed);
    map_init(&a.spread);
    map_init(&a.reaches);
    collect_uses(&a, hosts, hosts_count);
    do
        walk(&a);
    while (a.grew);
    place_all(&a);
    make_stages(&a);
    for (size_t i = 0; i < a.block->ops_count; i++) {
        mem_free(a.ops[i].reads.items);
        mem_free(a.ops[i].writes.items);
    }
    for (const struct map_entry *e = map_first(&a.reaches); e != NULL; e = map_next(e))
        mem_free(map_value(e));
    map_deinit(&a.varies);
    map_deinit(&a.summed);
    map_deinit(&a.spread);
    map_deinit(&a.reaches);
    mem_free(a.ops);
    return 0;
}

void parallel_split_deinit(struct parallel_split *split)
{
    for (size_t i = 0; i < split->stages_count; i++) {
        mem_free(split->stages[i].items);
        mem_free(split->stages[i].parts);
    }
    mem_free(split->stages);
    mem_free(split->sums);
    map_deinit(&split->own);
    memset(split, 0, sizeof *split);
}

bool parallel_split_is_own(const struct parallel_split *split, const char *name)
{
    return map_get(&split->own, name) != NULL;
}

// An optimizer in a sub-block would see one worker's gradient only; Fluid refuses it, too.
static int refuse_inner_optimizers(const struct program *program, struct err *err)
{
    for (size_t b = 1; b < program->blocks_count; b++) {
        const struct block *block = program->blocks[b];
        for (size_t i = 0; i < block->ops_count; i++)
            if ((op_desc_role(block->ops[i]) & OP_ROLE_OPTIMIZE) &&
                op_desc_input1(block->ops[i], "Param") != NULL)
                return err_set(err, SL_EUNSUPPORTED,
                               "block %d op %zu `%s`: an optimizer within control flow cannot run "
                               "on several workers (CPU_NUM): use 1",
                               block->idx, i, block->ops[i]->type);
    }
    return 0;
}

static void add_name(struct names *names, const char *name)
{
    if (name[0] == '\0' || str_eq(name, "@EMPTY@"))
        return;
    MEM_GROW(names->items, names->count, names->cap);
    names->items[names->count++] = name;
}

static void collect(const struct program *program, const struct op_desc *op, struct use *use)
{
    for (size_t s = 0; s < op->inputs_count; s++)
        for (size_t k = 0; k < op->inputs[s].args.count; k++)
            add_name(&use->reads, op->inputs[s].args.items[k]);
    for (size_t s = 0; s < op->outputs_count; s++)
        for (size_t k = 0; k < op->outputs[s].args.count; k++)
            add_name(&use->writes, op->outputs[s].args.items[k]);
    for (size_t n = 0; n < op->attrs_count; n++) {
        for (size_t k = 0; k < attr_blocks_count(&op->attrs[n]); k++) {
            const struct block *sub = program_block(program, (size_t)attr_block(&op->attrs[n], k));
            for (size_t i = 0; i < sub->ops_count; i++)
                collect(program, sub->ops[i], use);
        }
    }
}

static void collect_uses(struct analysis *a, const struct plan_host *hosts, size_t hosts_count)
{
    for (size_t i = 0; i < a->block->ops_count; i++) {
        const struct plan_host *host;
        plan_build_find(a->block->ops[i]->type, hosts, hosts_count, &host);
        a->ops[i].host = host != NULL;
        a->ops[i].parent = i;
        collect(a->block->program, a->block->ops[i], &a->ops[i]);
    }
}

static void clear(struct map *map)
{
    map_deinit(map);
    map_init(map);
}

static bool has_any(const struct map *map, const struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        if (map_get(map, names->items[i]) != NULL)
            return true;
    return false;
}

// What varies before the first op: what is fed, and persistable variables that are the workers'
// own.
static void start_varying(struct analysis *a)
{
    struct map written;
    map_init(&written);
    clear(&a->varies);
    for (size_t i = 0; i < a->block->ops_count; i++) {
        const struct use *use = &a->ops[i];
        for (size_t k = 0; k < use->reads.count; k++) {
            const char *name = use->reads.items[k];
            const struct var_desc *desc = block_var(a->block, name);
            if (desc != NULL && desc->persistable ? parallel_split_is_own(a->split, name)
                                                  : desc != NULL && !map_get(&written, name))
                map_set(&a->varies, name, a);
        }
        for (size_t k = 0; k < use->writes.count; k++)
            map_set(&written, use->writes.items[k], a);
    }
    map_deinit(&written);
}

static bool writes_own(const struct analysis *a, const struct use *use)
{
    for (size_t k = 0; k < use->writes.count; k++) {
        const char *name = use->writes.items[k];
        if (parallel_split_is_own(a->split, name) &&
            (map_get(&a->summed, name) == NULL || map_get(&a->spread, name) != NULL))
            return true;
    }
    return false;
}

static enum parallel_kind kind_of(const struct analysis *a, size_t i)
{
    const struct op_desc *op = a->block->ops[i];
    const struct use *use = &a->ops[i];
    if (use->host)   // a lookup in a table that servers hold answers each worker's ids
        return op_desc_input1(op, "Ids") != NULL && has_any(&a->varies, &use->reads)
                   ? PARALLEL_TURNS
                   : PARALLEL_ONCE;
    if (!(op_desc_role(op) & ROLES_ONCE))
        return PARALLEL_WORKERS;
    return has_any(&a->varies, &use->reads) || writes_own(a, use) ? PARALLEL_WORKERS
                                                                  : PARALLEL_ONCE;
}

static void spread_touched(struct analysis *a, const struct names *names)
{
    for (size_t k = 0; k < names->count; k++) {
        if (map_get(&a->summed, names->items[k]) == NULL ||
            map_get(&a->spread, names->items[k]) != NULL)
            continue;
        map_set(&a->spread, names->items[k], a);
        a->grew = true;
    }
}

static void add_sum(struct analysis *a, const char *name, size_t op)
{
    struct parallel_split *split = a->split;
    MEM_GROW(split->sums, split->sums_count, split->sums_cap);
    split->sums[split->sums_count++] = (struct parallel_sum){.name = name, .op = op};
    map_set(&a->summed, name, a);
    map_remove(&a->varies, name);
}

// op_role_var: parameter, gradient, parameter, gradient, ...
static void sum_gradients(struct analysis *a, size_t i)
{
    const struct op_desc *op = a->block->ops[i];
    const struct attr *pairs = op_desc_attr(op, OP_ROLE_VAR_ATTR);
    if (!(op_desc_role(op) & OP_ROLE_BACKWARD) || pairs == NULL || pairs->type != ATTR_STRINGS)
        return;
    for (size_t k = 1; k < pairs->count; k += 2) {
        const struct names *writes = &a->ops[i].writes;
        for (size_t n = 0; n < writes->count; n++) {
            if (!str_eq(writes->items[n], pairs->strings[k]) ||
                map_get(&a->summed, writes->items[n]) != NULL)
                continue;
            add_sum(a, writes->items[n], i);
        }
    }
}

static void walk(struct analysis *a)
{
    a->grew = false;
    a->split->sums_count = 0;
    clear(&a->summed);
    start_varying(a);
    for (size_t i = 0; i < a->block->ops_count; i++) {
        struct use *use = &a->ops[i];
        use->kind = kind_of(a, i);
        if (use->kind != PARALLEL_ONCE) {
            spread_touched(a, &use->reads);
            spread_touched(a, &use->writes);
        }
        for (size_t k = 0; k < use->writes.count; k++) {
            const char *name = use->writes.items[k];
            if (use->kind == PARALLEL_ONCE) {
                map_remove(&a->varies, name);
                continue;
            }
            map_set(&a->varies, name, a);
            if (!parallel_split_is_own(a->split, name)) {
                map_set(&a->split->own, name, a->split);
                a->grew = true;
            }
        }
        if (use->kind == PARALLEL_WORKERS)
            sum_gradients(a, i);
    }
    for (const struct map_entry *e = map_first(&a->varies); e != NULL; e = map_next(e)) {
        if (parallel_split_is_own(a->split, map_key(e)))
            continue;
        map_set(&a->split->own, map_key(e), a->split);   // fed
        a->grew = true;
    }
    for (size_t i = 0; i < a->split->sums_count; i++)
        a->split->sums[i].spread = map_get(&a->spread, a->split->sums[i].name) != NULL;
}

static struct reach *reach_of(struct analysis *a, const char *name)
{
    struct reach *reach = map_get(&a->reaches, name);
    if (reach == NULL) {
        reach = MEM_NEW(struct reach);
        map_set(&a->reaches, name, reach);
    }
    return reach;
}

static size_t root_of(const struct analysis *a, size_t op)
{
    while (a->ops[op].parent != op)
        op = a->ops[op].parent;
    return op;
}

static void unite(struct analysis *a, size_t op, size_t with)
{
    op = root_of(a, op);
    with = root_of(a, with);
    if (op == with)
        return;
    a->ops[op].parent = with;
    a->ops[with].joins |= a->ops[op].joins;
    a->ops[with].host |= a->ops[op].host;   // of a root: some op of the part is a host's
}

static size_t level_of_kind(size_t at_least, enum parallel_kind kind)
{
    size_t level = at_least / PARALLEL_KINDS * PARALLEL_KINDS + (size_t)kind;
    return level < at_least ? level + PARALLEL_KINDS : level;
}

static void raise(size_t *level, size_t reached)
{
    if (reached > 0 && reached - 1 > *level)
        *level = reached - 1;
}

// The ops of level that the node depends on, as parts: none, one (*out_part), or several.
struct parts_met {
    size_t part;
    size_t count;
    bool host;
};

static void meet(const struct analysis *a, size_t level, size_t reached, size_t op,
                 struct parts_met *met)
{
    if (reached != level + 1)
        return;
    size_t root = root_of(a, op);
    met->host |= a->ops[root].host;
    if (met->count == 0 || root != met->part)
        met->count++;
    met->part = root;
}

// Does the op write more than a number?
static bool is_wide(const struct analysis *a, const struct use *use)
{
    for (size_t k = 0; k < use->writes.count; k++) {
        const struct var_desc *desc = block_find_var(a->block, use->writes.items[k]);
        for (int i = 0; desc != NULL && i < desc->dims.rank; i++)
            if (desc->dims.d[i] != 1)
                return true;
    }
    return false;
}

// Whom of its level an op that runs once meets: it joins that part, or begins one a round later.
static void choose_part(struct analysis *a, size_t i, size_t *level)
{
    struct use *use = &a->ops[i];
    struct parts_met met = {0};
    bool crowd = false;
    for (int pass = 0; pass < 2; pass++) {
        const struct names *names = pass == 0 ? &use->reads : &use->writes;
        for (size_t k = 0; k < names->count; k++) {
            const struct reach *reach = reach_of(a, names->items[k]);
            meet(a, *level, reach->written, reach->writer, &met);
            if (pass == 1)
                meet(a, *level, reach->read, reach->reader, &met);
            crowd |= pass == 1 && reach->read == *level + 1 && reach->many_readers;
        }
    }
    if (use->host) {
        const struct reach *hosts = reach_of(a, HOST_ORDER);
        meet(a, *level, hosts->written, hosts->writer, &met);
    }
    if (met.count == 0)
        return;
    bool stays = !crowd && (met.host || use->host || met.count == 1);
    if (stays && (met.host || use->host || !a->ops[met.part].joins || !is_wide(a, use))) {
        for (int pass = 0; pass < 2; pass++) {
            const struct names *names = pass == 0 ? &use->reads : &use->writes;
            for (size_t k = 0; k < names->count; k++) {
                const struct reach *reach = reach_of(a, names->items[k]);
                if (reach->written == *level + 1)
                    unite(a, reach->writer, i);
                if (pass == 1 && reach->read == *level + 1)
                    unite(a, reach->reader, i);
            }
        }
        if (use->host && reach_of(a, HOST_ORDER)->written == *level + 1)
            unite(a, reach_of(a, HOST_ORDER)->writer, i);
        return;
    }
    *level += PARALLEL_KINDS;
    use->joins = met.count > 1;
}

static void note_read(struct analysis *a, struct reach *reach, size_t level, size_t op,
                      enum parallel_kind kind)
{
    if (reach->read < level + 1) {
        reach->read = level + 1;
        reach->many_readers = false;
    } else if (reach->read == level + 1 && kind == PARALLEL_ONCE &&
               root_of(a, reach->reader) != root_of(a, op)) {
        reach->many_readers = true;
    }
    if (reach->read == level + 1)
        reach->reader = op;
}

static void note_written(struct reach *reach, size_t level, size_t op)
{
    reach->written = level + 1;
    reach->read = 0;
    reach->writer = op;
}

static void place_op(struct analysis *a, size_t i)
{
    struct use *use = &a->ops[i];
    size_t level = 0;
    for (size_t k = 0; k < use->reads.count; k++)
        raise(&level, reach_of(a, use->reads.items[k])->written);
    for (size_t k = 0; k < use->writes.count; k++) {
        raise(&level, reach_of(a, use->writes.items[k])->written);
        raise(&level, reach_of(a, use->writes.items[k])->read);
    }
    bool host = use->host;   // a part's root answers for the whole part from here on
    if (host)
        raise(&level, reach_of(a, HOST_ORDER)->written);
    level = level_of_kind(level, use->kind);
    if (use->kind == PARALLEL_ONCE)
        choose_part(a, i, &level);
    use->level = level;
    for (size_t k = 0; k < use->reads.count; k++)
        note_read(a, reach_of(a, use->reads.items[k]), level, i, use->kind);
    for (size_t k = 0; k < use->writes.count; k++)
        note_written(reach_of(a, use->writes.items[k]), level, i);
    if (host)
        note_written(reach_of(a, HOST_ORDER), level, i);
}

static struct parallel_stage *stage_at(struct parallel_split *split, size_t level)
{
    MEM_GROW(split->stages, split->stages_count, split->stages_cap);
    struct parallel_stage *stage = &split->stages[split->stages_count++];
    *stage = (struct parallel_stage){.kind = (enum parallel_kind)(level % PARALLEL_KINDS)};
    return stage;
}

static size_t place_sum(struct analysis *a, struct parallel_sum *sum)
{
    struct reach *reach = reach_of(a, sum->name);
    size_t level = 0;
    raise(&level, reach->written);
    raise(&level, reach->read);
    level = level_of_kind(level, PARALLEL_SUM);
    note_written(reach, level, sum->op);
    return level;
}

static void place_all(struct analysis *a)
{
    size_t sum = 0;
    for (size_t i = 0; i < a->block->ops_count; i++) {
        place_op(a, i);
        while (sum < a->split->sums_count && a->split->sums[sum].op == i) {
            a->split->sums[sum].level = place_sum(a, &a->split->sums[sum]);
            sum++;
        }
    }
}

struct part_cost {
    size_t root;
    double cost;
};

static int compare_costs(const void *x, const void *y)
{
    const struct part_cost *a = x, *b = y;
    if (a->cost != b->cost)
        return a->cost < b->cost ? 1 : -1;
    return a->root < b->root ? -1 : a->root > b->root;
}

static double elements_of(const struct analysis *a, const char *name)
{
    const struct var_desc *desc = block_find_var(a->block, name);
    double count = desc != NULL;
    for (int i = 0; desc != NULL && i < desc->dims.rank; i++)
        count *= desc->dims.d[i] > 0 ? (double)desc->dims.d[i] : 1;
    return count;
}

static double elements_written(const struct analysis *a, const struct use *use)
{
    double sum = 1;
    for (size_t k = 0; k < use->writes.count; k++)
        sum += elements_of(a, use->writes.items[k]);
    return sum;
}

// The dearest first, each to the part that has least; what belongs to a host goes to part 0.
static void deal_parts(struct analysis *a, struct parallel_stage *stage)
{
    struct part_cost *costs = mem_must_calloc(stage->count, sizeof *costs);
    double *loads = mem_must_calloc((size_t)a->parts, sizeof *loads);
    int *part_of = mem_must_calloc(a->block->ops_count, sizeof *part_of);
    size_t roots = 0;
    stage->parts = mem_must_calloc(stage->count, sizeof *stage->parts);
    for (size_t n = 0; n < stage->count; n++)
        a->ops[root_of(a, stage->items[n])].cost += elements_written(a, &a->ops[stage->items[n]]);
    for (size_t n = 0; n < stage->count; n++) {
        struct use *root = &a->ops[root_of(a, stage->items[n])];
        if (root->cost > 0)
            costs[roots++] = (struct part_cost){root_of(a, stage->items[n]), root->cost};
        root->cost = 0;
    }
    qsort(costs, roots, sizeof *costs, compare_costs);
    for (size_t r = 0; r < roots; r++) {
        int best = 0;
        for (int p = 1; p < a->parts && !a->ops[costs[r].root].host; p++)
            if (loads[p] < loads[best])
                best = p;
        loads[best] += costs[r].cost;
        stage->elements += costs[r].cost;
        part_of[costs[r].root] = best;
    }
    for (size_t n = 0; n < stage->count; n++)
        stage->parts[n] = part_of[root_of(a, stage->items[n])];
    mem_free(costs);
    mem_free(loads);
    mem_free(part_of);
}

static void add_item(struct parallel_stage *stage, size_t item)
{
    MEM_GROW(stage->items, stage->count, stage->cap);
    stage->items[stage->count++] = item;
}

static void make_stages(struct analysis *a)
{
    struct parallel_split *split = a->split;
    size_t levels = 0;
    for (size_t i = 0; i < a->block->ops_count; i++)
        levels = a->ops[i].level + 1 > levels ? a->ops[i].level + 1 : levels;
    for (size_t i = 0; i < split->sums_count; i++)
        levels = split->sums[i].level + 1 > levels ? split->sums[i].level + 1 : levels;
    struct parallel_stage *by_level = mem_must_calloc(levels + 1, sizeof *by_level);
    for (size_t i = 0; i < a->block->ops_count; i++)
        add_item(&by_level[a->ops[i].level], i);
    for (size_t i = 0; i < split->sums_count; i++)
        add_item(&by_level[split->sums[i].level], i);
    for (size_t level = 0; level < levels; level++) {
        if (by_level[level].count == 0)
            continue;
        struct parallel_stage *stage = stage_at(split, level);
        stage->items = by_level[level].items;
        stage->count = by_level[level].count;
        if (stage->kind == PARALLEL_ONCE)
            deal_parts(a, stage);
        for (size_t n = 0; n < stage->count && stage->kind == PARALLEL_SUM; n++)
            stage->elements += elements_of(a, split->sums[stage->items[n]].name);
    }
    mem_free(by_level);
}
