#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rules of the source tree that a machine can check.

    python3 tests/tidy/tidy_rules.py [ROOT [BUILD]]     prints findings and the longest things

Each rule is a function (tree) -> list of 'path:line: what is wrong'. A Tree reads the files once;
paths are relative to its root. Only the standard library is used. The rules know nothing about git:
everything below the root counts, except hidden folders, build folders and caches.
"""
import collections
import os
import re
import subprocess
import sys

COLUMNS = 100
SOURCE = ('.c', '.h')
THIRD_PARTY = {   # header pattern -> library as the layer table calls it
    r'uv\.h$': 'libuv',
    r'(cblas|openblas_config)\.h$': 'openblas',
    r'ini\.h$': 'inih',
    r'xxhash\.h$': 'xxhash',
    r'openssl/': 'openssl',
    r'jansson\.h$': 'jansson',
    r'zlib\.h$': 'zlib',
    r'ut(hash|list|array|string)\.h$': 'uthash',
    r'curl/': 'libcurl',
    r'nghttp2/': 'nghttp2',
    r'microhttpd\.h$': 'libmicrohttpd',
}
PRIVATE_TYPES = r'(uv\.h|cblas\.h|openblas_config\.h|protobuf-c/.*|.*\.pb-c\.h)$'
BANNED = {   # function -> what to do instead
    'system': 'no shell', 'popen': 'no shell', 'sprintf': 'snprintf', 'vsprintf': 'vsnprintf',
    'strcpy': 'memcpy with a checked size', 'strcat': 'struct buf', 'strncat': 'struct buf',
    'atoi': 'str_parse_i64', 'atol': 'str_parse_i64', 'atoll': 'str_parse_i64',
    'atof': 'str_parse_f64',
    'strtok': 'str_list_split', 'gets': 'fgets', 'sleep': 'no sleeping', 'usleep': 'no sleeping',
    'nanosleep': 'no sleeping', 'tmpnam': 'mkstemp', 'mktemp': 'mkstemp',
}
BANNED_IN_COMMON = {
    'exit': 'return an error', '_exit': 'return an error', 'abort': 'return an error or ASSERT',
    'malloc': 'mem_alloc', 'calloc': 'mem_calloc', 'realloc': 'mem_realloc',
    'strdup': 'mem_must_strdup',
}
ABORTING = ('common/base/assert.c', 'common/base/mem.c')
# Put together here so that this file does not hold the words itself.
WORKPLACE = [r'(?<![\w.}-])/wo' + r'rk/', r'/tmp' + r'/w\b', r'\bclau' + r'de\b',
             r'\banthro' + r'pic\b', r'\bchat' + r'gpt\b', r'\blanguage mo' + r'del']
NO_TEXT = ('.xz', '.gz', '.png', '.pb', '.npy', '.bin')


class Tree(object):
    """The files below root: text by path, C files also without comments and strings."""

    def __init__(self, root, build=None):
        self.root, self.build = root, build
        self.text, self.code = {}, {}
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(f for f in folders
                                if not f.startswith(('.', 'build')) and f != '__pycache__')
            for name in sorted(names):
                path = os.path.relpath(os.path.join(folder, name), root)
                if name.endswith(NO_TEXT) or os.path.islink(os.path.join(root, path)):
                    continue
                with open(os.path.join(root, path), 'rb') as handle:
                    raw = handle.read()
                if b'\0' not in raw:
                    self.text[path] = raw.decode('utf-8', 'replace')
        for path in self.text:
            if path.endswith(SOURCE):
                self.code[path] = bare_code(self.text[path])

    def ending(self, *endings):
        return [p for p in sorted(self.text) if p.endswith(endings)]

    def includes(self, path):
        """(line number, header, quoted) of each #include."""
        for number, line in enumerate(self.text[path].split('\n'), 1):
            found = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
            if found:
                yield number, found.group(2), found.group(1) == '"'


def bare_code(text):
    """The text with comments and literals blanked out; lines stay where they are."""
    def blank(match):
        found = match.group(0)
        if found[0] in '"\'':
            return found[0] + re.sub(r'[^\n]', ' ', found[1:-1]) + found[-1]
        return re.sub(r'[^\n]', ' ', found)
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text,
                  flags=re.S)


def folder_layer(path):
    """The row of the layer table that a file belongs to; None outside the layers."""
    parts = path.split('/')
    if parts[0] == 'common' and len(parts) > 2:
        return parts[1]
    if parts[0] in ('pserver', 'trainer'):
        return parts[0]
    return 'deploy/sluice' if path.startswith('deploy/sluice/') else None


def layer_table(tree):
    """The table of common/README.md.

    {layer: (set of layers it may include, text of its libraries, its whole cell)}"""
    rows = {}
    inside = False
    for line in tree.text.get('common/README.md', '').split('\n'):
        cells = [c.strip(' `*') for c in line.strip().strip('|').split('|')]
        if not line.strip().startswith('|'):
            inside = False
        elif cells[0].lower() == 'layer' and len(cells) > 1 and 'may include' in cells[1].lower():
            inside = True
        elif inside and len(cells) > 1 and not set(cells[0]) <= set('-: '):
            for name in re.split(r'[,\s]+', cells[0]):
                rows[name.replace('`', '').rstrip('/')] = ' '.join(cells[1:])
    known = [n for n in rows if '/' not in n and n not in ('pserver', 'trainer')]
    table = {}
    for name, cell in rows.items():
        libraries = ' '.join(re.findall(r'\(([^)]*)\)', cell)).lower()
        plain = re.sub(r'\([^)]*\)', ' ', cell)
        allowed = plain.split(';')[0]
        if 'all of common' in allowed:
            layers = set(known)
        else:
            layers = {w for w in re.findall(r'[\w/.]+', allowed) if w in known}
        table[name] = (layers, libraries, plain)
    return table


def rule_layer_edges(tree):
    """A file includes only the layers that the table of common/README.md gives its layer."""
    table = layer_table(tree)
    if 'base' not in table or len(table) < 5:
        return ['common/README.md:1: no table with the columns `layer | may include`']
    pure = pure_files(tree)
    findings = []
    for path in tree.ending(*SOURCE):
        layer = folder_layer(path)
        parts = path.split('/')
        if path.startswith('tests/unit/') and len(parts) > 3:
            layer = parts[2]
        if layer is None:
            continue
        if layer not in table:
            findings.append('%s:1: layer %s is not in the table of common/README.md'
                            % (path, layer))
            continue
        for number, header, quoted in tree.includes(path):
            why = edge_fault(table, pure, path, layer, header, quoted)
            if why:
                findings.append('%s:%d: %s' % (path, number, why))
    return findings + meson_edges(tree, table)


PUBLIC_HEADERS = ('common/api/sluice.h', 'common/api/sluice_io.h', 'common/api/sluice_layers.h',
                  'common/api/sluice_optimizers.h')


def edge_fault(table, pure, path, layer, header, quoted):
    """Why a file of layer may not include header; None when it may."""
    allowed, libraries, cell = table[layer]
    if header in ('sluice.h', 'common/api/sluice.h') and ('sluice.h' in cell or 'api' in allowed):
        return None
    if path in PUBLIC_HEADERS and os.path.join('common/api', header) in PUBLIC_HEADERS:
        return None   # installed side by side
    if header.endswith('.pb-c.h'):
        name = header.rsplit('/', 1)[-1][:-len('.pb-c.h')]
        return None if name + '.pb' in libraries else '%s may not use %s' % (layer, header)
    target = folder_layer(header)
    if quoted and target is None and not header.startswith('tests/'):
        return '"%s": include paths begin at the root' % header
    if header.startswith('tests/') and not path.startswith('tests/'):
        return 'includes a test'
    if target is None:
        for pattern, library in THIRD_PARTY.items():
            if re.search(pattern, header) and library not in libraries:
                if path.startswith('tests/'):
                    continue
                return 'layer %s may not use %s' % (layer, library)
        return None
    if target == layer:
        return None
    if target not in allowed:
        return 'layer %s may not include %s' % (layer, target)
    if path in pure and target == 'net':
        return 'a pure file of ps may not include net'
    return None


def pure_files(tree):
    """The sources of ps_core, and the headers beside them."""
    text = tree.text.get('common/ps/meson.build', '')
    found = re.search(r"static_library\(\s*'ps_core'(.*?)include_directories", text, re.S)
    names = re.findall(r"'(\w+)\.c'", found.group(1)) if found else []
    return {'common/ps/%s%s' % (n, e) for n in names for e in SOURCE}


def meson_edges(tree, table):
    """The dependencies that a layer's meson.build gives its library are allowed ones, too."""
    findings = []
    for path in tree.ending('meson.build'):
        layer = folder_layer(path)
        if layer not in table or not path.startswith('common/'):
            continue
        allowed = table[layer][0] | set(re.findall(r'links (\w+)', table[layer][1]))
        for number, line in enumerate(tree.text[path].split('\n'), 1):
            for name in re.findall(r'\b(\w+)_dep\b', line):
                if name in table and name != layer and name not in allowed:
                    findings.append('%s:%d: layer %s may not link %s' % (path, number, layer, name))
    return findings


def rule_private_types(tree):
    """uv.h only in net/, cblas.h only in blas.c; a header with their types stays in its folder."""
    findings, tainted = [], {}
    for path in tree.ending('.h'):
        for number, header, _ in tree.includes(path):
            if re.search(PRIVATE_TYPES, header):
                tainted[path] = number
    grown = True
    while grown:
        grown = False
        for path in tree.ending('.h'):
            if path not in tainted and any(h in tainted for _, h, _ in tree.includes(path)):
                tainted[path] = 1
                grown = True
    for path in tree.ending(*SOURCE):
        for number, header, _ in tree.includes(path):
            if path.startswith('tests/'):
                continue
            if header == 'uv.h' and not path.startswith('common/net/'):
                findings.append('%s:%d: uv.h outside common/net' % (path, number))
            if re.match(r'(cblas|openblas_config)\.h$', header) and path != 'common/ops/blas.c':
                findings.append('%s:%d: cblas.h outside common/ops/blas.c' % (path, number))
            if header in tainted and os.path.dirname(header) != os.path.dirname(path):
                findings.append('%s:%d: %s has types of a library and is private to its folder'
                                % (path, number, header))
    return findings


def rule_symbol_prefixes(tree):
    """Global symbols of x.c begin with x_; with sl_ too in api, layers and zoo. Reads the build."""
    if not tree.build:
        return []
    archives = []
    for folder, folders, names in os.walk(os.path.join(tree.build, 'common')):
        folders.sort()
        # libsluice holds the layers' objects once more, and code that protobuf-c made.
        archives += [os.path.join(folder, n) for n in sorted(names)
                     if n.endswith('.a') and n != 'libsluice.a']
    if not archives:
        return ['%s:1: no static libraries in common: build first' % tree.build]
    findings = []
    for archive in archives:
        layer = os.path.basename(os.path.dirname(archive))
        said = subprocess.run(['nm', '-A', '-g', '--defined-only', archive], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, universal_newlines=True)
        for line in said.stdout.split('\n'):
            found = re.match(r'.*?([\w.-]+)\.c\.o:[0-9a-f]* \w (\S+)$', line)
            if found:
                why = symbol_fault(layer, found.group(1), found.group(2))
                findings += [why] if why else []
    return sorted(set(findings))


def symbol_fault(layer, stem, symbol):
    stem = re.sub(r'^.*_(common|\.\.)_', '', stem)
    instrumented = ('__asan_', '__odr_asan', '__gcov', '__ubsan')
    if symbol == stem or symbol.startswith((stem + '_',) + instrumented):
        return None
    if layer in ('api', 'layers', 'zoo') and symbol.startswith('sl_'):
        return None
    return 'common/%s/%s.c:1: symbol %s does not begin with %s_' % (layer, stem, symbol, stem)


def rule_unique_basenames(tree):
    """No two source files have one name, so that a symbol's prefix names one file."""
    places = collections.defaultdict(list)
    for path in tree.ending('.c', '.h', '.py', '.proto'):
        name = os.path.basename(path)
        if name not in ('main.c', 'conftest.py', '__init__.py'):
            places[name].append(path)
    return ['%s:1: the name is also at %s' % (paths[1], paths[0])
            for _, paths in sorted(places.items()) if len(paths) > 1]


def rule_banned_calls(tree):
    """Calls that have a better form here, or none."""
    findings = []
    for path in tree.ending(*SOURCE):
        banned = dict(BANNED)
        if path.startswith('common/') and path not in ABORTING:
            banned.update(BANNED_IN_COMMON)
        pattern = re.compile(r'(?<![\w.>])(%s)\s*\(' % '|'.join(banned))
        for number, line in enumerate(tree.code[path].split('\n'), 1):
            for found in pattern.finditer(line):
                findings.append('%s:%d: %s(): %s' % (path, number, found.group(1),
                                                     banned[found.group(1)]))
    return findings


def rule_struct_typedefs(tree):
    """Structs have no typedef, except the opaque handles of the public headers."""
    findings = []
    for path in tree.ending(*SOURCE):
        if path in PUBLIC_HEADERS:
            continue
        for found in re.finditer(r'\btypedef\s+(struct|union|enum)\b', tree.code[path]):
            number = tree.code[path].count('\n', 0, found.start()) + 1
            findings.append('%s:%d: typedef of a %s' % (path, number, found.group(1)))
    return findings


def rule_unused_files(tree):
    """A meson.build of its folder or above names every C file; every header is included."""
    findings = []
    for path in tree.ending('.c'):
        stem, folder, used = os.path.basename(path)[:-2], os.path.dirname(path), False
        while True:
            text = tree.text.get(os.path.join(folder, 'meson.build'), '')
            for word in re.findall(r"'([^']*)'", text):
                word = os.path.basename(word)
                used = used or word in (stem + '.c', stem)
                used = used or stem in ('test_' + word, 'cmd_' + word)
            if not folder or used:
                break
            folder = os.path.dirname(folder)
        if not used:
            findings.append('%s:1: no meson.build names it' % path)
    included = {os.path.basename(h) for p in tree.ending(*SOURCE) for _, h, _ in tree.includes(p)}
    for path in tree.ending('.h'):
        if os.path.basename(path) not in included:
            findings.append('%s:1: nobody includes it' % path)
    return findings


def rule_spdx(tree):
    """The first line, or the one behind #!, names the licence."""
    findings = []
    for path in tree.ending('.c', '.h', '.py', '.sh', '.proto', 'meson.build', '.ci/run'):
        head = tree.text[path].split('\n')[:2]
        if head[0].startswith('#!'):
            head = head[1:]
        if not head or 'SPDX-License-Identifier: Apache-2.0' not in head[0]:
            findings.append('%s:1: no SPDX line' % path)
    return findings


def rule_line_width(tree):
    """C and Python lines end before column 101."""
    return ['%s:%d: %d columns' % (path, number, len(line))
            for path in tree.ending('.c', '.h', '.py')
            for number, line in enumerate(tree.text[path].split('\n'), 1) if len(line) > COLUMNS]


def rule_workplace_words(tree):
    """Nothing tells where or by whom it was written."""
    pattern = re.compile('|'.join(WORKPLACE), re.I)
    return ['%s:%d: the word `%s`' % (path, number, pattern.search(line).group(0))
            for path in sorted(tree.text)
            for number, line in enumerate(tree.text[path].split('\n'), 1) if pattern.search(line)]


RULES = collections.OrderedDict((name[len('rule_'):], fn) for name, fn in list(globals().items())
                                if name.startswith('rule_'))


def longest_functions(tree, count):
    """[(lines, path:line name)] of the longest C functions: listed, never judged."""
    found = []
    for path in tree.ending('.c'):
        lines = tree.code[path].split('\n')
        for number, line in enumerate(lines):
            if line != '{':
                continue
            end = number
            while end < len(lines) and lines[end] != '}':
                end += 1
            begin = number
            while begin > 0 and lines[begin - 1].strip(' ;}'):
                begin -= 1
            name = re.search(r'(\w+)\s*\(', ' '.join(lines[begin:number]))
            found.append((end - begin + 1,
                          '%s:%d %s' % (path, begin + 1, name.group(1) if name else '?')))
    return sorted(found, reverse=True)[:count]


def longest_files(tree, count):
    return sorted(((tree.text[p].count('\n'), p) for p in tree.ending('.c', '.h', '.py')),
                  reverse=True)[:count]


def main(argv):
    here = os.path.dirname(os.path.abspath(__file__))
    root = argv[1] if len(argv) > 1 else os.path.join(here, '..', '..')
    tree = Tree(os.path.abspath(root), os.path.abspath(argv[2]) if len(argv) > 2 else None)
    bad = 0
    for name, rule in RULES.items():
        for finding in rule(tree):
            print('%s  [%s]' % (finding, name))
            bad += 1
    print('%d findings' % bad)
    for title, rows in (('functions', longest_functions(tree, 10)),
                        ('files', longest_files(tree, 10))):
        for lines, what in rows:
            print('longest %s: %s (%d lines)' % (title, what, lines))
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
