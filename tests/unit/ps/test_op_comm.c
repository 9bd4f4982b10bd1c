// SPDX-License-Identifier: Apache-2.0
// distributed_lookup_table and send of rows as operators of a program, with a real server.
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/exec/executor.h"
#include "common/tensor/selected_rows.h"
#include "tests/unit/ps/ps_job.h"

#define ROWS 12
#define WIDTH 3

struct table {
    struct ps_job job;
    struct comm *comm;
    struct program *program;
    struct op_desc *op;
    struct scope *scope;
    struct executor *exe;
    struct variable ids[2];
    struct err err;
};

static void add_var(struct table *t, const char *name, int dtype, int rank, int lod_level)
{
    struct var_desc *var =
        ps_job_var(t->program, name, &(struct dims){.rank = rank, .d = {-1, -1, -1}}, false);
    var->dtype = dtype;
    var->lod_level = lod_level;
}

// A table whose row r holds 1000 - r after one step, on two servers, and a program that looks it
// up.
static void table_init(struct table *t, const char *version, int64_t padding, int dtype, int rank)
{
    memset(t, 0, sizeof *t);
    ps_job_begin(&t->job.map, 2, 1);
    ps_job_table(&t->job.map, "t", ROWS, WIDTH, 2);
    ps_job_finish(&t->job.map);
    for (int s = 0; s < 2; s++)
        assert_int_equal(ps_job_start(&t->job, s, NULL, 1000, 1), 0);
    struct comm_options options = {
        .endpoints = t->job.endpoints, .servers = 2, .slices = &t->job.map, .trainer_id = 0};
    if (comm_open(&options, &t->comm, &t->err) < 0)
        fail_msg("%s", t->err.text);
    t->program = program_new();
    ps_job_var(t->program, "t", &(struct dims){.rank = 2, .d = {ROWS, WIDTH}}, true);
    t->op = op_desc_new("distributed_lookup_table");
    for (int i = 0; i < 2; i++) {
        char ids[8], out[8];
        snprintf(ids, sizeof ids, "ids_%d", i);
        snprintf(out, sizeof out, "out_%d", i);
        add_var(t, ids, dtype, rank, i);
        add_var(t, out, DTYPE_FP32, rank, i);
        op_desc_add_input(t->op, "Ids", ids);
        op_desc_add_output(t->op, "Outputs", out);
        variable_init(&t->ids[i]);
    }
    op_desc_add_input(t->op, "W", "t");
    op_desc_set_long(t->op, "padding_idx", padding);
    op_desc_set_string(t->op, "lookup_table_version", version);
    block_append_op(program_block(t->program, 0), t->op);
    t->scope = scope_new();
    struct plan_host host = {op_comm_table, t->comm};
    t->exe = executor_new(t->scope, &host, 1);
}

// One step that makes row r 1000 - r.
static void table_step(struct table *t)
{
    static const char *const names[] = {"t@GRAD.block0", "t@GRAD.block1"};
    for (int s = 0; s < 2; s++) {
        struct selected_rows sr;
        selected_rows_init(&sr);
        assert_int_equal(selected_rows_shape(&sr, ROWS / 2, ROWS / 2, DTYPE_FP32,
                                             &(struct dims){.rank = 2, .d = {0, WIDTH}}),
                         0);
        for (int r = 0; r < ROWS / 2; r++) {
            sr.rows[r] = r;
            for (int e = 0; e < WIDTH; e++)
                tensor_f32(&sr.value)[r * WIDTH + e] = (float)(s * (ROWS / 2) + r);
        }
        assert_int_equal(comm_push_rows(t->comm, names[s], &sr, &t->err), 0);
        selected_rows_deinit(&sr);
    }
    assert_int_equal(comm_send_barrier(t->comm, &t->err), 0);
    assert_int_equal(comm_fetch_barrier(t->comm, &t->err), 0);
}

static void table_deinit(struct table *t)
{
    assert_int_equal(comm_complete(t->comm, &t->err), 0);
    executor_free(t->exe);
    scope_free(t->scope);
    comm_close(t->comm);
    program_free(t->program);
    for (int i = 0; i < 2; i++)
        variable_deinit(&t->ids[i]);
    for (int s = 0; s < 2; s++)
        assert_int_equal(ps_job_join(&t->job, s), 0);
    ps_job_free(&t->job);
}

static void set_ids(struct table *t, int i, enum dtype dtype, const struct dims *dims,
                    const int64_t *ids)
{
    struct tensor *tensor = variable_tensor(&t->ids[i]);
    assert_int_equal(tensor_resize(tensor, dtype, dims), 0);
    for (uint64_t k = 0; k < tensor_count(tensor); k++) {
        if (dtype == DTYPE_INT64)
            tensor_i64(tensor)[k] = ids[k];
        else
            tensor_i32(tensor)[k] = (int32_t)ids[k];
    }
}

static int run(struct table *t, struct executor_fetch *fetches)
{
    struct executor_feed feeds[] = {{"ids_0", &t->ids[0]}, {"ids_1", &t->ids[1]}};
    fetches[0] = (struct executor_fetch){.name = "out_0"};
    fetches[1] = (struct executor_fetch){.name = "out_1"};
    return executor_run(t->exe, t->program, feeds, 2, fetches, 2, &t->err);
}

static void holds(const struct variable *var, const int64_t *ids, size_t count, int64_t padding)
{
    assert_int_equal(tensor_count(&var->tensor), count * WIDTH);
    for (size_t i = 0; i < count * WIDTH; i++) {
        int64_t id = ids[i / WIDTH];
        float want = padding != -1 && id == padding ? 0 : 1000 - (float)id;
        assert_true(tensor_f32(&var->tensor)[i] == want);
    }
}

static void test_op_comm_looks_rows_up(void **unused)
{
    (void)unused;
    static const int64_t one[] = {11, 0, 5, 5, 6, 0}, two[] = {3, 3, 7}, five[] = {5, 5, 5, 5, 5};
    struct table t;
    table_init(&t, "lookup_table", 5, DTYPE_INT64, 2);
    table_step(&t);
    struct executor_fetch out[2];
    set_ids(&t, 0, DTYPE_INT64, &(struct dims){.rank = 2, .d = {6, 1}}, one);
    set_ids(&t, 1, DTYPE_INT64, &(struct dims){.rank = 2, .d = {3, 1}}, two);
    uint64_t offsets[] = {0, 1, 3};
    struct lod_level lod = {.offsets = offsets, .count = 3};
    assert_int_equal(tensor_set_lod(variable_tensor(&t.ids[1]), 1, &lod), 0);
    for (int again = 0; again < 2; again++) {
        if (run(&t, out) < 0)
            fail_msg("%s", t.err.text);
        holds(out[0].value, one, 6, 5);
        holds(out[1].value, two, 3, 5);
        assert_int_equal(out[0].value->tensor.dims.rank, 2);
        assert_int_equal(out[0].value->tensor.dims.d[1], WIDTH);
        assert_int_equal(out[1].value->tensor.lod_levels, 1);
        assert_int_equal(out[1].value->tensor.lod[0].offsets[1], 1);
    }
    // Nothing but padding, and nothing at all.
    set_ids(&t, 0, DTYPE_INT64, &(struct dims){.rank = 2, .d = {5, 1}}, five);
    set_ids(&t, 1, DTYPE_INT64, &(struct dims){.rank = 2, .d = {0, 1}}, NULL);
    tensor_clear_lod(variable_tensor(&t.ids[1]));
    assert_int_equal(run(&t, out), 0);
    holds(out[0].value, five, 5, 5);
    assert_int_equal(out[1].value->tensor.dims.d[0], 0);
    table_deinit(&t);
}

// Ids that never had memory: a batch whose sequences are all empty may be the first.
static void test_op_comm_begins_without_ids(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, "lookup_table", -1, DTYPE_INT64, 2);
    table_step(&t);
    struct executor_fetch out[2];
    for (int i = 0; i < 2; i++) {
        set_ids(&t, i, DTYPE_INT64, &(struct dims){.rank = 2, .d = {0, 1}}, NULL);
        assert_null(variable_tensor(&t.ids[i])->data);
    }
    if (run(&t, out) < 0)
        fail_msg("%s", t.err.text);
    assert_int_equal(out[0].value->tensor.dims.d[0], 0);
    assert_int_equal(out[1].value->tensor.dims.d[1], WIDTH);
    table_deinit(&t);
}

static void test_op_comm_looks_rows_up_for_the_second_version(void **unused)
{
    (void)unused;
    static const int64_t one[] = {1, 2, 3, 4}, two[] = {9, 9, 0, 11};
    struct table t;
    table_init(&t, "lookup_table_v2", -1, DTYPE_INT32, 2);
    table_step(&t);
    struct executor_fetch out[2];
    set_ids(&t, 0, DTYPE_INT32, &(struct dims){.rank = 2, .d = {2, 2}}, one);
    set_ids(&t, 1, DTYPE_INT32, &(struct dims){.rank = 2, .d = {4, 1}}, two);
    if (run(&t, out) < 0)
        fail_msg("%s", t.err.text);
    holds(out[0].value, one, 4, -1);
    holds(out[1].value, two, 4, -1);
    assert_int_equal(out[0].value->tensor.dims.rank, 3);
    assert_int_equal(out[1].value->tensor.dims.d[2], WIDTH);
    table_deinit(&t);
}

static void fails(struct table *t, const char *says)
{
    struct executor_fetch out[2];
    t->err = (struct err){0};
    assert_true(run(t, out) < 0);
    if (!strstr(t->err.text, says))
        fail_msg("\"%s\" does not say \"%s\"", t->err.text, says);
}

static void test_op_comm_names_what_cannot_be_looked_up(void **unused)
{
    (void)unused;
    static const int64_t good[] = {1, 2}, beyond[] = {3, 12}, below[] = {-1, 0};
    struct table t;
    table_init(&t, "lookup_table", 99, DTYPE_INT64, 2);
    const struct dims two = {.rank = 2, .d = {2, 1}};
    set_ids(&t, 0, DTYPE_INT64, &two, good);
    set_ids(&t, 1, DTYPE_INT64, &two, beyond);
    fails(&t, "ids_1: id 1 is 12, but table t has rows 0..11");
    set_ids(&t, 1, DTYPE_INT64, &two, below);
    fails(&t, "ids_1: id 0 is -1, but table t has rows 0..11");
    set_ids(&t, 1, DTYPE_INT64, &two, (const int64_t[]){99, 2});   // padding needs no row
    struct executor_fetch out[2];
    assert_int_equal(run(&t, out), 0);
    set_ids(&t, 1, DTYPE_INT64, &(struct dims){.rank = 2, .d = {1, 2}}, good);
    fails(&t, "ids_1");
    table_deinit(&t);
}

static void test_op_comm_knows_only_tables_of_the_servers(void **unused)
{
    (void)unused;
    static const int64_t good[] = {1, 2};
    struct table t;
    table_init(&t, "lookup_table", -1, DTYPE_INT64, 2);
    const struct dims two = {.rank = 2, .d = {2, 1}};
    set_ids(&t, 0, DTYPE_INT64, &two, good);
    set_ids(&t, 1, DTYPE_INT64, &two, good);
    struct op_desc *other = op_desc_new("distributed_lookup_table");
    ps_job_var(t.program, "unknown", &(struct dims){.rank = 2, .d = {ROWS, WIDTH}}, true);
    op_desc_add_input(other, "Ids", "ids_0");
    op_desc_add_input(other, "W", "unknown");
    op_desc_add_output(other, "Outputs", "out_0");
    block_append_op(program_block(t.program, 0), other);
    fails(&t, "W: the servers have no table unknown");
    table_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_op_comm_looks_rows_up),
        cmocka_unit_test(test_op_comm_begins_without_ids),
        cmocka_unit_test(test_op_comm_looks_rows_up_for_the_second_version),
        cmocka_unit_test(test_op_comm_names_what_cannot_be_looked_up),
        cmocka_unit_test(test_op_comm_knows_only_tables_of_the_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
