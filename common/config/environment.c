// SPDX-License-Identifier: Apache-2.0
// The eras of Fluid's launch scripts. For each question there is a row of sources, the newest
// first; the first source that has an answer wins, and each later one that answers otherwise makes
// a line of warning. A source may join two variables: addresses and a port.
// No state; the caller's thread.
#include "common/config/environment.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define DEFAULT_PORT "6174"   // what Fluid's scripts take when the era has a port variable, unset

// How a source makes its answer out of its variables.
enum source_kind {
    PLAIN,          // the value of name
    LOWER,          // the value of name in small letters
    COUNT,          // a number, or a list whose items are counted
    WITH_PORT,      // each address in name with the port in port, which may be unset
    WITH_SET_PORT,  // the same, but without the port variable there is no answer
};

struct source {
    enum source_kind kind;
    const char *name;
    const char *port;
};

static const struct source role_sources[] = {
    {LOWER, "PADDLE_TRAINING_ROLE", NULL},
    {LOWER, "TRAINING_ROLE", NULL},
    {0},
};
static const struct source pservers_sources[] = {
    {PLAIN, "PADDLE_PSERVERS_IP_PORT_LIST", NULL},
    {PLAIN, "PADDLE_PSERVER_ENDPOINTS", NULL},
    {WITH_PORT, "PADDLE_PSERVER_IPS", "PADDLE_PSERVER_PORT"},
    {WITH_PORT, "PADDLE_PSERVERS", "PADDLE_PORT"},
    {0},
};
static const struct source trainers_sources[] = {
    {PLAIN, "PADDLE_TRAINERS_NUM", NULL},
    {COUNT, "PADDLE_TRAINERS", NULL},
    {COUNT, "PADDLE_TRAINER_ENDPOINTS", NULL},
    {0},
};
static const struct source trainer_id_sources[] = {
    {PLAIN, "PADDLE_TRAINER_ID", NULL},
    {0},
};
static const struct source current_endpoint_sources[] = {
    {PLAIN, "PADDLE_CURRENT_ENDPOINT", NULL},
    {PLAIN, "CURRENT_ENDPOINT", NULL},
    {WITH_SET_PORT, "POD_IP", "PADDLE_PORT"},
    {WITH_PORT, "PADDLE_CURRENT_IP", "PADDLE_PSERVER_PORT"},
    {0},
};

static const struct source cpu_num_sources[] = {
    {PLAIN, "CPU_NUM", NULL},
    {0},
};

struct lookup {
    environment_get_fn get;
    void *ctx;
};

static void answer(struct environment_answer *out, const struct source *sources, struct lookup look,
                   struct str_list *warnings);
static char *ask(const struct source *source, struct lookup look, char **out_shown);
static char *with_port(const char *addresses, const char *port);
static char *count_text(const char *value);
static const char *value_of(struct lookup look, const char *name);
static const char *process_get(void *ctx, const char *name);

void environment_resolve(struct environment *env, environment_get_fn get, void *ctx)
{
    struct lookup look = {get ? get : process_get, ctx};
    *env = (struct environment){0};
    answer(&env->role, role_sources, look, &env->warnings);
    answer(&env->pservers, pservers_sources, look, &env->warnings);
    answer(&env->trainers, trainers_sources, look, &env->warnings);
    answer(&env->trainer_id, trainer_id_sources, look, &env->warnings);
    answer(&env->current_endpoint, current_endpoint_sources, look, &env->warnings);
    answer(&env->cpu_num, cpu_num_sources, look, &env->warnings);
}

void environment_deinit(struct environment *env)
{
    if (!env)
        return;
    struct environment_answer *answers[] = {&env->role, &env->pservers, &env->trainers,
                                            &env->trainer_id, &env->current_endpoint,
                                            &env->cpu_num};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        mem_free(answers[i]->value);
        mem_free(answers[i]->source);
    }
    str_list_deinit(&env->warnings);
    *env = (struct environment){0};
}

// The first source that answers fills *out; those after it that say something else are told.
static void answer(struct environment_answer *out, const struct source *sources, struct lookup look,
                   struct str_list *warnings)
{
    for (const struct source *s = sources; s->name; s++) {
        char *shown = NULL;
        char *value = ask(s, look, &shown);
        if (!value)
            continue;
        if (!out->value) {
            out->value = value;
            out->source = shown;
            continue;
        }
        if (!str_eq(value, out->value))
            str_list_addf(warnings, "%s=%s and %s=%s (environment) disagree; %s wins", out->source,
                          out->value, shown, value, out->source);
        mem_free(value);
        mem_free(shown);
    }
}

// The source's answer and the names it came from, both to be released; NULL when it has none.
static char *ask(const struct source *source, struct lookup look, char **out_shown)
{
    const char *value = value_of(look, source->name);
    const char *port = source->port ? value_of(look, source->port) : NULL;
    if (!value || (source->kind == WITH_SET_PORT && !port))
        return NULL;
    if (port)
        *out_shown = mem_must_printf("%s + %s", source->name, source->port);
    else
        *out_shown = mem_must_strdup(source->name);
    char *text;
    switch (source->kind) {
    case COUNT:
        return count_text(value);
    case WITH_PORT:
    case WITH_SET_PORT:
        return with_port(value, port ? port : DEFAULT_PORT);
    default:
        text = mem_must_strdup(value);
        for (char *c = text; source->kind == LOWER && *c; c++)
            *c = (char)tolower((unsigned char)*c);
        return text;
    }
}

// "a,b" and "1" make "a:1,b:1". An address that has a port already keeps it; an IPv6 address gets
// brackets.
static char *with_port(const char *addresses, const char *port)
{
    struct str_list parts = {0}, joined = {0};
    str_list_split(&parts, addresses, ',');
    for (size_t i = 0; i < parts.count; i++) {
        const char *colon = strchr(parts.items[i], ':');
        bool several = colon && strchr(colon + 1, ':');
        if (parts.items[i][0] == '[' && str_ends_with(parts.items[i], "]"))
            str_list_addf(&joined, "%s:%s", parts.items[i], port);
        else if (several && parts.items[i][0] != '[')
            str_list_addf(&joined, "[%s]:%s", parts.items[i], port);
        else if (colon)
            str_list_add(&joined, parts.items[i]);
        else
            str_list_addf(&joined, "%s:%s", parts.items[i], port);
    }
    char *text = str_list_join(&joined, ",");
    str_list_deinit(&parts);
    str_list_deinit(&joined);
    return text;
}

// A number stays; a list of addresses becomes its length.
static char *count_text(const char *value)
{
    int64_t number;
    if (str_parse_i64(value, &number) || (!strchr(value, ',') && !strchr(value, '.')))
        return mem_must_strdup(value);
    struct str_list parts = {0};
    str_list_split(&parts, value, ',');
    char *text = mem_must_printf("%zu", parts.count);
    str_list_deinit(&parts);
    return text;
}

static const char *value_of(struct lookup look, const char *name)
{
    const char *value = look.get(look.ctx, name);
    return value && *value ? value : NULL;
}

static const char *process_get(void *ctx, const char *name)
{
    (void)ctx;
    return getenv(name);
}
