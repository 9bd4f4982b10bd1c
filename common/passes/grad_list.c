// SPDX-License-Identifier: Apache-2.0
// Gradients that several operators make. The list is walked in order; the second maker of X@GRAD
// renames what the first made, and every part gets a name of its own. A `sum` of the parts stands
// in front of the first operator that reads X@GRAD, or at the end; what is made after that counts
// on.

#include "common/passes/grad_list.h"

#include <string.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/str.h"

// What is known about one gradient name while the operators are walked in order.
struct repeat {
    struct str_list names;   // the parts made so far; one that is its own name: not repeated yet
    size_t first;            // operator that made it first
    int renamed;             // parts renamed so far
};

struct pending_sum {
    struct op_desc *op;
    size_t at;
};

struct repeats {
    struct grad_list *ops;
    struct map by_name;
    struct pending_sum *sums;
    size_t sums_count, sums_cap;
};

static struct op_desc *make_sum(const struct str_list *parts, const char *out)
{
    struct op_desc *sum = op_desc_new("sum");
    for (size_t i = 0; i < parts->count; i++)
        op_desc_add_input(sum, "X", parts->items[i]);
    op_desc_add_output(sum, "Out", out);
    op_desc_set_bool(sum, "use_mkldnn", false);
    op_desc_set_int(sum, OP_ROLE_ATTR, OP_ROLE_BACKWARD);
    op_desc_set_string(sum, "op_device", "");
    return sum;
}

static struct repeat *repeat_of(struct repeats *r, const char *name)
{
    struct repeat *known = map_get(&r->by_name, name);
    if (known == NULL) {
        known = MEM_NEW(struct repeat);
        map_set(&r->by_name, name, known);
    }
    return known;
}

static void add_sum(struct repeats *r, struct repeat *rep, const char *name, size_t at)
{
    MEM_GROW(r->sums, r->sums_count, r->sums_cap);
    r->sums[r->sums_count++] = (struct pending_sum){make_sum(&rep->names, name), at};
    str_list_deinit(&rep->names);
    rep->names = (struct str_list){0};
    str_list_add(&rep->names, name);
}

static void replace_text(char **slot, const char *text)
{
    char *copy = mem_must_strdup(text);
    mem_free(*slot);
    *slot = copy;
}

static void add_part(struct repeat *rep, const char *part)
{
    str_list_add(&rep->names, part);
}

static char *part_name(struct repeat *rep, const char *name)
{
    return mem_must_printf("%s@RENAME@block0@%d", name, rep->renamed++);
}

// The gradient was made once under its own name; from now on it is the first of several parts.
static void rename_first(struct repeats *r, struct repeat *rep, const char *name, size_t idx,
                         size_t slot, size_t arg)
{
    char *part = part_name(rep, name);
    replace_text(&rep->names.items[0], part);
    for (size_t i = rep->first; i < idx; i++) {
        op_desc_rename_input(r->ops->items[i], name, part);
        op_desc_rename_output(r->ops->items[i], name, part);
    }
    for (size_t i = 0; i < r->sums_count; i++) {
        op_desc_rename_input(r->sums[i].op, name, part);
        op_desc_rename_output(r->sums[i].op, name, part);
    }
    struct op_desc *op = r->ops->items[idx];
    for (size_t s = 0; s <= slot; s++) {
        size_t end = s == slot ? arg : op->outputs[s].args.count;
        for (size_t i = 0; i < end; i++)
            if (str_eq(op->outputs[s].args.items[i], name))
                replace_text(&op->outputs[s].args.items[i], part);
    }
    mem_free(part);
}

static void visit_output(struct repeats *r, size_t idx, size_t slot, size_t arg)
{
    struct op_desc *op = r->ops->items[idx];
    char *name = mem_must_strdup(op->outputs[slot].args.items[arg]);
    if (grad_list_is_grad(name) && !str_eq(name, GRAD_LIST_EMPTY) && !op_desc_reads(op, name)) {
        struct repeat *rep = repeat_of(r, name);
        if (rep->names.count == 0) {
            str_list_add(&rep->names, name);
            rep->first = idx;
        } else {
            if (rep->names.count == 1)
                rename_first(r, rep, name, idx, slot, arg);
            char *part = part_name(rep, name);
            replace_text(&op->outputs[slot].args.items[arg], part);
            add_part(rep, part);
            mem_free(part);
        }
    }
    mem_free(name);
}

static void visit_op(struct repeats *r, size_t idx)
{
    struct op_desc *op = r->ops->items[idx];
    for (size_t s = 0; s < op->inputs_count; s++) {
        for (size_t i = 0; i < op->inputs[s].args.count; i++) {
            const char *name = op->inputs[s].args.items[i];
            struct repeat *rep = grad_list_is_grad(name) ? map_get(&r->by_name, name) : NULL;
            if (rep != NULL && rep->names.count > 1)
                add_sum(r, rep, name, idx);
        }
    }
    for (size_t s = 0; s < op->outputs_count; s++)
        for (size_t i = 0; i < op->outputs[s].args.count; i++)
            visit_output(r, idx, s, i);
}

void grad_list_deinit(struct grad_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        op_desc_free(list->items[i]);
    mem_free(list->items);
}

void grad_list_insert(struct grad_list *list, size_t at, struct op_desc *take)
{
    MEM_GROW(list->items, list->count, list->cap);
    memmove(list->items + at + 1, list->items + at, (list->count - at) * sizeof *list->items);
    list->items[at] = take;
    list->count++;
}

void grad_list_sum_repeated(struct grad_list *ops)
{
    struct repeats r = {.ops = ops};
    map_init(&r.by_name);
    for (size_t i = 0; i < ops->count; i++)
        visit_op(&r, i);
    for (const struct map_entry *e = map_first(&r.by_name); e; e = map_next(e)) {
        struct repeat *rep = map_value(e);
        if (rep->names.count > 1)
            add_sum(&r, rep, map_key(e), ops->count);
    }
    for (size_t i = r.sums_count; i-- > 0;)
        grad_list_insert(ops, r.sums[i].at, r.sums[i].op);
    for (const struct map_entry *e = map_first(&r.by_name); e; e = map_next(e)) {
        struct repeat *rep = map_value(e);
        str_list_deinit(&rep->names);
        mem_free(rep);
    }
    mem_free(r.sums);
    map_deinit(&r.by_name);
}

char *grad_list_name(const char *name)
{
    return mem_must_printf("%s" GRAD_SUFFIX, name);
}

bool grad_list_is_grad(const char *name)
{
    return strstr(name, GRAD_SUFFIX) != NULL;
}

char *grad_list_forward(const char *grad)
{
    const char *at = strstr(grad, GRAD_SUFFIX);
    return at ? mem_must_strndup(grad, (size_t)(at - grad)) : mem_must_strdup(grad);
}
