// SPDX-License-Identifier: Apache-2.0
// Saving and loading a checkpoint beside what the disk itself does, in turns.
//
//   ckpt_bench DIR MIB ROUNDS      -> one JSON object
//
// A round: MIB MiB written to one file in pieces of 1 MiB and fsynced; a save of as much state (64
// variables) with sums, manifest and fsync; the saved files read; the save loaded and checked.
// Files that were written past the page cache are read from the disk, by both readers. Seconds are
// wall-clock, *_cpu are the process's.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/ckpt/ckpt_load.h"
#include "common/ckpt/ckpt_save.h"
#include "common/exec/scope.h"
#include "common/program/program.h"
#include "common/program/var_desc.h"

#define VARIABLES 64
#define COLUMNS 256
#define PIECE (1u << 20)
#define ROUNDS_MAX 100

enum work { DISK_WRITE, SAVE, FILE_READ, LOAD, WORKS };
static const char *const names[WORKS] = {"disk_write", "save", "file_read", "load"};

struct bench {
    char *raw_path, *dir;
    uint64_t bytes;
    uint8_t *piece;
    struct program *program;
    struct scope *scope;
    struct str_list vars;
};

_Noreturn static void die(const char *what, const struct err *err)
{
    fprintf(stderr, "ckpt_bench: %s: %s\n", what, err ? err->text : strerror(errno));
    exit(1);
}

static double cpu_seconds(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static void make_state(struct bench *b)
{
    uint64_t rows = b->bytes / VARIABLES / COLUMNS / sizeof(float);
    const struct dims dims = {.rank = 2, .d = {(int64_t)rows, COLUMNS}};
    b->program = program_new();
    b->scope = scope_new();
    for (int i = 0; i < VARIABLES; i++) {
        str_list_addf(&b->vars, "fc_%d.w_0", i);
        struct var_desc *var =
            block_add_var(program_block(b->program, 0), var_desc_new(b->vars.items[i]));
        var->has_tensor = true;
        var->dtype = DTYPE_FP32;
        var->dims = dims;
        var->has_persistable = var->persistable = true;
        struct tensor *t = variable_tensor(scope_var(b->scope, b->vars.items[i]));
        if (tensor_resize(t, DTYPE_FP32, &dims) < 0)
            die("memory", NULL);
        for (uint64_t k = 0; k < rows * COLUMNS; k++)
            tensor_f32(t)[k] = (float)((k * 2654435761u + (uint64_t)i) % 1000003) * 1e-6f;
    }
}

static void disk_write(struct bench *b)
{
    int fd = open(b->raw_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        die(b->raw_path, NULL);
    for (uint64_t at = 0; at < b->bytes; at += PIECE)
        if (write(fd, b->piece, PIECE) != (ssize_t)PIECE)
            die(b->raw_path, NULL);
    if (fsync(fd) != 0 || close(fd) != 0)
        die(b->raw_path, NULL);
}

static void save(struct bench *b)
{
    struct ckpt_source *source = NULL;
    struct ckpt_saved saved = {0};
    struct err err = {0};
    const struct ckpt_save_options options = {0};
    if (ckpt_source_scope(b->scope, &b->vars, &source, &err) < 0 ||
        ckpt_save(source, b->dir, &options, &saved, &err) < 0)
        die("save", &err);
    ckpt_save_deinit(&saved);
    ckpt_source_free(source);
}

static void file_read(struct bench *b)
{
    for (size_t i = 0; i < b->vars.count; i++) {
        char *path = fsutil_join(b->dir, b->vars.items[i]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : 1;
        while (n > 0)
            n = read(fd, b->piece, PIECE);
        if (n < 0)
            die(path, NULL);
        close(fd);
        mem_free(path);
    }
}

static void load(struct bench *b)
{
    struct ckpt_report report;
    struct err err = {0};
    ckpt_report_init(&report);
    if (ckpt_load(b->dir, b->program, b->scope, NULL, &report, &err) < 0)
        die("load", &err);
    ckpt_report_deinit(&report);
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: ckpt_bench DIR MIB ROUNDS\n");
        return 2;
    }
    static double seconds[WORKS][ROUNDS_MAX], cpu[WORKS][ROUNDS_MAX];
    static void (*const works[WORKS])(struct bench *) = {disk_write, save, file_read, load};
    int64_t mib = 0, rounds = 0;
    if (!str_parse_i64(argv[2], &mib) || !str_parse_i64(argv[3], &rounds) || mib < 1 ||
        rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "ckpt_bench: MIB from 1, ROUNDS from 1 to %d\n", ROUNDS_MAX);
        return 2;
    }
    struct bench b = {.raw_path = fsutil_join(argv[1], "raw"),
                      .dir = fsutil_join(argv[1], "checkpoint"),
                      .bytes = (uint64_t)mib << 20,
                      .piece = mem_calloc(1, PIECE)};
    make_state(&b);
    for (int64_t round = -1; round < rounds; round++)
        for (int w = 0; w < WORKS; w++) {
            if (w == DISK_WRITE)
                unlink(b.raw_path);   // both write new files, as a series of checkpoints does
            if (w == SAVE)
                fsutil_remove_tree(b.dir, NULL);
            double cpu_before = cpu_seconds();
            uint64_t before = clock_now_ns();
            works[w](&b);
            if (round < 0)
                continue;   // files and memory are there from now on
            seconds[w][round] = (double)(clock_now_ns() - before) * 1e-9;
            cpu[w][round] = cpu_seconds() - cpu_before;
        }
    printf("{\"mib\": %lld, \"rounds\": %lld", (long long)mib, (long long)rounds);
    for (int w = 0; w < WORKS; w++) {
        qsort(seconds[w], (size_t)rounds, sizeof **seconds, ascending);
        qsort(cpu[w], (size_t)rounds, sizeof **cpu, ascending);
        printf(", \"%s\": {\"median_s\": %.4f, \"min_s\": %.4f, \"cpu_s\": %.4f}", names[w],
               seconds[w][rounds / 2], seconds[w][0], cpu[w][rounds / 2]);
    }
    printf("}\n");
    unlink(b.raw_path);
    scope_free(b.scope);
    program_free(b.program);
    str_list_deinit(&b.vars);
    mem_free(b.raw_path);
    mem_free(b.dir);
    mem_free(b.piece);
    return 0;
}
