// SPDX-License-Identifier: Apache-2.0
// The end of a process that met a programmer's error. It writes one line and aborts, so that a core
// dump shows the place. It allocates nothing and takes no lock.
#include "common/base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void assert_fail(const char *cond, const char *file, int line)
{
    char text[512];
    int bytes = snprintf(text, sizeof text, "internal error: %s:%d: %s does not hold\n", file, line,
                         cond);
    if (bytes > (int)sizeof text - 1)
        bytes = (int)sizeof text - 1;
    if (bytes > 0) {
        ssize_t written = write(STDERR_FILENO, text, (size_t)bytes);
        (void)written;
    }
    abort();
}
