// SPDX-License-Identifier: Apache-2.0
// Log lines to stderr: "<name>: <text>", or one JSON object a line. A line is one write, so lines
// of several processes that share a terminal or a file do not mix. Control characters in the text
// become blanks: what a peer sent can neither forge a line nor steer a terminal.
// Any thread may log; the lock guards the name and the settings.
#include "common/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/mem.h"

#define LINE_BYTES_MAX 16384
#define NAME_BYTES_MAX 128

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int least_level = LOG_INFO;
static char line_name[NAME_BYTES_MAX] = "sluice";
static bool as_json;

static void append_json_string(struct buf *line, const char *text);
static void write_line(const struct buf *line);

void log_setup(const char *name, enum log_level least, bool json)
{
    pthread_mutex_lock(&lock);
    snprintf(line_name, sizeof line_name, "%s", name);
    as_json = json;
    atomic_store(&least_level, (int)least);
    pthread_mutex_unlock(&lock);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&least_level, memory_order_relaxed);
}

void log_write(enum log_level level, const char *fmt, ...)
{
    if (!log_enabled(level))
        return;
    char text[LINE_BYTES_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';

    struct buf line;
    buf_init(&line, 0);
    pthread_mutex_lock(&lock);
    if (as_json) {
        struct tm utc;
        char stamp[32] = "";
        time_t now = time(NULL);
        if (gmtime_r(&now, &utc))
            strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
        buf_printf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"name\":", stamp, level_names[level]);
        append_json_string(&line, line_name);
        buf_printf(&line, ",\"text\":");
        append_json_string(&line, text);
        buf_printf(&line, "}\n");
    } else {
        buf_printf(&line, "%s: %s\n", line_name, text);
    }
    write_line(&line);
    pthread_mutex_unlock(&lock);
    buf_deinit(&line);
}

static void append_json_string(struct buf *line, const char *text)
{
    buf_append(line, "\"", 1);
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\')
            buf_append(line, "\\", 1);
        buf_append(line, c, 1);
    }
    buf_append(line, "\"", 1);
}

// A log that cannot be written is dropped: there is nobody left to tell.
static void write_line(const struct buf *line)
{
    size_t done = 0;
    while (done < line->bytes) {
        ssize_t wrote = write(STDERR_FILENO, line->data + done, line->bytes - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return;
        done += (size_t)wrote;
    }
}
