// SPDX-License-Identifier: Apache-2.0
// The trainer's program: forward and backward as they were; behind the operator that makes a
// gradient comes (split and) send; at the end the barriers, one recv a parameter, concat of cut
// ones. Optimize and schedule operators and what only they use are gone.

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/passes/transpiler_plan.h"

struct writer {
    const struct transpiler *t;
    int trainer_id;
    struct program *program;
    struct block *block;
    const char **send_deps;         // per pair: the control variable of its send
    const struct op_desc **moved;   // operators that the servers run instead
    size_t moved_count;
};

static void mark_server_ops(struct writer *w);
static void drop_server_ops(struct writer *w);
static void prepare_slices(struct writer *w);
static void rename_everywhere(struct block *block, const char *from, const char *to);
static void add_sends(struct writer *w);
static void send_pair(struct writer *w, size_t index);
static void send_counter(struct writer *w, struct str_list *deps);
static const char *add_send_barrier(struct writer *w, const struct str_list *deps, const char *out);
static void add_recvs(struct writer *w, const char *barrier);
static void drop_server_vars(struct writer *w);

int transpiler_trainer_program(const struct transpiler *t, int trainer_id, struct program **out,
                               struct err *err)
{
    if (trainer_id < 0 || trainer_id >= t->trainers)
        return err_set(err, SL_EINVAL, "transpiler: trainer_id %d is not one of 0..%d", trainer_id,
                       t->trainers - 1);
    struct writer w = {.t = t, .trainer_id = trainer_id, .program = program_clone(t->main)};
    w.block = program_block(w.program, 0);
    w.send_deps = mem_must_calloc(t->count + 1, sizeof *w.send_deps);
    mark_server_ops(&w);
    prepare_slices(&w);
    add_sends(&w);
    drop_server_ops(&w);
    drop_server_vars(&w);
    int rc = transpiler_tables_prefetch(t, w.block, trainer_id, err);
    mem_free(w.send_deps);
    mem_free(w.moved);
    if (rc < 0) {
        program_free(w.program);
        return rc;
    }
    transpiler_plan_stamp(t, w.program, -1);
    *out = w.program;
    return 0;
}

// Indices of the plan are those of the input's block 0, so this runs first. Clip stays, as
// backward.
static void mark_server_ops(struct writer *w)
{
    w->moved = mem_must_calloc(w->block->ops_count + 1, sizeof *w->moved);
    for (size_t i = 0; i < w->block->ops_count; i++) {
        struct op_desc *op = w->block->ops[i];
        if (w->t->on_trainer[i])
            op_desc_set_int(op, OP_ROLE_ATTR, OP_ROLE_BACKWARD);
        else if (transpiler_plan_is_optimize(w->t, i) || transpiler_plan_is_schedule(op))
            w->moved[w->moved_count++] = op;
    }
}

// After the sends are in: their places are counted with these operators still there (a send stands
// behind the regularizer that wrote the gradient last).
static void drop_server_ops(struct writer *w)
{
    for (size_t i = w->block->ops_count; i-- > 0 && w->moved_count > 0;) {
        if (w->block->ops[i] != w->moved[w->moved_count - 1])
            continue;
        block_remove_op(w->block, i);
        w->moved_count--;
    }
}

static void prepare_slices(struct writer *w)
{
    for (size_t i = 0; i < w->t->count; i++) {
        const struct transpiler_pair *pair = &w->t->pairs[i];
        if (pair->count == 1) {
            char *name = transpiler_plan_suffixed(w->t, pair->grad, w->trainer_id);
            if (!str_eq(name, pair->grad))
                rename_everywhere(w->block, pair->grad, name);
            mem_free(name);
            continue;
        }
        for (size_t k = 0; k < pair->count; k++) {
            const struct transpiler_slice *slice = &pair->slices[k];
            struct dims dims = transpiler_plan_slice_dims(pair, slice);
            char *grad = transpiler_plan_suffixed(w->t, slice->grad, w->trainer_id);
            const struct var_desc *p = block_var(w->block, pair->param);
            const struct var_desc *g = block_var(w->block, pair->grad);
            block_add_var(w->block, transpiler_plan_var_like(p, slice->param, &dims));
            block_add_var(w->block, transpiler_plan_var_like(g, grad, &dims));
            mem_free(grad);
        }
    }
}

static void rename_role_var(struct op_desc *op, const char *from, const char *to)
{
    const struct attr *attr = op_desc_attr(op, OP_ROLE_VAR_ATTR);
    if (attr == NULL || attr->type != ATTR_STRINGS)
        return;
    struct str_list names = {0};
    for (size_t i = 0; i < attr->count; i++)
        str_list_add(&names, str_eq(attr->strings[i], from) ? to : attr->strings[i]);
    op_desc_set_strings(op, OP_ROLE_VAR_ATTR, &names);
    str_list_deinit(&names);
}

static void rename_everywhere(struct block *block, const char *from, const char *to)
{
    struct var_desc *renamed = transpiler_plan_var_like(block_var(block, from), to, NULL);
    block_remove_var(block, from);
    block_add_var(block, renamed);
    for (size_t i = 0; i < block->ops_count; i++) {
        op_desc_rename_input(block->ops[i], from, to);
        op_desc_rename_output(block->ops[i], from, to);
        rename_role_var(block->ops[i], from, to);
    }
}

static void add_sends(struct writer *w)
{
    struct str_list deps = {0};
    for (size_t i = 0; i < w->t->count; i++) {
        send_pair(w, w->t->send_order[i]);
        str_list_add(&deps, w->send_deps[w->t->send_order[i]]);
    }
    const char *barrier = transpiler_plan_control_var(w->block);
    send_counter(w, &deps);
    barrier = add_send_barrier(w, &deps, barrier);
    add_recvs(w, barrier);
    str_list_deinit(&deps);
}

// The last operator that writes the gradient; -1 when none does (Fluid then begins in front).
static int64_t last_writer(const struct block *block, const char *name)
{
    for (size_t i = block->ops_count; i-- > 0;)
        if (op_desc_writes(block->ops[i], name))
            return (int64_t)i;
    return -1;
}

static struct op_desc *make_split(const struct writer *w, const struct transpiler_pair *pair)
{
    struct op_desc *op =
        transpiler_plan_op(pair->sparse ? "split_selected_rows" : "split_byref", OP_ROLE_DIST);
    int64_t *sections = mem_must_calloc(pair->count, sizeof *sections);
    op_desc_add_input(op, "X", pair->grad);
    for (size_t k = 0; k < pair->count; k++) {
        char *name = transpiler_plan_suffixed(w->t, pair->slices[k].grad, w->trainer_id);
        op_desc_add_output(op, "Out", name);
        mem_free(name);
        sections[k] = pair->slices[k].rows;
    }
    if (pair->sparse) {
        op_desc_set_longs(op, "height_sections", sections, pair->count);
    } else {
        op_desc_set_ints(op, "sections", sections, pair->count);
        op_desc_set_int(op, "num", 0);
    }
    mem_free(sections);
    return op;
}

static struct op_desc *make_send(struct writer *w)
{
    struct op_desc *op = transpiler_plan_op("send", OP_ROLE_RPC);
    struct str_list none = {0};
    op_desc_set_ints(op, "sections", NULL, 0);
    op_desc_set_strings(op, "send_varnames", &none);
    op_desc_set_int(op, "num", 0);
    op_desc_set_bool(op, "merge_add", false);
    op_desc_set_bool(op, "use_send_handler", true);
    op_desc_set_int(op, "trainer_id", 0);
    op_desc_add_output(op, "Out", transpiler_plan_control_var(w->block));
    return op;
}

static void set_role_pair(struct op_desc *op, const char *first, const char *second)
{
    struct str_list pair = {0};
    str_list_add(&pair, first);
    str_list_add(&pair, second);
    op_desc_set_strings(op, OP_ROLE_VAR_ATTR, &pair);
    str_list_deinit(&pair);
}

// With runtime_split_send_recv the whole gradient is handed to send, which cuts it itself.
static void set_runtime_split(struct op_desc *op, const struct transpiler_pair *pair)
{
    struct str_list names = {0};
    int64_t *sections = mem_must_calloc(pair->count, sizeof *sections);
    for (size_t k = 0; k < pair->count; k++) {
        str_list_add(&names, pair->slices[k].grad);
        sections[k] = pair->slices[k].rows;
    }
    op_desc_set_ints(op, "sections", sections, pair->count);
    op_desc_set_strings(op, "send_varnames", &names);
    mem_free(sections);
    str_list_deinit(&names);
}

static void send_pair(struct writer *w, size_t index)
{
    const struct transpiler_pair *pair = &w->t->pairs[index];
    bool runtime = w->t->config.runtime_split_send_recv;
    char *whole = pair->count == 1 ? transpiler_plan_suffixed(w->t, pair->grad, w->trainer_id)
                                   : mem_must_strdup(pair->grad);
    size_t at = (size_t)(last_writer(w->block, whole) + 1);
    if (pair->count > 1 && !runtime)
        block_insert_op(w->block, at++, make_split(w, pair));
    struct op_desc *op = make_send(w);
    for (size_t k = 0; k < pair->count && !runtime; k++) {
        char *name = transpiler_plan_suffixed(w->t, pair->slices[k].grad, w->trainer_id);
        op_desc_add_input(op, "X", name);
        mem_free(name);
    }
    if (runtime) {
        op_desc_add_input(op, "X", whole);
        set_runtime_split(op, pair);
    }
    transpiler_plan_set_endpoints(w->t, op, "epmap", pair->slices, pair->count);
    set_role_pair(op, pair->param, whole);
    block_insert_op(w->block, at, op);
    w->send_deps[index] = op_desc_output1(op, "Out");
    mem_free(whole);
}

// An asynchronous schedule counts the rounds of all trainers: each sends its own counter.
static void send_counter(struct writer *w, struct str_list *deps)
{
    const char *counter = transpiler_plan_async_counter(w->t);
    if (counter == NULL)
        return;
    const struct var_desc *like = block_var(w->block, counter);
    for (int i = 0; i < w->t->trainers; i++) {
        char *name = mem_must_printf("%s.trainer_%d", counter, i);
        struct var_desc *var = transpiler_plan_var_like(like, name, NULL);
        var->persistable = like->persistable;
        block_add_var(w->block, var);
        mem_free(name);
    }
    char *own = mem_must_printf("%s.trainer_%d", counter, w->trainer_id);
    struct op_desc *op = make_send(w);
    op_desc_add_input(op, "X", own);
    op_desc_set_strings(op, "epmap", &w->t->endpoints);
    op_desc_set_bool(op, "merge_add", true);
    op_desc_set_bool(op, "use_send_handler", false);
    if (w->t->config.runtime_split_send_recv) {
        struct str_list names = {0};
        str_list_add(&names, own);
        op_desc_set_strings(op, "send_varnames", &names);
        str_list_deinit(&names);
    }
    set_role_pair(op, own, own);
    str_list_add(deps, op_desc_output1(op, "Out"));
    block_append_op(w->block, op);
    mem_free(own);
}

static const char *add_send_barrier(struct writer *w, const struct str_list *deps, const char *out)
{
    bool half = w->t->config.runtime_split_send_recv && w->t->config.half_async;
    if (!w->t->sync_mode && !half)
        return NULL;
    struct op_desc *op = transpiler_plan_op("send_barrier", OP_ROLE_RPC);
    for (size_t i = 0; i < deps->count; i++)
        op_desc_add_input(op, "X", deps->items[i]);
    op_desc_add_output(op, "Out", out);
    op_desc_set_strings(op, "endpoints", &w->t->endpoints);
    op_desc_set_int(op, "trainer_id", w->trainer_id);
    op_desc_set_bool(op, "half_async", !w->t->sync_mode);
    block_append_op(w->block, op);
    return w->t->sync_mode ? out : NULL;
}

static void add_recvs(struct writer *w, const char *barrier)
{
    bool runtime = w->t->config.runtime_split_send_recv;
    struct str_list received = {0};
    for (size_t i = 0; i < w->t->count; i++) {
        const struct transpiler_pair *pair = &w->t->pairs[i];
        if (pair->remote)
            continue;
        struct op_desc *op = transpiler_plan_recv(w->t, pair, w->trainer_id,
                                                  barrier ? barrier : w->send_deps[i], runtime);
        char *grad = pair->count == 1 ? transpiler_plan_suffixed(w->t, pair->grad, w->trainer_id)
                                      : mem_must_strdup(pair->grad);
        set_role_pair(op, pair->param, grad);
        mem_free(grad);
        for (size_t k = 0; k < op_desc_output(op, "Out")->args.count; k++)
            str_list_add(&received, op_desc_output(op, "Out")->args.items[k]);
        block_append_op(w->block, op);
    }
    if (w->t->sync_mode) {
        struct op_desc *op = transpiler_plan_op("fetch_barrier", OP_ROLE_RPC);
        op_desc_add_input(op, "X", barrier);
        for (size_t i = 0; i < received.count; i++)
            op_desc_add_output(op, "Out", received.items[i]);
        op_desc_set_strings(op, "endpoints", &w->t->endpoints);
        op_desc_set_int(op, "trainer_id", w->trainer_id);
        block_append_op(w->block, op);
    }
    for (size_t i = 0; i < w->t->count && !runtime; i++)
        if (w->t->pairs[i].count > 1 && !w->t->pairs[i].remote)
            block_append_op(w->block, transpiler_plan_concat(&w->t->pairs[i], OP_ROLE_DIST));
    str_list_deinit(&received);
}

static void drop_server_vars(struct writer *w)
{
    struct str_list names = {0};
    transpiler_plan_server_only(w->t, &names);
    for (size_t i = 0; i < names.count; i++)
        if (block_var(w->block, names.items[i]) != NULL)
            block_remove_var(w->block, names.items[i]);
    str_list_deinit(&names);
}
