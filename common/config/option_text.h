// SPDX-License-Identifier: Apache-2.0
// Texts that are made out of the option table; option.h has them as option_dump and option_help.
#pragma once

struct buf;
struct option_set;

void option_text_dump(const struct option_set *set, struct buf *out);
void option_text_help(const struct option_set *set, const char *usage, struct buf *out);
