// SPDX-License-Identifier: Apache-2.0
// The option set of one process. Each row of the table has a slot with what flag, environment and
// job file said, as text, and the value that came out of it. The order of work: argv, job file,
// environment, the role, then every row by precedence, then what options demand of each other.
// Invariant: after a successful parse a row of another role has its default, whatever the job file
// says, so that a getter never sees another role's key.
// Owner: the main thread; read-only after option_parse.
#include "common/config/option.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/config/endpoint.h"
#include "common/config/option_file.h"
#include "common/config/option_set.h"
#include "common/config/option_text.h"

// Of each group at most one option may be set.
static const char *const exclusive[][3] = {
    {"load_dir", "resume", "init_from"},
    {"model", "main_program", NULL},
    {"data", "feed_dir", NULL},
};

// For these roles one of the two options must be set; other may be NULL.
static const struct {
    unsigned roles;
    const char *name;
    const char *other;
} needed[] = {
    {OPTION_PSERVER | OPTION_TRAINER | OPTION_TRANSPILE | OPTION_PULL, "pservers", NULL},
    {OPTION_PSERVER | OPTION_TRAINER | OPTION_LOCAL, "model", "main_program"},
    {OPTION_TRANSPILE, "main_program", NULL},
    {OPTION_TRANSPILE | OPTION_PULL, "out", NULL},
};

// A flag that has no effect without one of the others is a mistake. In a job file, which other
// roles and runs read too, it is none.
static const struct {
    const char *name;
    const char *others[3];
} partners[] = {
    {"save_every", {"save_dir"}},
    {"keep", {"save_dir"}},
    {"fetch_dir", {"fetch"}},
    {"first_step", {"feed_dir"}},
    {"slots", {"data"}},
    {"pair_order", {"data"}},
    {"pipe_command", {"data"}},
    {"bad_lines", {"data"}},
    {"hash_dim", {"data"}},
    {"label", {"data"}},
    {"ngram", {"data", "model"}},
    {"if_no_checkpoint", {"load_dir", "resume", "init_from"}},
    {"learning_rate_from", {"load_dir", "resume", "init_from"}},
    {"load_except", {"load_dir", "resume", "init_from"}},
    {"partial", {"load_dir", "resume", "init_from"}},
};

// What these say of a model of the zoo, a saved program says itself.
static const char *const of_zoo[] = {
    "hidden",    "table_rows", "embedding_size", "sparse_slots", "classes", "is_sparse",
    "optimizer", "momentum",   "use_nesterov",   "beta1",        "beta2",   "epsilon",
};

#define LENGTH(array) (sizeof(array) / sizeof *(array))

static int read_argv(struct option_set *set, int argc, char *const *argv, struct err *err);
static int read_flag(struct option_set *set, const char *arg, const char *next, struct err *err);
static int give_flag(struct option_set *set, int row, const char *text, struct err *err);
static int unknown_flag(const struct option_set *set, const char *name, struct err *err);
static int read_file(struct option_set *set, struct err *err);
static void read_environment(struct option_set *set, environment_get_fn get, void *ctx);
static int decide_role(struct option_set *set, struct err *err);
static int check_places(const struct option_set *set, struct err *err);
static int settle(struct option_set *set, size_t index, struct err *err);
static int settle_exclusive(struct option_set *set, const char *const *names, struct err *err);
static int check_needs(const struct option_set *set, struct err *err);
static int check_ports(const struct option_set *set, struct err *err);
static int check_partners(const struct option_set *set, struct err *err);
static int check_of_zoo(const struct option_set *set, struct err *err);
static bool is_of_zoo(const struct option_row *row);
static void take_default(struct option_set *set, size_t index);
static const struct option_slot *slot_of(const struct option_set *set, const char *name);
static const struct option_slot *typed_slot(const struct option_set *set, const char *name,
                                            enum option_type type);

struct option_set *option_new(unsigned roles, const char *program, int positionals,
                              environment_get_fn get, void *ctx)
{
    struct option_set *set = MEM_NEW(struct option_set);
    set->roles = roles;
    set->program = mem_must_strdup(program);
    set->positionals_max = positionals;
    set->get = get;
    set->get_ctx = ctx;
    set->slots = mem_must_calloc(option_table_count, sizeof *set->slots);
    for (size_t i = 0; i < option_table_count; i++)
        take_default(set, i);
    return set;
}

void option_free(struct option_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < option_table_count; i++) {
        for (size_t k = 0; k < LENGTH(set->slots[i].given); k++) {
            mem_free(set->slots[i].given[k].text);
            mem_free(set->slots[i].given[k].place);
        }
        option_value_deinit(&set->slots[i].value);
    }
    mem_free(set->slots);
    mem_free(set->program);
    str_list_deinit(&set->positionals);
    str_list_deinit(&set->warnings);
    mem_free(set);
}

int option_parse(struct option_set *set, int argc, char *const *argv, struct err *err)
{
    int rc = read_argv(set, argc, argv, err);
    if (rc)
        return rc;
    rc = read_file(set, err);
    if (rc)
        return rc;
    read_environment(set, set->get, set->get_ctx);
    rc = decide_role(set, err);
    if (!rc)
        rc = check_places(set, err);
    for (size_t i = 0; !rc && i < option_table_count; i++)
        rc = settle(set, i, err);
    for (size_t i = 0; !rc && i < LENGTH(exclusive); i++)
        rc = settle_exclusive(set, exclusive[i], err);
    if (rc == 0)
        rc = check_needs(set, err);
    if (rc == 0)
        rc = check_ports(set, err);
    if (rc == 0)
        rc = check_partners(set, err);
    return rc ? rc : check_of_zoo(set, err);
}

unsigned option_role(const struct option_set *set)
{
    return set->role;
}

size_t option_positional_count(const struct option_set *set)
{
    return set->positionals.count;
}

const char *option_positional(const struct option_set *set, size_t index)
{
    return index < set->positionals.count ? set->positionals.items[index] : NULL;
}

const char *option_string(const struct option_set *set, const char *name)
{
    return slot_of(set, name)->value.text;
}

int64_t option_int(const struct option_set *set, const char *name)
{
    return typed_slot(set, name, OPTION_INT)->value.integer;
}

double option_f64(const struct option_set *set, const char *name)
{
    return typed_slot(set, name, OPTION_FLOAT)->value.number;
}

bool option_bool(const struct option_set *set, const char *name)
{
    return typed_slot(set, name, OPTION_BOOL)->value.flag;
}

uint64_t option_ms(const struct option_set *set, const char *name)
{
    return typed_slot(set, name, OPTION_DURATION)->value.amount;
}

uint64_t option_bytes(const struct option_set *set, const char *name)
{
    return typed_slot(set, name, OPTION_SIZE)->value.amount;
}

const struct str_list *option_list(const struct option_set *set, const char *name)
{
    const struct option_slot *slot = slot_of(set, name);
    enum option_type type = option_table[slot - set->slots].type;
    ASSERT(type == OPTION_LIST || type == OPTION_INTS || type == OPTION_ENDPOINTS);
    return &slot->value.list;
}

struct option_every option_every(const struct option_set *set, const char *name)
{
    return typed_slot(set, name, OPTION_EVERY)->value.every;
}

bool option_is_set(const struct option_set *set, const char *name)
{
    return slot_of(set, name)->origin > OPTION_DEFAULT;
}

enum option_origin option_origin(const struct option_set *set, const char *name)
{
    return slot_of(set, name)->origin;
}

const char *option_origin_text(const struct option_set *set, const char *name)
{
    const struct option_slot *slot = slot_of(set, name);
    if (slot->origin > OPTION_DEFAULT)
        return slot->given[slot->origin].place;
    return slot->origin == OPTION_DEFAULT ? "default" : "unset";
}

const struct str_list *option_warnings(const struct option_set *set)
{
    return &set->warnings;
}

void option_dump(const struct option_set *set, struct buf *out)
{
    option_text_dump(set, out);
}

void option_help(const struct option_set *set, const char *usage, struct buf *out)
{
    option_text_help(set, usage, out);
}

static int read_argv(struct option_set *set, int argc, char *const *argv, struct err *err)
{
    bool only_positionals = false;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (!only_positionals && str_eq(arg, "--")) {
            only_positionals = true;
            continue;
        }
        if (only_positionals || arg[0] != '-' || !arg[1]) {
            if (set->positionals.count >= (size_t)set->positionals_max)
                return err_set(err, SL_EUSAGE,
                               "argument `%.200s` is not expected here; `%s --help` "
                               "lists the options",
                               arg, set->program);
            str_list_add(&set->positionals, arg);
            continue;
        }
        if (str_eq(arg, "-h") || str_eq(arg, "--help"))
            return OPTION_HELP;
        if (str_eq(arg, "--version"))
            return OPTION_VERSION;
        int used = read_flag(set, arg, i + 1 < argc ? argv[i + 1] : NULL, err);
        if (used < 0)
            return used;
        i += used;
    }
    return 0;
}

// Takes one flag; 1 when the next argument was its value, else 0.
static int read_flag(struct option_set *set, const char *arg, const char *next, struct err *err)
{
    if (!str_starts_with(arg, "--"))
        return unknown_flag(set, arg, err);
    const char *name = arg + 2, *equals = strchr(name, '=');
    size_t bytes = equals ? (size_t)(equals - name) : strlen(name);
    int row = option_table_find(name, bytes);
    if (row < 0 && !equals && str_starts_with(name, "no-")) {
        row = option_table_find(name + 3, bytes - 3);
        if (row >= 0 && option_table[row].type == OPTION_BOOL)
            return give_flag(set, row, "false", err);
        if (row >= 0)
            return err_set(err, SL_EUSAGE, "%s: only true-or-false options have a --no- form", arg);
    }
    if (row < 0)
        return unknown_flag(set, arg, err);
    if (equals)
        return give_flag(set, row, equals + 1, err);
    bool truth = next && (str_eq(next, "true") || str_eq(next, "false") || str_eq(next, "1") ||
                          str_eq(next, "0"));
    if (option_table[row].type == OPTION_BOOL && !truth)
        return give_flag(set, row, "true", err);
    if (!next || str_starts_with(next, "--"))
        return err_set(err, SL_EUSAGE, "%s needs a value: %s %s", arg, arg,
                       option_table[row].value);
    int rc = give_flag(set, row, next, err);
    return rc ? rc : 1;
}

static int give_flag(struct option_set *set, int row, const char *text, struct err *err)
{
    struct option_given *given = &set->slots[row].given[OPTION_FLAG];
    if (given->text)
        return err_set(err, SL_EUSAGE, "--%s is given twice", option_table[row].name);
    given->text = mem_must_strdup(text);
    given->place = mem_must_strdup("flag");
    return 0;
}

static int unknown_flag(const struct option_set *set, const char *arg, struct err *err)
{
    size_t dashes = strspn(arg, "-");
    char *name = mem_must_strndup(arg + dashes, strcspn(arg + dashes, "="));
    const char *nearest = option_table_nearest(name, set->roles);
    if (nearest)
        err_set(err, SL_EUSAGE, "unknown option %.200s; did you mean --%s?", arg, nearest);
    else
        err_set(err, SL_EUSAGE, "unknown option %.200s; `%s --help` lists the options", arg,
                set->program);
    mem_free(name);
    return SL_EUSAGE;
}

// Keys of any role are taken, and all values are judged, so that a file is right or wrong for all.
static int read_file(struct option_set *set, struct err *err)
{
    const char *path = set->slots[option_table_find("config", 6)].given[OPTION_FLAG].text;
    if (!path)
        return 0;
    struct option_file file;
    int rc = option_file_read(&file, path, err);
    for (size_t i = 0; !rc && i < file.count; i++) {
        const struct option_file_entry *entry = &file.entries[i];
        int row = option_table_find(entry->name, strlen(entry->name));
        const char *nearest = option_table_nearest(entry->name, ~0u);
        struct option_value value;
        if (row < 0 && nearest) {
            rc = err_set(err, SL_EUSAGE, "%s:%d: unknown key %.200s; did you mean %s?", path,
                         entry->line, entry->name, nearest);
        } else if (row < 0) {
            rc = err_set(err, SL_EUSAGE,
                         "%s:%d: unknown key %.200s; deploy/conf/job.conf has them all", path,
                         entry->line, entry->name);
        } else if (!option_table[row].section) {
            rc = err_set(err, SL_EUSAGE, "%s:%d: %s goes on the command line, not into a job file",
                         path, entry->line, entry->name);
        } else if ((rc = option_value_parse(&option_table[row], entry->value, &value, err)) != 0) {
            err_prefix(err, "%s:%d: %s", path, entry->line, entry->name);
        } else {
            option_value_deinit(&value);
            struct option_given *given = &set->slots[row].given[OPTION_FILE];
            given->text = mem_must_strdup(entry->value);
            given->place = mem_must_printf("%s:%d", path, entry->line);
        }
    }
    option_file_deinit(&file);
    return rc ? SL_EUSAGE : 0;
}

static void read_environment(struct option_set *set, environment_get_fn get, void *ctx)
{
    struct environment env;
    environment_resolve(&env, get, ctx);
    const struct {
        const char *name;
        const struct environment_answer *answer;
    } answers[] = {
        {"role", &env.role},
        {"pservers", &env.pservers},
        {"trainers", &env.trainers},
        {"trainer_id", &env.trainer_id},
        {"current_endpoint", &env.current_endpoint},
        {"cpu_num", &env.cpu_num},
    };
    for (size_t i = 0; i < LENGTH(answers); i++) {
        int row = option_table_find(answers[i].name, strlen(answers[i].name));
        if (!answers[i].answer->value || !(option_table[row].roles & set->roles))
            continue;
        struct option_given *given = &set->slots[row].given[OPTION_ENV];
        given->text = mem_must_strdup(answers[i].answer->value);
        given->place = mem_must_printf("env %s", answers[i].answer->source);
    }
    for (size_t i = 0; i < env.warnings.count; i++)
        str_list_add(&set->warnings, env.warnings.items[i]);
    environment_deinit(&env);
}

// A role in the job file that this program cannot play is another process's; one that flag or
// environment name is a mistake.
static int decide_role(struct option_set *set, struct err *err)
{
    size_t index = (size_t)option_table_find("role", 4);
    struct option_slot *slot = &set->slots[index];
    set->role = set->roles & (~set->roles + 1);   // the lowest bit: trainer rather than local
    if (set->roles & OPTION_TRAINER)
        set->role = OPTION_TRAINER;
    if (!(option_table[index].roles & set->roles))
        return 0;
    int rc = 0;
    char shown[OPTION_SET_SHOWN_MAX];
    for (int origin = OPTION_FLAG; origin >= OPTION_FILE; origin--) {
        const struct option_given *given = &slot->given[origin];
        unsigned role = given->text ? option_set_role_bit(given->text) : 0;
        if (role & set->roles) {
            set->role = role;
            break;
        }
        if (!given->text || origin == OPTION_FILE)
            continue;
        option_set_show(set, index, (enum option_origin)origin, shown);
        if (role)
            rc = err_set(err, SL_EUSAGE, "%s: this program is %s and cannot play that role", shown,
                         set->program);
        else
            rc =
                err_set(err, SL_EUSAGE, "%s: is not one of %s", shown, option_table[index].choices);
        break;
    }
    // From here on the row is one like any other, so the job file must not speak for another role.
    struct option_given *file = &slot->given[OPTION_FILE];
    if (file->text && !(option_set_role_bit(file->text) & set->roles)) {
        mem_free(file->text);
        mem_free(file->place);
        *file = (struct option_given){0};
    }
    const char *played = option_set_role_word(set->role);
    if (!rc && option_value_parse(&option_table[index], played, &slot->value, err) == 0)
        slot->origin = OPTION_DEFAULT;
    return rc;
}

static int check_places(const struct option_set *set, struct err *err)
{
    for (size_t i = 0; i < option_table_count; i++) {
        if (!set->slots[i].given[OPTION_FLAG].text || (option_table[i].roles & set->role))
            continue;
        char roles[256], own[256];
        option_set_role_names(option_table[i].roles, roles, sizeof roles);
        option_set_role_names(set->role, own, sizeof own);
        return err_set(err, SL_EUSAGE, "--%s is an option of %s, not of %s", option_table[i].name,
                       roles, own);
    }
    return 0;
}

// Fills the slot's value by precedence and notes where environment and others disagree.
static int settle(struct option_set *set, size_t index, struct err *err)
{
    const struct option_row *row = &option_table[index];
    struct option_slot *slot = &set->slots[index];
    char shown[OPTION_SET_SHOWN_MAX];
    if (!(row->roles & set->role))
        return 0;
    for (int origin = OPTION_FLAG; origin >= OPTION_FILE; origin--) {
        const struct option_given *given = &slot->given[origin];
        struct option_value value;
        if (!given->text)
            continue;
        bool won = slot->origin <= OPTION_DEFAULT;
        if (option_value_parse(row, given->text, &value, won ? err : NULL) != 0) {
            if (!won)
                continue;
            option_set_show(set, index, (enum option_origin)origin, shown);
            err_prefix(err, "%s", shown);
            return SL_EUSAGE;
        }
        if (won) {
            option_value_deinit(&slot->value);
            slot->value = value;
            slot->origin = (enum option_origin)origin;
            continue;
        }
        bool both_typed = slot->origin == OPTION_FLAG && origin == OPTION_FILE;
        if (!both_typed && !option_value_equal(row, &slot->value, &value))
            option_set_disagree(set, index, slot->origin, (enum option_origin)origin);
        option_value_deinit(&value);
    }
    return 0;
}

// Of several options of a group the one of the stronger origin stays.
static int settle_exclusive(struct option_set *set, const char *const *names, struct err *err)
{
    int winner = -1;
    for (int i = 0; i < 3 && names[i]; i++) {
        int row = option_table_find(names[i], strlen(names[i]));
        if (set->slots[row].origin <= OPTION_DEFAULT)
            continue;
        if (winner < 0) {
            winner = row;
            continue;
        }
        struct option_slot *a = &set->slots[winner], *b = &set->slots[row];
        char first[OPTION_SET_SHOWN_MAX], second[OPTION_SET_SHOWN_MAX];
        option_set_show(set, (size_t)winner, a->origin, first);
        option_set_show(set, (size_t)row, b->origin, second);
        if (a->origin == b->origin)
            return err_set(err, SL_EUSAGE, "%s and %s exclude each other; give one of them", first,
                           second);
        int loser = a->origin > b->origin ? row : winner;
        winner = a->origin > b->origin ? winner : row;
        str_list_addf(&set->warnings, "%s and %s exclude each other; %s wins", first, second,
                      option_table[winner].name);
        take_default(set, (size_t)loser);
    }
    return 0;
}

static int check_needs(const struct option_set *set, struct err *err)
{
    for (size_t i = 0; i < LENGTH(needed); i++) {
        if (!(needed[i].roles & set->role) || option_is_set(set, needed[i].name))
            continue;
        if (needed[i].other && option_is_set(set, needed[i].other))
            continue;
        if (needed[i].other)
            return err_set(err, SL_EUSAGE, "neither --%s nor --%s is given", needed[i].name,
                           needed[i].other);
        return err_set(err, SL_EUSAGE, "--%s is not given", needed[i].name);
    }
    if (option_is_set(set, "main_program") && !option_is_set(set, "startup_program"))
        return err_set(err, SL_EUSAGE, "--main_program needs its --startup_program beside it");
    if (option_is_set(set, "startup_program") && !option_is_set(set, "main_program"))
        return err_set(err, SL_EUSAGE, "--startup_program needs its --main_program beside it");
    if (set->role == OPTION_TRAINER && option_int(set, "trainer_id") >= option_int(set, "trainers"))
        return err_set(err, SL_EUSAGE,
                       "trainer_id=%lld (%s) is out of range: trainers=%lld (%s), ids begin at 0",
                       (long long)option_int(set, "trainer_id"),
                       option_origin_text(set, "trainer_id"),
                       (long long)option_int(set, "trainers"), option_origin_text(set, "trainers"));
    if ((set->role & (OPTION_TRAINER | OPTION_LOCAL)) && option_is_set(set, "data") &&
        option_int(set, "batch_size") < option_int(set, "cpu_num"))
        return err_set(err, SL_EUSAGE,
                       "batch_size=%lld (%s) is less than cpu_num=%lld (%s): each of the CPU_NUM "
                       "workers needs a sample of every batch",
                       (long long)option_int(set, "batch_size"),
                       option_origin_text(set, "batch_size"), (long long)option_int(set, "cpu_num"),
                       option_origin_text(set, "cpu_num"));
    return 0;
}

// A server may listen on port 0; nobody can connect to it.
static int check_ports(const struct option_set *set, struct err *err)
{
    const struct str_list *pservers = option_list(set, "pservers");
    if (set->role != OPTION_TRAINER && set->role != OPTION_PULL)
        return 0;
    for (size_t i = 0; i < pservers->count; i++) {
        struct endpoint endpoint;
        if (endpoint_parse(pservers->items[i], &endpoint, err) == 0 && endpoint.port == 0)
            return err_set(err, SL_EUSAGE,
                           "--pservers: %s: port 0 cannot be connected to; give the port that the "
                           "server says it is ready on",
                           pservers->items[i]);
    }
    return 0;
}

static int check_partners(const struct option_set *set, struct err *err)
{
    for (size_t i = 0; i < LENGTH(partners); i++) {
        if (option_origin(set, partners[i].name) != OPTION_FLAG)
            continue;
        bool found = false;
        struct str_list names = {0};
        for (size_t k = 0; k < 3 && partners[i].others[k]; k++) {
            found = found || option_is_set(set, partners[i].others[k]);
            str_list_addf(&names, "--%s", partners[i].others[k]);
        }
        char *text = str_list_join(&names, " or ");
        str_list_deinit(&names);
        if (!found)
            err_set(err, SL_EUSAGE, "--%s has no effect without %s", partners[i].name, text);
        mem_free(text);
        if (!found)
            return SL_EUSAGE;
    }
    return 0;
}

static int check_of_zoo(const struct option_set *set, struct err *err)
{
    if (!option_is_set(set, "main_program"))
        return 0;
    for (size_t i = 0; i < option_table_count; i++) {
        // A key of the job file may belong to the file's model, which a flag has replaced.
        if (!is_of_zoo(&option_table[i]) || !(option_table[i].roles & set->role) ||
            set->slots[i].origin < option_origin(set, "main_program"))
            continue;
        char shown[OPTION_SET_SHOWN_MAX];
        option_set_show(set, i, set->slots[i].origin, shown);
        return err_set(err, SL_EUSAGE,
                       "%s is for a model of the zoo (--model); main_program has its own", shown);
    }
    return 0;
}

static bool is_of_zoo(const struct option_row *row)
{
    for (size_t i = 0; i < LENGTH(of_zoo); i++)
        if (str_eq(row->name, of_zoo[i]))
            return true;
    return row->section && str_eq(row->section, "optimizer");
}

static void take_default(struct option_set *set, size_t index)
{
    struct option_slot *slot = &set->slots[index];
    option_value_deinit(&slot->value);
    slot->origin = OPTION_UNSET;
    if (!option_table[index].fallback)
        return;
    int rc =
        option_value_parse(&option_table[index], option_table[index].fallback, &slot->value, NULL);
    ASSERT(rc == 0);
    slot->origin = OPTION_DEFAULT;
}

static const struct option_slot *slot_of(const struct option_set *set, const char *name)
{
    int row = option_table_find(name, strlen(name));
    ASSERT(row >= 0);
    return &set->slots[row];
}

static const struct option_slot *typed_slot(const struct option_set *set, const char *name,
                                            enum option_type type)
{
    const struct option_slot *slot = slot_of(set, name);
    ASSERT(option_table[slot - set->slots].type == type);
    return slot;
}
