// SPDX-License-Identifier: Apache-2.0
// Frame checksums: XXH3-64 by the installed xxhash. On x86 the library's own dispatcher picks
// AVX-512, AVX2 or SSE2 at run time (a body in the L2 cache is summed at tens of GB/s, so that a
// checksum costs a tenth of the copy through a socket); elsewhere the plain functions. Stateless,
// any thread.
#include "common/wire/checksum.h"

#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h> // redefines the XXH3_* names used below
#endif

_Static_assert(sizeof(XXH3_state_t) <= sizeof(struct checksum), "checksum state fits");
_Static_assert(_Alignof(struct checksum) >= _Alignof(XXH3_state_t), "checksum state is aligned");

uint64_t checksum_of(const void *data, size_t bytes)
{
    return XXH3_64bits(bytes ? data : "", bytes);
}

void checksum_begin(struct checksum *sum)
{
    XXH3_state_t *state = (XXH3_state_t *)(void *)sum->state;
    XXH3_INITSTATE(state);
    (void)XXH3_64bits_reset(state);
}

void checksum_add(struct checksum *sum, const void *data, size_t bytes)
{
    if (bytes)
        (void)XXH3_64bits_update((XXH3_state_t *)(void *)sum->state, data, bytes);
}

uint64_t checksum_end(const struct checksum *sum)
{
    return XXH3_64bits_digest((const XXH3_state_t *)(const void *)sum->state);
}

const char *checksum_engine(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f"))
        return "avx512";
    if (__builtin_cpu_supports("avx2"))
        return "avx2";
#endif
    return "plain";
}
