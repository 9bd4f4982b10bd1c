// SPDX-License-Identifier: Apache-2.0
// Sluice's C API: PaddlePaddle Fluid 1.8's building, running, saving, loading and parameter-server
// calls. Names follow Fluid's; what a call does to files, programs and processes does too.
//
// Handles are opaque. Option structs come from x_defaults() and may always be NULL. A function that
// can fail returns 0 (or a count), or a negative SL_ERR_* and a text in *err (err may be NULL).
// While a network is built, the net keeps the first error instead: ask sl_net_error once at the
// end. A NULL program is the default main (or, where it says so, start-up) program. Pointers that a
// function returns belong to the handle it was asked of, unless it says "free it". One handle is
// used by one thread at a time; different executors may run in different threads.
//
// This header has three parts in files of their own, which it includes: sluice_io.h (saving and
// loading), sluice_layers.h and sluice_optimizers.h.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define SL_API __attribute__((visibility("default")))
#else
#define SL_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

// ---- errors
#define SL_ERROR_TEXT_MAX 1024

enum sl_code {
    SL_SKIPPED = 1,   // success, but nothing was written: a save on a trainer other than 0
    SL_ERR_INVALID = -1,
    SL_ERR_NO_MEMORY = -2,
    SL_ERR_IO = -3,
    SL_ERR_NOT_FOUND = -4,
    SL_ERR_EXISTS = -5,
    SL_ERR_FORMAT = -6,
    SL_ERR_LIMIT = -7,
    SL_ERR_MISMATCH = -8,   // names, shapes or types of two things differ
    SL_ERR_UNSUPPORTED = -9,
    SL_ERR_REFUSED = -10,   // done on purpose; the text names the option that allows it
    SL_ERR_TIMEOUT = -11,
    SL_ERR_CLOSED = -12,   // a peer is gone
    SL_ERR_BUSY = -13,
    SL_ERR_CORRUPT = -14,
    SL_ERR_STOPPED = -15,
    SL_ERR_USAGE = -16,
    SL_ERR_DIVERGED = -17,
    SL_ERR_AGAIN = -18,
};

// One sentence that says what, where and what to do. Initialise with {0}.
struct sl_error {
    int code;
    char text[SL_ERROR_TEXT_MAX];
};

SL_API const char *sl_version(void);
SL_API void sl_free(void *memory);   // what a function told you to free

// ---- shapes and tensors
#define SL_RANK_MAX 9
#define SL_LOD_MAX 4

// Numbers of Fluid's VarType.
enum sl_dtype {
    SL_BOOL = 0,
    SL_INT16 = 1,
    SL_INT32 = 2,
    SL_INT64 = 3,
    SL_FP16 = 4,
    SL_FP32 = 5,
    SL_FP64 = 6,
    SL_UINT8 = 20,
    SL_INT8 = 21,
};

struct sl_shape {
    int rank;
    int64_t d[SL_RANK_MAX];
};

// SL_SHAPE(784, 10)
#define SL_SHAPE(...)                                                                              \
    ((struct sl_shape){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})

// A view of a dense tensor: row-major data of shape, and sequence offsets (LoD), if any.
struct sl_tensor {
    enum sl_dtype dtype;
    struct sl_shape shape;
    void *data;
    size_t bytes;   // filled in by the library; ignored when you pass one in
    int lod_levels;
    const uint64_t *lod[SL_LOD_MAX];   // lod[i][0] = 0 <= ... : lod_count[i] offsets
    size_t lod_count[SL_LOD_MAX];
};

// ---- programs
typedef struct program sl_program;
typedef struct var_desc sl_var;   // lives as long as its program

SL_API sl_program *sl_default_main_program(void);   // this process's; never free them
SL_API sl_program *sl_default_startup_program(void);
// Empties both default programs, so that a second network can be built from nothing.
SL_API void sl_reset_default_programs(void);

SL_API sl_program *sl_program_new(void);            // free it
SL_API void sl_program_free(sl_program *program);   // NULL is fine
// A copy; for_test: without backward and optimizer operators, is_test set. Free it; NULL and *err
// on failure.
SL_API sl_program *sl_program_clone(const sl_program *program, bool for_test, struct sl_error *err);
SL_API sl_program *sl_program_load(const char *path,
                                   struct sl_error *err);   // a ProgramDesc file; free it
SL_API int sl_program_save(const sl_program *program, const char *path, struct sl_error *err);
// Initializers without a seed of their own take this one (0: another seed every run).
SL_API void sl_program_set_random_seed(sl_program *program, uint32_t seed);
// The canonical text (equal programs, equal text). Free it.
SL_API char *sl_program_text(const sl_program *program);
SL_API bool sl_program_equal(const sl_program *a, const sl_program *b);
// A variable of the global block, or NULL.
SL_API sl_var *sl_program_var(const sl_program *program, const char *name);
SL_API const char *sl_var_name(const sl_var *var);
SL_API struct sl_shape sl_var_shape(const sl_var *var);   // -1: as many as are fed
SL_API enum sl_dtype sl_var_dtype(const sl_var *var);
SL_API bool sl_var_is_persistable(const sl_var *var);
// Fluid's var.persistable: lives on after a run and is saved. While the network is being built.
SL_API void sl_var_set_persistable(sl_var *var, bool persistable);
// As the builder knows it; false for every variable of a program that was read from a file.
SL_API bool sl_var_is_parameter(const sl_var *var);
// The variables of the global block, i < sl_program_vars.
SL_API size_t sl_program_vars(const sl_program *program);
SL_API sl_var *sl_program_var_at(const sl_program *program, size_t i);
// What an inference program wants to be fed and gives: the order of its feed and fetch operators.
SL_API size_t sl_program_feeds(const sl_program *program);
SL_API const char *sl_program_feed(const sl_program *program, size_t i);
SL_API size_t sl_program_fetches(const sl_program *program);
SL_API const char *sl_program_fetch(const sl_program *program, size_t i);
// Fluid's var.stop_gradient: no gradient flows into this variable.
SL_API void sl_var_set_stop_gradient(sl_var *var, bool stop);

// ---- building a network; layers are in sluice_layers.h, optimizers in sluice_optimizers.h
typedef struct layers_net sl_net;

// Where layers put their operators. NULL programs are the default ones. A net makes Fluid's names
// (fc_0.w_0, mean_0.tmp_0, ...) and goes on counting where the program stands. Borrows the
// programs.
SL_API sl_net *sl_net_new(sl_program *main_program,
                          sl_program *startup);   // free it with sl_net_free
SL_API void sl_net_free(sl_net *net);
// 0, or the code and text of the first thing that went wrong; later calls did nothing.
SL_API int sl_net_error(const sl_net *net, struct sl_error *err);

// ---- running
typedef struct api_executor sl_executor;
typedef struct api_feed sl_feed;
typedef struct api_fetch sl_fetch;

enum sl_place { SL_CPU = 0 };

struct sl_executor_options {
    int connect_timeout_ms;   // how long a trainer waits for its servers (600000)
    bool insecure;            // a server may listen beyond the loopback interface
    // Called now and then while something is waited for, with one line of text. May be NULL.
    void (*waiting)(void *self, const char *text);
    // Called when a server program accepts trainers, with the bound address. May be NULL.
    void (*ready)(void *self, const char *endpoint);
    // Gets one line when something was left undone on purpose (a save on a trainer other than 0).
    // sl_executor_defaults: writes it to stderr. NULL: nobody is told.
    void (*log)(void *self, const char *text);
    void *self;
};
SL_API struct sl_executor_options sl_executor_defaults(void);

// An executor and its scope: the persistable variables that its programs share. Free it.
SL_API sl_executor *sl_executor_new(enum sl_place place);
SL_API sl_executor *sl_executor_new_with(enum sl_place place,
                                         const struct sl_executor_options *options);
// fluid's Executor.close(): tells the servers that this trainer has completed, and waits until they
// know.
SL_API int sl_executor_close(sl_executor *exe, struct sl_error *err);
SL_API void sl_executor_free(sl_executor *exe);   // closes first; NULL is fine

SL_API sl_feed *sl_feed_new(void);   // free it
SL_API void sl_feed_free(sl_feed *feed);
// Copies the value (LoD too).
SL_API int sl_feed_set(sl_feed *feed, const char *name, const struct sl_tensor *value,
                       struct sl_error *err);
SL_API void sl_feed_clear(sl_feed *feed);

SL_API sl_fetch *sl_fetch_new(void);   // free it
SL_API void sl_fetch_free(sl_fetch *fetch);
SL_API void sl_fetch_add(sl_fetch *fetch, const char *name);
SL_API size_t sl_fetch_count(const sl_fetch *fetch);
// The i-th value of the last run (valid until the next run with this fetch); NULL before the first.
SL_API const struct sl_tensor *sl_fetch_get(const sl_fetch *fetch, size_t i);
// Its first element as a number (a loss); NaN when there is none.
SL_API double sl_fetch_number(const sl_fetch *fetch, size_t i);

#define SL_CPU_NUM (-1)   // what the environment variable CPU_NUM says; 1 when it is not set

struct sl_run_options {
    bool overwrite_loaded;   // let a start-up program overwrite variables that were loaded
    // fluid's CompiledProgram.with_data_parallel and ParallelExecutor: so many worker threads share
    // the fed batch (0 and 1: the plain executor), or SL_CPU_NUM. A fetched variable is the
    // workers' values one after the other, so a mean loss has an element a worker. A trainer
    // program pushes the sum over its workers, once. Fewer samples than workers is an error.
    int cpu_num;
};

// Runs block 0: a start-up, training or test program; a transpiled trainer program talks to its
// servers; a transpiled server program serves until every trainer has completed. feed and fetch may
// be NULL. A NULL program is the default main program. Refuses (SL_ERR_REFUSED, with the list) a
// start-up program that would overwrite loaded variables.
SL_API int sl_run(sl_executor *exe, sl_program *program, const sl_feed *feed, sl_fetch *fetch,
                  struct sl_error *err);
SL_API int sl_run_with(sl_executor *exe, sl_program *program, const sl_feed *feed, sl_fetch *fetch,
                       const struct sl_run_options *options, struct sl_error *err);

// A variable of the executor's scope by name: a view, valid until the next run / a copy in.
SL_API int sl_scope_get(const sl_executor *exe, const char *name, struct sl_tensor *out,
                        struct sl_error *err);
SL_API int sl_scope_set(sl_executor *exe, const char *name, const struct sl_tensor *value,
                        struct sl_error *err);
SL_API bool sl_scope_has(const sl_executor *exe, const char *name);

// ---- reading data
typedef struct api_reader sl_reader;

struct sl_reader_options {
    int64_t batch_size;
    uint64_t seed;   // of the permutation of each epoch
    bool shuffle;
    bool drop_last;
    int trainers, trainer_id;   // one order for all; trainer i takes the i-th batch of each step
    int64_t first_step;         // feed_dir: the first folder's number
    int prefetch;               // batches that a thread prepares ahead; 0: none
    const struct sl_text_options *text;   // how text is read; NULL: the defaults
};
SL_API struct sl_reader_options sl_reader_defaults(void);   // 32, 0, true, true, 1, 0, 0, 2, NULL

enum sl_label { SL_LABEL_FIRST = 0, SL_LABEL_LAST = 1, SL_LABEL_NONE = 2 };

// Zeroed: the defaults. What each means: common/reader/README.md, under the option of its name.
struct sl_text_options {
    const char *format;         // "multislot", ...; NULL: a scheme, or the files, say it
    const char *slots;          // "label=click:uint64:1,ids"; NULL: the feeds in order
    bool feasign_first;         // pairs are feasign:slot
    const char *pipe_command;   // NULL: none
    bool skip_bad_lines;        // else a bad line is an error
    int64_t hash_dim;           // 0: the format's own way
    enum sl_label label;
    int ngram;                  // 0: a line is a sample
};

// Free each with sl_reader_free. NULL and *err on failure.
// Folders step_000, step_001, ... of Fluid tensor files, one file a fed variable.
SL_API sl_reader *sl_reader_feed_dir(const char *dir, const struct sl_reader_options *options,
                                     struct sl_error *err);
// A folder of MNIST idx files (.gz too): image_var [N,784], pixels scaled as x / 127.5 - 1, and
// int64 label_var [N,1].
SL_API sl_reader *sl_reader_idx(const char *dir, const char *image_var, const char *label_var,
                                const struct sl_reader_options *options, struct sl_error *err);
// UCI housing's text: 13 normalised features [N,13], price [N,1]; the first 404 rows.
SL_API sl_reader *sl_reader_housing(const char *path, const char *x_var, const char *y_var,
                                    const struct sl_reader_options *options, struct sl_error *err);
// Any data that trainer --data takes: a path, "SCHEME://PATH", a glob or a list with commas. feeds
// are the variables (of sl_data) to fill, as in Fluid's set_use_var; with 0 of them the data's own
// names.
SL_API sl_reader *sl_reader_open(const char *uri, sl_var *const *feeds, size_t feeds_count,
                                 const struct sl_reader_options *options, struct sl_error *err);
// Lines of text that were left out (skip_bad_lines).
SL_API uint64_t sl_reader_bad_lines(const sl_reader *reader);
SL_API void sl_reader_free(sl_reader *reader);
// Puts the next batch into feed. 1: there is one; 0: the end of this pass (the next call begins the
// next one); negative: an error.
SL_API int sl_reader_next(sl_reader *reader, sl_feed *feed, struct sl_error *err);

// ---- distributing (fluid.DistributeTranspiler)
typedef struct api_transpiler sl_transpiler;

enum sl_split_method { SL_ROUND_ROBIN = 0, SL_HASH_NAME = 1 };

// fluid.DistributeTranspilerConfig.
struct sl_transpiler_config {
    bool slice_var_up;
    enum sl_split_method split_method;
    int64_t min_block_size;   // elements; at least 8192
    bool sync_mode;
    bool runtime_split_send_recv;   // needs sync_mode false
    bool wait_port;   // kept for Fluid's sake: trainers wait for servers when they run
    bool enable_dc_asgd;
    bool half_async;
    bool fluid_exact;   // 1.8.5's text even where that cannot run
    bool init_whole;    // cut parameters begin as on one machine (Fluid draws each piece anew)
    bool clip_merged;   // servers clip the merged gradient; else each trainer clips its own
};
SL_API struct sl_transpiler_config sl_transpiler_config_defaults(void);

struct sl_job {
    int trainer_id;
    const char *pservers;   // "ip:port,ip:port"
    int trainers;
    bool sync_mode;
    const char *current_endpoint;   // not needed
};

SL_API sl_transpiler *sl_transpiler_new(const struct sl_transpiler_config *config);   // free it
SL_API void sl_transpiler_free(sl_transpiler *transpiler);   // programs got from it go too
// As in Fluid, the given programs (NULL: the default ones) become the trainer's: after this call
// running startup pulls the servers' values and program trains with them.
SL_API int sl_transpile(sl_transpiler *transpiler, const struct sl_job *job, sl_program *program,
                        sl_program *startup, struct sl_error *err);
// The program given to sl_transpile. NULL and *err when nothing was transpiled.
SL_API sl_program *sl_get_trainer_program(sl_transpiler *transpiler, struct sl_error *err);
// These belong to the transpiler. endpoint is one of pservers.
SL_API sl_program *sl_get_pserver_program(sl_transpiler *transpiler, const char *endpoint,
                                          struct sl_error *err);
SL_API sl_program *sl_get_startup_program(sl_transpiler *transpiler, const char *endpoint,
                                          const sl_program *pserver_program, struct sl_error *err);
SL_API int sl_get_pserver_programs(sl_transpiler *transpiler, const char *endpoint,
                                   sl_program **out_main, sl_program **out_startup,
                                   struct sl_error *err);

#ifdef __cplusplus
}
#endif

#include "sluice_io.h"
#include "sluice_layers.h"
#include "sluice_optimizers.h"
