// SPDX-License-Identifier: Apache-2.0
// Reverse-mode differentiation of block 0. Steps, each a function below:
//   1. the path: operators that loss depends on (through variables that may have gradients);
//   2. variables on the path that do not lead to loss (XShape, ...) get no gradient either;
//   3. gradient operators of the path in reverse, made from the op table's rules;
//   4. a gradient that several operators make is renamed X@GRAD@RENAME@block0@N in each and summed
//   in
//      front of its first reader (or at the end);
//   5. operators that make no wanted gradient are dropped; a gradient that is read but never made
//      becomes zeros;
//   6. variables for the gradients, with the shapes of what they are gradients of.
// Invariant: nothing is changed in the program before step 6, so a failure leaves it as it was.
// With checkpoints, step 3 puts each segment's forward operators, renamed, before the gradient
// operators of that segment (recompute.c says which). Fluid leaves two blocks of working copies
// behind; so does this, for equal programs.
// Not done here: sub-blocks, a second backward pass over the same program.

#include "common/passes/backward.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/ops/op.h"
#include "common/passes/grad_list.h"
#include "common/passes/op_build.h"
#include "common/passes/recompute.h"
#include "common/program/program.h"

#define GRAD_OPS_MAX 16   // gradient operators of one operator

struct pass {
    struct program *program;
    struct block *block;
    const char *loss;
    struct map no_grad;      // names (without @GRAD) of variables that get no gradient
    struct op_desc **path;   // the path's operators, in order
    size_t path_count;
    struct grad_list ops;   // the gradient operators
    struct err *err;
    // With checkpoints only.
    const struct str_list *checkpoints;
    struct unique_name *names;
    struct recompute_plan plan;
    struct map renamed;           // name -> what it is called where it is computed again; owned
    struct map source;            // and back
    struct grad_list copies[2];   // for the two blocks; of the first, some are in ops still
    bool *borrowed;               // per item of copies[0]: it is in ops
};

static int check_loss(struct pass *p, struct op_desc **out_loss_op);
static void collect_no_grad(struct pass *p, const struct str_list *extra);
static int find_path(struct pass *p);
static void find_dead_outputs(struct pass *p);
static int check_makers(struct pass *p);
static int make_grad_ops(struct pass *p);
static int make_recomputed(struct pass *p);
static void own_copies(struct pass *p);
static void append_copies(struct pass *p);
static void drop_dead_ops(struct pass *p);
static void fill_missing(struct pass *p);
static void append_all(struct pass *p, struct op_desc *loss, const struct str_list *parameters,
                       struct backward_result *out);

void backward_result_deinit(struct backward_result *result)
{
    str_list_deinit(&result->params);
    str_list_deinit(&result->grads);
}

int backward_append(struct program *program, const char *loss, const struct str_list *parameters,
                    const struct str_list *no_grad, struct backward_result *out, struct err *err)
{
    return backward_append_recompute(program, NULL, loss, parameters, no_grad, NULL, out, err);
}

int backward_append_recompute(struct program *program, struct unique_name *names, const char *loss,
                              const struct str_list *parameters, const struct str_list *no_grad,
                              const struct str_list *checkpoints, struct backward_result *out,
                              struct err *err)
{
    struct pass p = {.program = program,
                     .block = program_block(program, 0),
                     .loss = loss,
                     .err = err,
                     .names = names};
    struct op_desc *loss_op = NULL;
    map_init(&p.no_grad);
    map_init(&p.renamed);
    map_init(&p.source);
    map_init(&p.plan.kept);
    if (checkpoints != NULL && checkpoints->count > 0)
        p.checkpoints = checkpoints;
    int rc = check_loss(&p, &loss_op);
    if (rc < 0)
        goto done;
    collect_no_grad(&p, no_grad);
    rc = find_path(&p);
    if (rc < 0)
        goto done;
    find_dead_outputs(&p);
    rc = check_makers(&p);
    if (rc < 0)
        goto done;
    rc = p.checkpoints ? make_recomputed(&p) : make_grad_ops(&p);
    if (rc < 0)
        goto done;
    grad_list_sum_repeated(&p.ops);
    own_copies(&p);
    drop_dead_ops(&p);
    fill_missing(&p);
    append_all(&p, loss_op, parameters, out);
done:
    for (const struct map_entry *e = map_first(&p.renamed); e; e = map_next(e))
        mem_free(map_value(e));
    map_deinit(&p.renamed);
    map_deinit(&p.source);
    recompute_plan_deinit(&p.plan);
    mem_free(p.borrowed);
    grad_list_deinit(&p.copies[0]);
    grad_list_deinit(&p.copies[1]);
    grad_list_deinit(&p.ops);
    mem_free(p.path);
    map_deinit(&p.no_grad);
    return rc;
}

static int check_loss(struct pass *p, struct op_desc **out_loss_op)
{
    const struct var_desc *var = block_var(p->block, p->loss);
    if (var == NULL)
        return err_set(p->err, SL_EINVAL, "backward: loss `%s` is not a variable of block 0",
                       p->loss);
    if (var->dims.rank != 1 || var->dims.d[0] != 1) {
        char text[DIMS_TEXT_MAX];
        return err_set(p->err, SL_EINVAL,
                       "backward: loss `%s` has shape %s, it must be [1]: take its mean or sum",
                       p->loss, dims_format(&var->dims, text));
    }
    char *grad = grad_list_name(p->loss);
    bool twice = block_var(p->block, grad) != NULL;
    mem_free(grad);
    if (twice)
        return err_set(p->err, SL_EUNSUPPORTED,
                       "backward: the program already has the gradient of `%s`", p->loss);
    for (size_t i = p->block->ops_count; i-- > 0;) {
        if (op_desc_writes(p->block->ops[i], p->loss)) {
            *out_loss_op = p->block->ops[i];
            return 0;
        }
    }
    return err_set(p->err, SL_EINVAL, "backward: no operator of block 0 makes the loss `%s`",
                   p->loss);
}

static void collect_no_grad(struct pass *p, const struct str_list *extra)
{
    for (size_t i = 0; i < p->block->vars_count; i++) {
        const struct var_desc *var = p->block->vars[i];
        if (var->stop_gradient || (var->is_parameter && !var->trainable))
            map_set(&p->no_grad, var->name, p);
    }
    for (size_t i = 0; extra != NULL && i < extra->count; i++)
        map_set(&p->no_grad, extra->items[i], p);
}

static bool any_arg_in(const struct op_slot *slots, size_t count, const struct map *set)
{
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < slots[s].args.count; i++)
            if (map_get(set, slots[s].args.items[i]) != NULL)
                return true;
    return false;
}

static void add_inputs(struct pass *p, const struct op_desc *op, struct map *set)
{
    for (size_t s = 0; s < op->inputs_count; s++)
        for (size_t i = 0; i < op->inputs[s].args.count; i++)
            if (map_get(&p->no_grad, op->inputs[s].args.items[i]) == NULL)
                map_set(set, op->inputs[s].args.items[i], p);
}

static bool has_gradient(const struct op_def *def)
{
    return def->grad.type != NULL || def->grad.make != NULL;
}

static int find_path(struct pass *p)
{
    struct map needed;
    map_init(&needed);
    map_set(&needed, p->loss, p);
    bool *on_path = mem_must_calloc(p->block->ops_count + 1, sizeof *on_path);
    int rc = 0;
    for (size_t i = p->block->ops_count; i-- > 0 && rc == 0;) {
        const struct op_desc *op = p->block->ops[i];
        if (!any_arg_in(op->outputs, op->outputs_count, &needed))
            continue;
        const struct op_def *def = op_table_find(op->type);
        if (def == NULL || op_desc_attr(op, "sub_block") != NULL) {
            rc = err_set(p->err, SL_EUNSUPPORTED,
                         "backward: block 0 op %zu `%s`: its gradient is not supported", i,
                         op->type);
        } else if (has_gradient(def)) {
            add_inputs(p, op, &needed);
            on_path[i] = true;
        }
    }
    p->path = mem_must_calloc(2 * p->block->ops_count + 1, sizeof(struct op_desc *));
    for (size_t i = 0; i < p->block->ops_count; i++)
        if (on_path[i])
            p->path[p->path_count++] = p->block->ops[i];
    mem_free(on_path);
    map_deinit(&needed);
    return rc;
}

static void find_dead_outputs(struct pass *p)
{
    struct map live;
    struct str_list dead = {0};
    map_init(&live);
    map_set(&live, p->loss, p);
    for (size_t k = p->path_count; k-- > 0;) {
        const struct op_desc *op = p->path[k];
        for (size_t s = 0; s < op->outputs_count; s++) {
            for (size_t i = 0; i < op->outputs[s].args.count; i++) {
                const char *name = op->outputs[s].args.items[i];
                if (map_get(&live, name) == NULL && !op_desc_reads(op, name))
                    str_list_add(&dead, name);
            }
        }
        add_inputs(p, op, &live);
    }
    for (size_t i = 0; i < dead.count; i++)
        map_set(&p->no_grad, dead.items[i], p);
    str_list_deinit(&dead);
    map_deinit(&live);
}

// ---- gradient operators from rules

// Fills a slot of the gradient operator: "X" copies the forward arguments, "X@GRAD" adds @GRAD to
// each. On the output side gradients that are not wanted become @EMPTY@ in a list, nothing in a
// single.
static void fill_slot(struct pass *p, const struct op_desc *forward, struct op_desc *grad,
                      const char *slot, bool output)
{
    bool is_grad = str_ends_with(slot, GRAD_SUFFIX);
    char *base = is_grad ? grad_list_forward(slot) : mem_must_strdup(slot);
    const struct op_slot *from = op_desc_input(forward, base);
    if (from == NULL)
        from = op_desc_output(forward, base);
    void (*add)(struct op_desc *, const char *, const char *) =
        output ? op_desc_add_output : op_desc_add_input;
    size_t count = from ? from->args.count : 0;
    size_t added = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = from->args.items[i];
        if (!is_grad) {
            add(grad, slot, name);
        } else if (output && map_get(&p->no_grad, name) != NULL) {
            if (count == 1)
                continue;
            add(grad, slot, GRAD_LIST_EMPTY);
        } else {
            char *g = grad_list_name(name);
            add(grad, slot, g);
            mem_free(g);
        }
        added++;
    }
    if (added == 0)
        add(grad, slot, NULL);
    mem_free(base);
}

static void fill_slots(struct pass *p, const struct op_desc *forward, struct op_desc *grad,
                       const char *slots, bool output)
{
    struct str_list names = {0};
    str_list_split(&names, slots ? slots : "", ' ');
    for (size_t i = 0; i < names.count; i++)
        if (names.items[i][0] != '\0')
            fill_slot(p, forward, grad, names.items[i], output);
    str_list_deinit(&names);
}

// Takes gradients that are not wanted out of an operator that a rule's own maker made.
static void blank_unwanted(struct pass *p, struct op_desc *grad)
{
    for (size_t s = 0; s < grad->outputs_count; s++) {
        struct str_list *args = &grad->outputs[s].args;
        for (size_t i = 0; i < args->count; i++) {
            char *name = grad_list_forward(args->items[i]);
            if (grad_list_is_grad(args->items[i]) && map_get(&p->no_grad, name) != NULL) {
                mem_free(args->items[i]);
                args->items[i] = mem_must_strdup(GRAD_LIST_EMPTY);
            }
            mem_free(name);
        }
    }
}

// By name, as Fluid keeps them: the order in which gradients of one operator are met decides in
// which order repeated ones are summed.
static void sort_slots(struct op_slot *slots, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        for (size_t k = i; k > 0 && strcmp(slots[k - 1].name, slots[k].name) > 0; k--) {
            struct op_slot kept = slots[k];
            slots[k] = slots[k - 1];
            slots[k - 1] = kept;
        }
    }
}

static void set_backward_role(const struct pass *p, const struct op_desc *forward,
                              struct op_desc *grad)
{
    const struct attr *device = op_desc_attr(forward, "op_device");
    if (device != NULL && p->checkpoints == NULL)
        op_desc_set_attr(grad, device);
    op_desc_set_int(grad, OP_ROLE_ATTR, OP_ROLE_BACKWARD);
}

// Can the rules' own makers make gradients of the whole path?
static int check_makers(struct pass *p)
{
    for (size_t k = 0; k < p->path_count; k++) {
        const struct op_grad_rule *rule = &op_table_find(p->path[k]->type)->grad;
        struct op_desc *made[GRAD_OPS_MAX];
        int count = rule->make ? rule->make(p->path[k], made, GRAD_OPS_MAX) : 0;
        size_t at = 0;
        while (count < 0 && p->block->ops[at] != p->path[k])
            at++;
        if (count < 0)
            return err_set(p->err, count,
                           "backward: block 0 op %zu `%s`: its gradient cannot be made", at,
                           p->path[k]->type);
        for (int i = 0; i < count; i++)
            op_desc_free(made[i]);
    }
    return 0;
}

// The gradient operators of one operator, at the end of the list.
static int make_grads_of(struct pass *p, const struct op_desc *forward)
{
    const struct op_def *def = op_table_find(forward->type);
    struct op_desc *made[GRAD_OPS_MAX];
    int count = 0;
    if (!has_gradient(def))
        return 0;
    if (def->grad.make != NULL) {
        count = def->grad.make(forward, made, GRAD_OPS_MAX);
        if (count < 0)
            return err_set(p->err, count, "backward: `%s`: its gradient cannot be made",
                           forward->type);
        for (int i = 0; i < count; i++)
            blank_unwanted(p, made[i]);
    } else {
        struct op_desc *grad = op_desc_new(def->grad.type);
        fill_slots(p, forward, grad, def->grad.inputs, false);
        fill_slots(p, forward, grad, def->grad.outputs, true);
        for (size_t a = 0; !def->grad.drop_attrs && a < forward->attrs_count; a++)
            op_desc_set_attr(grad, &forward->attrs[a]);
        made[count++] = grad;
    }
    for (int i = 0; i < count; i++) {
        sort_slots(made[i]->inputs, made[i]->inputs_count);
        sort_slots(made[i]->outputs, made[i]->outputs_count);
        set_backward_role(p, forward, made[i]);
        grad_list_insert(&p->ops, p->ops.count, made[i]);
    }
    return 0;
}

static int make_grad_ops(struct pass *p)
{
    int rc = 0;
    for (size_t k = p->path_count; rc == 0 && k-- > 0;)
        rc = make_grads_of(p, p->path[k]);
    return rc;
}

// ---- recomputation

// Gradients of operators [begin, end) outside of segments; the first block has copies of them.
static int make_gap(struct pass *p, size_t begin, size_t end)
{
    size_t first = p->ops.count;
    int rc = 0;
    for (size_t k = end; rc == 0 && k-- > begin;)
        rc = make_grads_of(p, p->path[k]);
    for (size_t i = first; i < p->ops.count; i++) {
        p->borrowed = mem_must_realloc(p->borrowed, p->copies[0].count + 1);
        p->borrowed[p->copies[0].count] = true;
        grad_list_insert(&p->copies[0], p->copies[0].count, p->ops.items[i]);
    }
    return rc;
}

static void rename_args(const struct pass *p, struct op_slot *slots, size_t count)
{
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < slots[s].args.count; i++) {
            const char *name = map_get(&p->renamed, slots[s].args.items[i]);
            if (name == NULL)
                continue;
            mem_free(slots[s].args.items[i]);
            slots[s].args.items[i] = mem_must_strdup(name);
        }
}

static void rename_op(const struct pass *p, struct op_desc *op)
{
    rename_args(p, op->inputs, op->inputs_count);
    rename_args(p, op->outputs, op->outputs_count);
}

static void name_anew(struct pass *p, const struct op_slot *slots, size_t count, size_t number)
{
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < slots[s].args.count; i++) {
            const char *name = slots[s].args.items[i];
            if (map_get(&p->renamed, name) != NULL ||
                !recompute_plan_renames(&p->plan, p->block, name))
                continue;
            char *again = mem_must_printf("%s.subprog_%zu", name, number);
            map_set(&p->renamed, name, again);
            map_set(&p->source, again, block_find_var(p->block, name));
        }
}

static bool makes_anew(const struct pass *p, const struct op_desc *op)
{
    for (size_t s = 0; s < op->outputs_count; s++)
        for (size_t i = 0; i < op->outputs[s].args.count; i++)
            if (recompute_plan_renames(&p->plan, p->block, op->outputs[s].args.items[i]))
                return true;
    return false;
}

static struct op_desc *clone_backward(const struct op_desc *op)
{
    struct op_desc *copy = op_desc_clone(op);
    op_desc_set_int(copy, OP_ROLE_ATTR, OP_ROLE_BACKWARD);
    return copy;
}

// The segment's forward operators that are needed again, then its gradient operators.
static int make_segment(struct pass *p, const struct recompute_segment *segment, size_t number)
{
    for (size_t k = segment->begin; k < segment->end; k++) {
        name_anew(p, p->path[k]->inputs, p->path[k]->inputs_count, number);
        name_anew(p, p->path[k]->outputs, p->path[k]->outputs_count, number);
    }
    for (size_t k = segment->begin; k < segment->end; k++) {
        p->borrowed = mem_must_realloc(p->borrowed, p->copies[0].count + 1);
        p->borrowed[p->copies[0].count] = false;
        grad_list_insert(&p->copies[0], p->copies[0].count, clone_backward(p->path[k]));
        if (!makes_anew(p, p->path[k]))
            continue;
        struct op_desc *again = clone_backward(p->path[k]);
        rename_op(p, again);
        grad_list_insert(&p->copies[1], p->copies[1].count, op_desc_clone(again));
        grad_list_insert(&p->ops, p->ops.count, again);
    }
    size_t first = p->ops.count;
    int rc = 0;
    for (size_t k = segment->end; rc == 0 && k-- > segment->begin;)
        rc = make_grads_of(p, p->path[k]);
    for (size_t i = first; i < p->ops.count; i++)
        rename_op(p, p->ops.items[i]);
    return rc;
}

static int make_recomputed(struct pass *p)
{
    recompute_seed_dropouts(p->block, p->names, p->path, &p->path_count);
    recompute_plan_make(p->block, p->path, p->path_count, p->checkpoints, &p->plan);
    size_t end = p->path_count;
    int rc = p->plan.count == 0 ? make_gap(p, 0, end) : 0;
    for (size_t i = p->plan.count; rc == 0 && i-- > 0;) {
        const struct recompute_segment *segment = &p->plan.segments[i];
        if (segment->end < end)
            rc = make_gap(p, segment->end, end);
        end = segment->begin;
        if (rc == 0)
            rc = make_segment(p, segment, p->plan.count - 1 - i);
    }
    return rc;
}

// Repeated gradients have got their names: what the first block shares with the list is copied.
static void own_copies(struct pass *p)
{
    for (size_t i = 0; i < p->copies[0].count; i++)
        if (p->borrowed[i])
            p->copies[0].items[i] = clone_backward(p->copies[0].items[i]);
}

static void append_copies(struct pass *p)
{
    int parent = 0;
    for (size_t b = 0; p->checkpoints && b < 2; b++) {
        struct block *block = program_append_block(p->program, parent);
        parent = block->idx;
        for (size_t i = 0; i < p->copies[b].count; i++)
            block_append_op(block, p->copies[b].items[i]);
        p->copies[b].count = 0;
    }
}

// ---- pruning

static bool is_unwanted(struct pass *p, const char *grad)
{
    if (!grad_list_is_grad(grad))
        return false;
    char *name = grad_list_forward(grad);
    bool unwanted = map_get(&p->no_grad, name) != NULL;
    mem_free(name);
    return unwanted;
}

// Nothing to make, or nothing to make it from?
static bool is_dead(struct pass *p, const struct op_desc *op)
{
    size_t outs = 0, wanted = 0, ins = 0, known = 0;
    for (size_t s = 0; s < op->outputs_count; s++) {
        for (size_t i = 0; i < op->outputs[s].args.count; i++) {
            const char *name = op->outputs[s].args.items[i];
            outs++;
            wanted += !str_eq(name, GRAD_LIST_EMPTY) && !is_unwanted(p, name);
        }
    }
    if (outs == 0 || wanted == 0)
        return true;
    for (size_t s = 0; s < op->inputs_count; s++) {
        for (size_t i = 0; i < op->inputs[s].args.count; i++) {
            const char *name = op->inputs[s].args.items[i];
            if (!grad_list_is_grad(name))
                continue;
            ins++;
            known += !is_unwanted(p, name);
        }
    }
    return ins > 0 && known == 0;
}

static void drop_dead_ops(struct pass *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->ops.count; i++) {
        struct op_desc *op = p->ops.items[i];
        if (!is_dead(p, op)) {
            p->ops.items[kept++] = op;
            continue;
        }
        for (size_t s = 0; s < op->outputs_count; s++) {
            for (size_t k = 0; k < op->outputs[s].args.count; k++) {
                char *name = grad_list_forward(op->outputs[s].args.items[k]);
                map_set(&p->no_grad, name, p);
                mem_free(name);
            }
        }
        op_desc_free(op);
    }
    p->ops.count = kept;
}

// Zeros for a gradient that an operator reads although nothing makes it.
static void fill_missing(struct pass *p)
{
    for (size_t i = 0; i < p->ops.count; i++) {
        for (size_t s = 0; s < p->ops.items[i]->inputs_count; s++) {
            for (size_t k = 0; k < p->ops.items[i]->inputs[s].args.count; k++) {
                const char *name = p->ops.items[i]->inputs[s].args.items[k];
                if (!is_unwanted(p, name))
                    continue;
                struct op_desc *zeros = op_desc_new("fill_zeros_like");
                char *x = grad_list_forward(name);
                op_desc_add_input(zeros, "X", x);
                op_desc_add_output(zeros, "Out", name);
                op_desc_set_int(zeros, OP_ROLE_ATTR, OP_ROLE_BACKWARD);
                op_desc_set_string(zeros, "op_device", "");
                mem_free(x);
                grad_list_insert(&p->ops, i, zeros);
                i++;
            }
        }
    }
}

// ---- into the program

// A gradient has the type and shape of what it is the gradient of. Selected rows are inferred by
// the op.
static void add_grad_var(struct pass *p, const char *name)
{
    struct block *block = p->block;
    if (str_eq(name, GRAD_LIST_EMPTY) || block_find_var(block, name) != NULL)
        return;
    char *forward = grad_list_forward(name);
    const struct var_desc *again = map_get(&p->source, name);
    const struct var_desc *of = again ? again : block_find_var(block, forward);
    struct var_desc *var = var_desc_new(name);
    var->has_tensor = true;
    var->dtype = of ? of->dtype : (int)DTYPE_FP32;
    if (of != NULL)
        var->dims = of->dims;
    if (again != NULL) {
        var->has_lod_level = again->has_lod_level;
        var->lod_level = again->lod_level;
    }
    block_add_var(block, var);
    mem_free(forward);
}

// Does any of the gradients that the operator reads exist (or does it read none)? Others lead
// nowhere: they belong to inputs without a gradient of the operators behind (a label that was cast,
// ...).
static bool has_source(const struct block *block, const struct op_desc *op)
{
    bool reads = false;
    for (size_t s = 0; s < op->inputs_count; s++) {
        for (size_t i = 0; i < op->inputs[s].args.count; i++) {
            if (!grad_list_is_grad(op->inputs[s].args.items[i]))
                continue;
            reads = true;
            if (block_find_var(block, op->inputs[s].args.items[i]) != NULL)
                return true;
        }
    }
    return !reads;
}

static void append_grad_op(struct pass *p, struct op_desc *op)
{
    if (!has_source(p->block, op)) {
        op_desc_free(op);
        return;
    }
    for (size_t s = 0; s < op->outputs_count; s++)
        for (size_t i = 0; i < op->outputs[s].args.count; i++)
            add_grad_var(p, op->outputs[s].args.items[i]);
    block_append_op(p->block, op);
    // What it adds: selected rows, LoD. Shapes that it cannot infer stay those of the forward pass.
    op_build_infer(p->block, op, NULL);
}

static struct op_desc *make_loss_grad(struct pass *p, const struct op_desc *loss_op)
{
    const int64_t one = 1;
    char *name = grad_list_name(p->loss);
    struct op_desc *op = op_desc_new("fill_constant");
    op_desc_add_output(op, "Out", name);
    op_desc_set_longs(op, "shape", &one, 1);
    op_desc_set_float(op, "value", 1.0f);
    op_desc_set_int(op, "dtype", block_var(p->block, p->loss)->dtype);
    op_desc_set_bool(op, "force_cpu", false);
    op_desc_set_int(op, OP_ROLE_ATTR, OP_ROLE_BACKWARD | OP_ROLE_LOSS);
    op_desc_set_string(op, "op_device", op_desc_get_string(loss_op, "op_device", ""));
    mem_free(name);
    return op;
}

// The last operator that makes the gradient says which parameter it belongs to.
static void tag_pair(struct block *block, const char *param, const char *grad)
{
    for (size_t i = block->ops_count; i-- > 0;) {
        struct op_desc *op = block->ops[i];
        if (!op_desc_writes(op, grad))
            continue;
        struct str_list pairs = {0};
        str_list_add(&pairs, param);
        str_list_add(&pairs, grad);
        const struct attr *old = op_desc_attr(op, OP_ROLE_VAR_ATTR);
        for (size_t k = 0; old != NULL && k < old->count; k++)
            str_list_add(&pairs, old->strings[k]);
        op_desc_set_strings(op, OP_ROLE_VAR_ATTR, &pairs);
        str_list_deinit(&pairs);
        return;
    }
}

static void append_all(struct pass *p, struct op_desc *loss, const struct str_list *parameters,
                       struct backward_result *out)
{
    op_desc_set_int(loss, OP_ROLE_ATTR, OP_ROLE_FORWARD | OP_ROLE_LOSS);
    append_grad_op(p, make_loss_grad(p, loss));
    for (size_t i = 0; i < p->ops.count; i++)
        append_grad_op(p, p->ops.items[i]);
    p->ops.count = 0;
    for (size_t i = 0; i < parameters->count; i++) {
        char *grad = grad_list_name(parameters->items[i]);
        if (block_var(p->block, grad) != NULL) {
            str_list_add(&out->params, parameters->items[i]);
            str_list_add(&out->grads, grad);
            tag_pair(p->block, parameters->items[i], grad);
        }
        mem_free(grad);
    }
    append_copies(p);
    program_touch(p->program);
}
