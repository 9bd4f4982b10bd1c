// SPDX-License-Identifier: Apache-2.0
// What a server is told: the options, and what follows from them for this one process.
#pragma once

struct err;
struct option_set;

struct pserver_options {
    struct option_set *set;
    int index;            // which of --pservers this server is
    const char *listen;   // where it listens: "host:port", port 0 lets the system choose
};

// Reads command line, job file and environment. 0, OPTION_HELP, OPTION_VERSION, or SL_EUSAGE. The
// caller releases *out with pserver_options_deinit in any case.
int pserver_options_read(int argc, char *const *argv, struct pserver_options *out, struct err *err);
void pserver_options_deinit(struct pserver_options *options);
