// SPDX-License-Identifier: Apache-2.0
// `sluice infer`: a saved inference model over folders of recorded feeds.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/api/sluice.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/reader/feed_dir.h"
#include "common/reader/reader.h"
#include "deploy/sluice/cmd_args.h"

struct inference {
    sl_executor *exe;
    sl_program *model;
    sl_feed *feed;
    sl_fetch *fetch;
    struct reader *reader;
    const char *out;
    int64_t first_step, steps, samples;
    uint64_t *nanoseconds;   // of each step's run
    size_t cap;
    struct sl_error error;
    struct err err;
};

static int run(int argc, char **argv);
static int load(struct inference *in, const char *model_dir,
                const struct sl_inference_options *options);
static int all_steps(struct inference *in);
static int one_step(struct inference *in);
static int feed_step(struct inference *in);
static int write_step(struct inference *in);
static void tell(struct inference *in);
static int failed(struct inference *in);
static int ascending(const void *a, const void *b);

const struct cmd cmd_infer = {
    .name = "infer",
    .args = "MODEL_DIR --feed_dir DIR --out DIR [--model_file FILE] [--params_file FILE]\n"
            "                    [--first_step N]",
    .help = "Runs an inference model over step_NNN folders of feeds; writes what it gives.",
    .details =
        "MODEL_DIR is what save_inference_model wrote, here or in Paddle; --model_file (default "
        "__model__)\n"
        "and --params_file (a combined file) are its names there. DIR/step_NNN/VARIABLE are Fluid "
        "tensor\n"
        "files, of which those that the model does not ask for are left alone. Outputs go to\n"
        "OUT/step_NNN/TARGET; the end tells samples a second.\n\n"
        "example:\n"
        "  sluice infer models/inference --feed_dir feeds --out predictions",
    .run = run,
};

static int run(int argc, char **argv)
{
    struct inference in = {0};
    struct sl_inference_options options = sl_inference_defaults();
    const char *model_dir, *feed_dir = NULL, *first = NULL;
    const struct cmd_option table[] = {{"--feed_dir", .text = &feed_dir},
                                       {"--out", .text = &in.out},
                                       {"--model_file", .text = &options.model_filename},
                                       {"--params_file", .text = &options.params_filename},
                                       {"--first_step", .text = &first},
                                       {.name = NULL}};
    int code = cmd_args_parse(&cmd_infer, argc, argv, table, &model_dir, 1, 1);
    if (code != CMD_OK)
        return code;
    if (feed_dir == NULL || in.out == NULL)
        return cmd_usage(&cmd_infer, "--feed_dir and --out are needed");
    if (first != NULL && (!str_parse_i64(first, &in.first_step) || in.first_step < 0))
        return cmd_usage(&cmd_infer, "--first_step %s: a number from 0 is expected", first);
    const struct reader_options how = {.ordered = true, .first_step = in.first_step};
    char *uri = mem_must_printf("feed_dir://%s", feed_dir);
    int rc = load(&in, model_dir, &options);
    if (rc == 0)
        rc = reader_open(uri, &how, &in.reader, &in.err);
    if (rc == 0)
        rc = all_steps(&in);
    code = rc < 0 ? failed(&in) : CMD_OK;
    if (code == CMD_OK)
        tell(&in);
    reader_free(in.reader);
    sl_feed_free(in.feed);
    sl_fetch_free(in.fetch);
    sl_program_free(in.model);
    sl_executor_free(in.exe);
    mem_free(in.nanoseconds);
    mem_free(uri);
    return code == CMD_OK ? cmd_write(NULL, 0) : code;
}

static int load(struct inference *in, const char *model_dir,
                const struct sl_inference_options *options)
{
    struct sl_load_report report = {0};
    in->exe = sl_executor_new(SL_CPU);
    in->feed = sl_feed_new();
    in->fetch = sl_fetch_new();
    in->model = sl_io_load_inference_model(in->exe, model_dir, options, &report, &in->error);
    if (in->model == NULL)
        return in->error.code;
    for (size_t i = 0; i < sl_program_fetches(in->model); i++)
        sl_fetch_add(in->fetch, sl_program_fetch(in->model, i));
    printf("%s\n", report.text);
    return 0;
}

static int all_steps(struct inference *in)
{
    int more;
    while ((more = reader_next(in->reader, &in->err)) > 0) {
        int rc = one_step(in);
        if (rc < 0)
            return rc;
        in->steps++;
    }
    if (more == 0 && in->steps == 0)
        return err_set(&in->err, SL_ENOENT, "the feed folder has no step");
    return more;
}

static int one_step(struct inference *in)
{
    int rc = feed_step(in);
    uint64_t begin = clock_now_ns();
    if (rc == 0)
        rc = sl_run(in->exe, in->model, in->feed, in->fetch, &in->error);
    MEM_GROW(in->nanoseconds, (size_t)in->steps, in->cap);
    in->nanoseconds[in->steps] = clock_now_ns() - begin;
    in->samples += reader_batch_samples(in->reader);
    return rc < 0 ? rc : write_step(in);
}

static int feed_step(struct inference *in)
{
    sl_feed_clear(in->feed);
    for (size_t want = 0; want < sl_program_feeds(in->model); want++) {
        const char *name = sl_program_feed(in->model, want);
        const struct variable *value = NULL;
        for (size_t i = 0; i < reader_feeds(in->reader); i++)
            if (str_eq(reader_feed_name(in->reader, i), name))
                value = reader_feed_value(in->reader, i);
        if (value == NULL || value->kind != VARIABLE_TENSOR)
            return err_set(&in->err, SL_ENOENT,
                           "step %" PRId64 ": the model wants to be fed %s, which is not there",
                           in->first_step + in->steps, name);
        const struct tensor *t = &value->tensor;
        struct sl_tensor view = {.dtype = (enum sl_dtype)t->dtype,
                                 .shape = {.rank = t->dims.rank},
                                 .data = t->data,
                                 .lod_levels = t->lod_levels};
        for (int d = 0; d < t->dims.rank; d++)
            view.shape.d[d] = t->dims.d[d];
        for (int l = 0; l < t->lod_levels && l < SL_LOD_MAX; l++) {
            view.lod[l] = t->lod[l].offsets;
            view.lod_count[l] = t->lod[l].count;
        }
        int rc = sl_feed_set(in->feed, name, &view, &in->error);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int write_step(struct inference *in)
{
    for (size_t i = 0; i < sl_fetch_count(in->fetch); i++) {
        const struct sl_tensor *value = sl_fetch_get(in->fetch, i);
        struct variable var = {.kind = VARIABLE_TENSOR};
        struct dims dims = {.rank = value->shape.rank};
        struct lod_level lod[SL_LOD_MAX] = {0};
        for (int d = 0; d < dims.rank; d++)
            dims.d[d] = value->shape.d[d];
        for (int l = 0; l < value->lod_levels; l++)
            lod[l] = (struct lod_level){(uint64_t *)value->lod[l], value->lod_count[l], 0};
        tensor_init(&var.tensor);
        tensor_borrow(&var.tensor, (enum dtype)value->dtype, &dims, value->data, value->bytes);
        int rc = tensor_set_lod(&var.tensor, value->lod_levels, lod);
        if (rc == 0)
            rc = feed_dir_write(in->out, in->first_step + in->steps, sl_program_fetch(in->model, i),
                                &var, &in->err);
        variable_deinit(&var);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void tell(struct inference *in)
{
    uint64_t total = 0;
    for (int64_t i = 0; i < in->steps; i++)
        total += in->nanoseconds[i];
    qsort(in->nanoseconds, (size_t)in->steps, sizeof *in->nanoseconds, ascending);
    printf("inferred %" PRId64 " steps, %" PRId64
           " samples into %s: %.0f samples/s, a step %.3f ms "
           "(median), %.3f ms (99%%)\n",
           in->steps, in->samples, in->out, (double)in->samples * 1e9 / (double)(total ? total : 1),
           (double)in->nanoseconds[(in->steps - 1) / 2] / 1e6,
           (double)in->nanoseconds[(in->steps * 99 + 99) / 100 - 1] / 1e6);
}

static int failed(struct inference *in)
{
    if (in->err.text[0] == '\0')
        err_set(&in->err, in->error.code, "%s", in->error.text);
    return cmd_failed(&in->err);
}

static int ascending(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}
