// SPDX-License-Identifier: Apache-2.0
// Saving and loading: fluid.io, fluid.save and fluid.load. Part of sluice.h, which includes this.
//
// A folder holds one Fluid file a variable, or one combined file (filename), plus our manifest,
// which Fluid ignores: sizes, SHA-256, how far training was. A NULL program is the default main
// program. Every load is all or nothing, and says of each variable what became of it.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// ---- what a load did

enum sl_fate {
    SL_LOADED,     // whole
    SL_SLICED,     // this server's rows of the file
    SL_KEPT,       // absent from the folder, and that is allowed: its value before the load stays
    SL_EXCEPTED,   // left out on request
    SL_MISSING,    // no file
    SL_DIFFERS,    // shape or type does not fit, or the file is damaged
    SL_EXTRA,      // a file that no variable wants
};

struct sl_load_item {
    const char *name;   // of the variable; of the file for SL_EXTRA
    const char *file;   // below the folder; NULL when there is none
    enum sl_fate fate;
    int64_t row, rows;         // SL_SLICED: rows [row, row + rows) of the file
    uint64_t offset, bytes;    // of what was taken, in the file
    const char *sha256;        // of the file, by the manifest, against which what was read is
                               // checked; NULL: no checksum
    int64_t step;              // when the file was saved, or -1
    const char *note;          // what differs, why it was kept; or NULL
};

// Filled on failure too (then nothing was loaded).
struct sl_load_report {
    int loaded;                // variables taken whole
    int sliced;                // variables of which this server took its rows
    int kept;                  // absent from the folder, start-up value kept
    int missing, mismatched;   // reasons for a refusal
    int extra;                 // files in the folder that nothing asked for
    int64_t step, epoch;       // from the manifest; -1 without one
    char digest[72];           // of the folder's contents, hexadecimal
    char text[1024];           // the summary, one line, cut at the end
};

// Item by item, the last load of this executor (also a refused one), valid until the next load.
SL_API size_t sl_load_items(const sl_executor *exe);
SL_API int sl_load_item(const sl_executor *exe, size_t i, struct sl_load_item *out);
// The same as one JSON object. Free it.
SL_API char *sl_load_json(const sl_executor *exe);

struct sl_load_options {
    bool allow_update_ops;      // load_params into a program that updates parameters (fine-tuning)
    bool allow_other_forward;   // load_params into another network than the manifest speaks of
    bool partial;               // load what fits, report the rest
    const char *const *except;  // globs of variables to leave alone
    size_t except_count;
    const char *filename;       // the combined file; NULL: a file a variable
};
SL_API struct sl_load_options sl_load_defaults(void);

struct sl_save_options {
    const char *filename;    // one combined file; NULL: a file a variable
    bool allow_non_finite;   // save NaN and infinity too; else they refuse the save
};
SL_API struct sl_save_options sl_save_defaults(void);

// ---- fluid.io

// Write INTO dirname (made when missing); other files there are left alone. On a trainer other than
// 0 nothing is written and SL_SKIPPED is returned. On trainer 0 of a distributed job everything
// comes from the servers. options may be NULL.
SL_API int sl_io_save_params(sl_executor *exe, const char *dirname, const sl_program *program,
                             struct sl_error *err);
SL_API int sl_io_save_persistables(sl_executor *exe, const char *dirname, const sl_program *program,
                                   struct sl_error *err);
SL_API int sl_io_save_params_with(sl_executor *exe, const char *dirname, const sl_program *program,
                                  const struct sl_save_options *options, struct sl_error *err);
SL_API int sl_io_save_persistables_with(sl_executor *exe, const char *dirname,
                                        const sl_program *program,
                                        const struct sl_save_options *options,
                                        struct sl_error *err);

// Load all or nothing. Run the start-up program first. report may be NULL.
// load_params refuses a program with update operators, and, when the manifest says so, another
// network than was saved (see sl_load_options).
// load_persistables takes a server's start-up or main program too: the server reads its own rows.
SL_API int sl_io_load_params(sl_executor *exe, const char *dirname, const sl_program *program,
                             struct sl_load_report *report, struct sl_error *err);
SL_API int sl_io_load_persistables(sl_executor *exe, const char *dirname, const sl_program *program,
                                   struct sl_load_report *report, struct sl_error *err);
SL_API int sl_io_load_params_with(sl_executor *exe, const char *dirname, const sl_program *program,
                                  const struct sl_load_options *options,
                                  struct sl_load_report *report, struct sl_error *err);
SL_API int sl_io_load_persistables_with(sl_executor *exe, const char *dirname,
                                        const sl_program *program,
                                        const struct sl_load_options *options,
                                        struct sl_load_report *report, struct sl_error *err);

// Which variables of a program's global block: those with these names, or, when names is NULL,
// those that predicate says yes to.
struct sl_vars {
    const char *const *names;
    size_t count;
    bool (*predicate)(void *self, const sl_var *var);
    void *self;
};
SL_API int sl_io_save_vars(sl_executor *exe, const char *dirname, const sl_program *program,
                           const struct sl_vars *vars, const struct sl_save_options *options,
                           struct sl_error *err);
SL_API int sl_io_load_vars(sl_executor *exe, const char *dirname, const sl_program *program,
                           const struct sl_vars *vars, const struct sl_load_options *options,
                           struct sl_load_report *report, struct sl_error *err);

// ---- models for prediction

struct sl_inference_options {
    const char *model_filename;    // NULL: __model__
    const char *params_filename;   // one combined file; NULL: a file a variable
    bool program_only;             // save: the program without variables
};
SL_API struct sl_inference_options sl_inference_defaults(void);

// Saves what program needs to make targets from feeds, for prediction: pruned, is_test set, feed
// and fetch operators in this order, every persistable that is left. program stays as it is. As in
// Fluid a `scale` by 1 makes each target anew, under the name save_infer_model/scale_<i>.tmp_<k>;
// out_targets (may be NULL) gets targets_count names, each to be freed with sl_free. SL_ERR_INVALID
// lists what must be fed and is not in feeds.
SL_API int sl_io_save_inference_model(sl_executor *exe, const char *dirname,
                                      const char *const *feeds, size_t feeds_count,
                                      const char *const *targets, size_t targets_count,
                                      const sl_program *program,
                                      const struct sl_inference_options *options,
                                      char **out_targets, struct sl_error *err);
// The program, and its persistables in exe's scope. sl_program_feed and sl_program_fetch tell the
// names. Free it; NULL and *err on failure.
SL_API sl_program *sl_io_load_inference_model(sl_executor *exe, const char *dirname,
                                              const struct sl_inference_options *options,
                                              struct sl_load_report *report, struct sl_error *err);

// ---- fluid.save and fluid.load

// model_path is "dir/prefix": Parameters go to prefix.pdparams, other persistables to prefix.pdopt
// (Python pickles of arrays by name), the program to prefix.pdmodel.
SL_API int sl_io_save(sl_executor *exe, const sl_program *program, const char *model_path,
                      struct sl_error *err);
// Reads them back without running anything that a pickle may ask for. When there is no
// prefix.pdparams and model_path is a folder, what is in it is loaded as save_vars wrote it.
SL_API int sl_io_load(sl_executor *exe, const sl_program *program, const char *model_path,
                      const struct sl_load_options *options, struct sl_load_report *report,
                      struct sl_error *err);

#ifdef __cplusplus
}
#endif
