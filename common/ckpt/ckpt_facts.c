// SPDX-License-Identifier: Apache-2.0
// Facts as one JSON object; hashes are text of 16 digits, because JSON numbers end at 2^53 in many
// readers. Pure, any thread.
#include "common/ckpt/ckpt_facts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/program/forward_hash.h"
#include "common/program/op_desc.h"
#include "common/program/program.h"

#define FACTS_BYTES_MAX (32u << 20)
#define DIFFERENCE_BYTES_MAX 600
#define HASH_DIGITS 16

static int read_fields(const json_t *root, const char *name, struct ckpt_facts *out,
                       struct err *err);
static int read_forward(const json_t *list, const char *name, struct ckpt_facts *out,
                        struct err *err);
static bool parse_hash(const char *text, uint64_t *out);
static int compare_hashes(const void *a, const void *b);

void ckpt_facts_init(struct ckpt_facts *facts)
{
    memset(facts, 0, sizeof *facts);
}

void ckpt_facts_deinit(struct ckpt_facts *facts)
{
    mem_free(facts->forward);
    ckpt_facts_init(facts);
}

void ckpt_facts_copy(struct ckpt_facts *dst, const struct ckpt_facts *src)
{
    ckpt_facts_deinit(dst);
    *dst = *src;
    dst->forward = mem_must_calloc(src->forward_count + 1, sizeof *dst->forward);
    if (src->forward_count)
        memcpy(dst->forward, src->forward, src->forward_count * sizeof *dst->forward);
}

void ckpt_facts_network(struct ckpt_facts *facts, const struct program *program)
{
    mem_free(facts->forward);
    facts->forward_count = forward_hash_ops(program, &facts->forward, NULL);
}

void ckpt_facts_add_network(struct ckpt_facts *facts, const struct ckpt_facts *more)
{
    size_t own = facts->forward_count, cap = own + more->forward_count;
    if (more->forward_count == 0 || cap > LIMIT_OPS_PER_BLOCK)
        return;
    uint64_t *sorted = mem_must_calloc(own + 1, sizeof *sorted);
    if (own) {
        memcpy(sorted, facts->forward, own * sizeof *sorted);
        qsort(sorted, own, sizeof *sorted, compare_hashes);
    }
    facts->forward = mem_must_realloc(facts->forward, (cap + 1) * sizeof *facts->forward);
    for (size_t i = 0; i < more->forward_count; i++)
        if (!own || !bsearch(&more->forward[i], sorted, own, sizeof *sorted, compare_hashes))
            facts->forward[facts->forward_count++] = more->forward[i];
    mem_free(sorted);
}

int ckpt_facts_format(const struct ckpt_facts *facts, struct buf *out)
{
    int rc = buf_printf(out, "{\"servers\":%d,\"trainers\":%d", facts->servers, facts->trainers);
    if (rc >= 0 && facts->has_counter)
        rc = buf_printf(out, ",\"counter\":%" PRId64, facts->counter);
    if (rc >= 0 && facts->forward_count)
        rc = buf_printf(out, ",\"program\":\"%016" PRIx64 "\",\"forward\":[",
                        forward_hash_fold(facts->forward, facts->forward_count));
    for (size_t i = 0; i < facts->forward_count && rc >= 0; i++)
        rc = buf_printf(out, "%s\"%016" PRIx64 "\"", i ? "," : "", facts->forward[i]);
    if (rc >= 0 && facts->forward_count)
        rc = buf_printf(out, "]");
    if (rc >= 0)
        rc = buf_printf(out, "}");
    return rc < 0 ? rc : 0;
}

int ckpt_facts_parse(const char *text, size_t bytes, const char *name, struct ckpt_facts *out,
                     struct err *err)
{
    json_error_t at;
    if (bytes > FACTS_BYTES_MAX)
        return err_set(err, SL_ELIMIT, "%s: facts of %zu bytes, at most %u", name, bytes,
                       FACTS_BYTES_MAX);
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &at);
    if (!root)
        return err_set(err, SL_EFORMAT, "%s: facts: offset %d: %s", name, at.position, at.text);
    struct ckpt_facts fresh;
    ckpt_facts_init(&fresh);
    int rc = read_fields(root, name, &fresh, err);
    json_decref(root);
    if (rc) {
        ckpt_facts_deinit(&fresh);
        return rc;
    }
    ckpt_facts_deinit(out);
    *out = fresh;
    return 0;
}

int ckpt_facts_check_network(const struct ckpt_facts *facts, const struct program *program,
                             struct err *err)
{
    if (!facts->forward_count)
        return 0;
    uint64_t *hashes, *known = mem_must_calloc(facts->forward_count, sizeof *known);
    const struct op_desc **ops;
    size_t count = forward_hash_ops(program, &hashes, &ops), others = 0, shown = 0, reads = 0;
    for (size_t i = 0; i < count; i++)
        reads += ops[i]->inputs_count > 0 && ops[i]->inputs[0].args.count > 0;
    if (reads == 0)
        count = 0;   // a start-up program: it has no network
    struct buf text;
    buf_init(&text, 0);
    memcpy(known, facts->forward, facts->forward_count * sizeof *known);
    qsort(known, facts->forward_count, sizeof *known, compare_hashes);
    for (size_t i = 0; i < count; i++) {
        if (bsearch(&hashes[i], known, facts->forward_count, sizeof *known, compare_hashes))
            continue;
        others++;
        const struct op_slot *out = ops[i]->outputs_count ? &ops[i]->outputs[0] : NULL;
        if (text.bytes > DIFFERENCE_BYTES_MAX)
            continue;
        shown++;
        buf_printf(&text, "%s%s -> %.100s", text.bytes ? "; " : "", ops[i]->type,
                   out && out->args.count ? out->args.items[0] : "nothing");
    }
    if (others > shown)
        buf_printf(&text, "; and %zu more", others - shown);
    int rc = others ? err_set(err, SL_EMISMATCH,
                              "the program's forward part is not the saved one: these operators "
                              "are others, or read from others: %s",
                              buf_text(&text))
                    : 0;
    buf_deinit(&text);
    mem_free(hashes);
    mem_free(known);
    mem_free((void *)ops);
    return rc;
}

static int read_fields(const json_t *root, const char *name, struct ckpt_facts *out,
                       struct err *err)
{
    const json_t *servers = json_object_get(root, "servers");
    const json_t *trainers = json_object_get(root, "trainers");
    const json_t *counter = json_object_get(root, "counter");
    if (!json_is_integer(servers) || json_integer_value(servers) < 0 ||
        json_integer_value(servers) > LIMIT_SERVERS)
        return err_set(err, SL_EFORMAT, "%s: facts: `servers` is not a number in range", name);
    if (!json_is_integer(trainers) || json_integer_value(trainers) < 0 ||
        json_integer_value(trainers) > LIMIT_TRAINERS)
        return err_set(err, SL_EFORMAT, "%s: facts: `trainers` is not a number in range", name);
    if (counter && !json_is_integer(counter))
        return err_set(err, SL_EFORMAT, "%s: facts: `counter` is not a number", name);
    out->servers = (int)json_integer_value(servers);
    out->trainers = (int)json_integer_value(trainers);
    out->has_counter = counter != NULL;
    out->counter = json_integer_value(counter);
    const json_t *forward = json_object_get(root, "forward");
    return forward ? read_forward(forward, name, out, err) : 0;
}

static int read_forward(const json_t *list, const char *name, struct ckpt_facts *out,
                        struct err *err)
{
    if (!json_is_array(list) || json_array_size(list) > LIMIT_OPS_PER_BLOCK)
        return err_set(err, SL_EFORMAT, "%s: facts: `forward` is not a list of operators", name);
    out->forward = mem_must_calloc(json_array_size(list) + 1, sizeof *out->forward);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (!text || !parse_hash(text, &out->forward[i]))
            return err_set(err, SL_EFORMAT, "%s: facts: forward[%zu] is not 16 digits", name, i);
        out->forward_count++;
    }
    return 0;
}

static bool parse_hash(const char *text, uint64_t *out)
{
    if (strlen(text) != HASH_DIGITS || strspn(text, "0123456789abcdef") != HASH_DIGITS)
        return false;
    *out = strtoull(text, NULL, 16);
    return true;
}

static int compare_hashes(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}
