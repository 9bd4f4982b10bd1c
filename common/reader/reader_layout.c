// SPDX-License-Identifier: Apache-2.0
// Fields meet the program's feeds by name, then what is left over on both sides by order. A format
// with optional fields gives only what is wanted and must give all of it; others give what they
// have, and the executor judges. One thread at a time fills a batch.
#include "common/reader/reader_layout.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"

#define NO_WANT SIZE_MAX

static void match(const struct reader_layout *layout, const struct reader_options *options,
                  size_t *out_want);
static int check_wants(const struct reader_layout *layout, const struct reader_options *options,
                       const size_t *want, const char *uri, struct err *err);
static int add_feed(struct reader_layout *layout, size_t field, const struct reader_want *want,
                    const char *uri, struct err *err);
static bool row_dims(const struct reader_want *want, struct dims *out);
static int add_fixed(const struct reader_layout *layout, const struct reader_item *item,
                     int64_t sample, struct reader_batch *batch, struct err *err);

int reader_layout_make(const struct reader_items *items, const struct reader_options *options,
                       const char *uri, struct reader_layout *out, struct err *err)
{
    const struct reader_data *data = &items->layout->data;
    out->format = data->format;
    out->fields = data->fields;
    out->fields_count = data->fields_count;
    out->feeds = mem_must_calloc(data->fields_count + 1, sizeof *out->feeds);
    size_t *want = mem_must_calloc(data->fields_count + 1, sizeof *want);
    match(out, options, want);
    bool choose = data->format->optional_fields && options->wants_count;
    int rc = choose ? check_wants(out, options, want, uri, err) : 0;
    for (size_t i = 0; i < data->fields_count && rc == 0; i++)
        if (!choose || want[i] != NO_WANT)
            rc = add_feed(out, i, want[i] == NO_WANT ? NULL : &options->wants[want[i]], uri, err);
    mem_free(want);
    return rc;
}

void reader_layout_deinit(struct reader_layout *layout)
{
    for (size_t i = 0; i < layout->feeds_count; i++)
        mem_free(layout->feeds[i].name);
    mem_free(layout->feeds);
    memset(layout, 0, sizeof *layout);
}

void reader_layout_batch(const struct reader_layout *layout, struct reader_batch *out)
{
    out->samples = 0;
    out->columns_count = layout->format->whole_steps ? 0 : layout->fields_count;
    out->values_count = layout->feeds_count;
    out->columns = mem_must_calloc(out->columns_count + 1, sizeof *out->columns);
    out->values = mem_must_calloc(out->values_count + 1, sizeof *out->values);
    for (size_t i = 0; i < out->columns_count; i++)
        reader_column_init(&out->columns[i], dtype_bytes(layout->fields[i].dtype));
    for (size_t i = 0; i < out->values_count; i++)
        variable_init(&out->values[i]);
}

void reader_layout_release(struct reader_batch *batch)
{
    for (size_t i = 0; i < batch->values_count; i++)
        variable_deinit(&batch->values[i]);
    for (size_t i = 0; i < batch->columns_count; i++)
        reader_column_deinit(&batch->columns[i]);
    mem_free(batch->values);
    mem_free(batch->columns);
    memset(batch, 0, sizeof *batch);
}

void reader_layout_begin(struct reader_batch *batch)
{
    batch->samples = 0;
    for (size_t i = 0; i < batch->columns_count; i++)
        reader_column_clear(&batch->columns[i]);
}

int reader_layout_add(const struct reader_layout *layout, const struct reader_items *items,
                      int64_t sample, struct reader_batch *batch, struct err *err)
{
    const struct reader_item *item = reader_items_of(items, sample);
    int rc = layout->format->append ? layout->format->append(item->data.self, sample - item->first,
                                                             batch->columns, err)
                                    : add_fixed(layout, item, sample - item->first, batch, err);
    for (size_t i = 0; i < batch->columns_count && rc == 0; i++)
        if (reader_column_end(&batch->columns[i]) < 0)
            rc = err_set(err, SL_ENOMEM, "data %s: no memory for the batch", item->uri);
    batch->samples += rc == 0;
    return rc;
}

int reader_layout_show(const struct reader_layout *layout, struct reader_batch *batch,
                       struct err *err)
{
    for (size_t i = 0; i < layout->feeds_count; i++) {
        const struct reader_feed *feed = &layout->feeds[i];
        int rc = reader_column_show(&batch->columns[feed->field], feed->dtype, &feed->dims,
                                    feed->sequence, &batch->values[i]);
        if (rc < 0)
            return err_set(err, rc, "data: feed %s: its values do not fill whole rows, or no room",
                           feed->name);
    }
    return 0;
}

int reader_layout_step(const struct reader_layout *layout, const struct reader_items *items,
                       int64_t step, struct reader_batch *batch, struct err *err)
{
    int64_t most = 0;
    for (size_t i = 0; i < layout->feeds_count; i++) {
        struct variable *value = &batch->values[i];
        int rc = layout->format->step(items->layout->data.self, step, layout->feeds[i].field, value,
                                      err);
        if (rc < 0)
            return rc;
        if (value->kind != VARIABLE_TENSOR)
            continue;
        const struct tensor *t = &value->tensor;
        int64_t rows = t->lod_levels  ? (int64_t)t->lod[0].count - 1
                       : t->dims.rank ? t->dims.d[0]
                                      : 1;
        most = rows > most ? rows : most;
    }
    batch->samples = most;
    return 0;
}

static void match(const struct reader_layout *layout, const struct reader_options *options,
                  size_t *out_want)
{
    size_t fields_left = 0, wants_left = options->wants_count;
    bool *used = mem_must_calloc(options->wants_count + 1, sizeof *used);
    for (size_t i = 0; i < layout->fields_count; i++) {
        out_want[i] = NO_WANT;
        for (size_t k = 0; k < options->wants_count && out_want[i] == NO_WANT; k++)
            if (!used[k] && str_eq(options->wants[k].name, layout->fields[i].name))
                out_want[i] = k;
        if (out_want[i] != NO_WANT) {
            used[out_want[i]] = true;
            wants_left--;
        } else {
            fields_left++;
        }
    }
    bool by_order = fields_left == wants_left && !layout->format->whole_steps;
    for (size_t i = 0, k = 0; i < layout->fields_count && by_order; i++) {
        if (out_want[i] != NO_WANT)
            continue;
        while (used[k])
            k++;
        out_want[i] = k++;
    }
    mem_free(used);
}

static int check_wants(const struct reader_layout *layout, const struct reader_options *options,
                       const size_t *want, const char *uri, struct err *err)
{
    for (size_t k = 0; k < options->wants_count; k++) {
        bool given = false;
        for (size_t i = 0; i < layout->fields_count && !given; i++)
            given = want[i] == k;
        if (given)
            continue;
        struct str_list names = {0};
        for (size_t i = 0; i < layout->fields_count && i < 40; i++)
            str_list_add(&names, layout->fields[i].name);
        char *text = str_list_join(&names, ", ");
        err_set(err, SL_EMISMATCH,
                "data %s: the program feeds %s, which %s does not give: it has %s%s", uri,
                options->wants[k].name, layout->format->scheme, text,
                layout->fields_count > 40 ? ", ..." : "");
        mem_free(text);
        str_list_deinit(&names);
        return SL_EMISMATCH;
    }
    return 0;
}

static int add_feed(struct reader_layout *layout, size_t field, const struct reader_want *want,
                    const char *uri, struct err *err)
{
    const struct reader_field *own = &layout->fields[field];
    struct reader_feed *feed = &layout->feeds[layout->feeds_count++];
    *feed = (struct reader_feed){.field = field,
                                 .name = mem_must_strdup(want ? want->name : own->name),
                                 .dtype = own->dtype,
                                 .dims = own->dims,
                                 .sequence = own->sequence};
    if (!want || layout->format->whole_steps)
        return 0;
    if (want->typed && want->lod_levels == 0 && own->sequence)
        return err_set(
            err, SL_EMISMATCH,
            "data %s: %s is a sequence in the data; the program's variable %s has no LoD "
            "level",
            uri, own->name, want->name);
    if (want->typed && want->dtype != own->dtype && layout->format->optional_fields)
        return err_set(err, SL_EMISMATCH,
                       "data %s: %s is %s in the data; the program's variable %s is %s", uri,
                       own->name, dtype_name(own->dtype), want->name, dtype_name(want->dtype));
    struct dims dims;
    int64_t wanted = row_dims(want, &dims) ? dims_product(&dims, 0, dims.rank) : -1;
    int64_t elements = dims_product(&own->dims, 0, own->dims.rank);
    feed->sequence = own->sequence || (want->typed && want->lod_levels > 0);
    // A sample of fixed size is one row of a sequence, or several smaller ones.
    if (wanted == elements || (feed->sequence && wanted > 0 && elements % wanted == 0))
        feed->dims = dims;
    return 0;
}

// The program's shape without the batch, when it is known and its product is in range.
static bool row_dims(const struct reader_want *want, struct dims *out)
{
    int64_t elements = 1;
    out->rank = want->dims.rank - 1;
    if (want->dims.rank < 1)
        return false;
    for (int d = 1; d < want->dims.rank; d++) {
        out->d[d - 1] = want->dims.d[d];
        if (want->dims.d[d] < 0 || __builtin_mul_overflow(elements, want->dims.d[d], &elements))
            return false;
    }
    return true;
}

static int add_fixed(const struct reader_layout *layout, const struct reader_item *item,
                     int64_t sample, struct reader_batch *batch, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < layout->feeds_count && rc == 0; i++) {
        size_t field = layout->feeds[i].field;
        const struct dims *dims = &layout->fields[field].dims;
        size_t elements = (size_t)dims_product(dims, 0, dims->rank);
        void *out = reader_column_add(&batch->columns[field], elements);
        rc = out ? item->data.format->sample(item->data.self, sample, field, out, err)
                 : err_set(err, SL_ENOMEM, "data %s: no memory for the batch", item->uri);
    }
    return rc;
}
