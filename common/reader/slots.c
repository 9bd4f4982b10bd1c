// SPDX-License-Identifier: Apache-2.0
// Declarations are cut from behind: DIMS and type behind colons, then FEED in front of '='. A range
// "A..B" stands at the end of a name and gives one slot a number. No state.
#include "common/reader/slots.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/reader/text_scan.h"

#define NAME_MAX_BYTES 256u

// One declaration, cut.
struct declaration {
    char feed[NAME_MAX_BYTES], name[NAME_MAX_BYTES];
    bool has_type, is_float;
    struct dims dims;   // rank 0: none
};

// A name with a range at its end: stem + first .. stem + last.
struct range {
    size_t stem_bytes;
    uint64_t first, last;
};

static int add_declared(const char *text, const struct reader_options *options, struct slots *slots,
                        struct reader_data *data, struct err *err);
static int cut(const char *text, struct declaration *out, struct err *err);
static bool parse_dims(const char *text, struct dims *out);
static bool parse_range(const char *name, struct range *out);
static int add_slot(const struct declaration *declared, const struct reader_options *options,
                    struct slots *slots, struct reader_data *data, struct err *err);
static int settle_type(const struct declaration *declared, const struct reader_want *want,
                       struct slot *slot, struct err *err);
static int settle_shape(const struct declaration *declared, const struct reader_want *want,
                        struct dims *out_dims, size_t *out_values, struct err *err);
static const struct reader_want *find_want(const struct reader_options *options, const char *name);

int slots_make(const struct reader_options *options, const char *path, struct slots *out,
               struct reader_data *data, struct err *err)
{
    const struct str_list *texts = options->text.slots;
    int rc = 0;
    memset(out, 0, sizeof *out);
    out->modulo = (uint64_t)options->text.hash_dim;
    for (size_t i = 0; texts && i < texts->count && rc == 0; i++) {
        rc = add_declared(texts->items[i], options, out, data, err);
        if (rc < 0)
            err_prefix(err, "--slots %s", texts->items[i]);
    }
    if (rc == 0 && out->count == 0) {
        for (size_t i = 0; i < options->wants_count && rc == 0; i++) {
            struct declaration declared = {.has_type = false};
            size_t bytes = strlen(options->wants[i].name);
            if (bytes >= NAME_MAX_BYTES)
                return err_set(err, SL_ELIMIT, "%s: a slot's name is too long", path);
            memcpy(declared.feed, options->wants[i].name, bytes + 1);
            memcpy(declared.name, options->wants[i].name, bytes + 1);
            rc = add_slot(&declared, options, out, data, err);
        }
    }
    if (rc == 0 && out->count == 0)
        rc = err_set(err, SL_EINVAL, "%s: --slots must say which slots a line has", path);
    for (size_t i = 0; i < out->count && rc == 0; i++)
        for (size_t k = 0; k < i && rc == 0; k++)
            if (str_eq(data->fields[i].name, data->fields[k].name) ||
                str_eq(out->items[i].name, out->items[k].name))
                rc = err_set(err, SL_EINVAL, "--slots: slot %s or its feed %s comes twice",
                             out->items[i].name, data->fields[i].name);
    return rc;
}

void slots_deinit(struct slots *slots)
{
    for (size_t i = 0; i < slots->count; i++)
        mem_free(slots->items[i].name);
    mem_free(slots->items);
    memset(slots, 0, sizeof *slots);
}

int slots_value(const struct slots *slots, size_t slot, struct text_scan *scan,
                struct reader_column *column, struct err *err)
{
    const struct slot *s = &slots->items[slot];
    const char *from = scan->at;
    char shown[TEXT_SCAN_SHOWN];
    uint64_t id = 0;
    double wide = 0;
    float narrow = 0;
    bool good = s->dtype == DTYPE_FP32   ? text_scan_f32(scan, &narrow)
                : s->dtype == DTYPE_FP64 ? text_scan_f64(scan, &wide)
                                         : text_scan_u64(scan, &id);
    if (!good || !text_scan_ends(scan))
        return err_set(err, SL_EFORMAT, "slot %s: %s is no %s", s->name,
                       text_scan_show(scan, from, shown),
                       s->is_float ? "finite number" : "unsigned 64-bit number");
    void *to = reader_column_add(column, 1);
    if (!to)
        return err_set(err, SL_ENOMEM, "slot %s: no memory for its values", s->name);
    if (s->dtype == DTYPE_FP32)
        memcpy(to, &narrow, sizeof narrow);
    else if (s->dtype == DTYPE_FP64)
        memcpy(to, &wide, sizeof wide);
    else {
        id = slots->modulo ? id % slots->modulo : id;
        memcpy(to, &id, sizeof id);
    }
    return 0;
}

static int add_declared(const char *text, const struct reader_options *options, struct slots *slots,
                        struct reader_data *data, struct err *err)
{
    struct declaration declared;
    struct range name, feed;
    int rc = cut(text, &declared, err);
    if (rc < 0)
        return rc;
    bool names = parse_range(declared.name, &name), feeds = parse_range(declared.feed, &feed);
    if (!names && !feeds)
        return add_slot(&declared, options, slots, data, err);
    if (names != feeds || name.last - name.first != feed.last - feed.first)
        return err_set(err, SL_EINVAL, "the ranges in front of and behind = differ in length");
    struct declaration one = declared;
    for (uint64_t i = 0; i <= name.last - name.first && rc == 0; i++) {
        snprintf(one.name, sizeof one.name, "%.*s%llu", (int)name.stem_bytes, declared.name,
                 (unsigned long long)(name.first + i));
        snprintf(one.feed, sizeof one.feed, "%.*s%llu", (int)feed.stem_bytes, declared.feed,
                 (unsigned long long)(feed.first + i));
        rc = add_slot(&one, options, slots, data, err);
    }
    return rc;
}

static int cut(const char *text, struct declaration *out, struct err *err)
{
    const char *equals = strchr(text, '='), *name = equals ? equals + 1 : text;
    size_t feed_bytes = equals ? (size_t)(equals - text) : 0, bytes = strcspn(name, ":");
    memset(out, 0, sizeof *out);
    if (bytes == 0 || bytes >= NAME_MAX_BYTES || feed_bytes >= NAME_MAX_BYTES ||
        (equals && !feed_bytes))
        return err_set(err, SL_EINVAL, "is not [FEED=]NAME[:uint64|float[:DIMS]]");
    memcpy(out->name, name, bytes);
    memcpy(out->feed, equals ? text : name, equals ? feed_bytes : bytes);
    if (!name[bytes])
        return 0;
    const char *type = name + bytes + 1;
    bytes = strcspn(type, ":");
    out->has_type = true;
    out->is_float = bytes == 5 && memcmp(type, "float", 5) == 0;
    if (!out->is_float && !(bytes == 6 && memcmp(type, "uint64", 6) == 0))
        return err_set(err, SL_EINVAL, "type %.*s: must be uint64 or float", (int)bytes, type);
    if (type[bytes] && !parse_dims(type + bytes + 1, &out->dims))
        return err_set(err, SL_EINVAL, "dims %s: must be as 13 or 3x4", type + bytes + 1);
    return 0;
}

static bool parse_dims(const char *text, struct dims *out)
{
    struct text_scan scan = {text, text + strlen(text)};
    out->rank = 0;
    for (;;) {
        uint64_t size, all = 1;
        if (out->rank == LIMIT_RANK - 1 || !text_scan_u64(&scan, &size) || size < 1 ||
            size > INT32_MAX)
            return false;
        out->d[out->rank++] = (int64_t)size;
        for (int d = 0; d < out->rank; d++)
            if (!limit_mul_u64(all, (uint64_t)out->d[d], &all) || all > INT32_MAX)
                return false;
        if (scan.at == scan.end)
            return true;
        if (*scan.at++ != 'x')
            return false;
    }
}

static bool parse_range(const char *name, struct range *out)
{
    const char *dots = strstr(name, "..");
    const char *digits = dots;
    while (digits && digits > name && digits[-1] >= '0' && digits[-1] <= '9')
        digits--;
    if (!dots || digits == dots)
        return false;
    struct text_scan first = {digits, dots}, last = {dots + 2, name + strlen(name)};
    out->stem_bytes = (size_t)(digits - name);
    return out->stem_bytes < NAME_MAX_BYTES - 24 && text_scan_u64(&first, &out->first) &&
           first.at == dots && text_scan_u64(&last, &out->last) && last.at == last.end &&
           out->first <= out->last && out->last - out->first < READER_FEEDS_MAX;
}

static int add_slot(const struct declaration *declared, const struct reader_options *options,
                    struct slots *slots, struct reader_data *data, struct err *err)
{
    const struct reader_want *want = find_want(options, declared->feed);
    struct slot slot = {.name_bytes = strlen(declared->name)};
    struct dims dims;
    if (slots->count == READER_FEEDS_MAX)
        return err_set(err, SL_ELIMIT, "more than %d slots", READER_FEEDS_MAX);
    int rc = settle_type(declared, want, &slot, err);
    if (rc == 0)
        rc = settle_shape(declared, want, &dims, &slot.values, err);
    if (rc < 0)
        return rc;
    slot.name = mem_must_strdup(declared->name);
    MEM_GROW(slots->items, slots->count, slots->cap);
    slots->items[slots->count++] = slot;
    reader_data_add(data, declared->feed, slot.dtype, &dims, slot.values == 0);
    return 0;
}

static int settle_type(const struct declaration *declared, const struct reader_want *want,
                       struct slot *slot, struct err *err)
{
    bool typed = want && want->typed;
    bool float_var = typed && (want->dtype == DTYPE_FP32 || want->dtype == DTYPE_FP64);
    slot->is_float = declared->has_type ? declared->is_float : float_var;
    slot->dtype = slot->is_float ? DTYPE_FP32 : DTYPE_INT64;
    if (!typed)
        return 0;
    if (slot->is_float != float_var || (!float_var && want->dtype != DTYPE_INT64))
        return err_set(err, SL_EMISMATCH, "slot %s is %s, the program's variable %s is %s",
                       declared->name, slot->is_float ? "float" : "uint64", want->name,
                       dtype_name(want->dtype));
    slot->dtype = want->dtype;
    return 0;
}

static int settle_shape(const struct declaration *declared, const struct reader_want *want,
                        struct dims *out_dims, size_t *out_values, struct err *err)
{
    bool dense_var = want && want->typed && want->lod_levels == 0;
    *out_dims = (struct dims){.rank = 1, .d = {1}};
    *out_values = 0;
    if (declared->dims.rank) {
        *out_dims = declared->dims;
    } else if (dense_var) {
        out_dims->rank = want->dims.rank > 1 ? want->dims.rank - 1 : 1;
        for (int d = 1; d < want->dims.rank; d++)
            out_dims->d[d - 1] = want->dims.d[d];
        for (int d = 0; d < out_dims->rank; d++)
            if (out_dims->d[d] < 1)
                return err_set(err, SL_EINVAL,
                               "slot %s: the program does not say how many values %s has: "
                               "declare its DIMS",
                               declared->name, want->name);
    } else {
        return 0;
    }
    *out_values = (size_t)dims_product(out_dims, 0, out_dims->rank);
    return 0;
}

static const struct reader_want *find_want(const struct reader_options *options, const char *name)
{
    for (size_t i = 0; i < options->wants_count; i++)
        if (str_eq(options->wants[i].name, name))
            return &options->wants[i];
    return NULL;
}
