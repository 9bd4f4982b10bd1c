// SPDX-License-Identifier: Apache-2.0
// "Save the model to make prediction for new samples": train a little, save the Parameters.
//   save_params FOLDER

#include "example.h"

int main(int argc, char **argv)
{
    struct sl_error err = {0};
    if (argc != 2)
        return 2;
    const char *loss = example_build(&err);
    if (loss == NULL)
        return example_fail(&err);

    sl_executor *exe = sl_executor_new(SL_CPU);
    const char *param_path = argv[1];
    sl_program *prog = sl_default_main_program();
    int rc = sl_run(exe, sl_default_startup_program(), NULL, NULL, &err);
    if (rc == 0)
        rc = example_run(exe, prog, loss, 0, 10, 0, &err);
    if (rc == 0)
        rc = sl_io_save_params(exe, param_path, NULL, &err);

    // What the saved parameters say about new samples: the forward part alone.
    sl_program *test = sl_program_clone(prog, true, &err);
    if (rc == 0)
        rc = example_run(exe, test, loss, 1000, 2, 0, &err);
    sl_program_free(test);
    sl_executor_free(exe);
    return rc < 0 ? example_fail(&err) : 0;
}
