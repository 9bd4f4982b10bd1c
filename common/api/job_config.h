// SPDX-License-Identifier: Apache-2.0
// What the daemons do alike with their options and their end.
#pragma once

struct buf;
struct option_set;
struct str_list;

// The answer to --help or --version (what option_parse returned), for stdout.
void job_config_answer(const struct option_set *options, int asked, const char *usage,
                       struct buf *out);
// Applies --log_level and --log_format; name is the prefix of each line.
void job_config_log(const struct option_set *options, const char *name);
// The effective configuration as a few lines: each value that was given with its origin, then the
// defaults.
void job_config_lines(const struct option_set *options, struct str_list *out);
// 0 well, 1 failed, 2 wrong options, environment or job file (SL_EUSAGE), 3 stopped on request
// (SL_ESTOPPED).
int job_config_exit_code(int rc);
