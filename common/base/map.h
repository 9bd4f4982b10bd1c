// SPDX-License-Identifier: Apache-2.0
// String -> pointer hash map (keys are copied, values borrowed). Iteration is in insertion order.
#pragma once

#include <stddef.h>

struct map {
    struct map_entry *head; // private
};

void map_init(struct map *map);
void map_deinit(struct map *map);
void *map_get(const struct map *map, const char *key);               // NULL when absent
void map_set(struct map *map, const char *key, void *value);         // adds or replaces
void *map_remove(struct map *map, const char *key);                  // the value, or NULL
size_t map_count(const struct map *map);
// Walk: for (const struct map_entry *e = map_first(m); e; e = map_next(e)).
const struct map_entry *map_first(const struct map *map);
const struct map_entry *map_next(const struct map_entry *entry);
const char *map_key(const struct map_entry *entry);
void *map_value(const struct map_entry *entry);
