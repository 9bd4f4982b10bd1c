// SPDX-License-Identifier: Apache-2.0
// Single node: train, then save everything that training needs to go on.
//   save_persistables FOLDER STEPS

#include "example.h"

int main(int argc, char **argv)
{
    struct sl_error err = {0};
    if (argc != 3)
        return 2;
    const char *loss = example_build(&err);
    if (loss == NULL)
        return example_fail(&err);

    sl_executor *exe = sl_executor_new(SL_CPU);
    const char *path = argv[1];
    sl_program *prog = sl_default_main_program();
    int rc = sl_run(exe, sl_default_startup_program(), NULL, NULL, &err);
    if (rc == 0)
        rc = example_run(exe, prog, loss, 0, example_int(argv[2]), 0, &err);
    if (rc == 0)
        rc = sl_io_save_persistables(exe, path, prog, &err);
    sl_executor_free(exe);
    return rc < 0 ? example_fail(&err) : 0;
}
