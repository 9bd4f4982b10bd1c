# SPDX-License-Identifier: Apache-2.0
"""Time of one training step, beside Paddle 1.8.5's in the same run.

    python3 tests/bench/step.py [--build DIR] [--rounds N] [--steps N] [--json FILE]

The MLP 784-200-200-10, batch 64, SGD, one compute thread a process: one process, and 2 servers with
2 trainers in sync mode, all on this machine. Rivals take turns; a number is the median over rounds
of the median step of a round. Paddle runs where SLUICE_PADDLE_PYTHON names a Python that has it;
else its column says so.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'integration'))

import cluster as cluster_module  # noqa: E402
import images  # noqa: E402

MODEL = [
    '--model',
    'recognize_digits',
    '--hidden',
    '200,200',
    '--optimizer',
    'sgd',
    '--learning_rate',
    '0.01',
]
BATCH = ['--batch_size', '64', '--progress', 'off']
WARM_UP = 20
ONE_THREAD = {
    'OMP_NUM_THREADS': '1',
    'MKL_NUM_THREADS': '1',
    'OPENBLAS_NUM_THREADS': '1',
    'CPU_NUM': '1',
}


def median_ms(path):
    return statistics.median(line['ms'] for line in cluster_module.report(path)[WARM_UP:])


def ours_local(made, data, steps, work):
    code, text = made.run(
        'trainer',
        '--role',
        'local',
        *MODEL,
        *BATCH,
        '--data',
        data,
        '--steps',
        steps,
        '--report',
        work + '/report',
        '--summary',
        work + '/summary'
    )
    assert code == 0, text
    return (
        median_ms(work + '/report'),
        cluster_module.summary(work + '/summary')['seconds'] * 1e3 / steps,
    )


def ours_2x2(made, data, steps, work):
    servers = made.servers(2, 2, *MODEL)
    trainers = [
        made.trainer(
            i,
            servers,
            2,
            *MODEL,
            *BATCH,
            '--data',
            data,
            '--steps',
            steps,
            '--report',
            '%s/report_%d' % (work, i),
            '--summary',
            '%s/summary_%d' % (work, i)
        )
        for i in range(2)
    ]
    made.finish(trainers + servers, 300)
    return (
        max(median_ms('%s/report_%d' % (work, i)) for i in range(2)),
        max(cluster_module.summary('%s/summary_%d' % (work, i))['seconds'] for i in range(2))
        * 1e3
        / steps,
    )


def paddle(python, mode, steps):
    """Median step of Paddle, in ms."""
    done = subprocess.run(
        [python, os.path.join(HERE, 'step_paddle.py'), mode, str(steps), str(WARM_UP)],
        env=dict(os.environ, **ONE_THREAD),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=600,
    )
    for line in done.stdout.decode().splitlines():
        if line.startswith('STEP_MS '):
            return float(line.split()[1])
    raise SystemExit('Paddle failed:\n' + done.stderr.decode()[-2000:])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--build', default=os.environ.get('SLUICE_BUILD', os.path.join(ROOT, 'build'))
    )
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--steps', type=int, default=200)
    parser.add_argument('--json')
    args = parser.parse_args()
    python = os.environ.get('SLUICE_PADDLE_PYTHON')
    found = {
        'local': {'ours': [], 'loop': [], 'paddle': []},
        '2x2': {'ours': [], 'loop': [], 'paddle': []},
    }
    with tempfile.TemporaryDirectory() as work:
        data = images.write(os.path.join(work, 'images'), train=64 * 100, test=64)
        for _ in range(args.rounds):
            for mode, run in (('local', ours_local), ('2x2', ours_2x2)):
                made = cluster_module.Cluster(os.path.abspath(args.build), work, ONE_THREAD)
                try:
                    step, loop = run(made, data, args.steps, work)
                finally:
                    made.end()
                found[mode]['ours'].append(step)
                found[mode]['loop'].append(loop)
                if python:
                    found[mode]['paddle'].append(paddle(python, mode, args.steps))
    show(found, python, args)


def show(found, python, args):
    print(
        'MLP 784-200-200-10, batch 64, SGD; %d rounds of %d steps; %d cores, Linux %s, load %.1f'
        % (args.rounds, args.steps, os.cpu_count(), platform.release(), os.getloadavg()[0])
    )
    print('%-8s %14s %14s %16s %14s' % ('', 'step ms', '(least)', 'whole loop ms', 'Paddle 1.8.5'))
    for mode, times in found.items():
        ours = statistics.median(times['ours'])
        if python:
            theirs = statistics.median(times['paddle'])
            rival = '%.2f ms, ours is %.2f of it' % (theirs, ours / theirs)
        else:
            rival = 'not installed (SLUICE_PADDLE_PYTHON)'
        print(
            '%-8s %14.2f %14.2f %16.2f   %s'
            % (mode, ours, min(times['ours']), statistics.median(times['loop']), rival)
        )
    if args.json:
        with open(args.json, 'w') as handle:
            json.dump(found, handle, indent=1)


if __name__ == '__main__':
    main()
