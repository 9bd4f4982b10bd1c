// SPDX-License-Identifier: Apache-2.0
// Errors: every fallible function returns 0 (or a count) or a negative SL_E* code; whoever judges
// user data also fills a struct err with one sentence that says what, where and what to do.
#pragma once

#define ERR_TEXT_MAX 1024

// code, value, general text
#define ERR_CODES(X)                                                                               \
    X(SL_EINVAL, -1, "invalid value")                                                              \
    X(SL_ENOMEM, -2, "out of memory")                                                              \
    X(SL_EIO, -3, "input/output error")                                                            \
    X(SL_ENOENT, -4, "not found")                                                                  \
    X(SL_EEXIST, -5, "already exists")                                                             \
    X(SL_EFORMAT, -6, "malformed data")                                                            \
    X(SL_ELIMIT, -7, "over a limit")                                                               \
    X(SL_EMISMATCH, -8, "does not fit")                                                            \
    X(SL_EUNSUPPORTED, -9, "not supported")                                                        \
    X(SL_EREFUSED, -10, "refused")                                                                 \
    X(SL_ETIMEOUT, -11, "timed out")                                                               \
    X(SL_ECLOSED, -12, "connection closed")                                                        \
    X(SL_EBUSY, -13, "busy")                                                                       \
    X(SL_ECORRUPT, -14, "checksum differs")                                                        \
    X(SL_ESTOPPED, -15, "stopped on request")                                                      \
    X(SL_EUSAGE, -16, "wrong use")                                                                 \
    X(SL_EDIVERGED, -17, "replicas differ")                                                        \
    X(SL_EAGAIN, -18, "not yet")

enum err_code {
    SL_OK = 0,
#define X(name, value, text) name = value,
    ERR_CODES(X)
#undef X
};

// A bounded error text. Initialise with {0}. text is always terminated.
struct err {
    int code;
    char text[ERR_TEXT_MAX];
};

// Sets code and text (replacing what was there) and returns code, so that
// `return err_set(err, SL_EFORMAT, "%s: ...", path)` is one statement. err may be NULL.
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

// Puts "<fmt>: " in front of the text, to add where it happened on the way up. Returns err->code
// (or SL_EINVAL when err is NULL). Text that does not fit is cut at the end.
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// The general text of a code, e.g. "not found"; never NULL.
const char *err_name(int code);
