// SPDX-License-Identifier: Apache-2.0
// CPython's set: an open-addressed table of 8 slots at first; a probe looks at the home slot and
// the nine behind it (when they do not pass the end), then jumps: i = 5 i + 1 + perturb, perturb
// >>= 5. The table grows to the first power of two above four times the used slots when 5 fill >= 3
// mask. Strings are hashed by SipHash-2-4 over their bytes, with an all-zero key when the hash seed
// is 0.

#include "common/passes/hash_order.h"

#include <string.h>

#include "common/base/mem.h"

#define FIRST_SLOTS 8
#define LINEAR_PROBES 9
#define PERTURB_SHIFT 5

struct slot {
    char *key;   // NULL: free
    uint64_t hash;
};

struct table {
    struct slot *slots;
    uint64_t mask;
    uint64_t used;
};

static uint64_t siphash24(const uint8_t *data, size_t bytes);
static uint64_t hash_text(const char *text);
static bool add(struct table *t, char *key, uint64_t hash);
static void grow(struct table *t);

void hash_order_sort(struct str_list *list)
{
    struct table t = {.slots = mem_must_calloc(FIRST_SLOTS, sizeof *t.slots),
                      .mask = FIRST_SLOTS - 1};
    for (size_t i = 0; i < list->count; i++) {
        if (!add(&t, list->items[i], hash_text(list->items[i])))
            mem_free(list->items[i]);
        else if (t.used * 5 >= t.mask * 3)
            grow(&t);
    }
    list->count = 0;
    for (uint64_t i = 0; i <= t.mask; i++)
        if (t.slots[i].key != NULL)
            list->items[list->count++] = t.slots[i].key;
    mem_free(t.slots);
}

static uint64_t hash_text(const char *text)
{
    size_t bytes = strlen(text);
    if (bytes == 0)
        return 0;
    uint64_t hash = siphash24((const uint8_t *)text, bytes);
    return hash == UINT64_MAX ? UINT64_MAX - 1 : hash;   // -1 means an error in CPython
}

// False when the key is there already.
static bool add(struct table *t, char *key, uint64_t hash)
{
    uint64_t perturb = hash;
    for (uint64_t i = hash & t->mask;;) {
        uint64_t probes = i + LINEAR_PROBES <= t->mask ? LINEAR_PROBES : 0;
        for (uint64_t j = 0; j <= probes; j++) {
            struct slot *slot = &t->slots[i + j];
            if (slot->key == NULL) {
                *slot = (struct slot){key, hash};
                t->used++;
                return true;
            }
            if (slot->hash == hash && str_eq(slot->key, key))
                return false;
        }
        perturb >>= PERTURB_SHIFT;
        i = (i * 5 + 1 + perturb) & t->mask;
    }
}

static void grow(struct table *t)
{
    struct table old = *t;
    uint64_t size = FIRST_SLOTS;
    while (size <= old.used * (old.used > 50000 ? 2 : 4))
        size <<= 1;
    *t = (struct table){.slots = mem_must_calloc(size, sizeof *t->slots), .mask = size - 1};
    for (uint64_t i = 0; i <= old.mask; i++)
        if (old.slots[i].key != NULL)
            add(t, old.slots[i].key, old.slots[i].hash);
    mem_free(old.slots);
}

static uint64_t rotl(uint64_t x, int b)
{
    return (x << b) | (x >> (64 - b));
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

static uint64_t siphash24(const uint8_t *data, size_t bytes)
{
    uint64_t v[4] = {0x736f6d6570736575u, 0x646f72616e646f6du, 0x6c7967656e657261u,
                     0x7465646279746573u};
    for (size_t at = 0;; at += 8) {
        size_t part = bytes - at < 8 ? bytes - at : 8;
        uint64_t word = part < 8 ? (uint64_t)bytes << 56 : 0;
        for (size_t k = 0; k < part; k++)
            word |= (uint64_t)data[at + k] << (8 * k);
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
        if (part < 8)
            break;
    }
    v[2] ^= 0xff;
    for (int k = 0; k < 4; k++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
