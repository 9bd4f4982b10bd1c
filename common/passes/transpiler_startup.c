// SPDX-License-Identifier: Apache-2.0
// Start-up programs. A trainer's fills what it keeps, then receives the servers' values over the
// parameters; remote tables stay without values. A server's fills its own slices: the operators of
// the single-machine start-up program whose output lives on this server, with the slice's name and
// shape; or, to begin as one machine does, the operator as it is and its rows cut out of a
// temporary, or, for random numbers, the operator told how many numbers lie before the slice.

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/passes/transpiler_plan.h"

static void drop_server_only(const struct transpiler *t, struct block *block);
static void add_counters(const struct transpiler *t, struct block *block);
static void receive_all(const struct transpiler *t, struct block *block, int trainer_id);
static void add_server_op(const struct transpiler *t, struct block *block, const struct op_desc *op,
                          int server);
static const char *name_on_server(const struct transpiler *t, const struct block *block,
                                  const char *name, int server);
static void fill_backups(const struct transpiler *t, struct block *block, int server);

int transpiler_startup_trainer(const struct transpiler *t, int trainer_id, struct program **out,
                               struct err *err)
{
    if (trainer_id < 0 || trainer_id >= t->trainers)
        return err_set(err, SL_EINVAL, "transpiler: trainer_id %d is not one of 0..%d", trainer_id,
                       t->trainers - 1);
    struct program *program = program_clone(t->startup);
    struct block *block = program_block(program, 0);
    add_counters(t, block);
    receive_all(t, block, trainer_id);
    drop_server_only(t, block);
    transpiler_tables_fake(t, block);
    transpiler_plan_stamp(t, program, -1);
    *out = program;
    return 0;
}

int transpiler_startup_server(const struct transpiler *t, const char *endpoint,
                              struct program **out, struct err *err)
{
    struct program *server = NULL;
    int rc = transpiler_server_program(t, endpoint, &server, err);
    if (rc < 0)
        return rc;
    struct program *program = program_new();
    struct block *block = program_block(program, 0);
    const struct block *held = program_block(server, 0);
    for (size_t i = 0; i < held->vars_count; i++) {
        struct var_desc *var = var_desc_clone(held->vars[i]);
        var->has_persistable = true;
        var->persistable =
            var->persistable || var->kind == VAR_LOD_TENSOR || var->kind == VAR_SELECTED_ROWS;
        block_add_var(block, var);
    }
    struct program *source = program_clone(t->startup);
    struct block *from = program_block(source, 0);
    add_counters(t, from);
    for (size_t i = 0; i < from->ops_count; i++)
        add_server_op(t, block, from->ops[i], server->server);
    fill_backups(t, block, server->server);
    program_free(source);
    transpiler_plan_stamp(t, program, server->server);
    program->random_seed = t->startup->random_seed;
    program_free(server);
    *out = program;
    return 0;
}

static void drop_server_only(const struct transpiler *t, struct block *block)
{
    struct str_list names = {0};
    transpiler_plan_server_only(t, &names);
    for (size_t n = 0; n < names.count; n++) {
        for (size_t i = block->ops_count; i-- > 0;)
            if (op_desc_writes(block->ops[i], names.items[n]))
                block_remove_op(block, i);
        if (block_var(block, names.items[n]) != NULL)
            block_remove_var(block, names.items[n]);
    }
    str_list_deinit(&names);
}

static struct op_desc *make_fill(const struct var_desc *var, double value)
{
    struct op_desc *op = transpiler_plan_op("fill_constant", OP_ROLE_FORWARD);
    op_desc_add_output(op, "Out", var->name);
    op_desc_set_longs(op, "shape", var->dims.d, (size_t)var->dims.rank);
    op_desc_set_int(op, "dtype", var->dtype);
    op_desc_set_float(op, "value", (float)value);
    op_desc_set_bool(op, "force_cpu", false);
    op_desc_set_string(op, "str_value", "");
    return op;
}

// Asynchronous schedules: each trainer's counter begins at 1, the sum at -trainers.
static void add_counters(const struct transpiler *t, struct block *block)
{
    const char *counter = transpiler_plan_async_counter(t);
    const struct var_desc *like = counter ? block_var(program_block(t->main, 0), counter) : NULL;
    if (like == NULL)
        return;
    for (size_t i = 0; i < block->ops_count; i++)
        if (str_eq(block->ops[i]->type, "fill_constant") && op_desc_writes(block->ops[i], counter))
            op_desc_set_float(block->ops[i], "value", (float)-t->trainers);
    for (int i = 0; i < t->trainers; i++) {
        char *name = mem_must_printf("%s.trainer_%d", counter, i);
        struct var_desc *var = transpiler_plan_var_like(like, name, NULL);
        var->persistable = like->persistable;
        block_insert_op(block, 0, make_fill(block_add_var(block, var), 1.0));
        mem_free(name);
    }
}

static void receive_all(const struct transpiler *t, struct block *block, int trainer_id)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct transpiler_pair *pair = &t->pairs[i];
        const struct var_desc *param = block_var(program_block(t->main, 0), pair->param);
        if (str_list_has(&t->faked, pair->param))
            continue;
        if (block_var(block, pair->param) == NULL) {
            struct var_desc *var = transpiler_plan_var_like(param, pair->param, NULL);
            var->persistable = true;
            block_add_var(block, var);
        }
        for (size_t k = 0; k < pair->count; k++) {
            struct dims dims = transpiler_plan_slice_dims(pair, &pair->slices[k]);
            if (block_var(block, pair->slices[k].param) == NULL)
                block_add_var(block, transpiler_plan_var_like(param, pair->slices[k].param, &dims));
        }
        block_append_op(block, transpiler_plan_recv(t, pair, trainer_id, NULL, false));
    }
    struct op_desc *op = transpiler_plan_op("fetch_barrier", OP_ROLE_RPC);
    op_desc_add_input(op, "X", NULL);
    op_desc_add_output(op, "Out", transpiler_plan_control_var(block));
    op_desc_set_strings(op, "endpoints", &t->endpoints);
    op_desc_set_int(op, "trainer_id", trainer_id);
    block_append_op(block, op);
    for (size_t i = 0; i < t->count; i++)
        if (t->pairs[i].count > 1 && !str_list_has(&t->faked, t->pairs[i].param))
            block_append_op(block, transpiler_plan_concat(&t->pairs[i], OP_ROLE_FORWARD));
}

static const char *name_on_server(const struct transpiler *t, const struct block *block,
                                  const char *name, int server)
{
    const struct transpiler_pair *pair = transpiler_plan_pair_of_param(t, name);
    const struct transpiler_slice *slice = pair ? transpiler_plan_slice_on(pair, server) : NULL;
    if (pair != NULL)
        return slice ? slice->param : NULL;
    return block_var(block, name) != NULL ? name : NULL;
}

static bool has_shape_attr(const struct op_desc *op)
{
    return str_eq(op->type, "fill_constant") || str_eq(op->type, "uniform_random") ||
           str_eq(op->type, "gaussian_random") || str_eq(op->type, "truncated_gaussian_random");
}

// Is the initial value made as on one machine, and the server's rows cut out of it? Always when
// the operator's values are its attributes.
static bool draws_whole(const struct transpiler *t, const struct op_desc *op, const char *name)
{
    const struct slice_var *var = slice_map_find(&t->slices, name);
    if (var == NULL || var->replicated || var->slices_count < 2 ||
        str_eq(op->type, "fill_constant"))
        return false;
    return t->config.init_whole || (!has_shape_attr(op) && !t->config.fluid_exact);
}

// Random numbers can be drawn from the middle of their stream, so that a server never holds more
// than its slice. A diagonal lies in the whole.
static bool can_begin_later(const struct op_desc *op)
{
    return has_shape_attr(op) && op_desc_get_int(op, "diag_num", 0) <= 0;
}

// How many elements of the variable called name lie before the server's slice.
static int64_t first_element(const struct transpiler *t, const char *name, int server)
{
    const struct slice_var *var = slice_map_find(&t->slices, name);
    for (size_t k = 0; k < var->slices_count; k++)
        if (var->slices[k].server == server)
            return var->slices[k].row * dims_product(&var->dims, 1, var->dims.rank);
    return 0;
}

// Takes op, which writes the slice of the variable called name.
static void append_whole(const struct transpiler *t, struct block *block, struct op_desc *op,
                         const char *name, int server)
{
    const struct slice_var *var = slice_map_find(&t->slices, name);
    const struct var_desc *full = block_var(program_block(t->startup, 0), name);
    char *piece = mem_must_strdup(op_desc_output1(op, "Out"));
    char *whole = mem_must_printf("%s@WHOLE", name), *rest[2] = {NULL, NULL};
    struct op_desc *split = transpiler_plan_op("split", OP_ROLE_FORWARD);
    int64_t sections[3];
    size_t count = 0;
    op_desc_add_input(split, "X", whole);
    for (size_t k = 0; k < var->slices_count; k++) {
        const struct slice *slice = &var->slices[k];
        int64_t end = slice->row + slice->rows, height = var->dims.d[0];
        if (slice->server != server)
            continue;
        const int64_t around[3] = {slice->row, slice->rows, height - end};
        for (size_t i = 0; i < 3; i++) {
            struct dims dims = var->dims;
            dims.d[0] = around[i];
            if (dims.d[0] == 0)
                continue;
            sections[count++] = dims.d[0];
            if (i == 1) {
                op_desc_add_output(split, "Out", piece);
                continue;
            }
            char **other = &rest[i / 2];
            *other = mem_must_printf("%s@WHOLE.%s", name, i == 0 ? "before" : "behind");
            block_add_var(block, transpiler_plan_var_like(full, *other, &dims));
            op_desc_add_output(split, "Out", *other);
        }
        break;
    }
    op_desc_set_ints(split, "sections", sections, count);
    op_desc_set_int(split, "axis", 0);
    op_desc_set_int(split, "num", 0);
    op_desc_rename_output(op, piece, whole);
    block_add_var(block, transpiler_plan_var_like(full, whole, &var->dims));
    block_append_op(block, op);
    block_append_op(block, split);
    mem_free(piece);
    mem_free(whole);
    mem_free(rest[0]);
    mem_free(rest[1]);
}

static void add_server_op(const struct transpiler *t, struct block *block, const struct op_desc *op,
                          int server)
{
    struct op_desc *copy = op_desc_clone(op);
    bool here = false;
    for (size_t s = 0; s < copy->outputs_count; s++) {
        for (size_t i = 0; i < copy->outputs[s].args.count; i++) {
            char **arg = &copy->outputs[s].args.items[i];
            const char *name = name_on_server(t, block, *arg, server);
            if (name == NULL)
                continue;
            here = true;
            char *renamed = mem_must_strdup(name);
            mem_free(*arg);
            *arg = renamed;
        }
    }
    if (!here) {
        op_desc_free(copy);
        return;
    }
    const char *out = op_desc_output1(copy, "Out");
    bool whole = out != NULL && draws_whole(t, copy, op_desc_output1(op, "Out"));
    if (whole && can_begin_later(copy)) {
        op_desc_set_long(copy, "first_element",
                         first_element(t, op_desc_output1(op, "Out"), server));
    } else if (whole) {
        append_whole(t, block, copy, op_desc_output1(op, "Out"), server);
        return;
    }
    if (has_shape_attr(copy) && out != NULL) {
        const struct dims *dims = &block_var(block, out)->dims;
        const struct attr *shape = op_desc_attr(copy, "shape");
        if (shape != NULL && shape->type == ATTR_INTS)
            op_desc_set_ints(copy, "shape", dims->d, (size_t)dims->rank);
        else
            op_desc_set_longs(copy, "shape", dims->d, (size_t)dims->rank);
    }
    if (op_desc_attr(copy, "op_namescope") != NULL)
        op_desc_set_string(copy, "op_namescope", "/");
    block_append_op(block, copy);
}

static void fill_backups(const struct transpiler *t, struct block *block, int server)
{
    for (size_t i = 0; t->config.enable_dc_asgd && i < t->count; i++) {
        const struct transpiler_slice *slice =
            transpiler_plan_slice_on(&t->pairs[t->send_order[i]], server);
        for (int k = 0; slice != NULL && k < t->trainers; k++) {
            char *backup = mem_must_printf("%s.trainer_%d_bak", slice->param, k);
            struct op_desc *op = transpiler_plan_op("assign", OP_ROLE_FORWARD);
            op_desc_add_input(op, "X", slice->param);
            op_desc_add_output(op, "Out", backup);
            block_append_op(block, op);
            mem_free(backup);
        }
    }
}
