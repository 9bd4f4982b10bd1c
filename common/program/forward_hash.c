// SPDX-License-Identifier: Apache-2.0
// Each variable has a hash: of a variable that is there before the first operator, its type and
// shape; later, the hash of the operator that wrote it and of the place in that operator's outputs.
// An operator's hash is over its type, its attributes in order of name, and the hashes of what it
// reads. So a name never counts, and an operator stands for all that leads to it. Operators of
// sub-blocks count in the operator that refers to them. Lookups of one table that a transpiler has
// put into one operator count one by one, as they did before. Pure, any thread.
#include "common/program/forward_hash.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/base/buf.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/program/program.h"

struct walk {
    const struct program *program;
    struct map at;      // variable -> its number + 1
    uint64_t *values;   // hashes of variables
    size_t count, cap;
};

static uint64_t hash_op(struct walk *walk, const struct block *block, const struct op_desc *op);
static void hash_lookups(struct walk *walk, const struct block *block, const struct op_desc *op,
                         struct buf *text);
static uint64_t lookup_hash(struct walk *walk, const struct block *block, const struct op_desc *op,
                            const char *ids);
static bool is_lookup(const struct op_desc *op);
static bool is_forward(const struct op_desc *op);
static bool counts(const struct attr *attr);
static void put_attr(struct walk *walk, const struct attr *attr, struct buf *out);
static void put_block(struct walk *walk, int64_t idx, struct buf *out);
static uint64_t value_of(struct walk *walk, const struct block *block, const char *name);
static void set_value(struct walk *walk, const char *name, uint64_t value);
static void put(struct buf *out, uint64_t number);
static int compare_slots(const void *a, const void *b);
static int compare_attrs(const void *a, const void *b);

size_t forward_hash_ops(const struct program *program, uint64_t **out,
                        const struct op_desc ***out_ops)
{
    const struct block *block = program_block(program, 0);
    struct walk walk = {.program = program};
    map_init(&walk.at);
    uint64_t *hashes = NULL;
    const struct op_desc **ops = NULL;
    size_t count = 0, hashes_cap = 0, ops_cap = 0;
    for (size_t i = 0; i < block->ops_count; i++) {
        if (!is_forward(block->ops[i]))
            continue;
        uint64_t hash = hash_op(&walk, block, block->ops[i]);
        const struct op_slot *ids = op_desc_input(block->ops[i], "Ids");
        size_t lookups = is_lookup(block->ops[i]) && ids ? ids->args.count : 0;
        for (size_t k = 0; k < (lookups ? lookups : 1); k++) {
            MEM_GROW(hashes, count, hashes_cap);
            MEM_GROW(ops, count, ops_cap);
            ops[count] = block->ops[i];
            hashes[count++] =
                lookups ? lookup_hash(&walk, block, block->ops[i], ids->args.items[k]) : hash;
        }
    }
    map_deinit(&walk.at);
    mem_free(walk.values);
    *out = hashes;
    if (out_ops)
        *out_ops = ops;
    else
        mem_free(ops);
    return count;
}

uint64_t forward_hash_fold(const uint64_t *hashes, size_t count)
{
    return XXH3_64bits(hashes, count * sizeof *hashes);
}

static uint64_t hash_op(struct walk *walk, const struct block *block, const struct op_desc *op)
{
    struct buf text;
    buf_init(&text, 0);
    if (is_lookup(op)) {
        hash_lookups(walk, block, op, &text);
        uint64_t hash = XXH3_64bits(text.data, text.bytes);
        buf_deinit(&text);
        return hash;
    }
    buf_printf(&text, "%s\n", op->type);
    const struct op_slot **slots = mem_must_calloc(op->inputs_count + 1, sizeof *slots);
    for (size_t s = 0; s < op->inputs_count; s++)
        slots[s] = &op->inputs[s];
    if (op->inputs_count)
        qsort(slots, op->inputs_count, sizeof *slots, compare_slots);
    for (size_t s = 0; s < op->inputs_count; s++) {
        if (slots[s]->args.count == 0)
            continue;   // an empty slot is as good as none
        buf_printf(&text, "in %s\n", slots[s]->name);
        for (size_t k = 0; k < slots[s]->args.count; k++)
            put(&text, value_of(walk, block, slots[s]->args.items[k]));
    }
    mem_free(slots);
    const struct attr **attrs = mem_must_calloc(op->attrs_count + 1, sizeof *attrs);
    size_t used = 0;
    for (size_t a = 0; a < op->attrs_count; a++)
        if (counts(&op->attrs[a]))
            attrs[used++] = &op->attrs[a];
    if (used)
        qsort(attrs, used, sizeof *attrs, compare_attrs);
    for (size_t a = 0; a < used; a++)
        put_attr(walk, attrs[a], &text);
    mem_free(attrs);
    uint64_t hash = XXH3_64bits(text.data, text.bytes);
    for (size_t s = 0; s < op->outputs_count; s++)
        for (size_t k = 0; k < op->outputs[s].args.count; k++) {
            buf_clear(&text);
            buf_printf(&text, "out %s %zu\n", op->outputs[s].name, k);
            put(&text, hash);
            set_value(walk, op->outputs[s].args.items[k], XXH3_64bits(text.data, text.bytes));
        }
    buf_deinit(&text);
    return hash;
}

// One lookup a pair of ids and output.
static void hash_lookups(struct walk *walk, const struct block *block, const struct op_desc *op,
                         struct buf *text)
{
    const struct op_slot *ids = op_desc_input(op, "Ids");
    const struct op_slot *outs = op_desc_output(op, "Outputs");
    outs = outs ? outs : op_desc_output(op, "Out");
    for (size_t k = 0; ids && outs && k < ids->args.count && k < outs->args.count; k++) {
        uint64_t hash = lookup_hash(walk, block, op, ids->args.items[k]);
        put(text, hash);
        set_value(walk, outs->args.items[k], hash);
    }
}

static uint64_t lookup_hash(struct walk *walk, const struct block *block, const struct op_desc *op,
                            const char *ids)
{
    struct buf text;
    const char *table = op_desc_input1(op, "W");
    const char *version = str_eq(op->type, "distributed_lookup_table")
                              ? op_desc_get_string(op, "lookup_table_version", "lookup_table")
                              : op->type;
    buf_init(&text, 0);
    buf_printf(&text, "%s %lld\n", version, (long long)op_desc_get_int(op, "padding_idx", -1));
    put(&text, value_of(walk, block, ids));
    put(&text, table ? value_of(walk, block, table) : 0);
    uint64_t hash = XXH3_64bits(text.data, text.bytes);
    buf_deinit(&text);
    return hash;
}

static bool is_lookup(const struct op_desc *op)
{
    return str_eq(op->type, "lookup_table") || str_eq(op->type, "lookup_table_v2") ||
           str_eq(op->type, "distributed_lookup_table");
}

static bool is_forward(const struct op_desc *op)
{
    return (op_desc_role(op) & ~OP_ROLE_LOSS) == OP_ROLE_FORWARD && !str_eq(op->type, "feed") &&
           !str_eq(op->type, "fetch");
}

static bool counts(const struct attr *attr)
{
    static const char *const ignored[] = {
        "op_role",    "op_role_var",       "op_namescope",  "op_callstack",
        "op_device",  "is_test",           "use_cudnn",     "use_mkldnn",
        "trainer_id", "workspace_size_MB", "use_quantizer", "exhaustive_search",
    };
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        if (str_eq(attr->name, ignored[i]))
            return false;
    return true;
}

static void put_attr(struct walk *walk, const struct attr *attr, struct buf *out)
{
    buf_printf(out, "attr %s\n", attr->name);
    size_t blocks = attr_blocks_count(attr);
    for (size_t i = 0; i < blocks; i++)
        put_block(walk, attr_block(attr, i), out);
    if (blocks)
        return;
    switch (attr->type) {
    case ATTR_FLOAT:
        buf_append(out, &attr->f, sizeof attr->f);
        break;
    case ATTR_STRING:
        buf_append(out, attr->s, attr->s_bytes);
        break;
    case ATTR_FLOATS:
        buf_append(out, attr->floats, attr->count * sizeof *attr->floats);
        break;
    case ATTR_STRINGS:
        for (size_t i = 0; i < attr->count; i++)
            buf_append(out, attr->strings[i], strlen(attr->strings[i]) + 1);
        break;
    default:
        if (!attr_is_list(attr->type))
            put(out, (uint64_t)attr->i);
        else
            for (size_t i = 0; i < attr->count; i++)
                put(out, (uint64_t)attr->ints[i]);
    }
}

// Blocks come behind the operators that name them (program_parse checks), so this ends.
static void put_block(struct walk *walk, int64_t idx, struct buf *out)
{
    if (idx <= 0 || (size_t)idx >= walk->program->blocks_count)
        return;
    const struct block *block = program_block(walk->program, (size_t)idx);
    for (size_t i = 0; i < block->ops_count; i++)
        put(out, hash_op(walk, block, block->ops[i]));
}

static uint64_t value_of(struct walk *walk, const struct block *block, const char *name)
{
    uintptr_t at = (uintptr_t)map_get(&walk->at, name);
    if (at)
        return walk->values[at - 1];
    const struct var_desc *var = block_find_var(block, name);
    struct buf text;
    buf_init(&text, 0);
    if (var) {
        buf_printf(&text, "%d %d %d", var->kind, var->dtype,
                   var->has_persistable && var->persistable);
        for (int i = 0; i < var->dims.rank; i++)
            put(&text, (uint64_t)var->dims.d[i]);
    }
    uint64_t value = XXH3_64bits(text.data, text.bytes);
    buf_deinit(&text);
    set_value(walk, name, value);
    return value;
}

static void set_value(struct walk *walk, const char *name, uint64_t value)
{
    uintptr_t at = (uintptr_t)map_get(&walk->at, name);
    if (!at) {
        MEM_GROW(walk->values, walk->count, walk->cap);
        at = ++walk->count;
        map_set(&walk->at, name, (void *)at);
    }
    walk->values[at - 1] = value;
}

static void put(struct buf *out, uint64_t number)
{
    buf_append_u64le(out, number);
}

static int compare_slots(const void *a, const void *b)
{
    return strcmp((*(const struct op_slot *const *)a)->name,
                  (*(const struct op_slot *const *)b)->name);
}

static int compare_attrs(const void *a, const void *b)
{
    return strcmp((*(const struct attr *const *)a)->name, (*(const struct attr *const *)b)->name);
}
