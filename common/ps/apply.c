// SPDX-License-Identifier: Apache-2.0
// See apply.h. A block is planned once for the whole slice and, when it can be cut, twice more for
// windows (a full one and the last one), whose variables are moved along the slice before each run.
// Invariant: a cell is folded at most once a step (folded), and only after apply_begin_step.
// Does not decide when: round and handler do. Owner: the loop thread; with workers, a block's job
// has that block's plans and variables to itself.
#include "common/ps/apply.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/base/workers.h"
#include "common/exec/plan.h"
#include "common/ops/op.h"
#include "common/program/program.h"
#include "common/ps/apply_inside.h"
#include "common/ps/round.h"
#include "common/ps/shard.h"
#include "common/ps/state.h"
#include "common/tensor/variable.h"

static int make_slots(struct apply *apply, struct err *err);
static int make_block(struct apply *apply, struct apply_block *block, int64_t index,
                      struct err *err);
static int plan_parts(struct apply *apply, struct apply_block *block, struct err *err);
static void find_grad(struct apply *apply, struct apply_block *block);
static bool can_split(const struct apply *apply, const struct apply_block *block);
static bool fits_window(const struct apply *apply, const struct apply_block *block,
                        const char *name);
static int make_window(struct apply *apply, struct apply_block *block, struct apply_window *window,
                       uint64_t elements, struct err *err);
static struct variable *bind_window_other(void *self, const char *name, bool write, bool written);
static struct variable *bind_window_state(void *self, struct state_entry *entry, bool next);
static struct variable *temporary(struct map *map, const char *name);
static void mark_written(struct apply *apply, const struct block *desc);
static int fold_cell(struct apply_block *block, uint32_t cell, struct err *err);
static int finish_block(struct apply_block *block, struct err *err);
static void finish_job(void *arg);
static void end_step(struct apply *apply);
static void free_window(struct apply_window *window);
static void free_variables(struct map *map);

int apply_new(const struct apply_options *options, struct apply **out, struct err *err)
{
    const struct op_desc *serv = apply_state_serv(options->program, err);
    if (!serv)
        return err ? err->code : SL_EINVAL;
    struct apply *apply = MEM_NEW(struct apply);
    apply->program = options->program;
    apply->shard = options->shard;
    apply->state = options->state;
    apply->round = options->round;
    apply->workers = options->workers;
    map_init(&apply->temporaries);
    int rc = make_slots(apply, err);
    if (rc >= 0)
        rc = apply_norms_init(apply, err);
    const struct attr *listed = op_desc_attr(serv, "optimize_blocks");
    size_t count = listed ? listed->count : 0;
    int64_t lr_index = op_desc_get_int(serv, "lr_decay_block_id", -1);
    apply->blocks = mem_must_calloc(count + 1, sizeof *apply->blocks);
    apply->by_grad = mem_must_calloc(options->shard->grads_count + 1, sizeof(struct apply_block *));
    if (rc >= 0 && lr_index >= 0) {
        apply->lr = MEM_NEW(struct apply_block);
        rc = make_block(apply, apply->lr, lr_index, err);
    }
    for (size_t i = 0; rc >= 0 && i < count; i++) {
        if (listed->ints[i] == lr_index)
            continue;
        struct apply_block *block = &apply->blocks[apply->blocks_count++];
        rc = make_block(apply, block, listed->ints[i], err);
        if (rc >= 0 && block->split)
            apply->by_grad[block->grad->grad] = block;
    }
    if (rc < 0) {
        apply_free(apply);
        return rc;
    }
    *out = apply;
    return 0;
}

void apply_free(struct apply *apply)
{
    if (!apply)
        return;
    for (size_t i = 0; i <= apply->blocks_count; i++) {
        struct apply_block *block = i < apply->blocks_count ? &apply->blocks[i] : apply->lr;
        if (!block)
            continue;
        plan_free(block->plan);
        plan_free(block->sums);
        plan_free(block->trial);
        plan_free(block->rest);
        free_window(&block->full);
        free_window(&block->tail);
        mem_free(block->folded);
        mem_free(block->touches);
    }
    size_t trainers = (size_t)round_trainers(apply->round);
    for (size_t i = 0; apply->slots && i < apply->shard->grads_count * trainers; i++)
        apply_rows_free(apply->slots[i], apply->shard->grads[i / trainers]->sparse);
    apply_norms_deinit(apply);
    free_variables(&apply->temporaries);
    mem_free(apply->slots);
    mem_free(apply->lr);
    mem_free(apply->blocks);
    mem_free(apply->by_grad);
    mem_free(apply);
}

int apply_fold(struct apply *apply, int grad, uint32_t first, uint32_t cells, struct err *err)
{
    struct apply_block *block = apply->by_grad[grad];
    if (!block || apply->workers)
        return 0;
    uint64_t start = 0;
    for (uint32_t c = first; c < first + cells; c++) {
        if (block->folded[c] || !round_cell_ready(apply->round, grad, c))
            continue;
        if (!start)
            start = clock_now_ns();
        int rc = apply_begin_step(apply, err);
        if (rc == SL_EBUSY)
            return 0;
        if (rc >= 0)
            rc = fold_cell(block, c, err);
        if (rc < 0)
            return rc;
    }
    if (start)
        apply->ns += clock_now_ns() - start;
    return 0;
}

int apply_finish(struct apply *apply, struct err *err)
{
    uint64_t start = clock_now_ns();
    int rc = apply_begin_step(apply, err);
    if (rc < 0)
        return rc;
    apply_rows_bind(apply);
    for (size_t i = 0; i < apply->blocks_count; i++) {
        struct apply_block *block = &apply->blocks[i];
        if (apply->workers) {
            workers_submit(apply->workers, finish_job, NULL, block);
        } else {
            rc = finish_block(block, err);
            if (rc < 0)
                return rc;
        }
    }
    if (apply->workers) {
        workers_wait(apply->workers);
        for (size_t i = 0; i < apply->blocks_count; i++)
            if (apply->blocks[i].rc < 0)
                return err_set(err, apply->blocks[i].rc, "%s", apply->blocks[i].err.text);
    }
    for (size_t i = 0; i < apply->blocks_count; i++)
        apply_rows_touch(apply, &apply->blocks[i]);
    state_commit(apply->state);
    end_step(apply);
    apply->ns += clock_now_ns() - start;
    return 0;
}

int apply_skip(struct apply *apply, struct err *err)
{
    int rc = state_begin(apply->state, err);
    if (rc < 0)
        return rc;
    state_skip(apply->state);
    end_step(apply);
    return 0;
}

uint64_t apply_ns(const struct apply *apply)
{
    return apply->ns;
}

// ---- planning

static int make_slots(struct apply *apply, struct err *err)
{
    size_t grads = apply->shard->grads_count, trainers = (size_t)round_trainers(apply->round);
    apply->slots = mem_must_calloc(grads * trainers + 1, sizeof(struct variable *));
    for (size_t g = 0; g < grads; g++) {
        for (size_t t = 0; t < trainers; t++) {
            int rc = apply_rows_slot(apply, apply->shard->grads[g], (int)t,
                                     &apply->slots[g * trainers + t], err);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

int apply_plan(struct apply *apply, const struct block *block, size_t first, size_t last,
               struct plan **out, struct err *err)
{
    struct plan_binder other = {.bind = apply_bind, .self = apply};
    struct state_binder self = {.state = apply->state, .other = &other};
    struct plan_binder binder = state_plan_binder(&self);
    return plan_new(block, first, last, &binder, NULL, 0, out, err);
}

// As a whole, or in the parts between which the second phase stands. Each part reads version v of
// what it writes, so the trial of an update leaves nothing behind.
static int plan_parts(struct apply *apply, struct apply_block *block, struct err *err)
{
    apply_norms_part(apply, block);
    size_t sums_end = block->sums_end, update = block->update;
    if (!sums_end && !update)
        return apply_plan(apply, block->desc, 0, 0, &block->plan, err);
    int rc = sums_end ? apply_plan(apply, block->desc, 0, sums_end, &block->sums, err) : 0;
    if (rc >= 0 && update)
        rc = apply_plan(apply, block->desc, sums_end, update + 1, &block->trial, err);
    if (rc >= 0)
        rc = apply_plan(apply, block->desc, update ? update : sums_end, 0, &block->rest, err);
    return rc;
}

static int make_block(struct apply *apply, struct apply_block *block, int64_t index,
                      struct err *err)
{
    if (index <= 0 || (size_t)index >= apply->program->blocks_count)
        return err_set(err, SL_EINVAL, "listen_and_serv: there is no block %lld", (long long)index);
    block->apply = apply;
    block->desc = program_block(apply->program, (size_t)index);
    map_init(&block->full.by_name);
    map_init(&block->tail.by_name);
    find_grad(apply, block);
    int rc = plan_parts(apply, block, err);
    if (rc >= 0 && block->plan && can_split(apply, block)) {
        uint64_t elements = block->grad->bytes / dtype_bytes(block->grad->dtype);
        uint64_t window = apply->shard->cell_bytes / dtype_bytes(block->grad->dtype);
        block->split = true;
        block->cells = shard_cells(apply->shard, block->grad);
        block->folded = mem_must_calloc(block->cells, 1);
        if (elements >= window)
            rc = make_window(apply, block, &block->full, window, err);
        if (rc >= 0 && elements % window)
            rc = make_window(apply, block, &block->tail, elements % window, err);
    }
    if (rc >= 0)
        apply_rows_find(apply, block);
    if (rc >= 0)
        mark_written(apply, block->desc);
    return rc;
}

// The gradient that the block reads, when it is one.
static void find_grad(struct apply *apply, struct apply_block *block)
{
    bool several = false;
    for (size_t i = 0; i < block->desc->ops_count; i++) {
        const struct op_desc *op = block->desc->ops[i];
        for (size_t s = 0; s < op->inputs_count; s++) {
            for (size_t a = 0; a < op->inputs[s].args.count; a++) {
                int trainer;
                const struct shard_slice *grad =
                    shard_grad_by_name(apply->shard, op->inputs[s].args.items[a], &trainer);
                several = several || (grad && block->grad && grad != block->grad);
                if (grad)
                    block->grad = grad;
            }
        }
    }
    if (several)
        block->grad = NULL;
}

static bool can_split(const struct apply *apply, const struct apply_block *block)
{
    const struct shard_slice *grad = block->grad;
    if (!grad || grad->sparse || !grad->bytes || apply->by_grad[grad->grad] ||
        apply->shard->cell_bytes % dtype_bytes(grad->dtype))
        return false;
    for (size_t i = 0; i < block->desc->ops_count; i++) {
        const struct op_desc *op = block->desc->ops[i];
        const struct op_def *def = op_table_find(op->type);
        if (!def || !def->row_splittable || op_desc_attr(op, "sub_block"))
            return false;
        for (size_t s = 0; s < op->inputs_count + op->outputs_count; s++) {
            const struct op_slot *slot =
                s < op->inputs_count ? &op->inputs[s] : &op->outputs[s - op->inputs_count];
            for (size_t a = 0; a < slot->args.count; a++)
                if (!fits_window(apply, block, slot->args.items[a]))
                    return false;
        }
    }
    return true;
}

// May the name be a run of the slice's elements, or one element that every window reads whole?
static bool fits_window(const struct apply *apply, const struct apply_block *block,
                        const char *name)
{
    if (str_eq(name, "@EMPTY@"))
        return true;
    int trainer;
    const struct shard_slice *grad = shard_grad_by_name(apply->shard, name, &trainer);
    if (grad)
        return grad == block->grad;
    const struct state_entry *entry = state_find(apply->state, name);
    if (entry)
        return (entry->dtype == block->grad->dtype &&
                dims_equal(&entry->dims, &block->grad->dims)) ||
               dims_product(&entry->dims, 0, entry->dims.rank) == 1;
    const struct var_desc *var = block_find_var(block->desc, name);
    return var && var->kind == VAR_LOD_TENSOR && var->dtype == (int)block->grad->dtype &&
           dims_equal(&var->dims, &block->grad->dims);
}

static int make_window(struct apply *apply, struct apply_block *block, struct apply_window *window,
                       uint64_t elements, struct err *err)
{
    window->elements = elements;
    apply->planning = block;
    apply->window = window;
    struct plan_binder other = {.bind = bind_window_other, .self = apply};
    struct state_binder self = {
        .state = apply->state, .other = &other, .view = bind_window_state, .view_self = apply};
    struct plan_binder binder = state_plan_binder(&self);
    int rc = plan_new(block->desc, 0, 0, &binder, NULL, 0, &window->plan, err);
    apply->planning = NULL;
    apply->window = NULL;
    return rc;
}

// Gradient slots and temporaries of whole blocks.
struct variable *apply_bind(void *self, const char *name, bool write, bool written)
{
    struct apply *apply = self;
    int trainer, trainers = round_trainers(apply->round);
    const struct shard_slice *grad = shard_grad_by_name(apply->shard, name, &trainer);
    if (grad && trainer < 0 && trainers == 1 && !write && !written)
        trainer = 0;
    if (grad && trainer >= 0 && trainer < trainers && !write)
        return apply->slots[(size_t)grad->grad * (size_t)trainers + (size_t)trainer];
    return temporary(&apply->temporaries, name);
}

static struct apply_view *add_view(struct apply_window *window, const char *key,
                                   const struct shard_slice *slice, void *data)
{
    struct apply_view *view = MEM_NEW(struct apply_view);
    view->trainer = -1;
    struct dims dims = {.rank = 1, .d = {(int64_t)window->elements}};
    tensor_borrow(variable_tensor(&view->var), slice->dtype, &dims, data,
                  (size_t)window->elements * dtype_bytes(slice->dtype));
    MEM_GROW(window->views, window->views_count, window->views_cap);
    window->views[window->views_count++] = view;
    map_set(&window->by_name, key, view);
    return view;
}

static struct variable *bind_window_other(void *self, const char *name, bool write, bool written)
{
    struct apply *apply = self;
    struct apply_window *window = apply->window;
    int trainer, trainers = round_trainers(apply->round);
    const struct shard_slice *grad = shard_grad_by_name(apply->shard, name, &trainer);
    if (grad && trainer < 0 && trainers == 1 && !write && !written)
        trainer = 0;
    if (grad && trainer >= 0 && trainer < trainers && !write) {
        char *key = mem_must_printf("slot %d", trainer);
        struct apply_view *view = map_get(&window->by_name, key);
        if (!view) {
            view = add_view(window, key, grad, round_slot(apply->round, trainer, grad->grad));
            view->trainer = trainer;
        }
        mem_free(key);
        return &view->var;
    }
    struct variable *made = !write && !written ? map_get(&apply->temporaries, name) : NULL;
    if (made)   // by another block: the learning rate, also where a slice has one element too
        return made;
    char *key = mem_must_printf("temporary %s", name);
    struct apply_view *view = map_get(&window->by_name, key);
    if (!view) {
        const struct shard_slice *slice = apply->planning->grad;
        view = add_view(window, key, slice, NULL);
        struct dims dims = {.rank = 1, .d = {(int64_t)window->elements}};
        variable_deinit(&view->var);
        variable_init(&view->var);
        if (tensor_resize(variable_tensor(&view->var), slice->dtype, &dims) < 0)
            view = NULL;
    }
    mem_free(key);
    return view ? &view->var : NULL;
}

static struct variable *bind_window_state(void *self, struct state_entry *entry, bool next)
{
    struct apply *apply = self;
    const struct shard_slice *slice = apply->planning->grad;
    if (!dims_equal(&entry->dims, &slice->dims))
        return next ? &entry->next : &entry->now;   // one element, whole in every window
    char *key = mem_must_printf("%s %s", next ? "next" : "now", entry->name);
    struct apply_view *view = map_get(&apply->window->by_name, key);
    if (!view) {
        view = add_view(apply->window, key, slice,
                        variable_tensor(next ? &entry->next : &entry->now)->data);
        view->entry = entry;
        view->next = next;
    }
    mem_free(key);
    return &view->var;
}

struct variable *apply_temporary(struct apply *apply, const char *name)
{
    return temporary(&apply->temporaries, name);
}

static struct variable *temporary(struct map *map, const char *name)
{
    struct variable *var = map_get(map, name);
    if (!var) {
        var = MEM_NEW(struct variable);
        variable_init(var);
        map_set(map, name, var);
    }
    return var;
}

static void mark_written(struct apply *apply, const struct block *desc)
{
    struct map writes;
    map_init(&writes);
    apply_state_writes(apply->program, desc, false, &writes);
    for (const struct map_entry *e = map_first(&writes); e; e = map_next(e))
        state_end_block(apply->state, map_key(e));
    map_deinit(&writes);
}

// ---- running

// The other bank is ready and the learning rate of the step is computed.
int apply_begin_step(struct apply *apply, struct err *err)
{
    if (apply->begun)
        return 0;
    int rc = state_begin(apply->state, err);
    if (rc >= 0 && apply->lr)
        rc = plan_run(apply->lr->plan, err);
    apply->begun = rc >= 0;
    return rc;
}

static int fold_cell(struct apply_block *block, uint32_t cell, struct err *err)
{
    struct apply *apply = block->apply;
    uint64_t offset = (uint64_t)cell * apply->shard->cell_bytes;
    bool last = block->grad->bytes - offset < apply->shard->cell_bytes;
    struct apply_window *window = last ? &block->tail : &block->full;
    for (size_t i = 0; i < window->views_count; i++) {
        struct apply_view *view = window->views[i];
        uint8_t *base;
        if (view->entry)
            base = variable_tensor(view->next ? &view->entry->next : &view->entry->now)->data;
        else if (view->trainer >= 0)
            base = round_slot(apply->round, view->trainer, block->grad->grad);
        else
            continue;
        variable_tensor(&view->var)->data = base + offset;
    }
    int rc = plan_run(window->plan, err);
    block->folded[cell] = 1;
    block->folded_count++;
    return rc;
}

static int finish_block(struct apply_block *block, struct err *err)
{
    if (!block->split)
        return plan_run(block->plan ? block->plan : block->rest, err);
    for (uint32_t c = 0; block->folded_count < block->cells && c < block->cells; c++) {
        if (block->folded[c])
            continue;
        int rc = fold_cell(block, c, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void finish_job(void *arg)
{
    struct apply_block *block = arg;
    block->rc = finish_block(block, &block->err);
}

static void end_step(struct apply *apply)
{
    apply->begun = false;
    for (size_t i = 0; i < apply->blocks_count; i++) {
        struct apply_block *block = &apply->blocks[i];
        if (block->split)
            memset(block->folded, 0, block->cells);
        block->folded_count = 0;
    }
}

static void free_window(struct apply_window *window)
{
    plan_free(window->plan);
    for (size_t i = 0; i < window->views_count; i++) {
        variable_deinit(&window->views[i]->var);
        mem_free(window->views[i]);
    }
    mem_free(window->views);
    map_deinit(&window->by_name);
}

static void free_variables(struct map *map)
{
    for (const struct map_entry *e = map_first(map); e; e = map_next(e)) {
        variable_deinit(map_value(e));
        mem_free(map_value(e));
    }
    map_deinit(map);
}
