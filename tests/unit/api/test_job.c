// SPDX-License-Identifier: Apache-2.0
// From options to programs: what every role of a job builds alike.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/api/job.h"
#include "common/base/err.h"
#include "common/config/option.h"
#include "common/passes/transpiler.h"
#include "common/program/program.h"
#include "common/program/program_text.h"

// No environment: what a test says is all there is.
static const char *no_environment(void *ctx, const char *name)
{
    (void)ctx;
    (void)name;
    return NULL;
}

static int build(unsigned roles, const char *const *argv, struct job *out, struct err *err)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    struct option_set *options = option_new(roles, "test", 0, no_environment, NULL);
    memset(out, 0, sizeof *out);
    int rc = option_parse(options, argc, (char *const *)argv, err);
    if (rc == 0)
        rc = job_build(options, out, err);
    option_free(options);
    return rc;
}

static void test_job_builds_a_zoo_model(void **state)
{
    (void)state;
    const char *argv[] = {"t",        "--role", "local", "--model", "recognize_digits",
                          "--hidden", "8",      NULL};
    struct job job;
    struct err err = {0};
    assert_int_equal(build(OPTION_TRAINER | OPTION_LOCAL, argv, &job, &err), 0);
    assert_null(job.transpiler);
    assert_int_equal(job.feeds.count, 2);
    assert_string_equal(job.feeds.items[0], "img");
    assert_string_equal(job.feeds.items[1], "label");
    assert_string_equal(job.metric_names.items[0], "acc");
    assert_string_equal(job.loss, "mean_0.tmp_0");
    job_deinit(&job);
}

static const char *first_op_with_rate(const struct job *job, const char **out_rate)
{
    const struct block *block = program_block(job->main, 0);
    for (size_t i = 0; i < block->ops_count; i++) {
        *out_rate = op_desc_input1(block->ops[i], "LearningRate");
        if (*out_rate != NULL)
            return block->ops[i]->type;
    }
    return "none";
}

static void test_job_options_shape_the_optimizer(void **state)
{
    (void)state;
    const char *argv[] = {"t",          "--role",        "local",           "--model",
                          "fit_a_line", "--optimizer",   "decayed_adagrad", "--rho",
                          "0.5",        "--lr_schedule", "piecewise",       "--lr_boundaries",
                          "5",          "--lr_values",   "0.1,0.01",        "--l2_decay",
                          "0.25",       "--clip",        "value",           NULL};
    struct job job;
    struct err err = {0};
    const char *rate;
    if (build(OPTION_TRAINER | OPTION_LOCAL, argv, &job, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(first_op_with_rate(&job, &rate), "decayed_adagrad");
    assert_string_equal(rate, "learning_rate");
    assert_non_null(block_var(program_block(job.main, 0), "@LR_DECAY_COUNTER@"));
    assert_non_null(block_var(program_block(job.main, 0), "clip_0.tmp_0"));
    job_deinit(&job);
    argv[14] = "0.1";
    assert_int_equal(build(OPTION_TRAINER | OPTION_LOCAL, argv, &job, &err), SL_EUSAGE);
    assert_non_null(strstr(err.text, "one number more"));
    job_deinit(&job);
}

static void test_job_refuses_flags_of_other_optimizers(void **state)
{
    (void)state;
    const char *argv[] = {"t",           "--role", "local",   "--model", "fit_a_line",
                          "--optimizer", "sgd",    "--beta1", "0.5",     NULL};
    struct job job;
    struct err err = {0};
    assert_int_equal(build(OPTION_TRAINER | OPTION_LOCAL, argv, &job, &err), SL_EUSAGE);
    assert_non_null(strstr(err.text, "--beta1 has no effect with the optimizer sgd"));
    job_deinit(&job);
    argv[6] = "adam";
    assert_int_equal(build(OPTION_TRAINER | OPTION_LOCAL, argv, &job, &err), 0);
    job_deinit(&job);
}

// A saved program says by itself what the zoo knows of its model.
static void test_job_finds_loss_feeds_and_metrics_in_a_saved_program(void **state)
{
    (void)state;
    const char *zoo[] = {"t",        "--role", "local", "--model", "recognize_digits",
                         "--hidden", "8",      NULL};
    char main_path[] = "/tmp/test_job_main.XXXXXX", startup_path[] = "/tmp/test_job_start.XXXXXX";
    close(mkstemp(main_path));
    close(mkstemp(startup_path));
    struct job built, read;
    struct err err = {0};
    assert_int_equal(build(OPTION_TRAINER | OPTION_LOCAL, zoo, &built, &err), 0);
    assert_int_equal(program_save(built.main, main_path, &err), 0);
    assert_int_equal(program_save(built.startup, startup_path, &err), 0);
    const char *saved[] = {
        "t",          "--role", "local", "--main_program", main_path, "--startup_program",
        startup_path, NULL};
    assert_int_equal(build(OPTION_TRAINER | OPTION_LOCAL, saved, &read, &err), 0);
    assert_true(program_text_diff(built.main, read.main, NULL));
    assert_string_equal(read.loss, built.loss);
    assert_int_equal(read.feeds.count, built.feeds.count);
    for (size_t i = 0; i < read.feeds.count; i++)
        assert_string_equal(read.feeds.items[i], built.feeds.items[i]);
    assert_string_equal(read.metric_vars.items[0], built.metric_vars.items[0]);
    job_deinit(&built);
    job_deinit(&read);
    remove(main_path);
    remove(startup_path);
}

static void test_job_tells_servers_on_port_0_apart(void **state)
{
    (void)state;
    const char *argv[] = {
        "t",          "--model", "fit_a_line",   "--pservers", "127.0.0.1:0,127.0.0.2:0",
        "--trainers", "2",       "--pserver_id", "1",          NULL};
    struct job job;
    struct err err = {0};
    assert_int_equal(build(OPTION_PSERVER, argv, &job, &err), 0);
    assert_string_not_equal(job_endpoint(&job, 0), job_endpoint(&job, 1));
    struct program *server = NULL;
    assert_int_equal(
        transpiler_server_program(job.transpiler, job_endpoint(&job, 1), &server, &err), 0);
    assert_int_equal(server->server, 1);
    program_free(server);
    job_deinit(&job);
}

static void test_job_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *argv[12];
        int code;
        const char *words;
    } rows[] = {
        {{"t", "--role", "local", "--model", "resnet50"}, SL_EUSAGE, "recognize_digits"},
        {{"t", "--role", "local", "--main_program", "x"}, SL_EUSAGE, "--startup_program"},
        {{"t", "--role", "local", "--main_program", "/no/x", "--startup_program", "/no/y"},
         SL_ENOENT,
         "/no/x"},
        {{"t", "--model", "fit_a_line", "--pservers", "a:1", "--sync_mode=false"},
         SL_EUSAGE,
         "sync_mode"},
        {{"t", "--role", "local", "--model", "fit_a_line", "--hidden", "3"}, SL_EUSAGE, "--hidden"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct job job;
        struct err err = {0};
        assert_int_equal(build(OPTION_TRAINER | OPTION_LOCAL, rows[i].argv, &job, &err),
                         rows[i].code);
        assert_non_null(strstr(err.text, rows[i].words));
        job_deinit(&job);
    }
}

static float rate_of(const struct job *job)
{
    const struct block *block = program_block(job->startup, 0);
    for (size_t i = 0; i < block->ops_count; i++)
        if (str_eq(op_desc_output1(block->ops[i], "Out"), "learning_rate_0"))
            return op_desc_get_float(block->ops[i], "value", -1);
    return -2;
}

static void test_job_rate_of_a_saved_program(void **state)
{
    (void)state;
    char folder[] = "/tmp/sluice job XXXXXX", main_path[64], startup_path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(main_path, sizeof main_path, "%s/main.pb", folder);
    snprintf(startup_path, sizeof startup_path, "%s/startup.pb", folder);
    const char *zoo[] = {"t",          "--role",        "local", "--model",
                         "fit_a_line", "--lr_schedule", "none",  NULL};
    const char *saved[] = {"t",          "--role",
                           "local",      "--main_program",
                           main_path,    "--startup_program",
                           startup_path, "--learning_rate",
                           "0.5",        NULL};
    struct job job;
    struct err err = {0};
    for (int scheduled = 0; scheduled < 2; scheduled++) {
        zoo[6] = scheduled ? "exponential" : "none";
        assert_int_equal(build(OPTION_TRAINER | OPTION_LOCAL, zoo, &job, &err), 0);
        assert_int_equal(program_save(job.main, main_path, &err), 0);
        assert_int_equal(program_save(job.startup, startup_path, &err), 0);
        job_deinit(&job);
        int rc = build(OPTION_TRAINER | OPTION_LOCAL, saved, &job, &err);
        assert_int_equal(rc, scheduled ? SL_EINVAL : 0);
        if (!scheduled)
            assert_true(rate_of(&job) == 0.5f);
        job_deinit(&job);
    }
    unlink(main_path);
    unlink(startup_path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_builds_a_zoo_model),
        cmocka_unit_test(test_job_options_shape_the_optimizer),
        cmocka_unit_test(test_job_refuses_flags_of_other_optimizers),
        cmocka_unit_test(test_job_finds_loss_feeds_and_metrics_in_a_saved_program),
        cmocka_unit_test(test_job_tells_servers_on_port_0_apart),
        cmocka_unit_test(test_job_refuses),
        cmocka_unit_test(test_job_rate_of_a_saved_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
