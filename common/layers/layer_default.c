// SPDX-License-Identifier: Apache-2.0
// The default programs: Fluid has one pair a process, and the reference's code builds on it. They
// are made on first use and are the only state of this library that belongs to no handle; a process
// that builds from several threads uses programs of its own.

#include "common/api/sluice.h"
#include "common/program/program.h"

static struct program *default_main;
static struct program *default_startup;

sl_program *sl_default_main_program(void)
{
    if (default_main == NULL)
        default_main = program_new();
    return default_main;
}

sl_program *sl_default_startup_program(void)
{
    if (default_startup == NULL)
        default_startup = program_new();
    return default_startup;
}

void sl_reset_default_programs(void)
{
    program_free(default_main);
    program_free(default_startup);
    default_main = NULL;
    default_startup = NULL;
}
