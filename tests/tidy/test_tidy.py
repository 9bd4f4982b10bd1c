# SPDX-License-Identifier: Apache-2.0
"""The tree keeps its own rules, and each rule really finds a planted violation.

SLUICE_BUILD    the meson build folder, whose libraries' symbols are looked at (default: build)
"""
import os
import shutil
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)

import tidy_rules  # noqa: E402

BUILD = os.path.abspath(os.environ.get('SLUICE_BUILD', os.path.join(ROOT, 'build')))
SPDX = '// SPDX-License-Identifier: Apache-2.0\n'
WORD = '/wo' + 'rk/main'

# rule, path of the planted file (added to when it exists), its text, a part of the finding
PLANTS = [
    ('layer_edges', 'common/tensor/planted.c', '#include "common/ops/op.h"\n',
     'layer tensor may not include ops'),
    ('layer_edges', 'common/base/planted.h', '#include "common/config/option.h"\n',
     'layer base may not include config'),
    ('layer_edges', 'common/config/planted.c', '#include <jansson.h>\n', 'may not use jansson'),
    ('layer_edges', 'common/ops/planted.c', '#include "framework.pb-c.h"\n', 'may not use'),
    ('layer_edges', 'common/ps/round.c', '#include "common/net/loop.h"\n', 'pure file'),
    ('layer_edges', 'common/ops/planted.c', '#include "op.h"\n', 'begin at the root'),
    ('layer_edges', 'common/zoo/planted.c', '#include "common/tensor/tensor.h"\n',
     'layer zoo may not include tensor'),
    ('layer_edges', 'pserver/planted.c', '#include "trainer/engine.h"\n',
     'may not include trainer'),
    ('layer_edges', 'common/api/planted.c', '#include "tests/harness/x.h"\n', 'includes a test'),
    ('layer_edges', 'common/fresh/planted.c', 'int planted_x;\n', 'not in the table'),
    ('layer_edges', 'tests/unit/tensor/planted.c', '#include "common/exec/plan.h"\n',
     'may not include exec'),
    ('layer_edges', 'common/tensor/meson.build', 'x = [exec_dep]\n', 'may not link exec'),
    ('private_types', 'common/wire/planted.c', '#include <uv.h>\n', 'uv.h outside'),
    ('private_types', 'common/ops/planted.c', '#include <cblas.h>\n', 'cblas.h outside'),
    ('private_types', 'common/passes/planted.c', '#include "common/program/planted_pb.h"\n',
     'private to its folder'),
    ('unique_basenames', 'common/exec/tensor.c', 'int x;\n', 'the name is also at'),
    ('unique_basenames', 'tests/tidy/planted/tidy_rules.py', 'x = 1\n', 'the name is also at'),
    ('banned_calls', 'pserver/planted.c', 'int f(void) { return system("ls"); }\n', 'system()'),
    ('banned_calls', 'trainer/planted.c', 'void f(char *s) { sprintf (s, "x"); }\n', 'sprintf()'),
    ('banned_calls', 'tests/sim/planted.c', 'void f(void) { usleep(5); }\n', 'usleep()'),
    ('banned_calls', 'common/base/planted.c', 'int f(char *s) { return atoi(s); }\n', 'atoi()'),
    ('banned_calls', 'common/exec/planted.c', 'void f(void) { exit(1); }\n', 'exit()'),
    ('banned_calls', 'common/exec/planted.c', 'void f(void) { abort(); }\n', 'abort()'),
    ('banned_calls', 'common/exec/planted.c', 'void *f(void) { return malloc(7); }\n', 'malloc()'),
    ('struct_typedefs', 'common/exec/planted.h', 'typedef struct scope scope_t;\n', 'typedef'),
    ('struct_typedefs', 'common/api/planted.h', 'typedef\nenum { A } a;\n', 'typedef of a enum'),
    ('unused_files', 'common/base/planted.c', 'int x;\n', 'no meson.build names it'),
    ('unused_files', 'tests/unit/base/test_planted.c', 'int x;\n', 'no meson.build names it'),
    ('unused_files', 'common/base/planted.h', 'int x;\n', 'nobody includes it'),
    ('line_width', 'common/base/planted.c', 'int ' + 'x' * 96 + ';\n', '101 columns'),
    ('line_width', 'tests/tidy/planted.py', '#' * 101 + '\n', '101 columns'),
    ('workplace_words', 'common/base/planted.c', '// see %s\n' % WORD, 'the word'),
    ('workplace_words', 'README.md', 'cd %s\n' % WORD, 'the word'),
]
# What is near a violation and none: no rule may find these.
INNOCENT = '''
// system("ls"), exit(1) and %s in a comment are only words? The last one is not.
static const char *const text = "popen(1) abort() typedef struct";
struct step { int (*exit)(int code); };
static int my_system(struct step *step) { return step->exit(1) + text[0]; }
''' % 'work/main'


@pytest.fixture(scope='module')
def tree():
    build = BUILD if os.path.isdir(os.path.join(BUILD, 'common')) else None
    if build is None and os.environ.get('CI') == 'true':
        pytest.fail('%s is no build folder: build first, or set SLUICE_BUILD' % BUILD)
    return tidy_rules.Tree(ROOT, build)


@pytest.fixture
def copy(tmp_path):
    """A copy of the tree without its data: a place to plant things in."""
    where = tmp_path / 'a copy'
    shutil.copytree(ROOT, where, symlinks=True, ignore=shutil.ignore_patterns(
        '.*', 'build*', '__pycache__', '*.xz', 'data'))
    return where


def plant(copy, path, text):
    target = copy / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(str(target), 'a') as handle:
        if not handle.tell() and path.endswith(('.c', '.h')):
            handle.write(SPDX)
        handle.write(text)


@pytest.mark.parametrize('name', list(tidy_rules.RULES))
def test_tree_keeps_rule(tree, name):
    findings = tidy_rules.RULES[name](tree)
    assert not findings, '%d findings:\n%s' % (len(findings), '\n'.join(findings))


def test_tree_has_what_the_rules_look_at(tree):
    """Rules that find no files would pass on anything."""
    assert len(tree.ending('.c')) > 50 and len(tree.ending('.h')) > 40
    table = tidy_rules.layer_table(tree)
    for layer in ('base', 'ps', 'api', 'pserver', 'trainer', 'deploy/sluice'):
        assert layer in table
    assert 'ops' in table['exec'][0] and 'exec' not in table['ops'][0] and not table['base'][0]
    assert 'common/ps/round.c' in tidy_rules.pure_files(tree)


@pytest.mark.parametrize('rule,path,text,part', PLANTS)
def test_rule_finds_planted(copy, rule, path, text, part):
    if 'planted_pb.h' in text:
        plant(copy, 'common/program/planted_pb.h', '#include "framework.pb-c.h"\n')
    before = set(tidy_rules.RULES[rule](tidy_rules.Tree(str(copy))))
    plant(copy, path, text)
    found = set(tidy_rules.RULES[rule](tidy_rules.Tree(str(copy)))) - before
    name = os.path.basename(path)
    assert any(part in f and name in f for f in found), sorted(found)


def test_rule_finds_missing_spdx_line(copy):
    for path in ('common/base/planted.c', 'tests/planted.py', 'deploy/planted.sh'):
        with open(str(copy / path), 'w') as handle:
            handle.write('\n')
        findings = tidy_rules.rule_spdx(tidy_rules.Tree(str(copy)))
        assert any(path in f for f in findings)


def test_rule_finds_foreign_symbol(copy, tmp_path):
    """Two symbols of planted.c in a library: only the one with another prefix is found."""
    build = tmp_path / 'a build' / 'common' / 'ops'
    build.mkdir(parents=True)
    source = build / 'planted.c'
    source.write_text('int planted_x = 1; int stray(void); int stray(void) { return 2; }\n')
    subprocess.check_call(['cc', '-c', str(source), '-o', str(build / 'planted.c.o')])
    subprocess.check_call(['ar', 'rcs', str(build / 'libops.a'), str(build / 'planted.c.o')])
    tree = tidy_rules.Tree(str(copy), str(tmp_path / 'a build'))
    findings = tidy_rules.rule_symbol_prefixes(tree)
    assert findings == ['common/ops/planted.c:1: symbol stray does not begin with planted_']


def test_rules_leave_innocent_code_alone(copy):
    before = set(tidy_rules.rule_banned_calls(tidy_rules.Tree(str(copy))))
    plant(copy, 'common/base/planted.c', INNOCENT)
    tree = tidy_rules.Tree(str(copy))
    assert set(tidy_rules.rule_banned_calls(tree)) == before
    for rule in (tidy_rules.rule_struct_typedefs, tidy_rules.rule_workplace_words,
                 tidy_rules.rule_layer_edges):
        assert not [f for f in rule(tree) if 'planted' in f]


def test_longest_functions_and_files_are_listed(tree, capsys):
    with capsys.disabled():
        for lines, what in tidy_rules.longest_functions(tree, 5):
            sys.stdout.write('\nlongest function: %s (%d lines)' % (what, lines))
        for lines, what in tidy_rules.longest_files(tree, 5):
            sys.stdout.write('\nlongest file: %s (%d lines)' % (what, lines))
        sys.stdout.write('\n')
