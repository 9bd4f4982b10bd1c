// SPDX-License-Identifier: Apache-2.0
// `sluice transpile`: from a saved training program to the programs of every trainer and server of
// a job, as files, and the slice map as JSON. Everything is made before the first file is written.
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/job_config.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/config/option.h"
#include "common/passes/transpiler.h"
#include "common/program/program.h"
#include "common/program/slice_map.h"
#include "deploy/sluice/cmd.h"

// A program and the file that it becomes.
struct output {
    char *file;
    struct program *program;
};

struct outputs {
    struct output *items;
    size_t count, cap;
};

static int run(int argc, char **argv);
static int transpile(const struct option_set *options, struct err *err);
static int plan(const struct option_set *options, struct transpiler **out, struct err *err);
static int make_all(const struct transpiler *t, int trainers, struct outputs *out, struct err *err);
static int write_all(const struct outputs *outputs, const struct transpiler *t, const char *dir,
                     struct err *err);
static char *slice_map_text(const struct transpiler *t);

const struct cmd cmd_transpile = {
    .name = "transpile",
    .args = "--main_program FILE --startup_program FILE --pservers HOST:PORT,... --trainers N "
            "--out DIR",
    .help = "Writes the trainers' and servers' programs of a training program.",
    .details =
        "DIR gets trainer_<i>.pb, trainer_startup.pb, pserver_<j>.pb, pserver_startup_<j>.pb and "
        "slice_map.json.\nThe programs equal those of Fluid 1.8.5's DistributeTranspiler; where "
        "those cannot run "
        "the\ndefault differs and --fluid_exact gives 1.8.5's.\n\n"
        "example:\n"
        "  sluice transpile --main_program main.pb --startup_program startup.pb \\\n"
        "      --pservers 127.0.0.1:6174,127.0.0.1:6175 --trainers 2 --out programs",
    .run = run,
};

static int run(int argc, char **argv)
{
    struct err err = {0};
    struct option_set *options = option_new(OPTION_TRANSPILE, "sluice transpile", 0, NULL, NULL);
    log_setup("sluice", LOG_INFO, false);
    int rc = option_parse(options, argc + 1, argv - 1, &err);
    if (rc == 0) {
        job_config_log(options, "sluice");
        rc = transpile(options, &err);
    }
    option_free(options);
    if (rc == SL_EUSAGE)
        return cmd_usage(&cmd_transpile, "%s", err.text);
    return rc < 0 ? cmd_failed(&err) : CMD_OK;
}

static int transpile(const struct option_set *options, struct err *err)
{
    static const char *const required[] = {"main_program", "startup_program", "out"};
    for (size_t i = 0; i < sizeof required / sizeof *required; i++)
        if (option_string(options, required[i]) == NULL)
            return err_set(err, SL_EUSAGE, "--%s is missing", required[i]);
    if (option_list(options, "pservers")->count == 0)
        return err_set(err, SL_EUSAGE, "--pservers is missing");
    struct transpiler *t = NULL;
    struct outputs outputs = {0};
    int rc = plan(options, &t, err);
    if (rc == 0)
        rc = make_all(t, (int)option_int(options, "trainers"), &outputs, err);
    if (rc == 0)
        rc = write_all(&outputs, t, option_string(options, "out"), err);
    for (size_t i = 0; i < outputs.count; i++) {
        mem_free(outputs.items[i].file);
        program_free(outputs.items[i].program);
    }
    mem_free(outputs.items);
    transpiler_free(t);
    return rc;
}

static int plan(const struct option_set *options, struct transpiler **out, struct err *err)
{
    struct transpiler_config config = transpiler_config_default();
    struct program *main = NULL, *startup = NULL;
    config.slice_var_up = option_bool(options, "slice_var_up");
    config.min_block_size = option_int(options, "min_block_size");
    config.enable_dc_asgd = option_bool(options, "enable_dc_asgd");
    config.half_async = option_bool(options, "half_async");
    config.fluid_exact = option_bool(options, "fluid_exact");
    config.init_whole = str_eq(option_string(options, "init"), "whole");
    config.clip_merged = option_bool(options, "clip_merged");
    int rc =
        transpiler_split_parse(option_string(options, "split_method"), &config.split_method, err);
    if (rc == 0 && config.enable_dc_asgd && option_bool(options, "sync_mode"))
        return err_set(err, SL_EUSAGE, "--enable_dc_asgd needs --sync_mode=false");
    if (rc == 0)
        rc = program_load(option_string(options, "main_program"), &main, err);
    if (rc == 0)
        rc = program_load(option_string(options, "startup_program"), &startup, err);
    if (rc == 0) {
        char *pservers = str_list_join(option_list(options, "pservers"), ",");
        const struct transpiler_job job = {.pservers = pservers,
                                           .trainers = (int)option_int(options, "trainers"),
                                           .sync_mode = option_bool(options, "sync_mode")};
        rc = transpiler_new(&config, &job, main, startup, out, err);
        mem_free(pservers);
    }
    program_free(main);
    program_free(startup);
    return rc;
}

static void add(struct outputs *out, char *take_file, struct program *program)
{
    MEM_GROW(out->items, out->count, out->cap);
    out->items[out->count++] = (struct output){take_file, program};
}

static int make_all(const struct transpiler *t, int trainers, struct outputs *out, struct err *err)
{
    const struct str_list *endpoints = transpiler_endpoints(t);
    struct program *program = NULL;
    int rc = 0;
    for (int i = 0; rc == 0 && i < trainers; i++) {
        rc = transpiler_trainer_program(t, i, &program, err);
        if (rc == 0)
            add(out, mem_must_printf("trainer_%d.pb", i), program);
    }
    if (rc == 0)
        rc = transpiler_startup_trainer(t, 0, &program, err);
    if (rc == 0)
        add(out, mem_must_strdup("trainer_startup.pb"), program);
    for (size_t i = 0; rc == 0 && i < endpoints->count; i++) {
        rc = transpiler_server_program(t, endpoints->items[i], &program, err);
        if (rc == 0)
            add(out, mem_must_printf("pserver_%zu.pb", i), program);
        if (rc == 0)
            rc = transpiler_startup_server(t, endpoints->items[i], &program, err);
        if (rc == 0)
            add(out, mem_must_printf("pserver_startup_%zu.pb", i), program);
    }
    return rc;
}

static int write_all(const struct outputs *outputs, const struct transpiler *t, const char *dir,
                     struct err *err)
{
    int rc = fsutil_mkdirs(dir, err);
    for (size_t i = 0; rc == 0 && i < outputs->count; i++) {
        char *path = fsutil_join(dir, outputs->items[i].file);
        rc = program_save(outputs->items[i].program, path, err);
        mem_free(path);
    }
    if (rc < 0)
        return rc;
    char *path = fsutil_join(dir, "slice_map.json"), *text = slice_map_text(t);
    rc = fsutil_write_atomic(path, text, strlen(text), err);
    free(text);
    mem_free(path);
    if (rc == 0)
        printf("%s: %zu programs and slice_map.json\n", dir, outputs->count);
    return rc;
}

static json_t *slices_json(const struct slice_var *var)
{
    json_t *all = json_array();
    for (size_t i = 0; i < var->slices_count; i++) {
        const struct slice *slice = &var->slices[i];
        json_array_append_new(all, json_pack("{s:i, s:I, s:I, s:s}", "server", slice->server, "row",
                                             (json_int_t)slice->row, "rows",
                                             (json_int_t)slice->rows, "name", slice->name));
    }
    return all;
}

static json_t *var_json(const struct slice_var *var)
{
    json_t *shape = json_array();
    for (int i = 0; i < var->dims.rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)var->dims.d[i]));
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:o, s:b, s:o}", "name", var->name, "role",
                  slice_map_role_name(var->role), "dtype", dtype_name((int)var->dtype), "shape",
                  shape, "replicated", (int)var->replicated, "slices", slices_json(var));
    if (var->param != NULL)
        json_object_set_new(object, "param", json_string(var->param));
    if (var->sparse)
        json_object_set_new(object, "sparse", json_true());
    return object;
}

// free() it.
static char *slice_map_text(const struct transpiler *t)
{
    const struct slice_map *map = transpiler_slices(t);
    const struct str_list *endpoints = transpiler_endpoints(t);
    char hash[17];
    json_t *servers = json_array(), *vars = json_array();
    for (size_t i = 0; i < endpoints->count; i++)
        json_array_append_new(servers, json_string(endpoints->items[i]));
    for (size_t i = 0; i < map->vars_count; i++)
        json_array_append_new(vars, var_json(map->vars[i]));
    snprintf(hash, sizeof hash, "%016" PRIx64, slice_map_hash(map));
    json_t *object = json_pack("{s:o, s:i, s:s, s:o}", "pservers", servers, "trainers",
                               map->trainers, "topology", hash, "variables", vars);
    if (map->phases)
        json_object_set_new(object, "phases", json_integer((json_int_t)map->phases));
    char *text = json_dumps(object, JSON_INDENT(1));
    json_decref(object);
    return text;
}
