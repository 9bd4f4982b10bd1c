// SPDX-License-Identifier: Apache-2.0
// Checkpoints are sorted by the operator that makes them last (inputs first); neighbours whose
// operators lie in order bound a segment. A single checkpoint bounds the segment from the first
// operator to its own. What lies before the first segment is a segment too. Where Fluid walks a set
// of names, hash_order gives its order.

#include "common/passes/recompute.h"

#include <stdint.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/passes/hash_order.h"
#include "common/passes/op_build.h"
#include "common/program/program.h"
#include "common/program/unique_name.h"

// Where a name is written and read among the path's operators.
struct uses {
    size_t first_read, last_read;      // SIZE_MAX and 0 when nothing reads it
    int64_t first_write, last_write;   // -1: an input
    bool read;
};

struct work {
    const struct block *block;
    struct op_desc *const *ops;
    size_t count;
    struct map uses;   // name -> struct uses
    struct recompute_plan *plan;
};

static void find_uses(struct work *w);
static void sort_checkpoints(struct work *w, struct str_list *checkpoints);
static void find_segments(struct work *w, const struct str_list *checkpoints);
static void keep_inputs(struct work *w);
static void keep_crossing(struct work *w, const struct recompute_segment *segment);

void recompute_plan_make(const struct block *block, struct op_desc *const *ops, size_t count,
                         const struct str_list *checkpoints, struct recompute_plan *out)
{
    struct work w = {.block = block, .ops = ops, .count = count, .plan = out};
    struct str_list sorted = {0};
    memset(out, 0, sizeof *out);
    map_init(&out->kept);
    map_init(&w.uses);
    find_uses(&w);
    for (size_t i = 0; i < checkpoints->count; i++)
        if (map_get(&w.uses, checkpoints->items[i]) != NULL)
            str_list_add(&sorted, checkpoints->items[i]);
    sort_checkpoints(&w, &sorted);
    find_segments(&w, &sorted);
    keep_inputs(&w);
    for (size_t i = 0; i < out->count; i++)
        keep_crossing(&w, &out->segments[i]);
    for (size_t i = 0; i < sorted.count; i++)
        map_set(&out->kept, sorted.items[i], out);
    for (const struct map_entry *e = map_first(&w.uses); e; e = map_next(e))
        mem_free(map_value(e));
    map_deinit(&w.uses);
    str_list_deinit(&sorted);
}

void recompute_plan_deinit(struct recompute_plan *plan)
{
    mem_free(plan->segments);
    map_deinit(&plan->kept);
}

bool recompute_plan_renames(const struct recompute_plan *plan, const struct block *block,
                            const char *name)
{
    const struct var_desc *var = block_find_var(block, name);
    return !(var != NULL && var->persistable) && map_get(&plan->kept, name) == NULL;
}

void recompute_seed_dropouts(struct block *block, struct unique_name *names, struct op_desc **ops,
                             size_t *count)
{
    for (size_t i = 0; i < *count; i++) {
        struct op_desc *dropout = ops[i];
        if (!str_eq(dropout->type, "dropout"))
            continue;
        struct op_desc *seed = op_desc_new("seed");
        char *key = unique_name_next(names, "seed");
        char *prefix = mem_must_printf("%s.tmp", key);
        char *name = unique_name_next(names, prefix);
        struct var_desc *var = var_desc_new(name);
        bool fixed = op_desc_get_int(dropout, "fix_seed", 0) != 0;
        var->has_tensor = true;
        var->dtype = DTYPE_INT32;
        var->dims = (struct dims){.rank = 1, .d = {1}};
        block_add_var(block, var);
        op_desc_add_output(seed, "Out", name);
        op_desc_set_int(seed, "seed", fixed ? op_desc_get_int(dropout, "seed", 0) : 0);
        op_build_common(seed, OP_ROLE_FORWARD);
        if (op_desc_input(dropout, "Seed") != NULL)
            op_desc_input(dropout, "Seed")->args.count = 0;
        op_desc_add_input(dropout, "Seed", name);
        op_desc_remove_attr(dropout, "fix_seed");
        op_desc_remove_attr(dropout, "seed");
        for (size_t at = 0; at < block->ops_count; at++)
            if (block->ops[at] == dropout) {
                block_insert_op(block, at, seed);
                break;
            }
        memmove(ops + i + 1, ops + i, (*count - i) * sizeof *ops);
        ops[i++] = seed;
        (*count)++;
        mem_free(name);
        mem_free(prefix);
        mem_free(key);
    }
}

static struct uses *uses_of(struct work *w, const char *name)
{
    struct uses *uses = map_get(&w->uses, name);
    if (uses == NULL) {
        uses = MEM_NEW(struct uses);
        *uses = (struct uses){.first_read = SIZE_MAX, .first_write = -1, .last_write = -1};
        map_set(&w->uses, name, uses);
    }
    return uses;
}

static void find_uses(struct work *w)
{
    for (size_t i = 0; i < w->count; i++) {
        const struct op_desc *op = w->ops[i];
        for (size_t s = 0; s < op->inputs_count; s++)
            for (size_t k = 0; k < op->inputs[s].args.count; k++) {
                struct uses *uses = uses_of(w, op->inputs[s].args.items[k]);
                uses->first_read = uses->read ? uses->first_read : i;
                uses->last_read = i;
                uses->read = true;
            }
        for (size_t s = 0; s < op->outputs_count; s++)
            for (size_t k = 0; k < op->outputs[s].args.count; k++) {
                struct uses *uses = uses_of(w, op->outputs[s].args.items[k]);
                uses->first_write = uses->first_write < 0 ? (int64_t)i : uses->first_write;
                uses->last_write = (int64_t)i;
            }
    }
}

static void sort_checkpoints(struct work *w, struct str_list *checkpoints)
{
    hash_order_sort(checkpoints);
    for (size_t i = 1; i < checkpoints->count; i++) {
        char *name = checkpoints->items[i];
        size_t at = i;
        for (; at > 0 &&
               uses_of(w, checkpoints->items[at - 1])->last_write > uses_of(w, name)->last_write;
             at--)
            checkpoints->items[at] = checkpoints->items[at - 1];
        checkpoints->items[at] = name;
    }
}

static void add_segment(struct work *w, size_t begin, size_t end)
{
    struct recompute_plan *plan = w->plan;
    plan->segments[plan->count++] = (struct recompute_segment){begin, end};
}

static void find_segments(struct work *w, const struct str_list *checkpoints)
{
    w->plan->segments = mem_must_calloc(checkpoints->count + 2, sizeof *w->plan->segments);
    if (checkpoints->count == 1) {
        int64_t last = uses_of(w, checkpoints->items[0])->last_write;
        if (last > 0)
            add_segment(w, 0, (size_t)last + 1);
        return;
    }
    for (size_t i = 0; i + 1 < checkpoints->count; i++) {
        const struct uses *from = uses_of(w, checkpoints->items[i]);
        const struct uses *to = uses_of(w, checkpoints->items[i + 1]);
        if (!from->read || (int64_t)from->first_read >= to->last_write)
            continue;
        if (w->plan->count == 0 && from->first_read > 0)
            add_segment(w, 0, from->first_read);
        add_segment(w, from->first_read, (size_t)to->last_write + 1);
    }
}

static void keep_inputs(struct work *w)
{
    for (const struct map_entry *e = map_first(&w->uses); e; e = map_next(e)) {
        const struct uses *uses = map_value(e);
        if (uses->first_write < 0 && uses->read)
            map_set(&w->plan->kept, map_key(e), w->plan);
    }
    for (size_t i = 0; i < w->count; i++)
        if (str_eq(w->ops[i]->type, "seed"))
            map_set(&w->plan->kept, op_desc_output1(w->ops[i], "Out"), w->plan);
}

// What a segment makes and something behind it reads, and what it reads and something before it
// made.
static void keep_crossing(struct work *w, const struct recompute_segment *segment)
{
    for (size_t i = segment->begin; i < segment->end; i++) {
        const struct op_desc *op = w->ops[i];
        for (size_t s = 0; s < op->outputs_count; s++)
            for (size_t k = 0; k < op->outputs[s].args.count; k++) {
                const struct uses *uses = uses_of(w, op->outputs[s].args.items[k]);
                if (uses->read && uses->last_read >= segment->end)
                    map_set(&w->plan->kept, op->outputs[s].args.items[k], w->plan);
            }
        for (size_t s = 0; s < op->inputs_count; s++)
            for (size_t k = 0; k < op->inputs[s].args.count; k++) {
                const struct uses *uses = uses_of(w, op->inputs[s].args.items[k]);
                if (uses->first_write >= 0 && uses->first_write < (int64_t)segment->begin)
                    map_set(&w->plan->kept, op->inputs[s].args.items[k], w->plan);
            }
    }
}
