// SPDX-License-Identifier: Apache-2.0
// The second phase of a step on a server: numbers that need the other servers.
//
// A block with such numbers is planned in parts. Stage clip: every block runs up to its sums over
// the merged gradient (listen_and_serv names them); the combined sums take the place of this
// piece's, and the clip block makes of them what the blocks read. Stage norms: an update that
// scales its step by norms of the whole parameter (whole_norms.h) runs once on trial for the norms
// of its piece; the combined norms are then an input of its real run. A parameter that is not cut
// needs no trial: its update finds the norms itself. Owner: the loop thread.
#include <string.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/exec/plan.h"
#include "common/ops/whole_norms.h"
#include "common/program/program.h"
#include "common/ps/apply_inside.h"
#include "common/ps/shard.h"
#include "common/wire/message.h"

static int add_sums(struct apply *apply, const struct op_desc *serv, struct err *err);
static void add_slots(struct apply *apply, const struct op_desc *serv);
static struct op_desc *norms_op(const struct apply *apply, const struct block *block,
                                size_t *out_index);
static enum slice_phase phase_of(const struct slice_map *map, int stage);
static int run_sums(struct apply *apply, struct err *err);
static int run_trials(struct apply *apply, struct err *err);
static void add_partial(struct apply_norms *norms, enum message_partial_kind kind, size_t variable,
                        uint32_t slice, double value);
static int take_numbers(struct apply *apply, const struct message_partial *items, size_t count,
                        struct err *err);
static int find_number(const struct apply *apply, enum message_partial_kind kind, size_t variable,
                       double *out, struct err *err);
static int decide_sums(struct apply *apply, struct err *err);
static int decide_norms(struct apply *apply, struct err *err);
static size_t wire_index(const struct slice_map *map, const char *name);
static const struct shard_slice *param_of(const struct apply *apply, const struct op_desc *op);

int apply_norms_stages(const struct slice_map *map)
{
    return ((map->phases & SLICE_PHASE_CLIP) != 0) + ((map->phases & SLICE_PHASE_NORMS) != 0);
}

int apply_norms_partials(struct apply *apply, int stage, const struct message_partial **out,
                         size_t *out_count, struct err *err)
{
    apply->norms.partials_count = 0;
    int rc = apply_begin_step(apply, err);
    apply_rows_bind(apply);
    if (rc >= 0)
        rc = phase_of(apply->shard->map, stage) == SLICE_PHASE_CLIP ? run_sums(apply, err)
                                                                    : run_trials(apply, err);
    *out = apply->norms.partials;
    *out_count = apply->norms.partials_count;
    return rc;
}

int apply_norms_decided(struct apply *apply, int stage, const struct message_partial *items,
                        size_t count, struct err *err)
{
    int rc = take_numbers(apply, items, count, err);
    if (rc < 0)
        return rc;
    return phase_of(apply->shard->map, stage) == SLICE_PHASE_CLIP ? decide_sums(apply, err)
                                                                  : decide_norms(apply, err);
}

int apply_norms_init(struct apply *apply, struct err *err)
{
    const struct slice_map *map = apply->shard->map;
    struct apply_norms *norms = &apply->norms;
    if (!map->phases)
        return 0;
    norms->numbers = mem_must_calloc(2 * map->vars_count + 1, sizeof *norms->numbers);
    norms->known = mem_must_calloc(2 * map->vars_count + 1, sizeof *norms->known);
    const struct op_desc *serv = apply_state_serv(apply->program, err);
    if (map->phases & SLICE_PHASE_NORMS)
        add_slots(apply, serv);
    return map->phases & SLICE_PHASE_CLIP ? add_sums(apply, serv, err) : 0;
}

void apply_norms_deinit(struct apply *apply)
{
    struct apply_norms *norms = &apply->norms;
    plan_free(norms->clip);
    program_free(norms->program);
    mem_free(norms->sums);
    mem_free(norms->partials);
    mem_free(norms->numbers);
    mem_free(norms->known);
}

void apply_norms_part(struct apply *apply, struct apply_block *block)
{
    struct apply_norms *norms = &apply->norms;
    for (size_t i = 0; i < block->desc->ops_count; i++)
        for (size_t k = 0; k < norms->sums_count; k++)
            if (op_desc_writes(block->desc->ops[i], norms->sums[k].name))
                block->sums_end = i + 1;
    const struct op_desc *op = norms->program ? norms_op(apply, block->desc, &block->update) : NULL;
    if (!op)
        return;
    block->whole_norms = apply_temporary(apply, op_desc_input1(op, WHOLE_NORMS_INPUT));
    block->part_norms = apply_temporary(apply, op_desc_output1(op, WHOLE_NORMS_OUTPUT));
}

// ---- the program

static int add_sums(struct apply *apply, const struct op_desc *serv, struct err *err)
{
    struct apply_norms *norms = &apply->norms;
    const struct attr *names = op_desc_attr(serv, "merged_sums");
    const struct attr *grads = op_desc_attr(serv, "merged_sum_grads");
    int64_t clip = op_desc_get_int(serv, "clip_block_id", -1);
    if (!names || !grads || names->type != ATTR_STRINGS || grads->type != ATTR_STRINGS ||
        names->count != grads->count ||
        (clip >= 0 && (clip == 0 || (size_t)clip >= apply->program->blocks_count)))
        return err_set(err, SL_EINVAL,
                       "listen_and_serv: the slice map says that servers clip, but merged_sums, "
                       "merged_sum_grads and clip_block_id do not say how");
    const struct slice_map *map = apply->shard->map;
    const struct dims one = {.rank = 1, .d = {1}};
    norms->sums = mem_must_calloc(names->count + 1, sizeof *norms->sums);
    norms->sums_count = names->count;
    for (size_t i = 0; i < names->count; i++) {
        struct apply_sum *sum = &norms->sums[i];
        sum->name = names->strings[i];
        sum->var = apply_temporary(apply, sum->name);
        sum->variable = wire_index(map, grads->strings[i]);
        if (sum->variable == map->vars_count)
            return err_set(err, SL_EINVAL,
                           "listen_and_serv: merged_sum_grads names %s, which is no "
                           "gradient",
                           grads->strings[i]);
        for (size_t g = 0; g < apply->shard->grads_count; g++)
            if (apply->shard->grads[g]->variable == sum->variable)
                sum->grad = apply->shard->grads[g];
        int rc = tensor_resize(variable_tensor(sum->var), map->vars[sum->variable]->dtype, &one);
        if (rc < 0)
            return err_set(err, rc, "%s: no memory", sum->name);
    }
    return clip > 0 ? apply_plan(apply, program_block(apply->program, (size_t)clip), 0, 0,
                                 &norms->clip, err)
                    : 0;
}

// The updates of cut parameters get the slots of whole_norms.h, in a copy of the program.
static void add_slots(struct apply *apply, const struct op_desc *serv)
{
    const struct attr *listed = op_desc_attr(serv, "optimize_blocks");
    struct program *own = program_clone(apply->program);
    const struct dims pair = {.rank = 1, .d = {2}};
    static const char *const kinds[] = {WHOLE_NORMS_INPUT, WHOLE_NORMS_OUTPUT};
    apply->norms.program = own;
    apply->program = own;
    for (size_t i = 0; listed && i < listed->count; i++) {
        size_t index;
        if (listed->ints[i] <= 0 || (size_t)listed->ints[i] >= own->blocks_count)
            continue;   // make_block says so
        struct op_desc *op = norms_op(apply, program_block(own, (size_t)listed->ints[i]), &index);
        for (size_t k = 0; op && k < 2; k++) {
            char *name = mem_must_printf("%s@%s", op_desc_input1(op, "Param"), kinds[k]);
            struct var_desc *var = var_desc_new(name);
            var->has_tensor = true;
            var->dtype = DTYPE_FP64;
            var->dims = pair;
            block_add_var(program_block(own, 0), var);
            (void)tensor_resize(variable_tensor(apply_temporary(apply, name)), DTYPE_FP64, &pair);
            if (k == 0)
                op_desc_add_input(op, kinds[k], name);
            else
                op_desc_add_output(op, kinds[k], name);
            mem_free(name);
        }
    }
}

// The update of a cut parameter that needs norms of the whole, and its place; NULL: none.
static struct op_desc *norms_op(const struct apply *apply, const struct block *block,
                                size_t *out_index)
{
    for (size_t i = 0; i < block->ops_count; i++) {
        struct op_desc *op = block->ops[i];
        bool scales = str_eq(op->type, "lamb") || str_eq(op->type, "lars_momentum");
        const struct shard_slice *slice = scales ? param_of(apply, op) : NULL;
        if (slice && slice->var->slices_count > 1) {
            *out_index = i;
            return op;
        }
    }
    return NULL;
}

static const struct shard_slice *param_of(const struct apply *apply, const struct op_desc *op)
{
    const char *param = op_desc_input1(op, "Param");
    return param ? shard_by_name(apply->shard, param) : NULL;
}

static size_t wire_index(const struct slice_map *map, const char *name)
{
    size_t v = 0;
    while (v < map->vars_count &&
           !(map->vars[v]->role == SLICE_GRAD && str_eq(map->vars[v]->name, name)))
        v++;
    return v;
}

static enum slice_phase phase_of(const struct slice_map *map, int stage)
{
    return stage == 0 && (map->phases & SLICE_PHASE_CLIP) ? SLICE_PHASE_CLIP : SLICE_PHASE_NORMS;
}

// ---- this server's numbers

static int run_sums(struct apply *apply, struct err *err)
{
    struct apply_norms *norms = &apply->norms;
    for (size_t i = 0; i < apply->blocks_count; i++) {
        struct plan *plan = apply->blocks[i].sums;
        int rc = plan ? plan_run(plan, err) : 0;
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < norms->sums_count; i++) {
        const struct apply_sum *sum = &norms->sums[i];
        const struct tensor *value = variable_tensor(sum->var);
        if (sum->grad)
            add_partial(norms, MESSAGE_SQUARED_NORM, sum->variable, sum->grad->slice,
                        value->dtype == DTYPE_FP64 ? *tensor_f64(value)
                                                   : (double)*tensor_f32(value));
    }
    return 0;
}

static int run_trials(struct apply *apply, struct err *err)
{
    for (size_t i = 0; i < apply->blocks_count; i++) {
        struct apply_block *block = &apply->blocks[i];
        if (!block->trial)
            continue;
        int rc = plan_run(block->trial, err);
        if (rc < 0)
            return rc;
        apply_rows_touch(apply, block);
        const struct shard_slice *slice = param_of(apply, block->desc->ops[block->update]);
        const double *squares = tensor_f64(variable_tensor(block->part_norms));
        add_partial(&apply->norms, MESSAGE_PARAM_SQUARED_NORM, slice->variable, slice->slice,
                    squares[0]);
        add_partial(&apply->norms, MESSAGE_SQUARED_NORM, slice->variable, slice->slice, squares[1]);
    }
    return 0;
}

static void add_partial(struct apply_norms *norms, enum message_partial_kind kind, size_t variable,
                        uint32_t slice, double value)
{
    MEM_GROW(norms->partials, norms->partials_count, norms->partials_cap);
    norms->partials[norms->partials_count++] = (struct message_partial){
        .kind = kind, .variable = (uint32_t)variable, .slice = slice, .value = value};
}

// ---- everybody's numbers

static size_t number_index(enum message_partial_kind kind, size_t variable)
{
    return 2 * variable + (kind == MESSAGE_PARAM_SQUARED_NORM);
}

static int take_numbers(struct apply *apply, const struct message_partial *items, size_t count,
                        struct err *err)
{
    struct apply_norms *norms = &apply->norms;
    size_t vars = apply->shard->map->vars_count;
    memset(norms->known, 0, 2 * vars * sizeof *norms->known);
    for (size_t i = 0; i < count; i++) {
        if (items[i].kind == MESSAGE_NONFINITE)
            continue;
        if (items[i].variable >= vars)
            return err_set(err, SL_EFORMAT, "the trainers' decision names variable %u of %zu",
                           items[i].variable, vars);
        size_t at = number_index(items[i].kind, items[i].variable);
        norms->numbers[at] = items[i].value;
        norms->known[at] = true;
    }
    return 0;
}

static int find_number(const struct apply *apply, enum message_partial_kind kind, size_t variable,
                       double *out, struct err *err)
{
    size_t at = number_index(kind, variable);
    *out = apply->norms.numbers[at];
    if (apply->norms.known[at])
        return 0;
    return err_set(err, SL_EFORMAT, "the trainers' decision has no norm of %s",
                   apply->shard->map->vars[variable]->name);
}

static int decide_sums(struct apply *apply, struct err *err)
{
    struct apply_norms *norms = &apply->norms;
    for (size_t i = 0; i < norms->sums_count; i++) {
        struct tensor *value = variable_tensor(norms->sums[i].var);
        double number;
        int rc = find_number(apply, MESSAGE_SQUARED_NORM, norms->sums[i].variable, &number, err);
        if (rc < 0)
            return rc;
        if (value->dtype == DTYPE_FP64)
            *tensor_f64(value) = number;
        else
            *tensor_f32(value) = (float)number;
    }
    return norms->clip ? plan_run(norms->clip, err) : 0;
}

static int decide_norms(struct apply *apply, struct err *err)
{
    for (size_t i = 0; i < apply->blocks_count; i++) {
        struct apply_block *block = &apply->blocks[i];
        if (!block->trial)
            continue;
        const struct shard_slice *slice = param_of(apply, block->desc->ops[block->update]);
        double *whole = tensor_f64(variable_tensor(block->whole_norms));
        int rc = find_number(apply, MESSAGE_PARAM_SQUARED_NORM, slice->variable, &whole[0], err);
        if (rc >= 0)
            rc = find_number(apply, MESSAGE_SQUARED_NORM, slice->variable, &whole[1], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}
