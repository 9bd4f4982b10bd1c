// SPDX-License-Identifier: Apache-2.0
// A server is known to the job by its number in --pservers. Usually --current_endpoint is one of
// them and says the number; --pserver_id says it where it cannot: behind another address, or on a
// port that the system chooses.
#include "pserver/pserver_options.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/config/option.h"

static int find_self(struct pserver_options *options, struct err *err);

int pserver_options_read(int argc, char *const *argv, struct pserver_options *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    out->set = option_new(OPTION_PSERVER, "pserver", 0, NULL, NULL);
    int rc = option_parse(out->set, argc, argv, err);
    if (rc != 0)
        return rc;
    return find_self(out, err);
}

void pserver_options_deinit(struct pserver_options *options)
{
    option_free(options->set);
}

static int find_self(struct pserver_options *options, struct err *err)
{
    const struct option_set *set = options->set;
    const struct str_list *all = option_list(set, "pservers");
    options->listen = option_string(set, "current_endpoint");
    if (!options->listen && all->count == 1)
        options->listen = all->items[0];
    if (!options->listen && option_is_set(set, "pserver_id") &&
        option_int(set, "pserver_id") < (int64_t)all->count)
        options->listen = all->items[option_int(set, "pserver_id")];
    if (!options->listen)
        return err_set(err, SL_EUSAGE,
                       "--current_endpoint is missing: which of --pservers is this server?");
    if (option_is_set(set, "pserver_id")) {
        int64_t id = option_int(set, "pserver_id");
        if (id >= (int64_t)all->count)
            return err_set(err, SL_EUSAGE,
                           "--pserver_id %lld: --pservers has %zu servers, numbered from 0",
                           (long long)id, all->count);
        options->index = (int)id;
        return 0;
    }
    if (all->count == 1 && str_ends_with(options->listen, ":0"))
        return 0;
    for (size_t i = 0; i < all->count; i++)
        if (str_eq(all->items[i], options->listen)) {
            options->index = (int)i;
            return 0;
        }
    return err_set(
        err, SL_EUSAGE,
        "--current_endpoint %s (%s) is none of --pservers (%s); --pserver_id N says which "
        "one this server is when it listens elsewhere",
        options->listen, option_origin_text(set, "current_endpoint"),
        option_string(set, "pservers"));
}
