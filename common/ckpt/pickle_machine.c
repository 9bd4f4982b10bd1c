// SPDX-License-Identifier: Apache-2.0
// The stack machine that a pickle is a program for, without recursion and without calling anything:
// callables are numbers out of a closed list, and what calling one would make is a node. Invariant:
// every node is older than those made of it, and none is ever changed but by BUILD, so a program
// cannot make a cycle. Long texts and data are skipped: a node holds their place in the file.
//
// Limits: nodes, and so memory, by NODES_MAX; opcodes, and so time, by the file's length.
#include "common/ckpt/pickle_machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/tensor/tensor_io.h"

#define NODES_MAX (1u << 20)
#define LINE_MAX_BYTES 64
#define PROTOCOL_MAX 4

static int step(struct pickle_machine *m, uint8_t op, bool *out_end, struct err *err);
static int step_value(struct pickle_machine *m, uint8_t op, struct err *err);
static int step_text(struct pickle_machine *m, uint8_t op, struct err *err);
static int step_group(struct pickle_machine *m, uint8_t op, struct err *err);
static int step_memo(struct pickle_machine *m, uint8_t op, struct err *err);
static int step_object(struct pickle_machine *m, uint8_t op, struct err *err);
static int fault(const struct pickle_machine *m, int code, const char *what, struct err *err);
static int read_bytes(struct pickle_machine *m, void *out, size_t bytes, struct err *err);
static int read_number(struct pickle_machine *m, size_t bytes, uint64_t *out, struct err *err);
static int read_line(struct pickle_machine *m, char *out, struct err *err);
static int push(struct pickle_machine *m, size_t node, struct err *err);
static int push_new(struct pickle_machine *m, enum pickle_kind kind, int64_t number,
                    struct err *err);
static int pop(struct pickle_machine *m, enum pickle_kind want, size_t *out, struct err *err);
static int find_mark(const struct pickle_machine *m, size_t *out, struct err *err);
static int make_tuple(struct pickle_machine *m, size_t from, struct err *err);
static int add_entries(struct pickle_machine *m, size_t from, struct err *err);
static int remember(struct pickle_machine *m, uint64_t slot, struct err *err);
static int push_global(struct pickle_machine *m, const char *module, const char *name,
                       struct err *err);

int pickle_machine_run(struct pickle_machine *m, const struct tensor_io_source *source,
                       struct err *err)
{
    uint8_t op = 0;
    bool end = false;
    memset(m, 0, sizeof *m);
    m->source = source;
    if (source->size == 0)
        return err_set(err, SL_EFORMAT, "%s: the file is empty", source->name);
    int rc = 0;
    while (!rc && !end) {
        rc = read_bytes(m, &op, 1, err);
        if (!rc && m->at == 1 && op != 0x80)
            rc = fault(m, SL_EUNSUPPORTED,
                       "not a pickle of protocol 2, 3 or 4 (it must begin with byte 128)", err);
        if (!rc)
            rc = step(m, op, &end, err);
    }
    if (!rc)
        rc = pop(m, PICKLE_DICT, &m->result, err);
    return rc;
}

void pickle_machine_deinit(struct pickle_machine *m)
{
    mem_free(m->nodes);
    mem_free(m->stack);
    mem_free(m->children);
    mem_free(m->memo);
    mem_free(m->shapes);
    mem_free(m->entries);
}

size_t pickle_machine_new(struct pickle_machine *m, enum pickle_kind kind)
{
    MEM_GROW(m->nodes, m->nodes_count, m->nodes_cap);
    m->nodes[m->nodes_count] = (struct pickle_node){.kind = kind};
    return m->nodes_count++;
}

int pickle_machine_text(struct pickle_machine *m, size_t node, char *out, size_t cap,
                        struct err *err)
{
    const struct pickle_node *n = &m->nodes[node];
    if (n->kind != PICKLE_TEXT)
        return fault(m, SL_EFORMAT, "a text is needed here", err);
    if (n->bytes >= cap)
        return fault(m, SL_ELIMIT, "a name is too long", err);
    int rc = m->source->read(m->source->self, n->offset, out, (size_t)n->bytes, err);
    if (rc)
        return rc;
    out[n->bytes] = '\0';
    return strlen(out) == n->bytes ? 0 : fault(m, SL_EFORMAT, "a name has a zero byte", err);
}

int pickle_machine_callable(const char *module, const char *name, enum pickle_callable *out)
{
    static const struct {
        const char *module, *name;
        enum pickle_callable callable;
    } known[] = {
        {"numpy.core.multiarray", "_reconstruct", PICKLE_RECONSTRUCT},
        {"numpy._core.multiarray", "_reconstruct", PICKLE_RECONSTRUCT},
        {"numpy", "ndarray", PICKLE_NDARRAY},
        {"numpy", "dtype", PICKLE_DTYPE_CLASS},
        {"_codecs", "encode", PICKLE_ENCODE},
        {"collections", "OrderedDict", PICKLE_ORDERED_DICT},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eq(known[i].module, module) && str_eq(known[i].name, name)) {
            *out = known[i].callable;
            return 0;
        }
    return SL_EREFUSED;
}

static int step(struct pickle_machine *m, uint8_t op, bool *out_end, struct err *err)
{
    uint64_t number;
    switch (op) {
    case 0x80: {   // PROTO
        int rc = read_number(m, 1, &number, err);
        if (!rc && (number < 2 || number > PROTOCOL_MAX))
            rc = fault(m, SL_EUNSUPPORTED, "its protocol is not 2, 3 or 4", err);
        return rc;
    }
    case 0x95:   // FRAME
        return read_number(m, 8, &number, err);
    case '.':
        *out_end = true;
        return 0;
    case 'N':
    case 0x88:
    case 0x89:
    case 'J':
    case 'K':
    case 'M':
    case 0x8a:
        return step_value(m, op, err);
    case 'X':
    case 0x8c:
    case 0x8d:
    case 'B':
    case 'C':
    case 0x8e:
    case 'T':
    case 'U':
        return step_text(m, op, err);
    case '(':
    case ')':
    case 't':
    case 0x85:
    case 0x86:
    case 0x87:
    case '}':
    case ']':
    case 'a':
    case 'e':
    case 's':
    case 'u':
        return step_group(m, op, err);
    case 'q':
    case 'r':
    case 'h':
    case 'j':
    case 0x94:
        return step_memo(m, op, err);
    case 'c':
    case 0x93:
    case 'R':
    case 'b':
        return step_object(m, op, err);
    default: {
        char text[64];
        snprintf(text, sizeof text, "opcode 0x%02x is not one that arrays need", op);
        return fault(m, SL_EREFUSED, text, err);
    }
    }
}

static int step_value(struct pickle_machine *m, uint8_t op, struct err *err)
{
    uint64_t raw = 0;
    int rc = 0;
    switch (op) {
    case 'N':
        return push_new(m, PICKLE_NONE, 0, err);
    case 0x88:
    case 0x89:
        return push_new(m, PICKLE_NUMBER, op == 0x88, err);
    case 'J':
        rc = read_number(m, 4, &raw, err);
        return rc ? rc : push_new(m, PICKLE_NUMBER, (int32_t)(uint32_t)raw, err);
    case 'K':
    case 'M':
        rc = read_number(m, op == 'K' ? 1 : 2, &raw, err);
        return rc ? rc : push_new(m, PICKLE_NUMBER, (int64_t)raw, err);
    default: {   // LONG1: a signed number of so many bytes
        uint64_t bytes;
        rc = read_number(m, 1, &bytes, err);
        if (!rc && bytes > 8)
            rc = fault(m, SL_ELIMIT, "a number has more than 64 bits", err);
        if (!rc)
            rc = read_number(m, (size_t)bytes, &raw, err);
        if (!rc && bytes > 0 && bytes < 8 && (raw >> (8 * bytes - 1)) != 0)
            raw |= ~0ull << (8 * bytes);
        return rc ? rc : push_new(m, PICKLE_NUMBER, (int64_t)raw, err);
    }
    }
}

static int step_text(struct pickle_machine *m, uint8_t op, struct err *err)
{
    bool bytes = op == 'B' || op == 'C' || op == 0x8e;
    size_t width = op == 'X' || op == 'B' || op == 'T' ? 4 : op == 0x8d || op == 0x8e ? 8 : 1;
    uint64_t length;
    int rc = read_number(m, width, &length, err);
    if (rc)
        return rc;
    if (length > m->source->size - m->at)
        return fault(m, SL_EFORMAT, "a text or data leads past the end of the file", err);
    rc = push_new(m, bytes ? PICKLE_BYTES : PICKLE_TEXT, 0, err);
    if (rc)
        return rc;
    struct pickle_node *node = &m->nodes[m->nodes_count - 1];
    node->offset = m->at;
    node->bytes = length;
    node->as_text = op == 'X' || op == 0x8c || op == 0x8d;
    m->at += length;
    return 0;
}

static int step_group(struct pickle_machine *m, uint8_t op, struct err *err)
{
    size_t from = 0;
    int rc = 0;
    switch (op) {
    case '(':
        return push_new(m, PICKLE_MARK, 0, err);
    case '}':
        return push_new(m, PICKLE_DICT, 0, err);
    case ']':
        return push_new(m, PICKLE_LIST, 0, err);
    case ')':
        return make_tuple(m, m->stack_count, err);
    case 0x85:
    case 0x86:
    case 0x87:
        from = (size_t)(op - 0x84);
        if (from > m->stack_count)
            return fault(m, SL_EFORMAT, "the stack is too short", err);
        return make_tuple(m, m->stack_count - from, err);
    case 't':
        rc = find_mark(m, &from, err);
        if (!rc)
            rc = make_tuple(m, from + 1, err);
        if (rc)
            return rc;
        m->stack[from] = m->stack[from + 1];   // over the mark
        m->stack_count = from + 1;
        return 0;
    case 'a':
        if (m->stack_count < 2 || m->nodes[m->stack[m->stack_count - 2]].kind != PICKLE_LIST)
            return fault(m, SL_EFORMAT, "there is no list to append to", err);
        m->stack_count--;
        return 0;
    case 'e':
        rc = find_mark(m, &from, err);
        if (rc)
            return rc;
        m->stack_count = from;
        if (from < 1 || m->nodes[m->stack[from - 1]].kind != PICKLE_LIST)
            return fault(m, SL_EFORMAT, "there is no list to append to", err);
        return 0;
    case 's':
        if (m->stack_count < 3)
            return fault(m, SL_EFORMAT, "the stack is too short", err);
        return add_entries(m, m->stack_count - 2, err);
    default:   // 'u'
        rc = find_mark(m, &from, err);
        if (rc)
            return rc;
        memmove(&m->stack[from], &m->stack[from + 1],
                (m->stack_count - from - 1) * sizeof *m->stack);
        m->stack_count--;
        return add_entries(m, from, err);
    }
}

static int step_memo(struct pickle_machine *m, uint8_t op, struct err *err)
{
    uint64_t slot = m->memo_count;
    int rc = op == 0x94 ? 0 : read_number(m, op == 'q' || op == 'h' ? 1 : 4, &slot, err);
    if (rc)
        return rc;
    if (op == 'h' || op == 'j') {
        if (slot >= m->memo_cap || m->memo[slot] == 0)
            return fault(m, SL_EFORMAT, "the memo has nothing there", err);
        return push(m, m->memo[slot] - 1, err);
    }
    return remember(m, slot, err);
}

static int step_object(struct pickle_machine *m, uint8_t op, struct err *err)
{
    char module[LINE_MAX_BYTES], name[LINE_MAX_BYTES];
    size_t a, b, made;
    int rc;
    if (op == 'c') {
        rc = read_line(m, module, err);
        if (!rc)
            rc = read_line(m, name, err);
        return rc ? rc : push_global(m, module, name, err);
    }
    if (m->stack_count < 2)
        return fault(m, SL_EFORMAT, "the stack is too short", err);
    b = m->stack[m->stack_count - 1];
    a = m->stack[m->stack_count - 2];
    if (op == 0x93) {
        rc = pickle_machine_text(m, a, module, sizeof module, err);
        if (!rc)
            rc = pickle_machine_text(m, b, name, sizeof name, err);
        m->stack_count -= 2;
        return rc ? rc : push_global(m, module, name, err);
    }
    if (op == 'R') {
        if (m->nodes_count >= NODES_MAX)
            return fault(m, SL_ELIMIT, "it makes too many objects", err);
        rc = pickle_reduce(m, a, b, &made, err);
        m->stack_count -= 2;
        return rc ? rc : push(m, made, err);
    }
    m->stack_count--;
    return pickle_build(m, a, b, err);
}

static int fault(const struct pickle_machine *m, int code, const char *what, struct err *err)
{
    return err_set(err, code, "%s: offset %" PRIu64 ": %s", m->source->name, m->at, what);
}

static int read_bytes(struct pickle_machine *m, void *out, size_t bytes, struct err *err)
{
    if (bytes > m->source->size - m->at)
        return fault(m, SL_EFORMAT, "the file ends in the middle", err);
    if (m->at < m->window_at || m->at + bytes > m->window_at + m->window_bytes) {
        uint64_t left = m->source->size - m->at;
        m->window_at = m->at;
        m->window_bytes = left < sizeof m->window ? (size_t)left : sizeof m->window;
        int rc = m->source->read(m->source->self, m->at, m->window, m->window_bytes, err);
        if (rc) {
            m->window_bytes = 0;
            return rc;
        }
    }
    memcpy(out, m->window + (m->at - m->window_at), bytes);
    m->at += bytes;
    return 0;
}

static int read_number(struct pickle_machine *m, size_t bytes, uint64_t *out, struct err *err)
{
    uint8_t raw[8] = {0};
    int rc = read_bytes(m, raw, bytes, err);
    *out = 0;
    for (size_t i = bytes; i-- > 0;)
        *out = *out << 8 | raw[i];
    return rc;
}

static int read_line(struct pickle_machine *m, char *out, struct err *err)
{
    for (size_t i = 0; i < LINE_MAX_BYTES; i++) {
        int rc = read_bytes(m, &out[i], 1, err);
        if (rc)
            return rc;
        if (out[i] == '\n') {
            out[i] = '\0';
            return 0;
        }
    }
    return fault(m, SL_EREFUSED, "the name of a callable is longer than any that arrays need", err);
}

static int push(struct pickle_machine *m, size_t node, struct err *err)
{
    if (m->stack_count >= NODES_MAX)
        return fault(m, SL_ELIMIT, "the stack grows too high", err);
    MEM_GROW(m->stack, m->stack_count, m->stack_cap);
    m->stack[m->stack_count++] = node;
    return 0;
}

static int push_new(struct pickle_machine *m, enum pickle_kind kind, int64_t number,
                    struct err *err)
{
    if (m->nodes_count >= NODES_MAX)
        return fault(m, SL_ELIMIT, "it makes too many objects", err);
    size_t node = pickle_machine_new(m, kind);
    m->nodes[node].number = number;
    return push(m, node, err);
}

static int pop(struct pickle_machine *m, enum pickle_kind want, size_t *out, struct err *err)
{
    if (m->stack_count == 0 || m->nodes[m->stack[m->stack_count - 1]].kind != want)
        return fault(m, SL_EFORMAT,
                     want == PICKLE_DICT ? "it is not a dict of arrays" : "the stack is wrong",
                     err);
    *out = m->stack[--m->stack_count];
    return 0;
}

static int find_mark(const struct pickle_machine *m, size_t *out, struct err *err)
{
    for (size_t i = m->stack_count; i-- > 0;)
        if (m->nodes[m->stack[i]].kind == PICKLE_MARK) {
            *out = i;
            return 0;
        }
    return fault(m, SL_EFORMAT, "there is no mark", err);
}

// The values from stack[from] on become one tuple in their place.
static int make_tuple(struct pickle_machine *m, size_t from, struct err *err)
{
    size_t count = m->stack_count - from, first = m->children_count;
    if (m->children_count + count > NODES_MAX)
        return fault(m, SL_ELIMIT, "it makes too many objects", err);
    for (size_t i = 0; i < count; i++) {
        MEM_GROW(m->children, m->children_count, m->children_cap);
        m->children[m->children_count++] = m->stack[from + i];
    }
    m->stack_count = from;
    int rc = push_new(m, PICKLE_TUPLE, 0, err);
    if (!rc) {
        m->nodes[m->nodes_count - 1].first = first;
        m->nodes[m->nodes_count - 1].count = count;
    }
    return rc;
}

// Keys and values alternate from stack[from] on; the dict is below them.
static int add_entries(struct pickle_machine *m, size_t from, struct err *err)
{
    if (from < 1 || (m->stack_count - from) % 2 != 0 ||
        m->nodes[m->stack[from - 1]].kind != PICKLE_DICT)
        return fault(m, SL_EFORMAT, "there is no dict to set items of", err);
    for (size_t i = from; i < m->stack_count; i += 2) {
        if (m->nodes[m->stack[i]].kind != PICKLE_TEXT)
            return fault(m, SL_EFORMAT, "a key of the dict is not a text", err);
        if (m->entries_count >= NODES_MAX)
            return fault(m, SL_ELIMIT, "the dict is too large", err);
        MEM_GROW(m->entries, m->entries_count, m->entries_cap);
        m->entries[m->entries_count++] =
            (struct pickle_entry){m->stack[from - 1], m->stack[i], m->stack[i + 1]};
    }
    m->stack_count = from;
    return 0;
}

static int remember(struct pickle_machine *m, uint64_t slot, struct err *err)
{
    if (m->stack_count == 0)
        return fault(m, SL_EFORMAT, "the stack is empty", err);
    if (slot >= NODES_MAX)
        return fault(m, SL_ELIMIT, "the memo grows too large", err);
    if (slot >= m->memo_cap) {
        size_t cap = m->memo_cap ? m->memo_cap : 256;
        while (cap <= slot)
            cap *= 2;
        m->memo = mem_must_realloc(m->memo, cap * sizeof *m->memo);
        memset(m->memo + m->memo_cap, 0, (cap - m->memo_cap) * sizeof *m->memo);
        m->memo_cap = cap;
    }
    m->memo_count += m->memo[slot] == 0;
    m->memo[slot] = m->stack[m->stack_count - 1] + 1;
    return 0;
}

static int push_global(struct pickle_machine *m, const char *module, const char *name,
                       struct err *err)
{
    enum pickle_callable callable;
    if (pickle_machine_callable(module, name, &callable))
        return err_set(err, SL_EREFUSED,
                       "%s: offset %" PRIu64 ": it asks for %s.%s; only arrays are read and "
                       "nothing is called",
                       m->source->name, m->at, module, name);
    return push_new(m, PICKLE_CALLABLE, (int64_t)callable, err);
}
