// SPDX-License-Identifier: Apache-2.0
// Values of options: text to typed value and the checks that a row asks for. Texts are taken whole
// or not at all. Does not know where a text came from; the caller puts that in front of the error.
#include "common/config/option_value.h"

#include <math.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/config/endpoint.h"

struct unit {
    const char *name;
    double factor;
};

// In milliseconds; the first is a bare number's.
static const struct unit time_units[] = {
    {"s", 1e3}, {"ms", 1.0},  {"sec", 1e3},  {"min", 6e4},
    {"m", 6e4}, {"h", 3.6e6}, {"d", 8.64e7}, {0},
};
// In bytes; the first is a bare number's.
static const struct unit size_units[] = {
    {"B", 1.0}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"KiB", 1024.0},
    {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"TiB", 1099511627776.0}, {0},
};

static int parse_choice(const struct option_row *row, const char *text, struct err *err);
static int parse_int(const struct option_row *row, const char *text, int64_t *out, struct err *err);
static int parse_float(const struct option_row *row, const char *text, double *out,
                       struct err *err);
static int parse_bool(const char *text, bool *out, struct err *err);
static int parse_amount(const struct option_row *row, const char *text, const struct unit *units,
                        uint64_t *out, struct err *err);
static int parse_list(const struct option_row *row, const char *text, struct str_list *out,
                      struct err *err);
static int parse_every(const char *text, struct option_every *out, struct err *err);
static int check_range(const struct option_row *row, const char *text, double value,
                       struct err *err);
static size_t number_length(const char *text);

int option_value_parse(const struct option_row *row, const char *text, struct option_value *out,
                       struct err *err)
{
    struct option_value value = {0};
    struct endpoint endpoint;
    int rc = 0;
    if (!*text)
        return err_set(err, SL_EINVAL, "the value is empty");
    switch (row->type) {
    case OPTION_STRING:
        break;
    case OPTION_CHOICE:
        rc = parse_choice(row, text, err);
        break;
    case OPTION_INT:
        rc = parse_int(row, text, &value.integer, err);
        break;
    case OPTION_FLOAT:
        rc = parse_float(row, text, &value.number, err);
        break;
    case OPTION_BOOL:
        rc = parse_bool(text, &value.flag, err);
        break;
    case OPTION_DURATION:
        rc = parse_amount(row, text, time_units, &value.amount, err);
        break;
    case OPTION_SIZE:
        rc = parse_amount(row, text, size_units, &value.amount, err);
        break;
    case OPTION_ENDPOINT:
        rc = endpoint_parse(text, &endpoint, err);
        break;
    case OPTION_LIST:
    case OPTION_INTS:
    case OPTION_ENDPOINTS:
        rc = parse_list(row, text, &value.list, err);
        break;
    case OPTION_EVERY:
        rc = parse_every(text, &value.every, err);
        break;
    }
    if (rc) {
        option_value_deinit(&value);
        return rc;
    }
    if (row->type == OPTION_BOOL)
        value.text = mem_must_strdup(value.flag ? "true" : "false");
    else
        value.text = mem_must_strdup(text);
    *out = value;
    return 0;
}

void option_value_deinit(struct option_value *value)
{
    mem_free(value->text);
    str_list_deinit(&value->list);
    *value = (struct option_value){0};
}

bool option_value_equal(const struct option_row *row, const struct option_value *a,
                        const struct option_value *b)
{
    switch (row->type) {
    case OPTION_INT:
        return a->integer == b->integer;
    case OPTION_FLOAT:
        return !(a->number < b->number) && !(a->number > b->number);
    case OPTION_DURATION:
    case OPTION_SIZE:
        return a->amount == b->amount;
    case OPTION_EVERY:
        return a->every.unit == b->every.unit && a->every.count == b->every.count;
    case OPTION_LIST:
    case OPTION_INTS:
    case OPTION_ENDPOINTS:
        if (a->list.count != b->list.count)
            return false;
        for (size_t i = 0; i < a->list.count; i++)
            if (!str_eq(a->list.items[i], b->list.items[i]))
                return false;
        return true;
    default:
        return str_eq(a->text, b->text);
    }
}

static int parse_choice(const struct option_row *row, const char *text, struct err *err)
{
    struct str_list choices = {0};
    str_list_split(&choices, row->choices, '|');
    bool found = str_list_has(&choices, text);
    str_list_deinit(&choices);
    return found ? 0 : err_set(err, SL_EINVAL, "`%.200s` is not one of %s", text, row->choices);
}

static int parse_int(const struct option_row *row, const char *text, int64_t *out, struct err *err)
{
    if (!str_parse_i64(text, out))
        return err_set(err, SL_EINVAL, "`%.200s` is not a whole number", text);
    return check_range(row, text, (double)*out, err);
}

static int parse_float(const struct option_row *row, const char *text, double *out, struct err *err)
{
    if (!str_parse_f64(text, out) || !isfinite(*out))
        return err_set(err, SL_EINVAL, "`%.200s` is not a finite number", text);
    return check_range(row, text, *out, err);
}

static int parse_bool(const char *text, bool *out, struct err *err)
{
    if (str_eq(text, "true") || str_eq(text, "1"))
        *out = true;
    else if (str_eq(text, "false") || str_eq(text, "0"))
        *out = false;
    else
        return err_set(err, SL_EINVAL, "`%.200s` is not true, false, 1 or 0", text);
    return 0;
}

// A number, which may have a fraction, and a unit.
static int parse_amount(const struct option_row *row, const char *text, const struct unit *units,
                        uint64_t *out, struct err *err)
{
    size_t digits = number_length(text);
    char *number_text = mem_must_strndup(text, digits);
    double number = 0.0;
    bool good = digits > 0 && str_parse_f64(number_text, &number);
    mem_free(number_text);
    double factor = 0.0;
    if (!text[digits])
        factor = units[0].factor;
    for (const struct unit *unit = units; unit->name; unit++)
        if (str_eq(text + digits, unit->name))
            factor = unit->factor;
    if (!good || !(factor > 0.0) || number * factor > 9e18)
        return err_set(err, SL_EINVAL, "`%.200s` is not a %s", text,
                       units == time_units ? "time such as 600s, 250ms, 5min or 1h"
                                           : "size such as 512B, 10kB or 64MiB");
    int rc = check_range(row, text, number * factor, err);
    if (!rc)
        *out = (uint64_t)(number * factor + 0.5);
    return rc;
}

static int parse_list(const struct option_row *row, const char *text, struct str_list *out,
                      struct err *err)
{
    if (row->type == OPTION_ENDPOINTS) {
        struct endpoint_list endpoints;
        int rc = endpoint_list_parse(text, &endpoints, err);
        for (size_t i = 0; !rc && i < endpoints.count; i++) {
            char one[ENDPOINT_TEXT_MAX];
            endpoint_format(&endpoints.items[i], one);
            str_list_add(out, one);
        }
        if (!rc)
            endpoint_list_deinit(&endpoints);
        return rc;
    }
    str_list_split(out, text, ',');
    for (size_t i = 0; i < out->count; i++) {
        int64_t number;
        int rc = 0;
        if (!out->items[i][0])
            rc = err_set(err, SL_EINVAL, "`%.200s`: item %zu of the list is empty", text, i + 1);
        else if (row->type == OPTION_INTS)
            rc = parse_int(row, out->items[i], &number, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int parse_every(const char *text, struct option_every *out, struct err *err)
{
    size_t digits = strspn(text, "0123456789");
    char *number = mem_must_strndup(text, digits);
    const char *unit = text + digits;
    bool good = str_parse_i64(number, &out->count);
    mem_free(number);
    if (!*unit || str_eq(unit, "step") || str_eq(unit, "steps"))
        out->unit = OPTION_EVERY_STEP;
    else if (str_eq(unit, "epoch") || str_eq(unit, "epochs"))
        out->unit = OPTION_EVERY_EPOCH;
    else if (str_eq(unit, "min"))
        out->unit = OPTION_EVERY_MINUTE;
    else
        good = false;
    return good ? 0
                : err_set(
                      err, SL_EINVAL,
                      "`%.200s` is not a number of steps, epochs or minutes such as 500, 500step, "
                      "1epoch or 10min",
                      text);
}

static int check_range(const struct option_row *row, const char *text, double value,
                       struct err *err)
{
    if (!(row->min < 0.0 || row->max > 0.0) || (value >= row->min && value <= row->max))
        return 0;
    if (row->type == OPTION_DURATION)
        return err_set(err, SL_EINVAL, "%.200s is out of range: %.0f ms to %.0f ms", text, row->min,
                       row->max);
    return err_set(err, SL_EINVAL, "%.200s is out of range: %.16g to %.16g", text, row->min,
                   row->max);
}

// Length of the decimal number at the beginning: digits and at most one point.
static size_t number_length(const char *text)
{
    size_t length = strspn(text, "0123456789");
    if (text[length] == '.')
        length += 1 + strspn(text + length + 1, "0123456789");
    return length;
}
