// SPDX-License-Identifier: Apache-2.0
// Multi-node: a trainer that trains and then calls save_persistables. The document asks
// `if trainer_id == 0`; without it the call is harmless too, since other trainers write nothing.
//   trainer_save FOLDER PSERVERS TRAINERS TRAINER_ID STEPS

#include "example.h"

int main(int argc, char **argv)
{
    struct sl_error err = {0};
    if (argc != 6)
        return 2;
    const char *loss = example_build(&err);
    if (loss == NULL)
        return example_fail(&err);
    const char *path = argv[1];
    int trainer_id = example_int(argv[4]);
    sl_transpiler *t = sl_transpiler_new(NULL);
    const struct sl_job job = {.trainer_id = trainer_id,
                               .pservers = argv[2],
                               .trainers = example_int(argv[3]),
                               .sync_mode = true};
    int rc = sl_transpile(t, &job, NULL, NULL, &err);

    sl_executor *exe = sl_executor_new(SL_CPU);
    if (rc == 0)
        rc = sl_run(exe, sl_default_startup_program(), NULL, NULL, &err);
    if (rc == 0)
        rc = example_run(exe, sl_get_trainer_program(t, NULL), loss, 0, example_int(argv[5]),
                         trainer_id, &err);
    if (rc == 0) {
        sl_program *prog = sl_default_main_program();
        rc = sl_io_save_persistables(exe, path, prog, &err);
        printf("save: %s\n", rc == SL_SKIPPED ? "skipped" : rc == 0 ? "done" : err.text);
    }
    if (rc >= 0)
        rc = sl_executor_close(exe, &err);
    sl_executor_free(exe);
    sl_transpiler_free(t);
    return rc < 0 ? example_fail(&err) : 0;
}
