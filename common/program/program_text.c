// SPDX-License-Identifier: Apache-2.0
// Canonical text. A program becomes a list of parts: each block has sorted variable lines and one
// text an operator, in order. Format prints the parts, diff compares them, so the two cannot
// disagree.
#include "common/program/program_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/program/program.h"

#define CONTROL_VAR "__control_var@"    // Fluid appends a random number
// Four temporaries a server block, numbered over all programs that one Python process transpiled:
// only the place within the block (n mod 4) means something.
#define DC_VAR "tmp_dc_output_"
#define HUNKS_MAX 10

static void list_vars(const struct block *block, struct str_list *out);
static char *op_text(const struct op_desc *op);
static void put_slots(const struct op_slot *slots, size_t count, const char *way, struct buf *out);
static void put_attrs(const struct op_desc *op, struct buf *out);
static void put_attr(const struct attr *attr, struct buf *out);
static void put_value(const struct attr *attr, struct buf *out);
static void put_element(const struct attr *attr, size_t i, struct buf *out);
static void put_float(float value, struct buf *out);
static void put_quoted(const char *text, size_t bytes, struct buf *out);
static void put_name(const char *name, struct buf *out);
static int compare_slots(const void *a, const void *b);
static int compare_attrs(const void *a, const void *b);
static void put_block_head(const struct block *block, struct buf *out);
static size_t diff_block(const struct block *a, const struct block *b, size_t hunks,
                         struct buf *out);
static size_t diff_vars(const struct block *a, const struct block *b, struct buf *out);
static size_t diff_ops(const struct block *a, const struct block *b, size_t hunks, struct buf *out);
static void put_only_in(const char *text, const char *other, char sign, struct buf *out);

void program_text_format(const struct program *program, struct buf *out)
{
    for (size_t i = 0; i < program->blocks_count; i++) {
        const struct block *block = program->blocks[i];
        struct str_list vars = {0};
        list_vars(block, &vars);
        put_block_head(block, out);
        for (size_t k = 0; k < vars.count; k++)
            buf_printf(out, "  %s\n", vars.items[k]);
        for (size_t k = 0; k < block->ops_count; k++) {
            char *text = op_text(block->ops[k]);
            buf_printf(out, "  op %zu ", k);
            buf_append(out, text, strlen(text));
            mem_free(text);
        }
        str_list_deinit(&vars);
    }
}

bool program_text_diff(const struct program *a, const struct program *b, struct buf *out_diff)
{
    struct buf own;
    buf_init(&own, 0);
    size_t hunks = 0;
    size_t blocks = a->blocks_count < b->blocks_count ? a->blocks_count : b->blocks_count;
    for (size_t i = 0; i < blocks; i++)
        hunks += diff_block(a->blocks[i], b->blocks[i], hunks, &own);
    if (a->blocks_count != b->blocks_count) {
        buf_printf(&own, "%zu blocks against %zu\n", a->blocks_count, b->blocks_count);
        hunks++;
    }
    if (hunks > HUNKS_MAX)
        buf_printf(&own, "... and %zu more places\n", hunks - HUNKS_MAX);
    if (out_diff)
        buf_append(out_diff, own.data, own.bytes);
    buf_deinit(&own);
    return hunks == 0;
}

static void list_vars(const struct block *block, struct str_list *out)
{
    struct buf line;
    buf_init(&line, 0);
    for (size_t i = 0; i < block->vars_count; i++) {
        const struct var_desc *var = block->vars[i];
        char text[DIMS_TEXT_MAX];
        buf_clear(&line);
        buf_printf(&line, "var ");
        put_name(var->name, &line);
        buf_printf(&line, " %s", var_desc_kind_name(var->kind));
        if (!strcmp(var_desc_kind_name(var->kind), "kind"))
            buf_printf(&line, "(%d)", var->kind);
        if (var->has_tensor) {
            buf_printf(&line, " %s", dtype_is_valid(var->dtype) ? dtype_name(var->dtype) : "dtype");
            if (!dtype_is_valid(var->dtype))
                buf_printf(&line, "(%d)", var->dtype);
            buf_printf(&line, " %s", dims_format(&var->dims, text));
        }
        if (var->lod_level)
            buf_printf(&line, " lod %d", var->lod_level);
        if (var->persistable)
            buf_printf(&line, " persistable");
        if (var->need_check_feed)
            buf_printf(&line, " check_feed");
        str_list_add(out, buf_text(&line));
    }
    str_list_sort(out);
    buf_deinit(&line);
}

// Type, slots and attributes; one line each, the first without indentation.
static char *op_text(const struct op_desc *op)
{
    struct buf out;
    buf_init(&out, 0);
    buf_printf(&out, "%s%s\n", op->type, op->is_target ? " (target)" : "");
    put_slots(op->inputs, op->inputs_count, "in", &out);
    put_slots(op->outputs, op->outputs_count, "out", &out);
    put_attrs(op, &out);
    return buf_take_text(&out);
}

static void put_slots(const struct op_slot *slots, size_t count, const char *way, struct buf *out)
{
    const struct op_slot **sorted = mem_must_calloc(count, sizeof *sorted);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &slots[i];
    if (count)
        qsort(sorted, count, sizeof *sorted, compare_slots);
    for (size_t i = 0; i < count; i++) {
        const struct op_slot *slot = sorted[i];
        if (!slot->args.count)
            continue;       // writers differ in whether an unused slot is there
        buf_printf(out, "    %s %s:", way, slot->name);
        for (size_t k = 0; k < slot->args.count; k++) {
            buf_printf(out, " ");
            put_name(slot->args.items[k], out);
        }
        buf_printf(out, "\n");
    }
    mem_free(sorted);
}

static void put_attrs(const struct op_desc *op, struct buf *out)
{
    const struct attr **sorted = mem_must_calloc(op->attrs_count, sizeof *sorted);
    for (size_t i = 0; i < op->attrs_count; i++)
        sorted[i] = &op->attrs[i];
    if (op->attrs_count)
        qsort(sorted, op->attrs_count, sizeof *sorted, compare_attrs);
    for (size_t i = 0; i < op->attrs_count; i++)
        if (strcmp(sorted[i]->name, "op_callstack") && strcmp(sorted[i]->name, "op_namescope"))
            put_attr(sorted[i], out);
    mem_free(sorted);
}

static void put_attr(const struct attr *attr, struct buf *out)
{
    buf_printf(out, "    attr %s = ", attr->name);
    if (attr_is_list(attr->type)) {
        buf_printf(out, "[");
        for (size_t i = 0; i < attr->count; i++) {
            if (i)
                buf_printf(out, ", ");
            put_element(attr, i, out);
        }
        buf_printf(out, "]");
    } else {
        put_value(attr, out);
    }
    buf_printf(out, "\n");
}

static void put_value(const struct attr *attr, struct buf *out)
{
    switch ((int)attr->type) {
    case ATTR_INT:
    case ATTR_BOOLEAN:
        buf_printf(out, "%" PRId64, attr->i);
        return;
    case ATTR_LONG:
        buf_printf(out, "%" PRId64 "L", attr->i);
        return;
    case ATTR_BLOCK:
        buf_printf(out, "block %" PRId64, attr->i);
        return;
    case ATTR_FLOAT:
        put_float(attr->f, out);
        return;
    case ATTR_STRING:
        put_quoted(attr->s, attr->s_bytes, out);
        return;
    default:
        buf_printf(out, "type %d ", (int)attr->type);
        put_quoted((const char *)attr->raw, attr->raw_bytes, out);
    }
}

static void put_element(const struct attr *attr, size_t i, struct buf *out)
{
    if (attr->type == ATTR_STRINGS)
        put_quoted(attr->strings[i], strlen(attr->strings[i]), out);
    else if (attr->type == ATTR_FLOATS)
        put_float(attr->floats[i], out);
    else if (attr->type == ATTR_BLOCKS)
        buf_printf(out, "block %" PRId64, attr->ints[i]);
    else
        buf_printf(out, "%" PRId64 "%s", attr->ints[i], attr->type == ATTR_LONGS ? "L" : "");
}

// Nine digits tell any two floats apart; the sign that it is one keeps 1 and 1.0 apart.
static void put_float(float value, struct buf *out)
{
    buf_printf(out, "%.9gf", (double)value);
}

static void put_quoted(const char *text, size_t bytes, struct buf *out)
{
    buf_append(out, "\"", 1);
    for (size_t i = 0; i < bytes; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte == '"' || byte == '\\')
            buf_printf(out, "\\%c", byte);
        else if (byte < ' ' || byte == 0x7f)
            buf_printf(out, "\\x%02x", byte);
        else
            buf_append(out, &text[i], 1);
    }
    buf_append(out, "\"", 1);
}

static void put_name(const char *name, struct buf *out)
{
    uint64_t n;
    bool control = str_starts_with(name, CONTROL_VAR);
    if (str_starts_with(name, DC_VAR) && str_parse_u64(name + sizeof DC_VAR - 1, &n))
        buf_printf(out, DC_VAR "%" PRIu64, n % 4);
    else
        buf_append(out, name, control ? sizeof CONTROL_VAR - 1 : strlen(name));
}

static int compare_slots(const void *a, const void *b)
{
    const struct op_slot *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int compare_attrs(const void *a, const void *b)
{
    const struct attr *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static void put_block_head(const struct block *block, struct buf *out)
{
    buf_printf(out, "block %d", block->idx);
    if (block->parent_idx >= 0)
        buf_printf(out, " parent %d", block->parent_idx);
    if (block->has_forward_block_idx && block->forward_block_idx != -1)
        buf_printf(out, " forward %d", block->forward_block_idx);
    buf_printf(out, "\n");
}

// Appends hunks as long as there are few; returns how many there are.
static size_t diff_block(const struct block *a, const struct block *b, size_t hunks,
                         struct buf *out)
{
    size_t found = 0;
    struct buf head_a, head_b, spare;
    buf_init(&head_a, 0);
    buf_init(&head_b, 0);
    buf_init(&spare, 0);
    put_block_head(a, &head_a);
    put_block_head(b, &head_b);
    if (strcmp(buf_text(&head_a), buf_text(&head_b))) {
        buf_printf(out, "- %s+ %s", buf_text(&head_a), buf_text(&head_b));
        found++;
    }
    found += diff_vars(a, b, hunks + found < HUNKS_MAX ? out : &spare);
    found += diff_ops(a, b, hunks + found, out);
    buf_deinit(&head_a);
    buf_deinit(&head_b);
    buf_deinit(&spare);
    return found;
}

static size_t diff_vars(const struct block *a, const struct block *b, struct buf *out)
{
    struct str_list left = {0}, right = {0};
    size_t i = 0, k = 0, lines = 0;
    list_vars(a, &left);
    list_vars(b, &right);
    while (i < left.count || k < right.count) {
        int order = i == left.count    ? 1
                    : k == right.count ? -1
                                       : strcmp(left.items[i], right.items[k]);
        if (!order) {
            i++, k++;
            continue;
        }
        if (!lines++)
            buf_printf(out, "block %d, variables:\n", a->idx);
        if (lines <= HUNKS_MAX)
            buf_printf(out, "%c %s\n", order < 0 ? '-' : '+',
                       order < 0 ? left.items[i] : right.items[k]);
        if (order < 0)
            i++;
        else
            k++;
    }
    if (lines > HUNKS_MAX)
        buf_printf(out, "... and %zu more variables\n", lines - HUNKS_MAX);
    str_list_deinit(&left);
    str_list_deinit(&right);
    return lines ? 1 : 0;
}

static size_t diff_ops(const struct block *a, const struct block *b, size_t hunks, struct buf *out)
{
    size_t found = 0, shorter = a->ops_count < b->ops_count ? a->ops_count : b->ops_count;
    bool aligned = a->ops_count == b->ops_count;
    for (size_t i = 0; i < shorter && (aligned || !found); i++) {
        char *left = op_text(a->ops[i]), *right = op_text(b->ops[i]);
        if (strcmp(left, right) && hunks + found++ < HUNKS_MAX) {
            buf_printf(out, "block %d, op %zu, %s:\n", a->idx, i, a->ops[i]->type);
            put_only_in(left, right, '-', out);
            put_only_in(right, left, '+', out);
        }
        mem_free(left);
        mem_free(right);
    }
    if (aligned)
        return found;
    // Behind an op too much or too few everything looks different: the first place says enough.
    buf_printf(out, "block %d: %zu operators against %zu", a->idx, a->ops_count, b->ops_count);
    if (!found)
        buf_printf(out, "; the first one too many is %s",
                   (a->ops_count > shorter ? a : b)->ops[shorter]->type);
    buf_printf(out, "\n");
    return found + 1;
}

// The lines of text that other does not have.
static void put_only_in(const char *text, const char *other, char sign, struct buf *out)
{
    struct str_list mine = {0}, theirs = {0};
    str_list_split(&mine, text, '\n');
    str_list_split(&theirs, other, '\n');
    for (size_t i = 0; i < mine.count; i++)
        if (!str_list_has(&theirs, mine.items[i]))
            buf_printf(out, "%c   %s\n", sign, mine.items[i]);
    str_list_deinit(&mine);
    str_list_deinit(&theirs);
}
