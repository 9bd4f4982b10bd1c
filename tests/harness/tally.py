#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts results: prints `passed failed skipped` of one log.

    tally.py meson BUILD/meson-logs/testlog.json    cmocka's test functions, or whole programs
    tally.py junit FILE.xml                         what pytest wrote

A program that ended badly counts as a failure even when each of its functions that ran passed.
Names of what failed or was skipped, and the end of what failing programs said, go to stderr.
"""
import json
import re
import sys
import xml.etree.ElementTree

LINE = re.compile(r'^\[ +(OK|FAILED|SKIPPED) +\] (\w+)(?:: .*)?$')


def meson(path):
    passed, failed, skipped = 0, [], []
    with open(path) as handle:
        for row in handle:
            test = json.loads(row)
            said = test.get('stdout', '') + '\n' + test.get('stderr', '')
            states = {}
            for line in said.split('\n'):
                found = LINE.match(line)
                if found:
                    states.setdefault(found.group(2), found.group(1))
            name = test['name']
            if not states and test['result'] == 'OK':
                states = {name: 'OK'}
            if not states and test['result'] == 'SKIP':
                states = {name: 'SKIPPED'}
            passed += sum(1 for s in states.values() if s == 'OK')
            bad = ['%s: %s' % (name, n) for n, s in states.items() if s == 'FAILED']
            skipped += ['%s: %s' % (name, n) for n, s in states.items() if s == 'SKIPPED']
            if not bad and test['result'] not in ('OK', 'SKIP'):
                bad = ['%s: the program: %s' % (name, test['result'])]
            failed += bad
            if bad:
                tail = [l for l in said.split('\n') if l and ' OK ]' not in l and 'RUN  ' not in l]
                sys.stderr.write('\n'.join(['-- ' + name] + tail[-40:]) + '\n')
    return passed, failed, skipped


def junit(path):
    passed, failed, skipped = 0, [], []
    for case in xml.etree.ElementTree.parse(path).iter('testcase'):
        name = '%s::%s' % (case.get('classname'), case.get('name'))
        if case.find('failure') is not None or case.find('error') is not None:
            failed.append(name)
        elif case.find('skipped') is not None:
            skipped.append('%s (%s)' % (name, case.find('skipped').get('message')))
        else:
            passed += 1
    return passed, failed, skipped


def main(argv):
    if len(argv) != 3 or argv[1] not in ('meson', 'junit'):
        sys.exit(__doc__)
    passed, failed, skipped = {'meson': meson, 'junit': junit}[argv[1]](argv[2])
    for word, names in (('failed', failed), ('skipped', skipped)):
        for name in names:
            sys.stderr.write('  %s: %s\n' % (word, name))
    print(passed, len(failed), len(skipped))


if __name__ == '__main__':
    main(sys.argv)
