# SPDX-License-Identifier: Apache-2.0
"""The table of tests/README.md: every test it names exists, every sentence is the document's."""
import os
import re

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SHARED = os.environ.get('SLUICE_SHARED') or os.path.join(os.path.dirname(ROOT), 'shared')
DOCUMENT = os.path.join(SHARED, 'reference', 'save_load_incremental.txt')


def read(path):
    with open(path, encoding='utf-8') as handle:
        return handle.read()


def rows():
    """[(sentence, [(file, test name)])]"""
    found = []
    for line in read(os.path.join(ROOT, 'tests', 'README.md')).splitlines():
        match = re.match(r'^\| "(.*)" \| (.*) \|$', line)
        if not match:
            continue
        tests = []
        for part in match.group(2).split('; '):
            path, _, names = part.partition(': ')
            tests += [(path, name) for name in names.split(', ')]
        found.append((match.group(1), tests))
    return found


def missing(table, root):
    """The tests that a table names and that are not there, or that no runner is told of."""
    faults = []
    for _, tests in table:
        for path, name in tests:
            where = os.path.join(root, path)
            text = read(where) if os.path.exists(where) else ''
            if path.endswith('.py'):
                there = re.search(r'^def %s\(' % re.escape(name), text, re.M)
            else:
                there = len(re.findall(r'\b%s\b' % re.escape(name), text)) >= 2
            if not there:
                faults.append('%s: %s' % (path, name))
    return faults


def plain(text):
    return re.sub(r'[^a-z0-9]+', ' ', text.lower()).strip()


def test_every_named_test_exists():
    table = rows()
    assert len(table) >= 30
    assert missing(table, ROOT) == []


def test_a_test_that_is_not_there_is_found():
    planted = [('x', [('tests/examples/test_examples.py', 'test_that_nobody_wrote'),
                      ('tests/unit/api/test_nothing.c', 'test_x')])]
    assert len(missing(planted, ROOT)) == 2


def test_every_sentence_is_the_documents():
    if not os.path.exists(DOCUMENT):
        pytest.skip('the reference document is not here (SLUICE_SHARED)')
    document = plain(read(DOCUMENT))
    assert [s for s, _ in rows() if plain(s) not in document] == []
