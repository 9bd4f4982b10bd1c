// SPDX-License-Identifier: Apache-2.0
// Error codes and bounded error texts. An error travels upwards in the caller's struct err; each
// level may put its place in front. Nothing here allocates, so "out of memory" can be told too.
// Invariant: text is terminated, and text that does not fit is cut at the end.
#include "common/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err, int code, const char *fmt, ...)
{
    if (!err)
        return code;
    // The arguments may point into the old text, so the new one is made beside it.
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    err->code = code;
    memcpy(err->text, text, sizeof text);
    return code;
}

int err_prefix(struct err *err, const char *fmt, ...)
{
    if (!err)
        return SL_EINVAL;
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    int bytes = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    size_t used = bytes < 0 ? 0 : (size_t)bytes;
    if (used > sizeof text - 3)
        used = sizeof text - 3;
    size_t rest = strlen(err->text);
    if (rest > sizeof text - 3 - used)
        rest = sizeof text - 3 - used;
    memcpy(text + used, ": ", 2);
    memcpy(text + used + 2, err->text, rest);
    text[used + 2 + rest] = 0;
    memcpy(err->text, text, sizeof text);
    return err->code ? err->code : SL_EINVAL;
}

const char *err_name(int code)
{
    switch (code) {
    case SL_OK:
        return "success";
#define X(name, value, text)                                                                       \
    case name:                                                                                     \
        return text;
        ERR_CODES(X)
#undef X
    default:
        return "unknown error";
    }
}
