// SPDX-License-Identifier: Apache-2.0
// A string-keyed hash map over uthash, which stays inside this file. uthash links the entries in
// insertion order; replacing a value keeps the entry's place. Keys are copied, values are borrowed.
// One thread at a time; reading from several threads is fine while nobody writes.
#include "common/base/map.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define uthash_malloc(bytes) mem_must_calloc(1, bytes)
#define uthash_free(ptr, bytes) mem_free(ptr)
#include <uthash.h>

struct map_entry {
    char *key;
    void *value;
    UT_hash_handle hh;
};

static struct map_entry *find(const struct map *map, const char *key);
static void drop(struct map *map, struct map_entry *entry);

void map_init(struct map *map)
{
    map->head = NULL;
}

void map_deinit(struct map *map)
{
    if (!map)
        return;
    struct map_entry *entry, *next;
    HASH_ITER(hh, map->head, entry, next)
    {
        drop(map, entry);
    }
    map->head = NULL;
}

void *map_get(const struct map *map, const char *key)
{
    struct map_entry *entry = find(map, key);
    return entry ? entry->value : NULL;
}

void map_set(struct map *map, const char *key, void *value)
{
    struct map_entry *entry = find(map, key);
    if (!entry) {
        entry = MEM_NEW(struct map_entry);
        entry->key = mem_must_strdup(key);
        HASH_ADD_KEYPTR(hh, map->head, entry->key, strlen(entry->key), entry);
    }
    entry->value = value;
}

void *map_remove(struct map *map, const char *key)
{
    struct map_entry *entry = find(map, key);
    if (!entry)
        return NULL;
    void *value = entry->value;
    drop(map, entry);
    return value;
}

size_t map_count(const struct map *map)
{
    return HASH_COUNT(map->head);
}

const struct map_entry *map_first(const struct map *map)
{
    return map->head;
}

const struct map_entry *map_next(const struct map_entry *entry)
{
    return entry->hh.next;
}

const char *map_key(const struct map_entry *entry)
{
    return entry->key;
}

void *map_value(const struct map_entry *entry)
{
    return entry->value;
}

static struct map_entry *find(const struct map *map, const char *key)
{
    struct map_entry *entry = NULL;
    HASH_FIND(hh, map->head, key, strlen(key), entry);
    return entry;
}

static void drop(struct map *map, struct map_entry *entry)
{
    HASH_DELETE(hh, map->head, entry);
    mem_free(entry->key);
    mem_free(entry);
}
