// SPDX-License-Identifier: Apache-2.0
// Command line, environment and job file together: precedence, origins, contradictions, roles.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/config/option.h"

#define DAEMON (OPTION_TRAINER | OPTION_LOCAL)
#define ARGS_MAX 16

static char conf[64];

static int setup(void **state)
{
    (void)state;
    snprintf(conf, sizeof conf, "/tmp/option_XXXXXX");
    int fd = mkstemp(conf);
    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(conf);
}

static const char *get(void *ctx, const char *name)
{
    const char *const *vars = ctx;
    size_t bytes = strlen(name);
    for (; vars && *vars; vars++)
        if (strncmp(*vars, name, bytes) == 0 && (*vars)[bytes] == '=')
            return *vars + bytes + 1;
    return NULL;
}

struct input {
    unsigned roles;
    const char *file;                 // job file, NULL = none; adds --config
    const char *vars[6];
    const char *args[ARGS_MAX];
};

static int parse(struct option_set **out, const struct input *input, struct err *err)
{
    char *argv[ARGS_MAX + 4];
    int argc = 0;
    static char program[] = "trainer", flag[] = "--config";
    argv[argc++] = program;
    for (int i = 0; input->args[i]; i++)
        argv[argc++] = (char *)input->args[i];
    if (input->file) {
        assert_int_equal(fsutil_write_atomic(conf, input->file, strlen(input->file), NULL), 0);
        argv[argc++] = flag;
        argv[argc++] = conf;
    }
    const char *name = input->roles == OPTION_PSERVER ? "pserver" : "trainer";
    *out = option_new(input->roles, name, input->roles == OPTION_VERIFY, get, (void *)input->vars);
    return option_parse(*out, argc, argv, err);
}

static struct option_set *parsed(const struct input *input)
{
    struct option_set *set;
    struct err err = {0};
    int rc = parse(&set, input, &err);
    if (rc != 0)
        fail_msg("%d: %s", rc, err.text);
    return set;
}

static void refused(const struct input *input, const char *why)
{
    struct option_set *set;
    struct err err = {0};
    assert_int_equal(parse(&set, input, &err), SL_EUSAGE);
    if (!strstr(err.text, why))
        fail_msg("wanted `%s`, got: %s", why, err.text);
    option_free(set);
}

static void test_option_precedence_and_origins(void **state)
{
    (void)state;
    struct option_set *set = parsed(&(struct input){
        .roles = DAEMON,
        .file = "[job]\npservers = a:1\ntrainers = 3\ntrainer_id = 1\n[data]\nbatch_size = "
                "20\nepochs = 2\n"
                "model = fit_a_line\ncurrent_endpoint = a:1\n",
        .vars = {"PADDLE_TRAINERS_NUM=4", "PADDLE_TRAINER_ID=2", NULL},
        .args = {"--trainers", "5", "--epochs=7", NULL},
    });
    assert_int_equal(option_role(set), OPTION_TRAINER);
    assert_int_equal(option_int(set, "trainers"), 5);
    assert_int_equal(option_origin(set, "trainers"), OPTION_FLAG);
    assert_int_equal(option_int(set, "trainer_id"), 2);
    assert_string_equal(option_origin_text(set, "trainer_id"), "env PADDLE_TRAINER_ID");
    assert_int_equal(option_int(set, "batch_size"), 20);
    assert_non_null(strstr(option_origin_text(set, "batch_size"), ":6"));
    assert_int_equal(option_int(set, "epochs"), 7);
    assert_int_equal(option_ms(set, "connect_timeout"), 600000);
    assert_string_equal(option_origin_text(set, "connect_timeout"), "default");
    assert_false(option_is_set(set, "connect_timeout"));
    assert_true(option_is_set(set, "batch_size"));
    assert_string_equal(option_origin_text(set, "save_dir"), "unset");
    assert_null(option_string(set, "save_dir"));
    assert_int_equal(option_list(set, "pservers")->count, 1);
    const struct str_list *warnings = option_warnings(set);
    assert_int_equal(warnings->count, 2);
    assert_string_equal(warnings->items[0],
                        "--trainers=5 (flag) and PADDLE_TRAINERS_NUM=4 (environment) "
                        "disagree; the flag wins");
    assert_non_null(
        strstr(warnings->items[1], "PADDLE_TRAINER_ID=2 (environment) and trainer_id=1"));
    option_free(set);
}

static void test_option_forms_of_flags(void **state)
{
    (void)state;
    struct option_set *set = parsed(&(struct input){
        .roles = DAEMON,
        .args = {"--role=local", "--model", "recognize_digits", "--hidden=64,64", "--no-shuffle",
                 "--drop_last", "false", "--use_nesterov", "--save_every", "1epoch", "--save_dir=m",
                 "--learning_rate", "1e-3", NULL},
    });
    assert_int_equal(option_role(set), OPTION_LOCAL);
    assert_false(option_bool(set, "shuffle"));
    assert_false(option_bool(set, "drop_last"));
    assert_true(option_bool(set, "use_nesterov"));
    assert_int_equal(option_every(set, "save_every").unit, OPTION_EVERY_EPOCH);
    assert_string_equal(option_list(set, "hidden")->items[1], "64");
    assert_true(option_f64(set, "learning_rate") > 0.0009);
    assert_string_equal(option_string(set, "shuffle"), "false");
    option_free(set);
}

// Servers have no workers, and do not mind that the environment says how many.
static void test_option_cpu_num_of_the_environment(void **state)
{
    (void)state;
    struct option_set *set = parsed(&(struct input){
        .roles = DAEMON,
        .vars = {"CPU_NUM=4", NULL},
        .args = {"--role", "local", "--model", "m", NULL},
    });
    assert_int_equal(option_int(set, "cpu_num"), 4);
    assert_string_equal(option_origin_text(set, "cpu_num"), "env CPU_NUM");
    option_free(set);
    set = parsed(&(struct input){
        .roles = OPTION_PSERVER,
        .vars = {"CPU_NUM=4", NULL},
        .args = {"--pservers", "a:1", "--current_endpoint", "a:1", "--model", "m", NULL},
    });
    option_free(set);
}

static void test_option_refuses_bad_command_lines(void **state)
{
    (void)state;
    const struct {
        struct input input;
        const char *why;
    } rows[] = {
        {{.roles = DAEMON, .args = {"--bach_size", "3"}},
         "--bach_size; did you mean --batch_size?"},
        {{.roles = DAEMON, .args = {"--qqqqqqqq=1"}}, "trainer --help"},
        {{.roles = DAEMON, .args = {"-b", "3"}}, "unknown option -b"},
        {{.roles = DAEMON, .args = {"--steps", "3", "--steps=3"}}, "--steps is given twice"},
        {{.roles = DAEMON, .args = {"--shuffle", "--no-shuffle"}}, "--shuffle is given twice"},
        {{.roles = DAEMON, .args = {"--steps"}}, "--steps needs a value"},
        {{.roles = DAEMON, .args = {"--save_dir", "--steps", "3"}}, "--save_dir needs a value"},
        {{.roles = DAEMON, .args = {"--save_dir="}}, "empty"},
        {{.roles = DAEMON, .args = {"--no-steps"}}, "only true-or-false"},
        {{.roles = DAEMON, .args = {"stray"}}, "`stray` is not expected"},
        {{.roles = DAEMON, .args = {"--batch_size", "0"}},
         "--batch_size=0 (flag): 0 is out of range"},
        {{.roles = DAEMON, .args = {"--batch_size", "abc"}}, "not a whole number"},
        {{.roles = DAEMON, .args = {"--cpu_num", "0"}}, "--cpu_num=0 (flag): 0 is out of range"},
        {{.roles = DAEMON,
          .vars = {"CPU_NUM=8"},
          .args = {"--role", "local", "--model", "m", "--data", "d", "--batch_size", "7"}},
         "batch_size=7 (flag) is less than cpu_num=8 (env CPU_NUM)"},
        {{.roles = DAEMON, .args = {"--pservers", "localhost"}}, "the port is missing"},
        {{.roles = DAEMON, .args = {"--current_endpoint", "a:1"}},
         "is an option of pserver, not of"},
        {{.roles = DAEMON, .args = {"--load_dir", "models"}}, "--load_dir is an option of pserver"},
        {{.roles = DAEMON, .args = {"--role", "local", "--trainer_id", "1"}},
         "not of trainer --role local"},
        {{.roles = DAEMON, .args = {"--role", "pserver"}}, "cannot play that role"},
        {{.roles = DAEMON, .args = {"--role", "boss"}}, "not one of pserver|trainer|local"},
        {{.roles = OPTION_PSERVER, .args = {"--batch_size", "3"}}, "not of pserver"},
        {{.roles = OPTION_PSERVER, .vars = {"TRAINING_ROLE=TRAINER"}}, "cannot play that role"},
        {{.roles = DAEMON, .args = {"--pservers", "a:1", "--model", "m", "--trainer_id", "1"}},
         "trainer_id=1 (flag) is out of range: trainers=1 (default)"},
        {{.roles = DAEMON, .args = {"--model", "m"}}, "--pservers is not given"},
        {{.roles = DAEMON, .args = {"--pservers", "a:1"}}, "neither --model nor --main_program"},
        {{.roles = DAEMON, .args = {"--pservers", "a:1", "--main_program", "x"}},
         "--startup_program"},
        {{.roles = DAEMON, .args = {"--model", "m", "--main_program", "x"}},
         "--model=m (flag) and --main_program=x (flag) exclude each other"},
        {{.roles = OPTION_PSERVER, .args = {"--load_dir", "m", "--resume", "m"}},
         "exclude each other"},
        {{.roles = DAEMON, .vars = {"PADDLE_TRAINERS_NUM=two"}},
         "PADDLE_TRAINERS_NUM=two (environment): `two` is not a whole number"},
        {{.roles = DAEMON, .args = {"--config", "/no/such/file"}}, "/no/such/file"},
        {{.roles = OPTION_TRANSPILE, .args = {"--pservers", "a:1"}}, "--main_program is not given"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(&rows[i].input, rows[i].why);
}

static void test_option_refuses_bad_job_files(void **state)
{
    (void)state;
    const char *const rows[][2] = {
        {"bach_size = 3\n", ":1: unknown key bach_size; did you mean batch_size?"},
        {"[x]\nzzzzzzzzzz = 3\n", ":2: unknown key zzzzzzzzzz"},
        {"batch_size = 3\nbatch_size = 3\n", ":2: batch_size is there twice"},
        {"batch_size = many\n", ":1: batch_size: `many` is not a whole number"},
        {"current_endpoint = here\n", ":1: current_endpoint: endpoint"},
        {"config = other.conf\n", ":1: config goes on the command line"},
        {"[job] x\n", ":1: text behind"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(&(struct input){.roles = DAEMON, .file = rows[i][0]}, rows[i][1]);
}

static void test_option_file_keys_of_other_roles_have_no_effect(void **state)
{
    (void)state;
    const char *file = "role = local\npservers = a:1,b:2\ntrainers = 4\nmodel = fit_a_line\n"
                       "batch_size = 9\nload_dir = models\n";
    struct option_set *set = parsed(&(struct input){.roles = OPTION_PSERVER, .file = file});
    assert_int_equal(option_role(set), OPTION_PSERVER);
    assert_string_equal(option_string(set, "role"), "pserver");
    assert_int_equal(option_int(set, "batch_size"), 64);
    assert_int_equal(option_int(set, "trainers"), 4);
    assert_int_equal(option_warnings(set)->count, 0);
    option_free(set);
    set = parsed(&(struct input){.roles = DAEMON, .file = file});
    assert_int_equal(option_role(set), OPTION_LOCAL);
    assert_int_equal(option_int(set, "batch_size"), 9);
    assert_int_equal(option_int(set, "trainers"), 1);
    assert_null(option_string(set, "pservers"));
    assert_string_equal(option_string(set, "load_dir"), "models");
    option_free(set);
}

static void test_option_stronger_of_exclusive_options_wins(void **state)
{
    (void)state;
    struct option_set *set = parsed(&(struct input){
        .roles = OPTION_PSERVER,
        .file = "pservers = a:1\nmodel = fit_a_line\nload_dir = models\n",
        .args = {"--resume", "models", NULL},
    });
    assert_false(option_is_set(set, "load_dir"));
    assert_string_equal(option_string(set, "resume"), "models");
    assert_int_equal(option_warnings(set)->count, 1);
    assert_non_null(strstr(option_warnings(set)->items[0], "resume wins"));
    option_free(set);
}

static void test_option_help_and_dump_come_from_the_table(void **state)
{
    (void)state;
    struct option_set *set;
    struct err err = {0};
    struct buf text;
    buf_init(&text, 0);
    assert_int_equal(parse(&set, &(struct input){.roles = DAEMON, .args = {"--help"}}, &err),
                     OPTION_HELP);
    option_help(set, "trainer: trains", &text);
    const char *const wanted[] = {"trainer: trains\n",     "--batch_size N", "default 64)",
                                  "--no-shuffle",          "[checkpoint]",   "PADDLE_TRAINERS_NUM",
                                  "(role local only)"};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (!strstr(buf_text(&text), wanted[i]))
            fail_msg("%s is missing in\n%s", wanted[i], buf_text(&text));
    assert_null(strstr(buf_text(&text), "--current_endpoint"));
    option_free(set);
    buf_clear(&text);
    set =
        parsed(&(struct input){.roles = DAEMON, .args = {"--role", "local", "--model", "m", NULL}});
    option_dump(set, &text);
    assert_non_null(
        strstr(buf_text(&text), "  model                m                        (flag)\n"));
    assert_non_null(
        strstr(buf_text(&text), "  batch_size           64                       (default)\n"));
    assert_null(strstr(buf_text(&text), "pservers"));
    option_free(set);
    buf_deinit(&text);
}

static void test_option_positionals(void **state)
{
    (void)state;
    struct option_set *set = parsed(&(struct input){
        .roles = OPTION_VERIFY, .args = {"models/epoch_2", "--program", "main.pb", NULL}});
    assert_int_equal(option_positional_count(set), 1);
    assert_string_equal(option_positional(set, 0), "models/epoch_2");
    assert_null(option_positional(set, 1));
    assert_string_equal(option_string(set, "program"), "main.pb");
    option_free(set);
    option_free(NULL);
}

static void test_option_flags_without_effect(void **state)
{
    (void)state;
    static const struct {
        const char *args[12];
        const char *why;
    } bad[] = {
        {{"--role=local", "--model=m", "--save_every=5"},
         "--save_every has no effect without --save_dir"},
        {{"--model=m", "--pservers=a:1,b:0"}, "b:0: port 0"},
        {{"--role=local", "--model=m", "--fetch_dir=f"}, "without --fetch"},
        {{"--role=local", "--model=m", "--first_step=3"}, "without --feed_dir"},
        {{"--role=local", "--model=m", "--if_no_checkpoint=start"},
         "--load_dir or --resume or --init_from"},
        {{"--role=local", "--main_program=a", "--startup_program=b", "--optimizer=adam"},
         "--optimizer=adam (flag) is for a model of the zoo"},
        {{"--role=local", "--main_program=a", "--startup_program=b", "--clip=norm"},
         "--clip=norm (flag)"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct input input = {.roles = DAEMON};
        memcpy(input.args, bad[i].args, sizeof bad[i].args);
        refused(&input, bad[i].why);
    }
    // What is in the job file serves other roles and runs.
    option_free(parsed(&(struct input){
        .roles = DAEMON,
        .file = "[model]\nmodel = m\noptimizer = adam\n[checkpoint]\nsave_every = 5\n",
        .args = {"--role=local", NULL},
    }));
    option_free(parsed(&(struct input){
        .roles = DAEMON,
        .file = "[model]\nmodel = m\noptimizer = adam\n",
        .args = {"--role=local", "--main_program=a", "--startup_program=b", "--learning_rate=0.5",
                 NULL},
    }));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_option_precedence_and_origins),
        cmocka_unit_test(test_option_forms_of_flags),
        cmocka_unit_test(test_option_cpu_num_of_the_environment),
        cmocka_unit_test(test_option_refuses_bad_command_lines),
        cmocka_unit_test(test_option_refuses_bad_job_files),
        cmocka_unit_test(test_option_file_keys_of_other_roles_have_no_effect),
        cmocka_unit_test(test_option_stronger_of_exclusive_options_wins),
        cmocka_unit_test(test_option_help_and_dump_come_from_the_table),
        cmocka_unit_test(test_option_positionals),
        cmocka_unit_test(test_option_flags_without_effect),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
