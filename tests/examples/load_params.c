// SPDX-License-Identifier: Apache-2.0
// "Load model to make predictions for new samples". The program is the forward part only, and the
// start-up program runs before the load.
//   load_params FOLDER

#include "example.h"

int main(int argc, char **argv)
{
    struct sl_error err = {0};
    if (argc != 2)
        return 2;
    sl_net *net = sl_net_new(NULL, NULL);
    sl_var *loss = example_network(net);
    int rc = sl_net_error(net, &err);
    sl_net_free(net);

    sl_executor *exe = sl_executor_new(SL_CPU);
    const char *param_path = argv[1];
    sl_program *prog = sl_default_main_program();
    if (rc == 0)
        rc = sl_run(exe, sl_default_startup_program(), NULL, NULL, &err);
    if (rc == 0)
        rc = sl_io_load_params(exe, param_path, prog, NULL, &err);
    if (rc == 0)
        rc = example_run(exe, prog, sl_var_name(loss), 1000, 2, 0, &err);

    // Running the start-up program now would overwrite what was loaded: it is refused.
    if (rc == 0 && sl_run(exe, sl_default_startup_program(), NULL, NULL, &err) == SL_ERR_REFUSED)
        printf("refused: %s\n", err.text);
    sl_executor_free(exe);
    return rc < 0 ? example_fail(&err) : 0;
}
