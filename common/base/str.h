// SPDX-License-Identifier: Apache-2.0
// Small string helpers. Parsers accept the whole text or nothing.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool str_eq(const char *a, const char *b);           // NULL equals NULL only
bool str_starts_with(const char *text, const char *prefix);
bool str_ends_with(const char *text, const char *suffix);
bool str_parse_i64(const char *text, int64_t *out);
bool str_parse_u64(const char *text, uint64_t *out);
bool str_parse_f64(const char *text, double *out);

// A growing list of owned strings.
struct str_list {
    char **items;
    size_t count;
    size_t cap;
};
void str_list_deinit(struct str_list *list);
void str_list_add(struct str_list *list, const char *text);          // copies
void str_list_addn(struct str_list *list, const char *text, size_t bytes);
void str_list_addf(struct str_list *list, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void str_list_sort(struct str_list *list);                           // byte order
bool str_list_has(const struct str_list *list, const char *text);
// Splits at every separator; empty pieces are kept; blanks around pieces are dropped.
void str_list_split(struct str_list *list, const char *text, char separator);
char *str_list_join(const struct str_list *list, const char *separator);   // mem_free it
