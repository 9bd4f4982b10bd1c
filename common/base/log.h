// SPDX-License-Identifier: Apache-2.0
// Log lines to stderr, text or JSON lines. common/ logs at debug only; daemons decide the rest.
// Thread-safe: one line is one write.
#pragma once

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

// name is the prefix of each line ("pserver", "trainer 0"); kept by copy.
void log_setup(const char *name, enum log_level least, bool json);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_debug(...) (log_enabled(LOG_DEBUG) ? log_write(LOG_DEBUG, __VA_ARGS__) : (void)0)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
