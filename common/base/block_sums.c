// SPDX-License-Identifier: Apache-2.0
// The text grows with the stream; nothing else is kept of it.
#include "common/base/block_sums.h"

#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#include "common/base/buf.h"
#include "common/base/mem.h"

struct block_sums {
    XXH3_state_t *state;
    size_t filled;   // bytes of the current block
    struct buf text;
};

static void end_block(struct block_sums *sums);

struct block_sums *block_sums_new(void)
{
    struct block_sums *sums = MEM_NEW(struct block_sums);
    sums->state = XXH3_createState();
    XXH3_64bits_reset(sums->state);
    buf_init(&sums->text, 0);
    return sums;
}

void block_sums_add(struct block_sums *sums, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    while (bytes > 0) {
        size_t n = BLOCK_SUMS_BYTES - sums->filled;
        n = n < bytes ? n : bytes;
        XXH3_64bits_update(sums->state, at, n);
        sums->filled += n;
        at += n, bytes -= n;
        if (sums->filled == BLOCK_SUMS_BYTES)
            end_block(sums);
    }
}

char *block_sums_end(struct block_sums *sums)
{
    if (sums->filled > 0)
        end_block(sums);
    char *text = sums->text.bytes > 0 ? buf_take_text(&sums->text) : mem_must_strdup("");
    XXH3_freeState(sums->state);
    buf_deinit(&sums->text);
    mem_free(sums);
    return text;
}

uint64_t block_sums_of(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}

uint64_t block_sums_at(const char *text, uint64_t i)
{
    uint64_t sum = 0;
    for (const char *c = text + i * BLOCK_SUMS_DIGITS, *end = c + BLOCK_SUMS_DIGITS; c < end; c++)
        sum = sum << 4 | (uint64_t)(*c <= '9' ? *c - '0' : *c - 'a' + 10);
    return sum;
}

bool block_sums_fits(const char *text, uint64_t bytes)
{
    uint64_t blocks = (bytes + BLOCK_SUMS_BYTES - 1) / BLOCK_SUMS_BYTES;
    size_t length = strlen(text);
    return length == blocks * BLOCK_SUMS_DIGITS && strspn(text, "0123456789abcdef") == length;
}

static void end_block(struct block_sums *sums)
{
    buf_printf(&sums->text, "%016" PRIx64, (uint64_t)XXH3_64bits_digest(sums->state));
    XXH3_64bits_reset(sums->state);
    sums->filled = 0;
}
