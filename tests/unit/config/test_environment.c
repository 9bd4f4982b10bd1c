// SPDX-License-Identifier: Apache-2.0
// Every era of Fluid's environment names gives one answer, and contradictions are told.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/config/environment.h"

// ctx is a NULL-terminated array of "NAME=value".
static const char *get(void *ctx, const char *name)
{
    const char *const *vars = ctx;
    size_t bytes = strlen(name);
    for (; *vars; vars++)
        if (strncmp(*vars, name, bytes) == 0 && (*vars)[bytes] == '=')
            return *vars + bytes + 1;
    return NULL;
}

static void same(const char *got, const char *want)
{
    if (!str_eq(got, want))
        fail_msg("got %s, want %s", got ? got : "nothing", want ? want : "nothing");
}

struct row {
    const char *vars[8];
    const char *role, *pservers, *trainers, *trainer_id, *current_endpoint;
    size_t warnings;
};

static const struct row rows[] = {
    {{NULL}, NULL, NULL, NULL, NULL, NULL, 0},
    {{"TRAINING_ROLE=PSERVER", "PADDLE_PSERVERS_IP_PORT_LIST=127.0.0.1:1,127.0.0.1:2",
      "PADDLE_TRAINERS_NUM=2", "POD_IP=127.0.0.1", "PADDLE_PORT=1", NULL},
     "pserver", "127.0.0.1:1,127.0.0.1:2", "2", NULL, "127.0.0.1:1", 0},
    {{"PADDLE_TRAINING_ROLE=TRAINER", "PADDLE_PSERVER_ENDPOINTS=a:1,b:2", "PADDLE_TRAINERS=4",
      "PADDLE_TRAINER_ID=3", NULL},
     "trainer", "a:1,b:2", "4", "3", NULL, 0},
    {{"PADDLE_PSERVER_IPS=10.0.0.1,10.0.0.2", "PADDLE_PSERVER_PORT=7000",
      "PADDLE_CURRENT_IP=10.0.0.2", NULL},
     NULL, "10.0.0.1:7000,10.0.0.2:7000", NULL, NULL, "10.0.0.2:7000", 0},
    {{"PADDLE_PSERVERS=10.0.0.1, ::1,[::2]", "PADDLE_PORT=30236", NULL},
     NULL, "10.0.0.1:30236,[::1]:30236,[::2]:30236", NULL, NULL, NULL, 0},
    {{"PADDLE_PSERVERS=ps-0:9,ps-1", NULL}, NULL, "ps-0:9,ps-1:6174", NULL, NULL, NULL, 0},
    {{"CURRENT_ENDPOINT=ps-0:9", "POD_IP=10.0.0.1", NULL}, NULL, NULL, NULL, NULL, "ps-0:9", 0},
    {{"POD_IP=10.0.0.1", NULL}, NULL, NULL, NULL, NULL, NULL, 0},
    {{"PADDLE_CURRENT_ENDPOINT=a:1", "CURRENT_ENDPOINT=b:1", "POD_IP=c", "PADDLE_PORT=1", NULL},
     NULL, NULL, NULL, NULL, "a:1", 2},
    {{"PADDLE_TRAINERS_NUM=2", "PADDLE_TRAINERS=3", NULL}, NULL, NULL, "2", NULL, NULL, 1},
    {{"PADDLE_TRAINERS_NUM=2", "PADDLE_TRAINERS=10.0.0.1,10.0.0.2",
      "PADDLE_TRAINER_ENDPOINTS=a:1,b:1", NULL},
     NULL, NULL, "2", NULL, NULL, 0},
    {{"TRAINING_ROLE=", "PADDLE_TRAINERS_NUM=", NULL}, NULL, NULL, NULL, NULL, NULL, 0},
    {{"PADDLE_TRAINING_ROLE=trainer", "TRAINING_ROLE=PSERVER", NULL}, "trainer", NULL, NULL, NULL,
     NULL, 1},
};

static void test_environment_eras(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct environment env;
        environment_resolve(&env, get, (void *)rows[i].vars);
        same(env.role.value, rows[i].role);
        same(env.pservers.value, rows[i].pservers);
        same(env.trainers.value, rows[i].trainers);
        same(env.trainer_id.value, rows[i].trainer_id);
        same(env.current_endpoint.value, rows[i].current_endpoint);
        assert_int_equal(env.warnings.count, rows[i].warnings);
        environment_deinit(&env);
    }
}

static void test_environment_says_which_name_won(void **state)
{
    (void)state;
    const char *vars[] = {"PADDLE_TRAINERS_NUM=4", "PADDLE_TRAINERS=2", "POD_IP=10.0.0.1",
                          "PADDLE_PORT=99", NULL};
    struct environment env;
    environment_resolve(&env, get, vars);
    same(env.trainers.source, "PADDLE_TRAINERS_NUM");
    same(env.current_endpoint.source, "POD_IP + PADDLE_PORT");
    assert_int_equal(env.warnings.count, 1);
    same(env.warnings.items[0],
         "PADDLE_TRAINERS_NUM=4 and PADDLE_TRAINERS=2 (environment) disagree; "
         "PADDLE_TRAINERS_NUM wins");
    environment_deinit(&env);
    environment_deinit(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_environment_eras),
        cmocka_unit_test(test_environment_says_which_name_won),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
