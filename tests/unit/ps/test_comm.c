// SPDX-License-Identifier: Apache-2.0
// The shell on loopback: real servers and trainers as threads of this process.
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/ps/ps_worker.h"

static void start_job(struct ps_job *job, int servers, int trainers,
                      const struct serve_options *options)
{
    memset(job, 0, sizeof *job);
    ps_job_begin(&job->map, servers, trainers);
    ps_job_param(&job->map, "w", 700, 300, servers);
    ps_job_param(&job->map, "b", 300, 0, 1);
    ps_job_param(&job->map, "v", 10, 3, 1);
    ps_job_table(&job->map, "table", 3000, 8, servers);
    ps_job_finish(&job->map);
    for (int s = 0; s < servers; s++)
        if (ps_job_start(job, s, options, 1000, 1) < 0)
            fail_msg("%s", job->servers[s].err.text);
}

static void test_comm_trains_the_ledger(void **unused)
{
    (void)unused;
    for (int threads = 0; threads <= 2; threads += 2) {
        struct ps_job job;
        struct serve_options options = {.threads = threads};
        start_job(&job, 2, 2, &options);
        struct worker workers[2] = {{.steps = 20}, {.steps = 20}};
        run_workers(&job, workers, 2);
        for (int i = 0; i < 2; i++) {
            if (workers[i].rc < 0)
                fail_msg("%s", workers[i].err.text);
            assert_false(workers[i].wrong);
            assert_int_equal(workers[i].stats.steps, 20);
            assert_int_equal(workers[i].stats.chunks_resent, 0);
            if (ps_job_join(&job, i) < 0)
                fail_msg("%s", job.servers[i].err.text);
            assert_int_equal(serve_step(job.servers[i].serve), 20);
        }
        // The scope has the last values again.
        const struct variable *b = scope_find(job.servers[0].scope, "b");
        if (!b)
            b = scope_find(job.servers[1].scope, "b");
        assert_true(tensor_f32(&b->tensor)[7] == ledger_value(2, 20, 7));
        ps_job_free(&job);
    }
}

static void test_comm_one_trainer_one_server(void **unused)
{
    (void)unused;
    struct ps_job job;
    start_job(&job, 1, 1, NULL);
    struct worker worker = {.steps = 5};
    run_workers(&job, &worker, 1);
    assert_int_equal(worker.rc, 0);
    assert_false(worker.wrong);
    assert_int_equal(ps_job_join(&job, 0), 0);
    ps_job_free(&job);
}

static void test_comm_others_go_on_when_one_completes(void **unused)
{
    (void)unused;
    struct ps_job job;
    start_job(&job, 2, 2, NULL);
    struct worker workers[2] = {{.steps = 6}, {.steps = 3}};
    run_workers(&job, workers, 2);
    assert_int_equal(workers[0].rc, 0);
    assert_int_equal(workers[1].rc, 0);
    for (int s = 0; s < 2; s++) {
        assert_int_equal(ps_job_join(&job, s), 0);
        assert_int_equal(serve_step(job.servers[s].serve), 6);
    }
    // Steps 3..5: trainer 1 counts as zeros, the divisor stays 2.
    float value = ledger_value(2, 3, 0);
    for (uint64_t s = 3; s < 6; s++)
        value -= ledger_grad(0, s, 0) * 0.5f;
    const struct variable *b = scope_find(job.servers[0].scope, "b");
    if (!b)
        b = scope_find(job.servers[1].scope, "b");
    assert_true(tensor_f32(&b->tensor)[0] == value);
    ps_job_free(&job);
}

static void test_comm_reader_sees_one_version(void **unused)
{
    (void)unused;
    struct ps_job job;
    start_job(&job, 2, 1, NULL);
    struct worker worker = {.steps = 300, .job = &job};
    pthread_create(&worker.thread, NULL, worker_main, &worker);
    const char *reversed[2] = {job.endpoints[1], job.endpoints[0]};
    struct comm_options options = {.endpoints = reversed, .servers = 2, .trainer_id = COMM_READER};
    struct err err = {0};
    struct comm *reader;
    if (comm_open(&options, &reader, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(slice_map_hash(comm_slices(reader)), slice_map_hash(&job.map));
    float *w = malloc(700 * 300 * sizeof *w);
    for (int round = 0; round < 5; round++) {
        uint64_t step;
        if (comm_pin(reader, &step, &err) < 0)
            fail_msg("%s", err.text);
        if (comm_read_rows(reader, "w", 0, 700, w, &err) < 0)
            fail_msg("%s", err.text);
        size_t wrong = 0;
        float want[5];   // the ledger repeats every 5 elements, and a slice has a multiple of 5
        for (uint64_t i = 0; i < 5; i++)
            want[i] = ledger_value(1, step, i);
        for (size_t i = 0; i < 700 * 300; i++)
            wrong += w[i] != want[i % 5];
        assert_int_equal(wrong, 0);
        assert_int_equal(comm_read_rows(reader, "w", 349, 3, w, &err), 0);
        assert_true(w[300] == ledger_value(1, step, 0));
        assert_int_equal(comm_read_rows(reader, "learning_rate_0", 0, 1, w, &err), 0);
        assert_true(w[0] == 1);
        assert_int_equal(comm_unpin(reader, &err), 0);
    }
    assert_int_equal(comm_read_rows(reader, "w@GRAD", 0, 1, w, &err), SL_ENOENT);
    assert_int_equal(comm_read_rows(reader, "w", 699, 2, w, &err), SL_EINVAL);
    assert_int_equal(comm_fetch_barrier(reader, &err), SL_EUSAGE);
    comm_close(reader);
    pthread_join(worker.thread, NULL);
    assert_int_equal(worker.rc, 0);
    assert_false(worker.wrong);
    for (int s = 0; s < 2; s++)
        assert_int_equal(ps_job_join(&job, s), 0);
    free(w);
    ps_job_free(&job);
}

static void test_comm_wrong_use_is_refused(void **unused)
{
    (void)unused;
    struct ps_job job;
    start_job(&job, 1, 1, NULL);
    struct comm_options options = {
        .endpoints = job.endpoints, .servers = 1, .slices = &job.map, .trainer_id = 0};
    struct comm *comm;
    struct err err = {0};
    assert_int_equal(comm_open(&options, &comm, &err), 0);
    struct tensor t;
    tensor_init(&t);
    assert_int_equal(tensor_resize(&t, DTYPE_FP32, &(struct dims){.rank = 1, .d = {300}}), 0);
    memset(t.data, 0, 1200);
    assert_int_equal(comm_push(comm, "nothing", &t, &err), SL_EINVAL);
    assert_int_equal(comm_push(comm, "b", &t, &err), SL_EINVAL);
    assert_int_equal(comm_push(comm, "b@GRAD.trainer_1", &t, &err), SL_EINVAL);
    assert_int_equal(comm_push(comm, "v@GRAD", &t, &err), SL_EINVAL);
    assert_non_null(
        strstr(err.text, "v@GRAD: it has float32 [300], the slice map says float32 [10,3]"));
    assert_int_equal(comm_push(comm, "b@GRAD", &t, &err), 0);
    assert_int_equal(comm_push(comm, "b@GRAD", &t, &err), SL_EINVAL);
    assert_int_equal(comm_send_barrier(comm, &err), SL_EUSAGE);
    assert_non_null(strstr(err.text, " gradients were not sent"));
    assert_int_equal(comm_complete(comm, &err), SL_EUSAGE);
    comm_close(comm);
    assert_int_equal(ps_job_join(&job, 0), SL_ECLOSED);
    assert_non_null(strstr(job.servers[0].err.text, "trainer 0 (127.0.0.1:"));
    assert_non_null(strstr(job.servers[0].err.text, "left at step 0 before it had completed"));
    tensor_deinit(&t);
    ps_job_free(&job);
}

static void test_comm_taken_trainer_id(void **unused)
{
    (void)unused;
    struct ps_job job;
    start_job(&job, 2, 2, NULL);
    struct worker first = {.steps = 0, .stay = true};
    run_workers(&job, &first, 1);
    assert_int_equal(first.rc, 0);
    struct worker second = {.steps = 0};
    run_workers(&job, &second, 1);
    assert_int_equal(second.rc, SL_EREFUSED);
    assert_non_null(strstr(
        second.err.text,
        "refused us: this job has 2 trainers and trainer 0 is already here from 127.0.0.1:"));
    // The job is not hurt.
    struct err err = {0};
    struct worker other = {.job = &job, .trainer = 1};
    pthread_create(&other.thread, NULL, worker_main, &other);
    assert_int_equal(comm_complete(first.comm, &err), 0);
    comm_close(first.comm);
    pthread_join(other.thread, NULL);
    assert_int_equal(other.rc, 0);
    assert_int_equal(ps_job_join(&job, 0), 0);
    assert_int_equal(ps_job_join(&job, 1), 0);
    ps_job_free(&job);
}

static void test_comm_other_topology(void **unused)
{
    (void)unused;
    struct ps_job job;
    start_job(&job, 1, 2, NULL);
    struct slice_map other;
    ps_job_begin(&other, 1, 2);
    ps_job_param(&other, "w", 701, 300, 1);
    ps_job_finish(&other);
    struct comm_options options = {
        .endpoints = job.endpoints, .servers = 1, .slices = &other, .trainer_id = 0};
    struct comm *comm;
    struct err err = {0};
    assert_int_equal(comm_open(&options, &comm, &err), SL_EREFUSED);
    assert_non_null(strstr(err.text, "another topology"));
    other.trainers = 3;
    assert_int_equal(comm_open(&options, &comm, &err), SL_EREFUSED);
    assert_non_null(strstr(err.text, "3 trainers and 1 servers, this server 2 trainers"));
    slice_map_deinit(&other);
    serve_stop(job.servers[0].serve);
    assert_int_equal(ps_job_join(&job, 0), SL_ESTOPPED);
    ps_job_free(&job);
}

static void test_comm_servers_with_different_checkpoints(void **unused)
{
    (void)unused;
    const struct serve_origin origins[][2] = {
        {{.loaded = true, .digest = "aaaa", .step = 4}, {.digest = ""}},
        {{.loaded = true, .digest = "aaaa", .step = 4},
         {.loaded = true, .digest = "bbbb", .step = 8}},
    };
    const char *const texts[] = {"is fresh", "hold different checkpoints"};
    for (size_t i = 0; i < 2; i++) {
        struct ps_job job;
        memset(&job, 0, sizeof job);
        ps_job_begin(&job.map, 2, 1);
        ps_job_param(&job.map, "w", 10, 3, 2);
        ps_job_finish(&job.map);
        for (int s = 0; s < 2; s++)
            assert_int_equal(
                ps_job_start(&job, s, &(struct serve_options){.origin = origins[i][s]}, 0, 1), 0);
        struct worker worker = {.steps = 1};
        run_workers(&job, &worker, 1);
        assert_int_equal(worker.rc, SL_EMISMATCH);
        assert_non_null(strstr(worker.err.text, texts[i]));
        for (int s = 0; s < 2; s++) {
            assert_int_equal(ps_job_join(&job, s), SL_EMISMATCH);
            assert_non_null(strstr(job.servers[s].err.text, texts[i]));
        }
        ps_job_free(&job);
    }
}

static void test_comm_welcome_brings_progress(void **unused)
{
    (void)unused;
    struct ps_job job;
    memset(&job, 0, sizeof job);
    ps_job_begin(&job.map, 2, 1);
    ps_job_param(&job.map, "w", 10, 3, 2);
    ps_job_finish(&job.map);
    char *text = malloc(200001);
    memset(text, 'j', 200000);
    text[200000] = '\0';
    struct serve_options options = {
        .origin = {.loaded = true, .digest = "abc", .step = 936, .epoch = 2, .progress = text}};
    for (int s = 0; s < 2; s++)
        assert_int_equal(ps_job_start(&job, s, &options, 0, 1), 0);
    struct comm_options open = {
        .endpoints = job.endpoints, .servers = 2, .slices = &job.map, .trainer_id = 0};
    struct comm *comm;
    struct err err = {0};
    if (comm_open(&open, &comm, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(comm_step(comm), 936);
    assert_int_equal(comm_welcome(comm)->epoch, 2);
    assert_true(comm_welcome(comm)->loaded);
    assert_string_equal(comm_welcome(comm)->digest, "abc");
    assert_string_equal(comm_welcome(comm)->progress, text);
    assert_int_equal(comm_complete(comm, &err), 0);
    comm_close(comm);
    assert_int_equal(ps_job_join(&job, 0), 0);
    assert_int_equal(ps_job_join(&job, 1), 0);
    free(text);
    ps_job_free(&job);
}

static void test_comm_abort_ends_the_job_with_its_reason(void **unused)
{
    (void)unused;
    struct ps_job job;
    start_job(&job, 2, 2, NULL);
    struct worker workers[2] = {{.steps = 10},
                                {.steps = 2, .abort_reason = "reader: data/x.gz is truncated"}};
    run_workers(&job, workers, 2);
    assert_int_equal(workers[0].rc, SL_ECLOSED);
    assert_non_null(strstr(workers[0].err.text, "trainer 1 (127.0.0.1:"));
    assert_non_null(strstr(workers[0].err.text, "left at step 2: reader: data/x.gz is truncated"));
    for (int s = 0; s < 2; s++) {
        assert_int_equal(ps_job_join(&job, s), SL_ECLOSED);
        assert_non_null(strstr(job.servers[s].err.text, "left at step 2: reader"));
    }
    ps_job_free(&job);
}

static void test_comm_stopped_server_ends_everything(void **unused)
{
    (void)unused;
    struct ps_job job;
    start_job(&job, 2, 2, NULL);
    struct worker workers[2] = {{.steps = 1000000}, {.steps = 1000000}};
    for (int t = 0; t < 2; t++) {
        workers[t].job = &job;
        workers[t].trainer = t;
        pthread_create(&workers[t].thread, NULL, worker_main, &workers[t]);
    }
    for (int step = 0; step < 3; step++)
        sem_wait(&job.servers[1].committed);
    serve_stop(job.servers[1].serve);
    serve_stop(job.servers[1].serve);
    for (int t = 0; t < 2; t++) {
        pthread_join(workers[t].thread, NULL);
        assert_int_equal(workers[t].rc, SL_ESTOPPED);
        assert_non_null(strstr(workers[t].err.text, "was stopped on request at step"));
        assert_false(workers[t].wrong);
    }
    assert_int_equal(ps_job_join(&job, 0), SL_ESTOPPED);
    assert_int_equal(ps_job_join(&job, 1), SL_ESTOPPED);
    ps_job_free(&job);
}

static void test_comm_says_that_a_server_is_not_there(void **unused)
{
    (void)unused;
    struct slice_map map;
    ps_job_begin(&map, 1, 1);
    ps_job_param(&map, "w", 10, 3, 1);
    ps_job_finish(&map);
    struct ps_job_server notes = {0};
    const char *endpoints[] = {"127.0.0.1:1"};
    struct comm_options options = {.endpoints = endpoints,
                                   .servers = 1,
                                   .slices = &map,
                                   .trainer_id = 0,
                                   .connect_timeout_ms = 1500,
                                   .waiting = ps_job_note,
                                   .self = &notes};
    struct comm *comm;
    struct err err = {0};
    assert_int_equal(comm_open(&options, &comm, &err), SL_ETIMEOUT);
    assert_non_null(strstr(err.text, "127.0.0.1:1"));
    assert_non_null(strstr(err.text, "connection refused"));
    assert_non_null(strstr(notes.notes, "waiting 1."));
    assert_non_null(strstr(notes.notes, "s for 127.0.0.1:1: "));
    slice_map_deinit(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comm_trains_the_ledger),
        cmocka_unit_test(test_comm_one_trainer_one_server),
        cmocka_unit_test(test_comm_others_go_on_when_one_completes),
        cmocka_unit_test(test_comm_reader_sees_one_version),
        cmocka_unit_test(test_comm_wrong_use_is_refused),
        cmocka_unit_test(test_comm_taken_trainer_id),
        cmocka_unit_test(test_comm_other_topology),
        cmocka_unit_test(test_comm_servers_with_different_checkpoints),
        cmocka_unit_test(test_comm_welcome_brings_progress),
        cmocka_unit_test(test_comm_abort_ends_the_job_with_its_reason),
        cmocka_unit_test(test_comm_stopped_server_ends_everything),
        cmocka_unit_test(test_comm_says_that_a_server_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
