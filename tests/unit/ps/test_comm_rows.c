// SPDX-License-Identifier: Apache-2.0
// Tables through the shell: shapes of jobs, what is refused, readers, memory.
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/ps/ps_worker.h"

static void start(struct ps_job *job, const struct serve_options *options)
{
    ps_job_finish(&job->map);
    for (int s = 0; s < job->map.servers; s++)
        if (ps_job_start(job, s, options, 1000, 1) < 0)
            fail_msg("%s", job->servers[s].err.text);
}

static void end(struct ps_job *job)
{
    for (int s = 0; s < job->map.servers; s++)
        if (ps_job_join(job, s) < 0)
            fail_msg("server %d: %s", s, job->servers[s].err.text);
    ps_job_free(job);
}

static struct comm *open_comm(struct ps_job *job, int trainer)
{
    struct comm_options options = {.endpoints = job->endpoints,
                                   .servers = job->map.servers,
                                   .slices = trainer == COMM_READER ? NULL : &job->map,
                                   .trainer_id = trainer};
    struct comm *comm;
    struct err err = {0};
    if (comm_open(&options, &comm, &err) < 0)
        fail_msg("%s", err.text);
    return comm;
}

// Servers, trainers, rows, columns, pieces; compute threads of a server.
static void test_comm_rows_in_jobs_of_all_shapes(void **unused)
{
    (void)unused;
    static const int shapes[][6] = {
        {1, 1, 7, 1, 1, 0},     {2, 2, 9, 3, 2, 2},     {3, 2, 10, 4, 3, 0},
        {3, 4, 100, 2, 2, 1},   {2, 1, 30000, 4, 2, 0}, {1, 2, 9000, 40, 1, 0},
        {2, 2, 6, 70001, 2, 0},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int *shape = shapes[i];
        struct ps_job job = {0};
        struct worker workers[4] = {{.steps = 8}, {.steps = 8}, {.steps = 8}, {.steps = 8}};
        ps_job_begin(&job.map, shape[0], shape[1]);
        ps_job_table(&job.map, "table", shape[2], shape[3], shape[4]);
        ps_job_table(&job.map, "other", 50, 2, 1);
        ps_job_param(&job.map, "b", 5, 0, 1);
        start(&job, &(struct serve_options){.threads = shape[5]});
        run_workers(&job, workers, shape[1]);
        for (int t = 0; t < shape[1]; t++) {
            if (workers[t].rc < 0)
                fail_msg("shape %zu: %s", i, workers[t].err.text);
            assert_false(workers[t].wrong);
        }
        end(&job);
    }
}

static void fill(struct selected_rows *sr, int64_t height, const int64_t *rows, size_t count,
                 enum dtype dtype, int64_t width)
{
    assert_int_equal(selected_rows_shape(sr, height, count, dtype,
                                         &(struct dims){.rank = 2, .d = {height, width}}),
                     0);
    if (count) {
        memcpy(sr->rows, rows, count * sizeof *rows);
        memset(sr->value.data, 0, tensor_bytes(&sr->value));
    }
}

static void refused(int rc, int want, const struct err *err, const char *says)
{
    assert_int_equal(rc, want);
    if (!strstr(err->text, says))
        fail_msg("\"%s\" does not say \"%s\"", err->text, says);
}

static void test_comm_rows_of_wrong_kind_are_refused(void **unused)
{
    (void)unused;
    struct ps_job job = {0};
    ps_job_begin(&job.map, 1, 1);
    ps_job_table(&job.map, "t", 10, 3, 1);
    ps_job_param(&job.map, "b", 5, 0, 1);
    start(&job, NULL);
    struct comm *comm = open_comm(&job, 0);
    struct selected_rows sr;
    struct tensor whole;
    struct err err = {0};
    static const int64_t rows[] = {3, 3, 9}, beyond[] = {3, 10}, below[] = {-1};
    selected_rows_init(&sr);
    tensor_init(&whole);
    assert_int_equal(tensor_resize(&whole, DTYPE_FP32, &(struct dims){.rank = 2, .d = {10, 3}}), 0);
    refused(comm_push(comm, "t@GRAD", &whole, &err), SL_EINVAL, &err,
            "send t@GRAD: it is a whole tensor, the slice map says rows");
    fill(&sr, 5, rows, 1, DTYPE_FP32, 1);
    refused(comm_push_rows(comm, "b@GRAD", &sr, &err), SL_EINVAL, &err,
            "send b@GRAD: it is selected rows, the slice map says whole");
    refused(comm_push_rows(comm, "t", &sr, &err), SL_EINVAL, &err, "no gradient");
    fill(&sr, 10, rows, 3, DTYPE_FP32, 4);
    refused(comm_push_rows(comm, "t@GRAD", &sr, &err), SL_EINVAL, &err,
            "send t@GRAD: it has 3 rows of 10, float32 [3,4]; the slice map says float32 [10,3]");
    fill(&sr, 10, rows, 3, DTYPE_FP64, 3);
    refused(comm_push_rows(comm, "t@GRAD", &sr, &err), SL_EINVAL, &err, "float64 [3,3]");
    fill(&sr, 11, rows, 3, DTYPE_FP32, 3);
    refused(comm_push_rows(comm, "t@GRAD", &sr, &err), SL_EINVAL, &err, "3 rows of 11");
    fill(&sr, 11, NULL, 0, DTYPE_FP32, 3);
    refused(comm_push_rows(comm, "t@GRAD", &sr, &err), SL_EINVAL, &err, "0 rows of 11");
    fill(&sr, 10, beyond, 2, DTYPE_FP32, 3);
    refused(comm_push_rows(comm, "t@GRAD", &sr, &err), SL_EINVAL, &err, "send t@GRAD");
    fill(&sr, 10, below, 1, DTYPE_FP32, 3);
    refused(comm_push_rows(comm, "t@GRAD", &sr, &err), SL_EINVAL, &err, "send t@GRAD");
    fill(&sr, 10, rows, 3, DTYPE_FP32, 3);
    assert_int_equal(comm_push_rows(comm, "t@GRAD.trainer_0", &sr, &err), 0);
    refused(comm_push_rows(comm, "t@GRAD", &sr, &err), SL_EINVAL, &err, "twice in step 0");
    selected_rows_deinit(&sr);
    tensor_deinit(&whole);
    comm_close(comm);
    assert_int_equal(ps_job_join(&job, 0), SL_ECLOSED);
    ps_job_free(&job);
}

static void test_comm_rows_lookup_judges_ids(void **unused)
{
    (void)unused;
    struct ps_job job = {0};
    ps_job_begin(&job.map, 2, 1);
    ps_job_table(&job.map, "t", 10, 3, 2);
    ps_job_param(&job.map, "w", 4, 2, 2);
    start(&job, NULL);
    struct comm *comm = open_comm(&job, 0);
    struct err err = {0};
    static const int64_t all[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, same[] = {2, 2}, down[] = {4, 3},
                         beyond[] = {9, 10}, below[] = {-1, 0}, ends[] = {4, 5}, two[] = {1, 3};
    float out[30], w[4];
    struct comm_rows want = {.var = "t", .ids = all, .count = 10, .out = out};
    const struct {
        const char *var;
        const int64_t *ids;
        size_t count;
        const char *says;
    } bad[] = {
        {"t", same, 2, "t: rows are not ascending: 2 comes after 2"},
        {"t", down, 2, "3 comes after 4"},
        {"t", beyond, 2, "row 10 is not in [0,10)"},
        {"t", below, 2, "row -1 is not in [0,10)"},
        {"no", all, 1, "the servers have no variable no"},
        {"t@GRAD", all, 1, "the servers have no variable t@GRAD"},
        {"learning_rate_0", all, 1, "learning_rate_0 has no rows"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct comm_rows wants[2] = {want, {bad[i].var, bad[i].ids, bad[i].count, w}};
        refused(comm_lookup(comm, wants, 2, &err), SL_EINVAL, &err, bad[i].says);
    }
    assert_int_equal(comm_lookup(comm, NULL, 0, &err), 0);
    want.count = 0;
    assert_int_equal(comm_lookup(comm, &want, 1, &err), 0);
    // Any parameter that is cut by rows can be read so; on the border of two servers too.
    struct comm_rows wants[] = {{"t", ends, 2, out}, {"w", two, 2, w}, {"t", all, 10, out + 6}};
    memset(out, 0, sizeof out);
    wants[2].count = 8;
    assert_int_equal(comm_lookup(comm, wants, 3, &err), 0);
    for (int i = 0; i < 30; i++)
        assert_true(out[i] == 1000);
    assert_true(w[0] == 1000 && w[3] == 1000);
    assert_int_equal(comm_complete(comm, &err), 0);
    comm_close(comm);
    end(&job);
}

static void test_comm_rows_are_read_at_one_version(void **unused)
{
    (void)unused;
    struct ps_job job = {0};
    ps_job_begin(&job.map, 2, 1);
    ps_job_table(&job.map, "t", 50000, 4, 2);
    start(&job, NULL);
    struct worker worker = {.steps = 60, .job = &job};
    pthread_create(&worker.thread, NULL, worker_main, &worker);
    struct comm *reader = open_comm(&job, COMM_READER);
    struct err err = {0};
    int64_t *ids = mem_must_calloc(50000, sizeof *ids);
    float *out = mem_must_calloc(50000 * 4, sizeof *out), *again = mem_must_calloc(400, 4);
    assert_true(slice_map_find(comm_slices(reader), "t")->sparse);
    for (int64_t i = 0; i < 50000; i++)
        ids[i] = i;
    for (int round = 0; round < 6; round++) {
        uint64_t step;
        if (comm_pin(reader, &step, &err) < 0)
            fail_msg("%s", err.text);
        struct comm_rows want = {.var = "t", .ids = ids, .count = 50000, .out = out};
        if (comm_lookup(reader, &want, 1, &err) < 0)
            fail_msg("%s", err.text);
        float row[LEDGER_ROWS];
        size_t wrong = 0;
        for (uint64_t i = 0; i < LEDGER_ROWS; i++)
            row[i] = ledger_row(1, step, i);
        for (size_t i = 0; i < 200000; i++)
            wrong += out[i] != row[i / 4 % LEDGER_ROWS];
        assert_int_equal(wrong, 0);
        assert_int_equal(comm_read_rows(reader, "t", 24950, 100, again, &err), 0);
        assert_memory_equal(again, out + 24950 * 4, 1600);
        assert_int_equal(comm_unpin(reader, &err), 0);
        want.count = 7;   // pins for the call alone
        assert_int_equal(comm_lookup(reader, &want, 1, &err), 0);
    }
    comm_close(reader);
    pthread_join(worker.thread, NULL);
    assert_int_equal(worker.rc, 0);
    assert_false(worker.wrong);
    mem_free(ids);
    mem_free(out);
    mem_free(again);
    end(&job);
}

// Steps of one size: trainer and server allocate nothing after the first ones.
static void test_comm_rows_allocate_nothing_in_steady_state(void **unused)
{
    (void)unused;
    struct ps_job job = {0};
    ps_job_begin(&job.map, 1, 1);
    ps_job_table(&job.map, "t", 5000, 16, 1);
    start(&job, NULL);
    struct comm *comm = open_comm(&job, 0);
    struct err err = {0};
    struct selected_rows sr;
    selected_rows_init(&sr);
    int64_t ids[2000];
    float *out = mem_must_calloc(2000 * 16, sizeof *out);
    for (int i = 0; i < 2000; i++)
        ids[i] = i * 2;
    fill(&sr, 5000, ids, 2000, DTYPE_FP32, 16);
    unsigned long before = 0;
    for (int step = 0; step < 30; step++) {
        struct comm_rows want = {.var = "t", .ids = ids, .count = 2000, .out = out};
        assert_int_equal(comm_lookup(comm, &want, 1, &err), 0);
        assert_int_equal(comm_push_rows(comm, "t@GRAD", &sr, &err), 0);
        assert_int_equal(comm_send_barrier(comm, &err), 0);
        assert_int_equal(comm_fetch_barrier(comm, &err), 0);
        if (step == 9)
            before = mem_allocation_count();
    }
    assert_int_equal(mem_allocation_count() - before, 0);
    selected_rows_deinit(&sr);
    mem_free(out);
    assert_int_equal(comm_complete(comm, &err), 0);
    comm_close(comm);
    end(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comm_rows_in_jobs_of_all_shapes),
        cmocka_unit_test(test_comm_rows_of_wrong_kind_are_refused),
        cmocka_unit_test(test_comm_rows_lookup_judges_ids),
        cmocka_unit_test(test_comm_rows_are_read_at_one_version),
        cmocka_unit_test(test_comm_rows_allocate_nothing_in_steady_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
