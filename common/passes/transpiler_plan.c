// SPDX-License-Identifier: Apache-2.0
// Decides: which parameters are updated, how they are cut, which server gets which slice, which
// optimize operators stay on the trainer (gradient clip).
//
// Cutting: n = min(servers, max(1, elements / min_block_size)) slices of ceil(elements / n)
// elements, rounded up to whole rows. Dealing: round robin over all slices in sending order, or by
// a hash of the slice's parameter name, so that a parameter and its gradient meet on one server.
// Roles: names are looked up in these tables, never taken apart; `tmp.block1.w` is a good name.

#include "common/passes/transpiler_plan.h"

#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/passes/np_shuffle.h"
#include "common/passes/op_build.h"

static uint32_t infer_seed(const struct program *startup);
static void find_trainer_ops(struct transpiler *t);
static int find_pairs(struct transpiler *t, struct err *err);
static int add_pair(struct transpiler *t, const char *param, const char *grad, struct err *err);
static void cut(const struct transpiler *t, struct transpiler_pair *pair);
static void deal(struct transpiler *t);

int transpiler_plan_make(struct transpiler *t, struct err *err)
{
    t->on_trainer =
        mem_must_calloc(program_block(t->main, 0)->ops_count + 1, sizeof *t->on_trainer);
    if (t->main->random_seed == 0)
        t->main->random_seed = infer_seed(t->startup);
    if (!t->config.fluid_exact)
        find_trainer_ops(t);
    if (t->config.clip_merged)
        transpiler_clip_take(t);
    int rc = find_pairs(t, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < t->count; i++)
        cut(t, &t->pairs[i]);
    rc = transpiler_clip_judge(t, err);
    if (rc < 0)
        return rc;
    deal(t);
    rc = transpiler_tables_find(t, err);
    return rc < 0 ? rc : transpiler_slices_make(t, err);
}

void transpiler_plan_deinit(struct transpiler *t)
{
    for (size_t i = 0; i < t->count; i++) {
        for (size_t k = 0; k < t->pairs[i].count; k++) {
            mem_free(t->pairs[i].slices[k].param);
            mem_free(t->pairs[i].slices[k].grad);
        }
        mem_free(t->pairs[i].slices);
        mem_free(t->pairs[i].param);
        mem_free(t->pairs[i].grad);
    }
    mem_free(t->pairs);
    mem_free(t->send_order);
    mem_free(t->on_trainer);
    mem_free(t->clips);
    str_list_deinit(&t->faked);
}

bool transpiler_plan_is_optimize(const struct transpiler *t, size_t op)
{
    return op_desc_role(program_block(t->main, 0)->ops[op]) == OP_ROLE_OPTIMIZE &&
           !t->on_trainer[op];
}

// 1.8.5 asks for a LearningRate and so overlooks Adadelta: its servers would update nothing.
bool transpiler_plan_is_update(const struct transpiler *t, const struct op_desc *op)
{
    if (op_desc_input1(op, "Param") == NULL)
        return false;
    bool updates = op_desc_input1(op, "Grad") != NULL && op_desc_output1(op, "ParamOut") != NULL;
    return op_desc_input1(op, "LearningRate") != NULL || (updates && !t->config.fluid_exact);
}

bool transpiler_plan_is_schedule(const struct op_desc *op)
{
    int role = op_desc_role(op);
    return role == OP_ROLE_LR_SCHED || role == (OP_ROLE_LR_SCHED | OP_ROLE_OPTIMIZE);
}

const char *transpiler_plan_role_var(const struct op_desc *op, size_t i)
{
    const struct attr *attr = op_desc_attr(op, OP_ROLE_VAR_ATTR);
    return attr != NULL && attr->type == ATTR_STRINGS && i < attr->count ? attr->strings[i] : NULL;
}

const struct transpiler_pair *transpiler_plan_pair_of_param(const struct transpiler *t,
                                                            const char *param)
{
    for (size_t i = 0; i < t->count; i++)
        if (str_eq(t->pairs[i].param, param))
            return &t->pairs[i];
    return NULL;
}

const struct transpiler_pair *transpiler_plan_pair_of_grad(const struct transpiler *t,
                                                           const char *grad)
{
    for (size_t i = 0; i < t->count; i++)
        if (str_eq(t->pairs[i].grad, grad))
            return &t->pairs[i];
    return NULL;
}

const struct transpiler_slice *transpiler_plan_slice_on(const struct transpiler_pair *pair,
                                                        int server)
{
    for (size_t i = 0; i < pair->count; i++)
        if (pair->slices[i].server == server)
            return &pair->slices[i];
    return NULL;
}

struct dims transpiler_plan_slice_dims(const struct transpiler_pair *pair,
                                       const struct transpiler_slice *slice)
{
    struct dims dims = pair->dims;
    if (pair->count > 1)
        dims.d[0] = slice->rows;
    return dims;
}

char *transpiler_plan_suffixed(const struct transpiler *t, const char *name, int trainer_id)
{
    return t->suffix ? mem_must_printf("%s.trainer_%d", name, trainer_id) : mem_must_strdup(name);
}

const char *transpiler_plan_async_counter(const struct transpiler *t)
{
    if (t->sync_mode)
        return NULL;
    const struct block *block = program_block(t->main, 0);
    for (size_t i = 0; i < block->ops_count; i++)
        if (transpiler_plan_is_schedule(block->ops[i]) && str_eq(block->ops[i]->type, "increment"))
            return op_desc_output1(block->ops[i], "Out");
    return NULL;
}

void transpiler_plan_server_only(const struct transpiler *t, struct str_list *out)
{
    const struct block *block = program_block(t->main, 0);
    struct map kept, seen;
    map_init(&kept);
    map_init(&seen);
    for (size_t i = 0; i < block->ops_count; i++)
        for (size_t k = 0; transpiler_plan_is_optimize(t, i) &&
                           transpiler_plan_role_var(block->ops[i], k) != NULL;
             k++)
            map_set(&kept, transpiler_plan_role_var(block->ops[i], k), &kept);
    for (size_t i = 0; i < t->count; i++)
        map_set(&kept, t->pairs[i].grad, &kept);
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        for (size_t s = 0; transpiler_plan_is_optimize(t, i) && s < op->inputs_count; s++) {
            for (size_t k = 0; k < op->inputs[s].args.count; k++) {
                const char *name = op->inputs[s].args.items[k];
                if (map_get(&kept, name) != NULL || map_get(&seen, name) != NULL)
                    continue;
                map_set(&seen, name, &seen);
                str_list_add(out, name);
            }
        }
    }
    map_deinit(&seen);
    map_deinit(&kept);
}

// An accumulator has the parameter's shape and is cut with it; beta powers and the like have
// another one and stay whole. In 1.8.5's text the MeanGrad of a plain (not centered) RMSProp stays
// whole too.
bool transpiler_plan_is_cut(const struct transpiler *t, const struct transpiler_pair *pair,
                            const struct op_desc *op, const char *slot, const char *var)
{
    const struct var_desc *desc = block_var(program_block(t->main, 0), var);
    if (pair->count <= 1 || desc == NULL || !dims_equal(&desc->dims, &pair->dims))
        return false;
    bool unused = str_eq(op->type, "rmsprop") && str_eq(slot, "MeanGrad") &&
                  !op_desc_get_int(op, "centered", 0);
    return !unused;
}

void transpiler_plan_stamp(const struct transpiler *t, struct program *program, int server)
{
    program->random_seed = t->main->random_seed;
    program->server = server;
    program->slices = MEM_NEW(struct slice_map);
    slice_map_copy(program->slices, &t->slices);
    program_touch(program);
}

// ---- operators and variables

struct op_desc *transpiler_plan_op(const char *type, int role)
{
    struct op_desc *op = op_desc_new(type);
    op_build_common(op, role);
    return op;
}

void transpiler_plan_set_endpoints(const struct transpiler *t, struct op_desc *op, const char *attr,
                                   const struct transpiler_slice *slices, size_t count)
{
    struct str_list list = {0};
    for (size_t i = 0; i < count; i++)
        str_list_add(&list, t->endpoints.items[slices[i].server]);
    op_desc_set_strings(op, attr, &list);
    str_list_deinit(&list);
}

struct op_desc *transpiler_plan_recv(const struct transpiler *t, const struct transpiler_pair *pair,
                                     int trainer_id, const char *dep, bool whole)
{
    struct op_desc *op = transpiler_plan_op("recv", OP_ROLE_RPC);
    struct str_list names = {0}, none = {0};
    op_desc_add_input(op, "X", dep);
    for (size_t i = 0; i < pair->count; i++) {
        str_list_add(&names, pair->slices[i].param);
        if (!whole)
            op_desc_add_output(op, "Out", pair->slices[i].param);
    }
    if (whole)
        op_desc_add_output(op, "Out", pair->param);
    transpiler_plan_set_endpoints(t, op, "epmap", pair->slices, pair->count);
    op_desc_set_strings(op, "recv_varnames", whole ? &names : &none);
    op_desc_set_strings(op, "varnames", &none);
    op_desc_set_int(op, "trainer_id", trainer_id);
    op_desc_set_int(op, "do_not_run", 0);
    op_desc_set_bool(op, "with_barrier", true);
    str_list_deinit(&names);
    return op;
}

struct op_desc *transpiler_plan_concat(const struct transpiler_pair *pair, int role)
{
    struct op_desc *op = transpiler_plan_op("concat", role);
    for (size_t i = 0; i < pair->count; i++)
        op_desc_add_input(op, "X", pair->slices[i].param);
    op_desc_add_input(op, "AxisTensor", NULL);
    op_desc_add_output(op, "Out", pair->param);
    op_desc_set_int(op, "axis", 0);
    op_desc_set_bool(op, "use_mkldnn", false);
    op_desc_set_bool(op, "use_quantizer", false);
    return op;
}

struct var_desc *transpiler_plan_var_like(const struct var_desc *like, const char *name,
                                          const struct dims *dims)
{
    struct var_desc *var = var_desc_clone(like);
    mem_free(var->name);
    var->name = mem_must_strdup(name);
    if (dims != NULL)
        var->dims = *dims;
    var->has_persistable = true;
    var->persistable = false;
    var->is_parameter = false;
    return var;
}

const char *transpiler_plan_control_var(struct block *block)
{
    char *name = NULL;
    for (size_t n = 0; name == NULL; n++) {
        name = mem_must_printf("__control_var@%zu", n);
        if (block_var(block, name) != NULL) {
            mem_free(name);
            name = NULL;
        }
    }
    struct var_desc *var = var_desc_new(name);
    var->has_tensor = false;
    mem_free(name);
    return block_add_var(block, var)->name;
}

// ---- deciding

// A program read from a file does not tell its random seed. Initializers without a seed of their
// own carry it: the seed that most of them have.
static uint32_t infer_seed(const struct program *startup)
{
    const struct block *block = program_block(startup, 0);
    int64_t best = 0;
    size_t best_count = 0;
    for (size_t i = 0; i < block->ops_count; i++) {
        int64_t seed = op_desc_get_int(block->ops[i], "seed", 0);
        size_t count = 0;
        for (size_t j = 0; seed > 0 && j < block->ops_count; j++)
            count += op_desc_get_int(block->ops[j], "seed", 0) == seed;
        if (count > best_count) {
            best = seed;
            best_count = count;
        }
    }
    return (uint32_t)best;
}

static void add_outputs(struct map *names, const struct op_desc *op)
{
    for (size_t s = 0; s < op->outputs_count; s++)
        for (size_t k = 0; k < op->outputs[s].args.count; k++)
            map_set(names, op->outputs[s].args.items[k], names);
}

static bool reads_any(const struct op_desc *op, const struct map *names)
{
    for (size_t s = 0; s < op->inputs_count; s++)
        for (size_t k = 0; k < op->inputs[s].args.count; k++)
            if (map_get(names, op->inputs[s].args.items[k]) != NULL)
                return true;
    return false;
}

// Names that optimize operators make of parameters, the parameters included: a regularizer's.
static void find_decays(const struct transpiler *t, struct map *out)
{
    const struct block *block = program_block(t->main, 0);
    for (size_t i = 0; i < block->ops_count; i++)
        if (op_desc_role(block->ops[i]) == OP_ROLE_OPTIMIZE &&
            transpiler_plan_is_update(t, block->ops[i]))
            map_set(out, op_desc_input1(block->ops[i], "Param"), out);
    for (size_t i = 0; i < block->ops_count; i++)
        if (op_desc_role(block->ops[i]) == OP_ROLE_OPTIMIZE &&
            !transpiler_plan_is_update(t, block->ops[i]) && reads_any(block->ops[i], out))
            add_outputs(out, block->ops[i]);
}

// What an operator that is no update does for the updates.
enum gradient_op { GRADIENT_NOTHING, GRADIENT_CLIP, GRADIENT_DECAY };

// A regularizer writes the gradient in place or, for selected rows, reads the parameter; a clip
// does neither.
static enum gradient_op gradient_op(const struct op_desc *op, const struct map *needed,
                                    const struct map *decays)
{
    bool makes = false;
    for (size_t s = 0; s < op->outputs_count; s++)
        for (size_t k = 0; k < op->outputs[s].args.count; k++) {
            const char *name = op->outputs[s].args.items[k];
            if (op_desc_reads(op, name))
                return GRADIENT_NOTHING;
            makes = makes || map_get(needed, name) != NULL;
        }
    return !makes ? GRADIENT_NOTHING : reads_any(op, decays) ? GRADIENT_DECAY : GRADIENT_CLIP;
}

// Operators with the optimize role that only make gradients (clip) stay on the trainer: those that
// an update's Grad needs and that no gradient of the backward pass stands for. Walked backwards.
static void find_trainer_ops(struct transpiler *t)
{
    const struct block *block = program_block(t->main, 0);
    struct map made, needed, decays;   // made by the backward pass; needed by an update
    map_init(&made);
    map_init(&needed);
    map_init(&decays);
    find_decays(t, &decays);
    for (size_t i = 0; i < block->ops_count; i++)
        if ((op_desc_role(block->ops[i]) & OP_ROLE_OPTIMIZE) == 0)
            add_outputs(&made, block->ops[i]);
    for (size_t i = block->ops_count; i-- > 0;) {
        const struct op_desc *op = block->ops[i];
        if (op_desc_role(op) != OP_ROLE_OPTIMIZE)
            continue;
        bool update = transpiler_plan_is_update(t, op);
        enum gradient_op what = update ? GRADIENT_NOTHING : gradient_op(op, &needed, &decays);
        t->on_trainer[i] = what == GRADIENT_CLIP;
        for (size_t s = 0; s < op->inputs_count; s++)
            for (size_t k = 0; k < op->inputs[s].args.count; k++) {
                const char *name = op->inputs[s].args.items[k];
                bool wanted = update ? str_eq(op->inputs[s].name, "Grad")
                                     : what == GRADIENT_CLIP ||
                                           (what == GRADIENT_DECAY && !map_get(&decays, name));
                if (wanted && map_get(&made, name) == NULL)
                    map_set(&needed, name, t);
            }
    }
    map_deinit(&decays);
    map_deinit(&needed);
    map_deinit(&made);
}

static bool is_frozen(const struct var_desc *var)
{
    return var->is_parameter && !var->trainable;
}

static int find_pairs(struct transpiler *t, struct err *err)
{
    const struct block *block = program_block(t->main, 0);
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        const char *param = transpiler_plan_role_var(op, 0);
        const char *grad = transpiler_plan_role_var(op, 1);
        if (!transpiler_plan_is_optimize(t, i) || param == NULL || grad == NULL)
            continue;
        if (transpiler_plan_pair_of_param(t, param) != NULL)
            continue;
        int rc = add_pair(t, param, transpiler_clip_source(t, grad), err);
        if (rc < 0)
            return err_prefix(err, "transpiler: block 0 op %zu `%s`", i, op->type);
    }
    if (t->count == 0)
        return err_set(err, SL_EINVAL,
                       "transpiler: the program has no optimizer operators: call minimize first");
    return 0;
}

static int add_pair(struct transpiler *t, const char *param, const char *grad, struct err *err)
{
    const struct block *block = program_block(t->main, 0);
    const struct var_desc *p = block_var(block, param), *g = block_var(block, grad);
    if (p == NULL || g == NULL)
        return err_set(err, SL_EINVAL, "op_role_var names `%s`, which is not a variable of block 0",
                       p ? grad : param);
    if (is_frozen(p))
        return 0;
    uint64_t elements;
    if (p->dims.rank < 1 || !dims_count(&p->dims, 1, &elements) || elements == 0) {
        char text[DIMS_TEXT_MAX];
        return err_set(err, SL_EINVAL, "parameter `%s` has shape %s, which cannot be cut", param,
                       dims_format(&p->dims, text));
    }
    t->pairs = mem_must_realloc(t->pairs, (t->count + 1) * sizeof *t->pairs);
    t->pairs[t->count++] = (struct transpiler_pair){
        .param = mem_must_strdup(param), .grad = mem_must_strdup(grad), .dims = p->dims};
    return 0;
}

static void cut(const struct transpiler *t, struct transpiler_pair *pair)
{
    int64_t elements = dims_product(&pair->dims, 0, pair->dims.rank);
    int64_t width = dims_product(&pair->dims, 1, pair->dims.rank);
    int64_t pieces = elements / t->config.min_block_size;
    int64_t servers = t->config.slice_var_up ? (int64_t)t->endpoints.count : 1;
    if (pieces < 1)
        pieces = 1;
    if (pieces > servers)
        pieces = servers;
    int64_t piece = (elements + pieces - 1) / pieces;
    int64_t rows = (piece + width - 1) / width;
    pieces = (pair->dims.d[0] + rows - 1) / rows;
    pair->slices = mem_must_calloc((size_t)pieces, sizeof *pair->slices);
    pair->count = (size_t)pieces;
    for (int64_t i = 0; i < pieces; i++) {
        struct transpiler_slice *slice = &pair->slices[i];
        slice->row = i * rows;
        slice->rows = pair->dims.d[0] - slice->row < rows ? pair->dims.d[0] - slice->row : rows;
        slice->param = pieces == 1 ? mem_must_strdup(pair->param)
                                   : mem_must_printf("%s.block%lld", pair->param, (long long)i);
        slice->grad = pieces == 1 ? mem_must_strdup(pair->grad)
                                  : mem_must_printf("%s.block%lld", pair->grad, (long long)i);
    }
}

// FNV-1a: small, and the same in every process.
static uint64_t hash_name(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
    return hash;
}

static void deal_by_hash(const struct transpiler *t, struct transpiler_pair *pair)
{
    int servers = (int)t->endpoints.count;
    for (size_t k = 0; k < pair->count; k++) {
        int server = (int)(hash_name(pair->slices[k].param) % (uint64_t)servers);
        for (size_t j = 0; j < k; j++) {   // at most one slice of a parameter a server
            if (pair->slices[j].server == server) {
                server = (server + 1) % servers;
                j = (size_t)-1;
            }
        }
        pair->slices[k].server = server;
    }
}

static void deal(struct transpiler *t)
{
    t->send_order = mem_must_calloc(t->count + 1, sizeof *t->send_order);
    for (size_t i = 0; i < t->count; i++)
        t->send_order[i] = i;
    if (!t->config.slice_var_up)
        np_shuffle_order(t->main->random_seed, t->send_order, t->count);
    int next = 0;
    for (size_t i = 0; i < t->count; i++) {
        struct transpiler_pair *pair = &t->pairs[t->send_order[i]];
        if (t->config.split_method == TRANSPILER_HASH_NAME) {
            deal_by_hash(t, pair);
            continue;
        }
        for (size_t k = 0; k < pair->count; k++) {
            pair->slices[k].server = next;
            next = (next + 1) % (int)t->endpoints.count;
        }
    }
}
