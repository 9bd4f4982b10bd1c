// SPDX-License-Identifier: Apache-2.0
// The map of slices. After slice_map_finish: variables sorted by name, slices in row order, every
// row of a variable held exactly once (replicated ones: wholly by each). Variables and slices are
// numbered by their place, on every process alike; the canonical text is what is hashed and sent.
#include "common/program/slice_map.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/str.h"

static const char *const role_names[] = {"param", "state", "grad", "trainer"};
#define PHASES (SLICE_PHASE_CLIP | SLICE_PHASE_NORMS)
#define ROLES ((int)(sizeof role_names / sizeof role_names[0]))

static int check_var(const struct slice_map *map, const struct slice_var *var, struct err *err);
static int check_names(const struct slice_map *map, struct err *err);
static int compare_vars(const void *a, const void *b);
static int compare_slices(const void *a, const void *b);
static void put_name(struct buf *out, const char *name);
static int parse_head(struct slice_map *map, char **words, bool phases);
static int parse_line(struct slice_map *map, struct str_list *words, struct slice_var **current);
static int parse_var(struct slice_map *map, char **words, struct slice_var **current);
static bool take_name(const char *word, char **out);
static bool take_dims(const char *word, struct dims *out);
static bool take_int(const char *word, int64_t max, int *out);

void slice_map_init(struct slice_map *map)
{
    *map = (struct slice_map){0};
}

void slice_map_deinit(struct slice_map *map)
{
    if (!map)
        return;
    for (size_t i = 0; i < map->vars_count; i++) {
        struct slice_var *var = map->vars[i];
        for (size_t k = 0; k < var->slices_count; k++)
            mem_free(var->slices[k].name);
        mem_free(var->slices);
        mem_free(var->name);
        mem_free(var->param);
        mem_free(var);
    }
    mem_free(map->vars);
    slice_map_init(map);
}

struct slice_var *slice_map_add(struct slice_map *map, const char *name, enum slice_role role,
                                const char *param, enum dtype dtype, const struct dims *dims)
{
    struct slice_var *var = MEM_NEW(struct slice_var);
    var->name = mem_must_strdup(name);
    var->role = role;
    var->param = param ? mem_must_strdup(param) : NULL;
    var->dtype = dtype;
    var->dims = *dims;
    MEM_GROW(map->vars, map->vars_count, map->vars_cap);
    map->vars[map->vars_count++] = var;
    return var;
}

int slice_map_finish(struct slice_map *map, struct err *err)
{
    if (map->servers < 0 || map->servers > LIMIT_SERVERS || map->trainers < 0 ||
        map->trainers > LIMIT_TRAINERS)
        return err_set(err, SL_ELIMIT,
                       "slice map: %d servers and %d trainers, at most %d and %d are possible",
                       map->servers, map->trainers, LIMIT_SERVERS, LIMIT_TRAINERS);
    if (map->vars_count)
        qsort(map->vars, map->vars_count, sizeof *map->vars, compare_vars);
    for (size_t i = 0; i < map->vars_count; i++) {
        struct slice_var *var = map->vars[i];
        if (i && !strcmp(var->name, map->vars[i - 1]->name))
            return err_set(err, SL_EINVAL, "slice map: variable %s is listed twice", var->name);
        if (var->slices_count)
            qsort(var->slices, var->slices_count, sizeof *var->slices, compare_slices);
        int rc = check_var(map, var, err);
        if (rc)
            return rc;
    }
    return check_names(map, err);
}

const struct slice_var *slice_map_find(const struct slice_map *map, const char *name)
{
    size_t low = 0, high = map->vars_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(name, map->vars[mid]->name);
        if (!order)
            return map->vars[mid];
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

const struct slice *slice_map_on_server(const struct slice_map *map, int server, const char *name,
                                        const struct slice_var **out_var)
{
    for (size_t i = 0; i < map->vars_count; i++) {
        const struct slice_var *var = map->vars[i];
        for (size_t k = 0; k < var->slices_count; k++)
            if (var->slices[k].server == server && !strcmp(var->slices[k].name, name)) {
                if (out_var)
                    *out_var = var;
                return &var->slices[k];
            }
    }
    return NULL;
}

void slice_map_format(const struct slice_map *map, struct buf *out)
{
    char text[DIMS_TEXT_MAX];
    buf_printf(out, "servers %d trainers %d", map->servers, map->trainers);
    if (map->phases)
        buf_printf(out, " phases %u", map->phases);
    buf_printf(out, "\n");
    for (size_t i = 0; i < map->vars_count; i++) {
        const struct slice_var *var = map->vars[i];
        buf_printf(out, "%s ", role_names[var->role]);
        put_name(out, var->name);
        buf_printf(out, " ");
        if (var->param)
            put_name(out, var->param);
        else
            buf_printf(out, "-");
        buf_printf(out, " %d %s %s\n", (int)var->dtype, dims_format(&var->dims, text),
                   var->replicated ? "replicated" : var->sparse ? "sparse" : "cut");
        for (size_t k = 0; k < var->slices_count; k++) {
            const struct slice *slice = &var->slices[k];
            buf_printf(out, "slice %d %" PRId64 " %" PRId64 " ", slice->server, slice->row,
                       slice->rows);
            put_name(out, slice->name);
            buf_printf(out, "\n");
        }
    }
}

int slice_map_parse(struct slice_map *out, const char *text, size_t bytes, const char *name,
                    struct err *err)
{
    struct slice_map map;
    struct slice_var *current = NULL;
    size_t line = 0;
    int rc = 0;
    slice_map_init(&map);
    for (size_t at = 0; at < bytes && !rc; line++) {
        const char *end = memchr(text + at, '\n', bytes - at);
        size_t length = end ? (size_t)(end - text) - at : bytes - at;
        char *copy = mem_must_strndup(text + at, length);
        struct str_list words = {0};
        str_list_split(&words, copy, ' ');
        bool phases = words.count == 6 && !strcmp(words.items[4], "phases");
        bool head = (words.count == 4 || phases) && !strcmp(words.items[0], "servers") &&
                    !strcmp(words.items[2], "trainers");
        if ((line == 0) != head || strlen(copy) != length)
            rc = SL_EFORMAT;
        else if (head)
            rc = parse_head(&map, words.items, phases);
        else
            rc = parse_line(&map, &words, &current);
        str_list_deinit(&words);
        mem_free(copy);
        at += length + 1;
    }
    if (rc || !line)
        rc = err_set(err, SL_EFORMAT, "%s: line %zu is no line of a slice map", name, line);
    else if ((rc = slice_map_finish(&map, err)))
        err_prefix(err, "%s", name);
    if (rc)
        slice_map_deinit(&map);
    else
        *out = map;
    return rc;
}

void slice_map_copy(struct slice_map *dst, const struct slice_map *src)
{
    slice_map_init(dst);
    dst->servers = src->servers;
    dst->trainers = src->trainers;
    dst->phases = src->phases;
    for (size_t i = 0; i < src->vars_count; i++) {
        const struct slice_var *from = src->vars[i];
        struct slice_var *to =
            slice_map_add(dst, from->name, from->role, from->param, from->dtype, &from->dims);
        to->replicated = from->replicated;
        to->sparse = from->sparse;
        for (size_t k = 0; k < from->slices_count; k++)
            slice_var_add(to, from->slices[k].server, from->slices[k].row, from->slices[k].rows,
                          from->slices[k].name);
    }
}

const char *slice_map_role_name(enum slice_role role)
{
    return role_names[role];
}

uint64_t slice_map_hash(const struct slice_map *map)
{
    struct buf text;
    buf_init(&text, 0);
    slice_map_format(map, &text);
    uint64_t hash = XXH3_64bits(text.data, text.bytes);
    buf_deinit(&text);
    return hash;
}

static int check_var(const struct slice_map *map, const struct slice_var *var, struct err *err)
{
    uint64_t count;
    int64_t rows = var->dims.rank ? var->dims.d[0] : 1, next = 0;
    if (!dtype_is_valid((int)var->dtype) ||
        !dims_count(&var->dims, dtype_bytes(var->dtype), &count))
        return err_set(err, SL_EINVAL, "slice map: variable %s has no valid shape and type",
                       var->name);
    if (!var->slices_count)
        return err_set(err, SL_EINVAL, "slice map: variable %s is on no server", var->name);
    if (var->sparse && (var->replicated || !var->dims.rank ||
                        (var->role != SLICE_PARAM && var->role != SLICE_GRAD)))
        return err_set(err, SL_EINVAL,
                       "slice map: variable %s is sparse, but no parameter or gradient cut by rows",
                       var->name);
    for (size_t k = 0; k < var->slices_count; k++) {
        const struct slice *slice = &var->slices[k];
        if (slice->server < 0 || slice->server >= map->servers)
            return err_set(err, SL_EINVAL, "slice map: %s of variable %s is on server %d of %d",
                           slice->name, var->name, slice->server, map->servers);
        if (var->replicated)
            next = 0;
        if (slice->row != next || slice->rows < 0 || slice->rows > rows - next ||
            (var->replicated && slice->rows != rows))
            return err_set(err, SL_EINVAL,
                           "slice map: %s has rows %" PRId64 "+%" PRId64 " of variable %s (%" PRId64
                           " rows); rows from %" PRId64 " on were expected",
                           slice->name, slice->row, slice->rows, var->name, rows, next);
        next += slice->rows;
    }
    if (next != rows)
        return err_set(err, SL_EINVAL,
                       "slice map: rows %" PRId64 "..%" PRId64 " of variable %s are on no server",
                       next, rows, var->name);
    return 0;
}

static int check_names(const struct slice_map *map, struct err *err)
{
    struct map seen;
    int rc = 0;
    map_init(&seen);
    for (size_t i = 0; i < map->vars_count && !rc; i++)
        for (size_t k = 0; k < map->vars[i]->slices_count && !rc; k++) {
            const struct slice *slice = &map->vars[i]->slices[k];
            char *key = mem_must_printf("%d %s", slice->server, slice->name);
            if (map_get(&seen, key))
                rc = err_set(err, SL_EINVAL, "slice map: server %d holds two slices called %s",
                             slice->server, slice->name);
            map_set(&seen, key, map->vars[i]);
            mem_free(key);
        }
    map_deinit(&seen);
    return rc;
}

static int compare_vars(const void *a, const void *b)
{
    const struct slice_var *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int compare_slices(const void *a, const void *b)
{
    const struct slice *x = a, *y = b;
    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    if (x->rows != y->rows)
        return x->rows < y->rows ? -1 : 1;
    return x->server - y->server;
}

// Names stand between blanks: blanks, control characters and what could be taken for our own signs
// are written as %XX.
static void put_name(struct buf *out, const char *name)
{
    if (!strcmp(name, "-")) {
        buf_printf(out, "%%2D");
        return;
    }
    for (const char *c = name; *c; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte <= ' ' || byte == '%' || byte == 0x7f)
            buf_printf(out, "%%%02X", byte);
        else
            buf_append(out, c, 1);
    }
}

static int parse_head(struct slice_map *map, char **words, bool phases)
{
    int bits = 0;
    if (!take_int(words[1], LIMIT_SERVERS, &map->servers) ||
        !take_int(words[3], LIMIT_TRAINERS, &map->trainers) ||
        (phases && (!take_int(words[5], PHASES, &bits) || bits == 0)))
        return SL_EFORMAT;
    map->phases = (unsigned)bits;
    return 0;
}

static int parse_line(struct slice_map *map, struct str_list *words, struct slice_var **current)
{
    if (words->count == 6)
        return parse_var(map, words->items, current);
    int server;
    int64_t row, rows;
    char *name;
    if (words->count != 5 || strcmp(words->items[0], "slice") || !*current ||
        !take_int(words->items[1], LIMIT_SERVERS, &server) ||
        !str_parse_i64(words->items[2], &row) || !str_parse_i64(words->items[3], &rows) ||
        !take_name(words->items[4], &name))
        return SL_EFORMAT;
    slice_var_add(*current, server, row, rows, name);
    mem_free(name);
    return 0;
}

static int parse_var(struct slice_map *map, char **words, struct slice_var **current)
{
    char *name = NULL, *param = NULL;
    struct dims dims;
    int dtype, role = 0, rc = SL_EFORMAT;
    while (role < ROLES && strcmp(words[0], role_names[role]))
        role++;
    bool replicated = !strcmp(words[5], "replicated"), sparse = !strcmp(words[5], "sparse");
    bool owned = strcmp(words[2], "-") != 0;
    if (role < ROLES && take_name(words[1], &name) && (!owned || take_name(words[2], &param)) &&
        take_int(words[3], INT32_MAX, &dtype) && take_dims(words[4], &dims) &&
        (replicated || sparse || !strcmp(words[5], "cut"))) {
        *current = slice_map_add(map, name, (enum slice_role)role, param, (enum dtype)dtype, &dims);
        (*current)->replicated = replicated;
        (*current)->sparse = sparse;
        rc = 0;
    }
    mem_free(name);
    mem_free(param);
    return rc;
}

static bool take_name(const char *word, char **out)
{
    static const char digits[] = "0123456789ABCDEF";
    char *name = mem_must_calloc(strlen(word) + 1, 1);
    size_t used = 0;
    for (const char *c = word; *c; c++) {
        const char *high, *low;
        if (*c != '%') {
            name[used++] = *c;
        } else if (c[1] && c[2] && (high = strchr(digits, c[1])) && (low = strchr(digits, c[2])) &&
                   (high != digits || low != digits)) {
            name[used++] = (char)((high - digits) * 16 + (low - digits));
            c += 2;
        } else {
            mem_free(name);
            return false;
        }
    }
    *out = name;
    return true;
}

static bool take_dims(const char *word, struct dims *out)
{
    size_t length = strlen(word);
    *out = (struct dims){0};
    if (length < 2 || word[0] != '[' || word[length - 1] != ']')
        return false;
    if (length == 2)
        return true;
    char *inner = mem_must_strndup(word + 1, length - 2);
    struct str_list parts = {0};
    str_list_split(&parts, inner, ',');
    bool good = parts.count <= LIMIT_RANK;
    for (size_t i = 0; good && i < parts.count; i++)
        good = str_parse_i64(parts.items[i], &out->d[out->rank++]);
    str_list_deinit(&parts);
    mem_free(inner);
    return good;
}

static bool take_int(const char *word, int64_t max, int *out)
{
    int64_t value;
    if (!str_parse_i64(word, &value) || value < 0 || value > max)
        return false;
    *out = (int)value;
    return true;
}
