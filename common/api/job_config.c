// SPDX-License-Identifier: Apache-2.0
// Formatting only: the daemons decide what is printed where, and main.c ends the process.
#include "common/api/job_config.h"

#include <string.h>

#include "common/api/sluice.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/config/option.h"
#include "common/config/option_table.h"

#define LINE_BYTES 160

static void append_words(const struct option_set *options, bool defaults, struct str_list *out);

void job_config_answer(const struct option_set *options, int asked, const char *usage,
                       struct buf *out)
{
    if (asked == OPTION_VERSION)
        buf_printf(out, "sluice %s\n", sl_version());
    else
        option_help(options, usage, out);
}

void job_config_log(const struct option_set *options, const char *name)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    const char *text = option_string(options, "log_level");
    enum log_level least = LOG_INFO;
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (str_eq(text, levels[i]))
            least = (enum log_level)i;
    log_setup(name, least, str_eq(option_string(options, "log_format"), "json"));
}

void job_config_lines(const struct option_set *options, struct str_list *out)
{
    append_words(options, false, out);
    append_words(options, true, out);
}

int job_config_exit_code(int rc)
{
    return rc >= 0 ? 0 : rc == SL_EUSAGE ? 2 : rc == SL_ESTOPPED ? 3 : 1;
}

// "name=value (origin)" of every option of one kind, several a line.
static void append_words(const struct option_set *options, bool defaults, struct str_list *out)
{
    const char *head = defaults ? "defaults:" : "config:";
    struct buf line;
    buf_init(&line, 0);
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option_row *row = &option_table[i];
        const char *value =
            row->roles & option_role(options) ? option_string(options, row->name) : NULL;
        if (!value || (option_origin(options, row->name) == OPTION_DEFAULT) != defaults)
            continue;
        if (line.bytes && line.bytes + strlen(value) + strlen(row->name) > LINE_BYTES) {
            str_list_add(out, buf_text(&line));
            buf_clear(&line);
        }
        if (!line.bytes)
            buf_printf(&line, "%s", head);
        buf_printf(&line, " %s=%s", row->name, value);
        if (!defaults)
            buf_printf(&line, " (%s)", option_origin_text(options, row->name));
    }
    if (line.bytes)
        str_list_add(out, buf_text(&line));
    buf_deinit(&line);
}
