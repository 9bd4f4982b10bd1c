// SPDX-License-Identifier: Apache-2.0
// Multi-node incremental training, both roles in one program. FOLDER "-" begins from nothing.
//   distributed PSERVER FOLDER PSERVERS TRAINERS ENDPOINT
//   distributed TRAINER FOLDER PSERVERS TRAINERS TRAINER_ID FIRST STEPS

#include "example.h"

static void on_ready(void *self, const char *endpoint)
{
    (void)self;
    printf("ready on %s\n", endpoint);
    fflush(stdout);
}

static int pserver(sl_transpiler *t, sl_executor *exe, const char *path,
                   const char *current_endpoint, struct sl_error *err)
{
    sl_program *pserver_prog = sl_get_pserver_program(t, current_endpoint, err);
    if (pserver_prog == NULL)
        return err->code;
    sl_program *pserver_startup = sl_get_startup_program(t, current_endpoint, pserver_prog, err);
    struct sl_load_report report = {0};
    int rc = sl_run(exe, pserver_startup, NULL, NULL, err);
    if (rc == 0 && strcmp(path, "-") != 0) {
        rc = sl_io_load_persistables(exe, path, pserver_startup, &report, err);
        printf("loaded %d, sliced %d, missing %d\n", report.loaded, report.sliced, report.missing);
    }
    return rc == 0 ? sl_run(exe, pserver_prog, NULL, NULL, err) : rc;
}

static int trainer(sl_transpiler *t, sl_executor *exe, const char *loss, int trainer_id, int first,
                   int steps, struct sl_error *err)
{
    sl_program *main_program = sl_get_trainer_program(t, err);
    int rc = sl_run(exe, sl_default_startup_program(), NULL, NULL, err);
    if (rc == 0)
        rc = example_run(exe, main_program, loss, first, steps, trainer_id, err);
    return rc == 0 ? sl_executor_close(exe, err) : rc;
}

int main(int argc, char **argv)
{
    struct sl_error err = {0};
    if (argc != 6 && argc != 8)
        return 2;
    const char *training_role = argv[1];
    const char *path = argv[2];
    bool serves = strcmp(training_role, "PSERVER") == 0;
    int trainer_id = serves ? 0 : example_int(argv[5]);
    const char *loss = example_build(&err);
    if (loss == NULL)
        return example_fail(&err);

    struct sl_transpiler_config config = sl_transpiler_config_defaults();
    sl_transpiler *t = sl_transpiler_new(&config);
    const struct sl_job job = {.trainer_id = trainer_id,
                               .pservers = argv[3],
                               .trainers = example_int(argv[4]),
                               .sync_mode = true};
    int rc = sl_transpile(t, &job, NULL, NULL, &err);

    struct sl_executor_options options = sl_executor_defaults();
    options.ready = on_ready;
    sl_executor *exe = sl_executor_new_with(SL_CPU, &options);
    if (rc == 0)
        rc = serves ? pserver(t, exe, path, argv[5], &err)
                    : trainer(t, exe, loss, trainer_id, example_int(argv[6]), example_int(argv[7]),
                              &err);
    sl_executor_free(exe);
    sl_transpiler_free(t);
    return rc < 0 ? example_fail(&err) : 0;
}
