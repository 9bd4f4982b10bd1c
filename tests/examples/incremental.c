// SPDX-License-Identifier: Apache-2.0
// Single node: run the start-up program, load what the last run saved, go on training.
//   incremental FOLDER FIRST STEPS

#include "example.h"

int main(int argc, char **argv)
{
    struct sl_error err = {0};
    if (argc != 4)
        return 2;
    const char *loss = example_build(&err);
    if (loss == NULL)
        return example_fail(&err);

    sl_executor *exe = sl_executor_new(SL_CPU);
    const char *path = argv[1];
    sl_program *startup_prog = sl_default_startup_program();
    struct sl_load_report report;
    int rc = sl_run(exe, startup_prog, NULL, NULL, &err);
    if (rc == 0)
        rc = sl_io_load_persistables(exe, path, startup_prog, &report, &err);
    if (rc == 0)
        printf("loaded %d, missing %d\n", report.loaded, report.missing);
    sl_program *main_prog = sl_default_main_program();
    if (rc == 0)
        rc = example_run(exe, main_prog, loss, example_int(argv[2]), example_int(argv[3]), 0, &err);
    sl_executor_free(exe);
    return rc < 0 ? example_fail(&err) : 0;
}
