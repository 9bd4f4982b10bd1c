// SPDX-License-Identifier: Apache-2.0
// best.json is written after the folder: where they disagree after a crash, the folder is newer and
// better.
#include "trainer/best.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/config/option.h"
#include "common/storage/store.h"
#include "trainer/checkpointer.h"
#include "trainer/engine.h"
#include "trainer/evaluate.h"
#include "trainer/work.h"

#define FOLDER "best"
#define FILE_NAME "best.json"
#define FILE_BYTES_MAX 4096
#define LOSS "loss"
#define NONE "none"

static int write_note(const struct best *best, const char *dir, struct err *err);

int best_init(struct best *best, const struct engine *engine, struct err *err)
{
    const struct option_set *options = engine->options;
    const struct str_list *names = &engine->job.metric_names;
    const char *wanted = option_string(options, "best_metric");
    *best = (struct best){.index = -1};
    bool possible = option_every(options, "eval_every").count > 0 &&
                    option_is_set(options, "save_dir") && engine_saves(engine);
    // The auc of the last batches says less than that of the whole evaluation.
    if (wanted == NULL && str_list_has(names, "auc") && str_eq(names->items[0], "batch_auc"))
        wanted = "auc";
    if (wanted == NULL)
        wanted = names->count > 0 ? names->items[0] : engine->job.loss != NULL ? LOSS : NONE;
    if (str_eq(wanted, NONE))
        return 0;
    for (size_t i = 0; i < names->count && i < EVALUATE_METRICS_MAX; i++)
        if (str_eq(names->items[i], wanted))
            best->index = (int)i;
    if (best->index < 0 && !(str_eq(wanted, LOSS) && engine->job.loss != NULL)) {
        char *list = str_list_join(names, ", ");
        err_set(err, SL_EUSAGE, "--best_metric %s: the model has: %s%s%s, or " NONE, wanted, list,
                names->count > 0 && engine->job.loss ? ", " : "", engine->job.loss ? LOSS : "");
        mem_free(list);
        return SL_EUSAGE;
    }
    best->metric = possible ? wanted : NULL;
    return 0;
}

void best_begin(struct best *best, const struct engine *engine, const struct checkpointer *saver)
{
    if (best->metric == NULL || engine->start.mode == JOB_START_FRESH)
        return;
    struct buf text;
    char *path = fsutil_join(saver->dir, FILE_NAME);
    buf_init(&text, FILE_BYTES_MAX);
    json_t *note = NULL;
    if (fsutil_read(path, FILE_BYTES_MAX, &text, NULL) == 0)
        note = json_loadb((const char *)text.data, text.bytes, 0, NULL);
    const char *metric = json_string_value(json_object_get(note, "metric"));
    const json_t *value = json_object_get(note, "value");
    if (metric != NULL && str_eq(metric, best->metric) && json_is_number(value)) {
        best->known = true;
        best->value = json_number_value(value);
        best->step = json_integer_value(json_object_get(note, "step"));
        best->path = fsutil_join(saver->dir, FOLDER);
    }
    json_decref(note);
    buf_deinit(&text);
    mem_free(path);
}

void best_deinit(struct best *best)
{
    mem_free(best->path);
    best->path = NULL;
}

int best_offer(struct best *best, struct checkpointer *saver, struct engine *engine,
               const struct work *work, const struct evaluate_result *result, char *line,
               size_t line_bytes, struct err *err)
{
    line[0] = '\0';
    if (best->metric == NULL)
        return 0;
    double value = best->index < 0 ? result->loss : result->metrics[best->index];
    bool better = !best->known || (best->index < 0 ? value < best->value : value > best->value);
    if (!isfinite(value) || !better)
        return 0;
    char *path = fsutil_join(saver->dir, FOLDER);
    int rc = checkpointer_write(saver, engine, work, path, err);
    if (rc == 0) {
        best_deinit(best);
        best->path = path;
        best->known = true;
        best->value = value;
        best->step = result->step;
        snprintf(line, line_bytes, "best so far: %s %.4f, saved %s", best->metric, value, path);
        rc = write_note(best, saver->dir, err);
    } else {
        mem_free(path);
    }
    return rc;
}

static int write_note(const struct best *best, const char *dir, struct err *err)
{
    json_t *note = json_pack("{s:s, s:f, s:I}", "metric", best->metric, "value", best->value,
                             "step", (json_int_t)best->step);
    char *text = json_dumps(note, JSON_REAL_PRECISION(17));
    int rc = store_write_file(dir, FILE_NAME, text, strlen(text), NULL, err);
    free(text);
    json_decref(note);
    return rc;
}
