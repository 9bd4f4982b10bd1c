// SPDX-License-Identifier: Apache-2.0
// A model for prediction: train a little and save what predicts; load that, which needs no network
// in code, and predict. `sluice infer FOLDER` does the second with files.
//   inference save FOLDER      inference predict FOLDER

#include "example.h"

static int save(sl_executor *exe, const char *folder, struct sl_error *err);
static int predict(sl_executor *exe, sl_program *program, struct sl_error *err);

int main(int argc, char **argv)
{
    struct sl_error err = {0};
    if (argc != 3)
        return 2;
    sl_executor *exe = sl_executor_new(SL_CPU);
    int rc = strcmp(argv[1], "save") == 0 ? save(exe, argv[2], &err) : 0;
    sl_executor_free(exe);

    exe = sl_executor_new(SL_CPU);
    sl_program *model = NULL;
    if (rc == 0)
        model = sl_io_load_inference_model(exe, argv[2], NULL, NULL, &err);
    if (model != NULL)
        rc = predict(exe, model, &err);
    sl_executor_free(exe);
    sl_program_free(model);
    return rc < 0 || model == NULL ? example_fail(&err) : 0;
}

static int save(sl_executor *exe, const char *folder, struct sl_error *err)
{
    const char *loss = example_build(err);
    if (loss == NULL)
        return err->code;
    const char *feeds[] = {"x"}, *targets[] = {"fc_1.tmp_1"};
    sl_program *prog = sl_default_main_program();
    int rc = sl_run(exe, sl_default_startup_program(), NULL, NULL, err);
    if (rc == 0)
        rc = example_run(exe, prog, loss, 0, 10, 0, err);
    if (rc == 0)
        rc = sl_io_save_inference_model(exe, folder, feeds, 1, targets, 1, prog, NULL, NULL, err);

    // The loss of the samples that predict() takes, by the network itself.
    sl_program *test = sl_program_clone(prog, true, err);
    if (rc == 0)
        rc = example_run(exe, test, loss, 10, 1, 0, err);
    sl_program_free(test);
    return rc;
}

// The first batch after those of the training; a line for each sample.
static int predict(sl_executor *exe, sl_program *program, struct sl_error *err)
{
    static float x[EXAMPLE_ROWS][EXAMPLE_WIDTH], y[EXAMPLE_ROWS][1];
    sl_feed *feed = sl_feed_new();
    sl_fetch *fetch = sl_fetch_new();
    example_samples(x, y, 10, 0);
    const struct sl_tensor samples = {
        .dtype = SL_FP32, .shape = SL_SHAPE(EXAMPLE_ROWS, EXAMPLE_WIDTH), .data = x};
    sl_fetch_add(fetch, sl_program_fetch(program, 0));
    int rc = sl_feed_set(feed, sl_program_feed(program, 0), &samples, err);
    if (rc == 0)
        rc = sl_run(exe, program, feed, fetch, err);
    for (int r = 0; rc == 0 && r < EXAMPLE_ROWS; r++)
        printf("predict %d %.9g of %.9g\n", r, ((float *)sl_fetch_get(fetch, 0)->data)[r], y[r][0]);
    sl_fetch_free(fetch);
    sl_feed_free(feed);
    return rc;
}
