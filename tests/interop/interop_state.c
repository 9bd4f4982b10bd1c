// SPDX-License-Identifier: Apache-2.0
// A user's program for the interoperability tests: everything of fluid.io and fluid.save from the
// command line. Steps of a script, one after the other, on one executor:
//
//   interop_state MAIN STARTUP FEED_DIR LOSS  STEP...
//
//   startup                          run the start-up program
//   load_persistables=DIR[,FILE]     load_params=DIR[,FILE]   load=PREFIX
//   save_persistables=DIR[,FILE]     save_params=DIR[,FILE]   save=PREFIX
//   run=FIRST,COUNT                  train on step folders, printing "loss N VALUE"
//   save_inference=DIR,FEED,TARGET
#include <sluice.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct state {
    sl_program *main, *startup;
    sl_executor *exe;
    const char *feed_dir, *loss;
};

static int run(struct state *s, char *first, char *count, struct sl_error *err)
{
    struct sl_reader_options how = sl_reader_defaults();
    how.shuffle = false;
    how.first_step = strtol(first, NULL, 10);
    sl_reader *reader = sl_reader_feed_dir(s->feed_dir, &how, err);
    if (reader == NULL)
        return err->code;
    sl_feed *feed = sl_feed_new();
    sl_fetch *fetch = sl_fetch_new();
    sl_fetch_add(fetch, s->loss);
    int rc = 0;
    for (long n = 0, end = strtol(count, NULL, 10); rc == 0 && n < end; n++) {
        rc = sl_reader_next(reader, feed, err);
        if (rc == 1)
            rc = sl_run(s->exe, s->main, feed, fetch, err);
        if (rc == 0)
            printf("loss %ld %.9g\n", (long)how.first_step + n, sl_fetch_number(fetch, 0));
    }
    sl_fetch_free(fetch);
    sl_feed_free(feed);
    sl_reader_free(reader);
    return rc;
}

// step is NAME[=A[,B[,C]]].
static int perform(struct state *s, char *step, struct sl_error *err)
{
    char *part[3] = {NULL, NULL, NULL}, *at = strchr(step, '=');
    struct sl_load_report report;
    for (int i = 0; at != NULL && i < 3; i++) {
        *at = '\0';
        part[i] = at + 1;
        at = strchr(part[i], ',');
    }
    const struct sl_load_options from = {.filename = part[1]};
    const struct sl_save_options to = {.filename = part[1]};
    int rc = SL_ERR_USAGE;
    if (strcmp(step, "startup") == 0)
        rc = sl_run(s->exe, s->startup, NULL, NULL, err);
    else if (strcmp(step, "run") == 0)
        rc = run(s, part[0], part[1], err);
    else if (strcmp(step, "load_persistables") == 0)
        rc = sl_io_load_persistables_with(s->exe, part[0], s->main, &from, &report, err);
    else if (strcmp(step, "load_params") == 0)
        rc = sl_io_load_params_with(s->exe, part[0], s->main, &from, &report, err);
    else if (strcmp(step, "load") == 0)
        rc = sl_io_load(s->exe, s->main, part[0], NULL, &report, err);
    else if (strcmp(step, "save_persistables") == 0)
        rc = sl_io_save_persistables_with(s->exe, part[0], s->main, &to, err);
    else if (strcmp(step, "save_params") == 0)
        rc = sl_io_save_params_with(s->exe, part[0], s->main, &to, err);
    else if (strcmp(step, "save") == 0)
        rc = sl_io_save(s->exe, s->main, part[0], err);
    else if (strcmp(step, "save_inference") == 0)
        rc =
            sl_io_save_inference_model(s->exe, part[0], (const char *const[]){part[1]}, 1,
                                       (const char *const[]){part[2]}, 1, s->main, NULL, NULL, err);
    if (rc == 0 && strncmp(step, "load", 4) == 0)
        printf("%s\n", report.text);
    return rc;
}

int main(int argc, char **argv)
{
    struct sl_error err = {0};
    struct state s = {0};
    if (argc < 5)
        return 2;
    s.main = sl_program_load(argv[1], &err);
    s.startup = s.main ? sl_program_load(argv[2], &err) : NULL;
    s.exe = sl_executor_new(SL_CPU);
    s.feed_dir = argv[3];
    s.loss = argv[4];
    int rc = s.startup ? 0 : err.code;
    for (int i = 5; rc == 0 && i < argc; i++)
        rc = perform(&s, argv[i], &err);
    if (rc < 0)
        fprintf(stderr, "error %d: %s\n", rc, err.text);
    sl_executor_free(s.exe);
    sl_program_free(s.main);
    sl_program_free(s.startup);
    return rc < 0 ? 1 : 0;
}
