# SPDX-License-Identifier: Apache-2.0
"""Push and pull of gradients and parameters, beside a plain blocking-socket toy in the same run.

    python3 tests/bench/comm.py [--build DIR] [--mib 1,16,64] [--rows 2600x10,...] [--grid]
                                [--rounds N] [--json FILE]

Each row is P bytes pushed and pulled by every trainer over all servers (2x2; --grid adds 1x1, 1x2,
2x1 and 4x2), all processes on this machine. The toys do the same traffic and arithmetic with
blocking sockets and nothing else: one thread a process, and one a connection. All stay alive and
take turns of a few steps; numbers are median and min over all steps, and the processor time of all
processes of a rival a step. A second table is of sparse rows: R x W says that each of 2 trainers
looks up R distinct rows of width W in a table of a million on 2 servers, and pushes gradients of
them; rows a second are those of both. An empty list leaves a table out. What else runs on the
machine meets all, but not alike: the load is printed too.
"""

import argparse
import json
import os
import platform
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ROWS = '2600x10,2600x64,20000x10,100000x10,100000x64'
STEPS = {1: 60, 16: 12, 64: 6, 256: 2}      # of one turn


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--build', default=os.environ.get('SLUICE_BUILD', os.path.join(ROOT, 'build')))
    parser.add_argument('--mib', default='1,16,64')
    parser.add_argument('--rows', default=ROWS)
    parser.add_argument('--grid', action='store_true')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--json', metavar='FILE')
    return parser.parse_args()


def machine():
    with open('/proc/sys/net/ipv4/tcp_congestion_control') as file:
        congestion = file.read().strip()
    return {
        'kernel': platform.release(),
        'cores': os.cpu_count(),
        'load': '%.1f' % os.getloadavg()[0],
        'system_congestion': congestion,
        'used_congestion': 'cubic',
    }


def measure(binary, mib, trainers, servers, rounds):
    steps = STEPS.get(mib, max(2, 256 // mib))
    command = [binary, str(mib), str(rounds), str(steps), str(trainers), str(servers)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def line(row):
    def pair(rival):
        return '%.2f / %.2f' % (row[rival]['median_ms'], row[rival]['min_ms'])

    return '%5d %8s %17s %17s %17s %13s %8.2f %16s' % (
        row['mib'], '%d x %d' % (row['trainers'], row['servers']), pair('toy'), pair('toy_threads'),
        pair('ours'), '%.2f / %.2f' % (row['ratio_median'], row['ratio_min']), row['ratio_threads'],
        '%.1f / %.1f' % (row['toy']['cpu_ms'], row['ours']['cpu_ms']))


def measure_rows(binary, rows, width, rounds):
    steps = max(5, 200000 // rows // (1 + width // 32))
    command = [binary, str(rows), str(width), str(rounds), str(min(steps, 100))]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def rows_line(row):
    return '%16s %17s %17s %15s %13.1f M/s %16s' % (
        '%d x %d' % (row['rows'], row['width']),
        '%.2f / %.2f' % (row['toy']['median_ms'], row['toy']['min_ms']),
        '%.2f / %.2f' % (row['ours']['median_ms'], row['ours']['min_ms']),
        '%.2f / %.2f' % (row['ratio_median'], row['ratio_min']),
        row['rows_per_second'] / 1e6,
        '%.1f / %.1f' % (row['toy']['cpu_ms'], row['ours']['cpu_ms']))


def main():
    chosen = options()
    binary, rows_binary = [
        os.path.join(chosen.build, 'tests', 'bench', name) for name in ('comm_bench', 'rows_bench')]
    if not os.path.exists(binary):
        sys.exit('comm.py: %s does not exist: build first, or give --build' % binary)
    shapes = [(2, 2)] + ([(1, 1), (1, 2), (2, 1), (4, 2)] if chosen.grid else [])
    about = machine()
    print('kernel %(kernel)s, %(cores)s cores, load %(load)s, congestion control '
          '%(used_congestion)s (the system has %(system_congestion)s)' % about)
    print('%5s %8s %17s %17s %17s %13s %8s %16s' % (
        'MiB', 'N x M', 'toy ms med/min', 'threads med/min', 'ours ms med/min', 'ours : toy',
        ': thr.', 'cpu ms toy/ours'))
    rows = []
    for trainers, servers in shapes:
        for mib in [int(text) for text in chosen.mib.split(',') if text]:
            row = measure(binary, mib, trainers, servers, chosen.rounds)
            rows.append(row)
            print(line(row), flush=True)
    sparse = []
    print('%16s %17s %17s %15s %17s %16s' % (
        'rows', 'toy ms med/min', 'ours ms med/min', 'ours : toy', 'rows', 'cpu ms toy/ours'))
    for text in [text for text in chosen.rows.split(',') if text]:
        row = measure_rows(rows_binary, *[int(side) for side in text.split('x')], chosen.rounds)
        sparse.append(row)
        print(rows_line(row), flush=True)
    if chosen.json:
        with open(chosen.json, 'w') as file:
            json.dump({'machine': about, 'rows': rows, 'sparse': sparse}, file, indent=1)


if __name__ == '__main__':
    main()
