// SPDX-License-Identifier: Apache-2.0
// Small string helpers: comparison, whole-text number parsing and a list of owned strings.
// Parsers accept neither blanks around the number nor anything behind it, and write their result on
// success only. They assume the C locale; no program here sets another.
#include "common/base/str.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

static int compare_items(const void *a, const void *b);

bool str_eq(const char *a, const char *b)
{
    if (!a || !b)
        return a == b;
    return strcmp(a, b) == 0;
}

bool str_starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_ends_with(const char *text, const char *suffix)
{
    size_t text_bytes = strlen(text), suffix_bytes = strlen(suffix);
    return text_bytes >= suffix_bytes && strcmp(text + text_bytes - suffix_bytes, suffix) == 0;
}

bool str_parse_i64(const char *text, int64_t *out)
{
    const char *digits = text && *text == '-' ? text + 1 : text;
    if (!digits || !isdigit((unsigned char)*digits))
        return false;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || *end)
        return false;
    *out = value;
    return true;
}

bool str_parse_u64(const char *text, uint64_t *out)
{
    if (!text || !isdigit((unsigned char)*text))
        return false;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end)
        return false;
    *out = value;
    return true;
}

bool str_parse_f64(const char *text, double *out)
{
    if (!text || !*text || isspace((unsigned char)*text))
        return false;
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end)
        return false;
    if (errno == ERANGE && !(fabs(value) < 1.0))   // too large; too small becomes a tiny number
        return false;
    *out = value;
    return true;
}

void str_list_deinit(struct str_list *list)
{
    if (!list)
        return;
    for (size_t i = 0; i < list->count; i++)
        mem_free(list->items[i]);
    mem_free(list->items);
    *list = (struct str_list){0};
}

void str_list_add(struct str_list *list, const char *text)
{
    str_list_addn(list, text, strlen(text));
}

void str_list_addn(struct str_list *list, const char *text, size_t bytes)
{
    MEM_GROW(list->items, list->count, list->cap);
    list->items[list->count++] = mem_must_strndup(text, bytes);
}

void str_list_addf(struct str_list *list, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int bytes = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    size_t used = bytes < 0 ? 0 : (size_t)bytes;
    char *text = mem_must_calloc(used + 1, 1);
    vsnprintf(text, used + 1, fmt, again);
    va_end(again);
    MEM_GROW(list->items, list->count, list->cap);
    list->items[list->count++] = text;
}

void str_list_sort(struct str_list *list)
{
    if (list->count > 1)
        qsort(list->items, list->count, sizeof list->items[0], compare_items);
}

bool str_list_has(const struct str_list *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], text) == 0)
            return true;
    return false;
}

void str_list_split(struct str_list *list, const char *text, char separator)
{
    for (;;) {
        const char *stop = strchr(text, separator);
        const char *begin = text, *end = stop ? stop : text + strlen(text);
        while (begin < end && isspace((unsigned char)*begin))
            begin++;
        while (end > begin && isspace((unsigned char)end[-1]))
            end--;
        str_list_addn(list, begin, (size_t)(end - begin));
        if (!stop)
            return;
        text = stop + 1;
    }
}

char *str_list_join(const struct str_list *list, const char *separator)
{
    size_t bytes = 1, gap = strlen(separator);
    for (size_t i = 0; i < list->count; i++)
        bytes += strlen(list->items[i]) + gap;
    char *text = mem_must_calloc(bytes, 1), *at = text;
    for (size_t i = 0; i < list->count; i++) {
        size_t item = strlen(list->items[i]);
        if (i) {
            memcpy(at, separator, gap);
            at += gap;
        }
        memcpy(at, list->items[i], item);
        at += item;
    }
    return text;
}

static int compare_items(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}
