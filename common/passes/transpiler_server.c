// SPDX-License-Identifier: Apache-2.0
// A server's program. Block 0 declares what the server holds and has one operator, listen_and_serv.
// The learning-rate schedule (if any) is the first of the optimize blocks, then one block a slice:
// sum over the trainers in ascending id, scale by 1/trainers, regularizer, update. With clip_merged
// the clip comes in between; what it does with sums over all gradients is a block of its own, which
// listen_and_serv names beside the sums themselves (ours, Fluid has no such attributes).

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/passes/hash_order.h"
#include "common/passes/op_build.h"
#include "common/passes/transpiler_plan.h"

#define RPC_THREADS 12

struct writer {
    const struct transpiler *t;
    int server;
    struct program *program;
    struct block *global;
    struct str_list inputs;   // of listen_and_serv
    struct str_list grad_to_block, sparse_to_param;
    int64_t *blocks;   // optimize_blocks
    size_t blocks_count, blocks_cap;
    int lr_block, clip_block;
    size_t dc_outputs;   // tmp_dc_output_N made so far
};

static int find_server(const struct transpiler *t, const char *endpoint, struct err *err);
static void declare_slices(struct writer *w);
static void declare_backups(struct writer *w);
static void write_schedule(struct writer *w);
static void write_updates(struct writer *w);
static void write_update_block(struct writer *w, const struct transpiler_pair *pair, int parent);
static void write_clip_block(struct writer *w);
static void write_clip_by_norm(struct writer *w, struct block *block,
                               const struct transpiler_pair *pair, const struct op_desc *op);
static void name_sums(const struct writer *w, struct op_desc *listen);
static void write_listen(struct writer *w);
static size_t dc_outputs_before(const struct transpiler *t, int server);

int transpiler_server_program(const struct transpiler *t, const char *endpoint,
                              struct program **out, struct err *err)
{
    struct writer w = {
        .t = t, .server = find_server(t, endpoint, err), .lr_block = -1, .clip_block = -1};
    if (w.server < 0)
        return w.server;
    w.program = program_new();
    w.global = program_block(w.program, 0);
    w.dc_outputs = dc_outputs_before(t, w.server);
    declare_slices(&w);
    if (t->config.enable_dc_asgd)
        declare_backups(&w);
    write_schedule(&w);
    write_updates(&w);
    write_clip_block(&w);
    write_listen(&w);
    transpiler_plan_stamp(t, w.program, w.server);
    str_list_deinit(&w.inputs);
    str_list_deinit(&w.grad_to_block);
    str_list_deinit(&w.sparse_to_param);
    mem_free(w.blocks);
    *out = w.program;
    return 0;
}

static int find_server(const struct transpiler *t, const char *endpoint, struct err *err)
{
    for (size_t i = 0; i < t->endpoints.count; i++)
        if (str_eq(t->endpoints.items[i], endpoint))
            return (int)i;
    char *all = str_list_join(&t->endpoints, ",");
    int rc = err_set(err, SL_EINVAL, "transpiler: endpoint `%s` is not one of pservers %s",
                     endpoint ? endpoint : "", all);
    mem_free(all);
    return rc;
}

static struct var_desc *declare(struct block *block, const struct var_desc *like, const char *name,
                                const struct dims *dims, bool persistable)
{
    struct var_desc *var = transpiler_plan_var_like(like, name, dims);
    var->persistable = persistable;
    return block_add_var(block, var);
}

// As Fluid's _clone_variable: tensors become persistable, other kinds keep what they are.
static void declare_clone(struct block *block, const struct var_desc *var)
{
    bool tensor = var->kind == VAR_LOD_TENSOR || var->kind == VAR_SELECTED_ROWS;
    declare(block, var, var->name, NULL, tensor || var->persistable);
}

// The pairs in dealing order that have a slice here; NULL ends.
static const struct transpiler_pair *pair_here(const struct writer *w, size_t *at,
                                               const struct transpiler_slice **out)
{
    for (; *at < w->t->count; (*at)++) {
        const struct transpiler_pair *pair = &w->t->pairs[w->t->send_order[*at]];
        *out = transpiler_plan_slice_on(pair, w->server);
        if (*out != NULL) {
            (*at)++;
            return pair;
        }
    }
    return NULL;
}

static void declare_slices(struct writer *w)
{
    const struct block *main = program_block(w->t->main, 0);
    const struct transpiler_slice *slice;
    const struct transpiler_pair *pair;
    for (size_t at = 0; (pair = pair_here(w, &at, &slice)) != NULL;) {
        struct dims dims = transpiler_plan_slice_dims(pair, slice);
        const struct var_desc *grad = block_var(main, pair->grad);
        declare(w->global, block_var(main, pair->param), slice->param, &dims, true);
        declare(w->global, grad, slice->grad, &dims, true);
        if (!w->t->sync_mode)
            str_list_add(&w->inputs, slice->grad);
        for (int i = 0; w->t->sync_mode && i < w->t->trainers; i++) {
            char *name = mem_must_printf("%s.trainer_%d", slice->grad, i);
            declare(w->global, grad, name, &dims, false);
            str_list_add(&w->inputs, name);
            mem_free(name);
        }
    }
}

static void declare_backups(struct writer *w)
{
    const struct transpiler_slice *slice;
    const struct transpiler_pair *pair;
    for (size_t at = 0; (pair = pair_here(w, &at, &slice)) != NULL;) {
        for (int i = 0; i < w->t->trainers; i++) {
            char *name = mem_must_printf("%s.trainer_%d_bak", slice->param, i);
            declare(w->global, block_var(w->global, slice->param), name, NULL, false);
            mem_free(name);
        }
    }
}

static struct block *append_block(struct writer *w, int parent)
{
    return program_append_block(w->program, parent);
}

static struct block *append_optimize_block(struct writer *w, int parent)
{
    struct block *block = append_block(w, parent);
    MEM_GROW(w->blocks, w->blocks_count, w->blocks_cap);
    w->blocks[w->blocks_count++] = block->idx;
    return block;
}

// ---- operators that move from the trainer

// A variable of the single-machine program on this server: the slice of a parameter or gradient, or
// itself, declared when it is new.
static const char *local_name(struct writer *w, const char *name)
{
    const struct transpiler_pair *pair = transpiler_plan_pair_of_param(w->t, name);
    if (pair != NULL && transpiler_plan_slice_on(pair, w->server) != NULL)
        return transpiler_plan_slice_on(pair, w->server)->param;
    pair = transpiler_plan_pair_of_grad(w->t, name);
    if (pair != NULL && transpiler_plan_slice_on(pair, w->server) != NULL)
        return transpiler_plan_slice_on(pair, w->server)->grad;
    const struct var_desc *var = block_var(program_block(w->t->main, 0), name);
    if (var != NULL && block_var(w->global, name) == NULL)
        declare_clone(w->global, var);
    return name;
}

static void localize(struct writer *w, struct op_slot *slots, size_t count)
{
    for (size_t s = 0; s < count; s++) {
        for (size_t i = 0; i < slots[s].args.count; i++) {
            char *name = mem_must_strdup(local_name(w, slots[s].args.items[i]));
            mem_free(slots[s].args.items[i]);
            slots[s].args.items[i] = name;
        }
    }
}

// Trainer 0's names stand in op_role_var.
static void localize_role_var(struct writer *w, struct op_desc *op)
{
    const struct attr *attr = op_desc_attr(op, OP_ROLE_VAR_ATTR);
    struct str_list names = {0};
    for (size_t i = 0; attr != NULL && attr->type == ATTR_STRINGS && i < attr->count; i++) {
        const struct transpiler_pair *pair = transpiler_plan_pair_of_grad(w->t, attr->strings[i]);
        bool whole = pair != NULL && pair->count == 1;
        char *name = whole ? transpiler_plan_suffixed(w->t, attr->strings[i], 0)
                           : mem_must_strdup(attr->strings[i]);
        str_list_add(&names, name);
        mem_free(name);
    }
    op_desc_set_strings(op, OP_ROLE_VAR_ATTR, &names);
    str_list_deinit(&names);
    op_desc_set_string(op, "op_namescope", "/");
}

// An output with the full shape of a sliced input has the slice's shape.
static void shrink_outputs(struct writer *w, const struct op_desc *original,
                           const struct op_desc *op)
{
    const struct block *main = program_block(w->t->main, 0);
    for (size_t s = 0; s < op->inputs_count; s++) {
        for (size_t i = 0; i < op->inputs[s].args.count; i++) {
            const struct var_desc *full = block_var(main, original->inputs[s].args.items[i]);
            const struct var_desc *held = block_var(w->global, op->inputs[s].args.items[i]);
            if (full == NULL || held == NULL || dims_equal(&full->dims, &held->dims))
                continue;
            for (size_t o = 0; o < op->outputs_count; o++) {
                for (size_t k = 0; k < op->outputs[o].args.count; k++) {
                    struct var_desc *out = block_var(w->global, op->outputs[o].args.items[k]);
                    if (out != NULL && dims_equal(&out->dims, &full->dims))
                        out->dims = held->dims;
                }
            }
        }
    }
}

static struct op_desc *move_op(struct writer *w, struct block *block, const struct op_desc *op)
{
    struct op_desc *copy = op_desc_clone(op);
    localize(w, copy->inputs, copy->inputs_count);
    localize(w, copy->outputs, copy->outputs_count);
    localize_role_var(w, copy);
    block_append_op(block, copy);
    if (w->t->config
            .fluid_exact)   // a clip reads the whole gradient, as wide as that is its output
        op_build_infer(block, copy, NULL);
    else
        shrink_outputs(w, op, copy);
    return copy;
}

// ---- learning-rate schedule

static void clone_sub_block(struct writer *w, struct op_desc *op, int parent);

static void clone_sub_vars(struct writer *w, struct block *block, const struct op_slot *slots,
                           size_t count)
{
    for (size_t s = 0; s < count; s++) {
        for (size_t i = 0; i < slots[s].args.count; i++) {
            const struct var_desc *var =
                block_var(program_block(w->t->main, 0), slots[s].args.items[i]);
            if (var != NULL)
                declare_clone(block, var);
        }
    }
}

// Sub-blocks come with their variables and, as in Fluid, with copies of those of block 0 they use.
static void clone_sub_block(struct writer *w, struct op_desc *op, int parent)
{
    const struct attr *attr = op_desc_attr(op, "sub_block");
    if (attr == NULL || attr->i < 0 || (size_t)attr->i >= w->t->main->blocks_count)
        return;
    const struct block *from = program_block(w->t->main, (size_t)attr->i);
    struct block *to = append_block(w, parent);
    struct attr renumbered = *attr;
    renumbered.i = to->idx;
    for (size_t i = 0; i < from->vars_count; i++)
        block_add_var(to, var_desc_clone(from->vars[i]));
    for (size_t i = 0; i < from->ops_count; i++) {
        const struct op_desc *source = from->ops[i];
        clone_sub_vars(w, to, source->inputs, source->inputs_count);
        clone_sub_vars(w, to, source->outputs, source->outputs_count);
        struct op_desc *copy = op_desc_clone(source);
        if (op_desc_attr(copy, "op_namescope") != NULL)
            op_desc_set_string(copy, "op_namescope", "/");
        block_append_op(to, copy);
        clone_sub_block(w, copy, to->idx);
    }
    op_desc_set_attr(op, &renumbered);
}

// In asynchronous mode the counter is the sum of the trainers' counters.
static struct op_desc *sum_counters(struct writer *w, struct block *block, const char *counter)
{
    const struct var_desc *like = block_var(program_block(w->t->main, 0), counter);
    struct op_desc *op = transpiler_plan_op("sum", OP_ROLE_LR_SCHED);
    for (int i = 0; i < w->t->trainers; i++) {
        char *name = mem_must_printf("%s.trainer_%d", counter, i);
        declare(w->global, like, name, NULL, true);
        op_desc_add_input(op, "X", name);
        mem_free(name);
    }
    op_desc_add_output(op, "Out", local_name(w, counter));
    op_desc_set_bool(op, "use_mkldnn", false);
    return block_append_op(block, op);
}

static void write_schedule(struct writer *w)
{
    const struct block *main = program_block(w->t->main, 0);
    const char *counter = transpiler_plan_async_counter(w->t);
    struct block *block = NULL;
    for (size_t i = 0; i < main->ops_count; i++) {
        const struct op_desc *op = main->ops[i];
        if (!transpiler_plan_is_schedule(op))
            continue;
        if (block == NULL) {
            block = append_optimize_block(w, 0);
            w->lr_block = block->idx;
        }
        struct op_desc *moved = counter != NULL && str_eq(op->type, "increment")
                                    ? sum_counters(w, block, counter)
                                    : move_op(w, block, op);
        clone_sub_block(w, moved, block->idx);
    }
}

// ---- updates

static void write_updates(struct writer *w)
{
    const struct block *main = program_block(w->t->main, 0);
    int parent = (int)w->program->blocks_count - 1;
    for (size_t i = 0; i < main->ops_count; i++) {
        const struct op_desc *op = main->ops[i];
        if (!transpiler_plan_is_optimize(w->t, i) || !transpiler_plan_is_update(w->t, op))
            continue;
        const struct transpiler_pair *pair =
            transpiler_plan_pair_of_param(w->t, op_desc_input1(op, "Param"));
        if (pair != NULL && transpiler_plan_slice_on(pair, w->server) != NULL)
            write_update_block(w, pair, parent);
    }
    if (w->blocks_count == 0)
        append_optimize_block(w, (int)w->program->blocks_count - 1);
}

static void merge_gradients(struct writer *w, struct block *block,
                            const struct transpiler_slice *slice)
{
    struct op_desc *sum = transpiler_plan_op("sum", OP_ROLE_FORWARD);
    for (int i = 0; i < w->t->trainers; i++) {
        char *name = mem_must_printf("%s.trainer_%d", slice->grad, i);
        op_desc_add_input(sum, "X", name);
        mem_free(name);
    }
    op_desc_add_output(sum, "Out", slice->grad);
    op_desc_set_bool(sum, "use_mkldnn", false);
    block_append_op(block, sum);

    struct op_desc *scale = transpiler_plan_op("scale", OP_ROLE_FORWARD);
    op_desc_add_input(scale, "X", slice->grad);
    op_desc_add_input(scale, "ScaleTensor", NULL);
    op_desc_add_output(scale, "Out", slice->grad);
    op_desc_set_float(scale, "scale", (float)(1.0 / (double)w->t->trainers));
    op_desc_set_float(scale, "bias", 0.0f);
    op_desc_set_bool(scale, "bias_after_scale", true);
    block_append_op(block, scale);
}

static struct op_desc *elementwise(const char *type, const char *x, const char *y, const char *out)
{
    struct op_desc *op = transpiler_plan_op(type, OP_ROLE_FORWARD);
    op_desc_add_input(op, "X", x);
    op_desc_add_input(op, "Y", y);
    op_desc_add_output(op, "Out", out);
    op_desc_set_int(op, "axis", -1);
    op_desc_set_bool(op, "use_mkldnn", false);
    op_desc_set_string(op, "x_data_format", "");
    op_desc_set_string(op, "y_data_format", "");
    return op;
}

static char *dc_output(struct writer *w, struct block *block, const struct var_desc *like)
{
    char *name = mem_must_printf("tmp_dc_output_%zu", w->dc_outputs++);
    declare(block, like, name, NULL, false);
    return name;
}

// Delay compensation: grad + (param - param as the trainer knew it) * grad * grad. mem_free the
// result.
static char *compensate(struct writer *w, struct block *block, const struct transpiler_slice *slice)
{
    const struct var_desc *param = block_var(w->global, slice->param);
    char *known = mem_must_printf("%s.local_bak", slice->param);
    declare(block, param, known, NULL, false);
    const struct dims one = {.rank = 1, .d = {1}};
    struct var_desc *id = declare(block, param, "@TRAINER_ID@", &one, false);
    id->dtype = DTYPE_INT64;

    struct op_desc *ref = transpiler_plan_op("ref_by_trainer_id", OP_ROLE_FORWARD);
    for (int i = 0; i < w->t->trainers; i++) {
        char *backup = mem_must_printf("%s.trainer_%d_bak", slice->param, i);
        op_desc_add_input(ref, "X", backup);
        mem_free(backup);
    }
    op_desc_add_input(ref, "TrainerId", "@TRAINER_ID@");
    op_desc_add_output(ref, "Out", known);
    block_append_op(block, ref);

    char *out[4];
    for (int i = 0; i < 4; i++)
        out[i] = dc_output(w, block, param);
    block_append_op(block, elementwise("elementwise_sub", slice->param, known, out[0]));
    block_append_op(block, elementwise("elementwise_mul", out[0], slice->grad, out[1]));
    block_append_op(block, elementwise("elementwise_mul", out[1], slice->grad, out[2]));
    block_append_op(block, elementwise("elementwise_add", slice->grad, out[2], out[3]));
    for (int i = 0; i < 3; i++)
        mem_free(out[i]);
    mem_free(known);
    return out[3];
}

static void set_arg(struct op_slot *slot, const char *name)
{
    char *copy = mem_must_strdup(name);
    mem_free(slot->args.items[0]);
    slot->args.items[0] = copy;
}

// The accumulators of an update, in the slice's shape where they are cut.
static void declare_states(struct writer *w, const struct transpiler_pair *pair,
                           const struct transpiler_slice *slice, const struct op_desc *op)
{
    const struct block *main = program_block(w->t->main, 0);
    struct dims cut = transpiler_plan_slice_dims(pair, slice);
    for (size_t s = 0; s < op->inputs_count; s++) {
        const char *slot = op->inputs[s].name;
        if (str_eq(slot, "Param") || str_eq(slot, "Grad") || op->inputs[s].args.count == 0)
            continue;
        const char *name = op->inputs[s].args.items[0];
        const struct var_desc *var = block_var(main, name);
        if (var == NULL || (str_eq(slot, "LearningRate") && block_var(w->global, name) != NULL))
            continue;
        bool is_cut = transpiler_plan_is_cut(w->t, pair, op, slot, name);
        declare(w->global, var, name, is_cut ? &cut : NULL, var->persistable);
    }
}

// A regularizer of selected rows gives a dense gradient under a name of its own, made by an
// operator that moved here before the update; 1.8.5 tells it from a clipped one by its suffix.
static bool decayed(const struct writer *w, const struct transpiler_pair *pair,
                    const struct op_desc *update)
{
    const char *grad = op_desc_input1(update, "Grad");
    return grad != NULL && !str_eq(grad, pair->grad) && block_var(w->global, grad) != NULL &&
           (!w->t->config.fluid_exact || strstr(grad, "@NEWGRAD@") != NULL);
}

static void move_update(struct writer *w, struct block *block, const struct transpiler_pair *pair,
                        const struct op_desc *op)
{
    const struct transpiler_slice *slice = transpiler_plan_slice_on(pair, w->server);
    char *grad = w->t->config.enable_dc_asgd ? compensate(w, block, slice)
                 : w->t->clips != NULL || decayed(w, pair, op)
                     ? mem_must_strdup(local_name(w, op_desc_input1(op, "Grad")))
                     : mem_must_strdup(slice->grad);
    declare_states(w, pair, slice, op);
    struct op_desc *copy = op_desc_clone(op);
    set_arg(op_desc_input(copy, "Param"), slice->param);
    set_arg(op_desc_output(copy, "ParamOut"), slice->param);
    if (op_desc_input(copy, "Grad") != NULL)
        set_arg(op_desc_input(copy, "Grad"), grad);
    localize_role_var(w, copy);
    block_append_op(block, copy);
    if (block_var(w->global, grad) != NULL && block_var(w->global, grad)->kind == VAR_SELECTED_ROWS)
        str_list_addf(&w->sparse_to_param, "%s:%s", grad, slice->param);
    mem_free(grad);
}

static void write_update_block(struct writer *w, const struct transpiler_pair *pair, int parent)
{
    const struct block *main = program_block(w->t->main, 0);
    const struct transpiler_slice *slice = transpiler_plan_slice_on(pair, w->server);
    struct block *block = append_optimize_block(w, parent);
    str_list_addf(&w->grad_to_block, "%s:%d", slice->grad, block->idx);
    if (w->t->sync_mode)
        merge_gradients(w, block, slice);
    for (size_t i = 0; i < main->ops_count; i++) {
        const struct op_desc *op = main->ops[i];
        if (!transpiler_plan_is_optimize(w->t, i) ||
            !str_eq(transpiler_plan_role_var(op, 0), pair->param) ||
            (w->t->clips != NULL && w->t->clips[i] == TRANSPILER_CLIP_SUMS))
            continue;
        if (transpiler_plan_is_update(w->t, op))
            move_update(w, block, pair, op);
        else if (w->t->clips != NULL && w->t->clips[i] == TRANSPILER_CLIP_PIECE &&
                 str_eq(op->type, "clip_by_norm") && pair->count > 1)
            write_clip_by_norm(w, block, pair, op);
        else
            move_op(w, block, op);
    }
}

// ---- clip of the merged gradient

static void write_clip_block(struct writer *w)
{
    const struct block *main = program_block(w->t->main, 0);
    struct block *block = NULL;
    for (size_t i = 0; w->t->clips != NULL && i < main->ops_count; i++) {
        if (w->t->clips[i] != TRANSPILER_CLIP_SUMS)
            continue;
        if (block == NULL) {
            block = append_block(w, 0);
            w->clip_block = block->idx;
        }
        move_op(w, block, main->ops[i]);
    }
}

// The sum of squares that a clip_by_norm of a cut gradient needs. mem_free it.
static char *squares_name(const struct op_desc *clip)
{
    return mem_must_printf("%s@SQUARES", op_desc_output1(clip, "Out"));
}

static struct op_desc *simple_op(const char *type, const char *x, const char *out)
{
    struct op_desc *op = transpiler_plan_op(type, OP_ROLE_OPTIMIZE);
    if (x != NULL)
        op_desc_add_input(op, "X", x);
    op_desc_add_output(op, "Out", out);
    return op;
}

// Selected rows with each row once: their values are what a norm counts. Gives names of both.
static void write_merged_rows(struct writer *w, struct block *block, const struct var_desc *like,
                              const char *grad, const char *rows, const char *values)
{
    declare(w->global, like, rows, NULL, false);
    declare(w->global, like, values, NULL, false)->kind = VAR_LOD_TENSOR;
    block_append_op(block, simple_op("merge_selected_rows", grad, rows));
    block_append_op(block, simple_op("get_tensor_from_selected_rows", rows, values));
}

// clip_by_norm in steps: the sum of squares on this piece; (the servers add up;) then the factor
// max_norm / max(max_norm, norm) times the piece.
static void write_clip_by_norm(struct writer *w, struct block *block,
                               const struct transpiler_pair *pair, const struct op_desc *op)
{
    const struct transpiler_slice *slice = transpiler_plan_slice_on(pair, w->server);
    const struct var_desc *like = block_var(w->global, slice->grad);
    const struct dims one = {.rank = 1, .d = {1}};
    const char *out = local_name(w, op_desc_output1(op, "Out"));
    static const char *const steps[] = {"SQUARE", "NORM", "BOUND", "MAX",
                                        "FACTOR", "ROWS", "VALUES"};
    char *names[7], *squares = squares_name(op);
    const char *grad = local_name(w, op_desc_input1(op, "X"));
    block_var(w->global, out)->dims = like->dims;
    for (size_t i = 0; i < 7; i++) {
        names[i] = mem_must_printf("%s@%s", out, steps[i]);
        if (i < 5)
            declare(w->global, like, names[i], i == 0 ? NULL : &one, false)->kind = VAR_LOD_TENSOR;
    }
    declare(w->global, like, squares, &one, false)->kind = VAR_LOD_TENSOR;
    if (pair->sparse)
        write_merged_rows(w, block, like, grad, names[5], names[6]);
    grad = pair->sparse ? names[5] : grad;
    block_append_op(block, simple_op("square", pair->sparse ? names[6] : grad, names[0]));
    struct op_desc *sum = block_append_op(block, simple_op("reduce_sum", names[0], squares));
    op_desc_set_ints(sum, "dim", (const int64_t[]){0}, 1);
    op_desc_set_bool(sum, "keep_dim", false);
    op_desc_set_bool(sum, "reduce_all", true);
    block_append_op(block, simple_op("sqrt", squares, names[1]));
    struct op_desc *bound = block_append_op(block, simple_op("fill_constant", NULL, names[2]));
    op_desc_set_longs(bound, "shape", one.d, 1);
    op_desc_set_int(bound, "dtype", like->dtype);
    op_desc_set_float(bound, "value", op_desc_get_float(op, "max_norm", 1));
    block_append_op(block, elementwise("elementwise_max", names[2], names[1], names[3]));
    block_append_op(block, elementwise("elementwise_div", names[2], names[3], names[4]));
    block_append_op(block, elementwise("elementwise_mul", grad, names[4], out));
    for (size_t i = 0; i < 7; i++)
        mem_free(names[i]);
    mem_free(squares);
}

// The variables whose values the servers add up, of all gradients of the job, and the gradients.
static void name_sums(const struct writer *w, struct op_desc *listen)
{
    const struct block *main = program_block(w->t->main, 0);
    struct str_list sums = {0}, grads = {0};
    for (size_t i = 0; i < main->ops_count; i++) {
        const struct op_desc *op = main->ops[i];
        if (w->t->clips[i] == TRANSPILER_CLIP_NONE || w->t->clips[i] == TRANSPILER_CLIP_SUMS)
            continue;
        const struct transpiler_pair *pair =
            transpiler_plan_pair_of_param(w->t, transpiler_plan_role_var(op, 0));
        bool steps = str_eq(op->type, "clip_by_norm") && pair->count > 1;
        if (!steps && w->t->clips[i] != TRANSPILER_CLIP_ADD)
            continue;
        char *name = steps ? squares_name(op) : mem_must_strdup(op->outputs[0].args.items[0]);
        str_list_add(&sums, name);
        str_list_add(&grads, pair->grad);
        mem_free(name);
    }
    op_desc_set_strings(listen, "merged_sums", &sums);
    op_desc_set_strings(listen, "merged_sum_grads", &grads);
    op_desc_set_int(listen, "clip_block_id", w->clip_block);
    str_list_deinit(&sums);
    str_list_deinit(&grads);
}

// Fluid counts these names over all the servers' programs that one process makes.
static size_t dc_outputs_before(const struct transpiler *t, int server)
{
    size_t slices = 0;
    for (size_t i = 0; i < t->count; i++)
        for (size_t k = 0; k < t->pairs[i].count; k++)
            slices += t->pairs[i].slices[k].server < server;
    return 4 * slices;
}

static void write_listen(struct writer *w)
{
    const struct transpiler_config *config = &w->t->config;
    int mode = config->sync_mode ? 0 : config->runtime_split_send_recv ? 1 : 2;
    struct op_desc *op = transpiler_plan_op("listen_and_serv", OP_ROLE_FORWARD);
    struct str_list none = {0};
    for (size_t i = 0; i < w->inputs.count; i++)
        op_desc_add_input(op, "X", w->inputs.items[i]);
    if (w->inputs.count == 0)
        op_desc_add_input(op, "X", NULL);
    hash_order_sort(&w->grad_to_block);
    op_desc_set_string(op, "endpoint", w->t->endpoints.items[w->server]);
    op_desc_set_int(op, "pserver_id", w->server);
    op_desc_set_int(op, "Fanin", w->t->trainers);
    op_desc_set_int(op, "distributed_mode", mode);
    op_desc_set_blocks(op, "optimize_blocks", w->blocks, w->blocks_count);
    op_desc_set_strings(op, "grad_to_block_id", &w->grad_to_block);
    op_desc_set_strings(op, "sparse_grad_to_param", &w->sparse_to_param);
    op_desc_set_strings(op, "prefetch_var_name_to_block_id", &none);
    op_desc_set_int(op, "lr_decay_block_id", w->lr_block);
    op_desc_set_int(op, "checkpint_block_id", -1);
    op_desc_set_bool(op, "dc_asgd", config->enable_dc_asgd);
    op_desc_set_int(op, "rpc_get_thread_num", RPC_THREADS);
    op_desc_set_int(op, "rpc_send_thread_num", RPC_THREADS);
    op_desc_set_int(op, "rpc_prefetch_thread_num", RPC_THREADS);
    if ((w->t->slices.phases & SLICE_PHASE_CLIP) != 0)
        name_sums(w, op);
    block_append_op(w->global, op);
}
