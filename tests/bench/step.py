# SPDX-License-Identifier: Apache-2.0
"""Time of one training step, beside Paddle 1.8.5's in the same run.

    python3 tests/bench/step.py [--build DIR] [--rounds N] [--only NAME,...] [--workers K]
                                [--json FILE]

Batch 64 (CTR-DNN: 100), one compute thread a process, or with --workers so many (CPU_NUM). One
process: the MLP 784-200-200-10 with SGD, LeNet with 20 and 50 filters and a smaller one with 6 and
8, and a ResNet of three basic blocks on 32 x 32 images, with Momentum; with sparse tables word2vec
(20,000 x 64, SGD), CTR-DNN (26 slots, 1,000,001 x 10, three layers of 400, Adam over every row)
and an LSTM of 128 over 10 to 70 tokens (Adagrad). And the MLP and CTR-DNN on 2 servers with 2
trainers in sync mode, all on this machine. Rivals take turns; a number is the median over rounds of
the median step of a round.

Paddle runs where SLUICE_PADDLE_PYTHON names a Python that has it: it writes the programs and the
batches once, and both run those. Without it the zoo's models are timed alone.
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

WARM_UP = 10
BATCHES = 20
ONE_THREAD = {
    'OMP_NUM_THREADS': '1',
    'MKL_NUM_THREADS': '1',
    'OPENBLAS_NUM_THREADS': '1',
    'CPU_NUM': '1',
}
MLP = ['--model', 'recognize_digits', '--hidden', '200,200', '--optimizer', 'sgd']
MLP += ['--learning_rate', '0.01']
# name: what it is, timed steps of a round, the zoo's flags for when Paddle exports nothing
LOCAL = {
    'mlp': ('MLP 784-200-200-10', 200, MLP),
    'lenet': ('LeNet 20, 50', 60, ['--model', 'lenet', '--optimizer', 'momentum']),
    'lenet_small': ('LeNet 6, 8', 120, None),
    'resnet': ('ResNet 16, 32, 64', 20, ['--model', 'resnet']),
    'word2vec': ('word2vec 20000 x 64', 100, None),
    'ctr_dnn': ('CTR-DNN 1000001 x 10', 40, None),
    'lstm': ('LSTM 128', 40, None),
}
# name: what it is, its network, timed steps of a round
TWO_BY_TWO = {
    'mlp_2x2': ('MLP, 2 servers, 2 trainers', 'mlp', 200),
    'ctr_2x2': ('CTR-DNN, 2 servers, 2 tr.', 'ctr_dnn', 40),
}


class Bench(object):
    def __init__(self, build, work, python):
        self.build, self.work, self.python = os.path.abspath(build), work, python
        self.data = images.write(os.path.join(work, 'images'), train=64 * 50, test=64)

    def export(self, name):
        """Programs and batches of a network, written by Paddle; feed_dir wants a folder a step."""
        folder = os.path.join(self.work, name)
        os.mkdir(folder)
        self.paddle('export', name, folder)
        feed = os.path.join(folder, 'feed')
        for step in range(BATCHES, WARM_UP + LOCAL[name][1]):
            made = os.path.join(feed, 'step_%03d' % step)
            os.mkdir(made)
            source = os.path.join(feed, 'step_%03d' % (step % BATCHES))
            for var in os.listdir(source):
                os.link(os.path.join(source, var), os.path.join(made, var))

    def paddle(self, *args):
        done = subprocess.run(
            [self.python, os.path.join(HERE, 'step_paddle.py')] + [str(a) for a in args],
            env=dict(os.environ, **ONE_THREAD),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=600,
        )
        if done.returncode != 0:
            raise SystemExit('Paddle failed:\n' + done.stderr.decode()[-2000:])
        return done.stdout.decode()

    def paddle_ms(self, mode, name, steps):
        """Median step of Paddle, in ms."""
        for line in self.paddle(mode, name, WARM_UP + steps, WARM_UP).splitlines():
            if line.startswith('STEP_MS '):
                return float(line.split()[1])
        raise SystemExit('Paddle told no time')

    def cluster(self):
        return cluster_module.Cluster(self.build, self.work, ONE_THREAD)

    def told(self, tag):
        """Flags that make a process tell its times, and what reads them: (step, loop) in ms."""
        report = os.path.join(self.work, 'report_' + tag)
        summary = os.path.join(self.work, 'summary_' + tag)

        def times():
            lines = cluster_module.report(report)
            step = statistics.median(line['ms'] for line in lines[WARM_UP:])
            return step, cluster_module.summary(summary)['seconds'] * 1e3 / len(lines)

        return ['--report', report, '--summary', summary, '--progress', 'off'], times

    def exported(self, name):
        """Flags for the programs of an exported network, and those that a trainer adds."""
        folder = os.path.join(self.work, name)
        with open(os.path.join(folder, 'facts.json')) as handle:
            loss = json.load(handle)['loss']
        programs = ['--main_program', folder + '/main.pb']
        programs += ['--startup_program', folder + '/startup.pb']
        return programs, ['--loss', loss, '--feed_dir', folder + '/feed']

    def local(self, name):
        if self.python:
            programs, more = self.exported(name)
            flags = programs + more
        else:
            flags = LOCAL[name][2] + ['--data', self.data, '--batch_size', '64']
        tell, times = self.told('local')
        made = self.cluster()
        try:
            code, text = made.run(
                'trainer', '--role', 'local', *flags, '--steps', WARM_UP + LOCAL[name][1], *tell
            )
            assert code == 0, text
        finally:
            made.end()
        return times()

    def two_by_two(self, name):
        _, network, steps = TWO_BY_TWO[name]
        if network == 'mlp':
            job, more = MLP, ['--batch_size', '64', '--data', self.data]
        else:
            job, more = self.exported(network)
        made = self.cluster()
        try:
            servers = made.servers(2, 2, *job)
            tells = [self.told(str(i)) for i in range(2)]
            flags = job + more + ['--steps', WARM_UP + steps]
            trainers = [made.trainer(i, servers, 2, *flags, *tells[i][0]) for i in range(2)]
            made.finish(trainers + servers, 300)
            return tuple(max(pair) for pair in zip(*(times() for _, times in tells)))
        finally:
            made.end()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--build', default=os.environ.get('SLUICE_BUILD', os.path.join(ROOT, 'build'))
    )
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--only', help='some of: %s' % ', '.join(list(LOCAL) + list(TWO_BY_TWO)))
    parser.add_argument('--workers', type=int, default=1, help='CPU_NUM of each process (1)')
    parser.add_argument('--json')
    args = parser.parse_args()
    ONE_THREAD['CPU_NUM'] = str(args.workers)
    python = os.environ.get('SLUICE_PADDLE_PYTHON')
    names = args.only.split(',') if args.only else list(LOCAL) + list(TWO_BY_TWO)
    if not python:
        names = [name for name in names if name == 'mlp_2x2' or LOCAL.get(name, (None,) * 3)[2]]
    found = dict((name, {'ours': [], 'loop': [], 'paddle': []}) for name in names)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(args.build, work, python)
        networks = set(TWO_BY_TWO[name][1] if name in TWO_BY_TWO else name for name in names)
        for name in sorted(networks) if python else []:
            bench.export(name)
        for _ in range(args.rounds):
            for name in names:
                two = name in TWO_BY_TWO
                step, loop = bench.two_by_two(name) if two else bench.local(name)
                found[name]['ours'].append(step)
                found[name]['loop'].append(loop)
                if not python:
                    continue
                theirs = (
                    bench.paddle_ms('2x2', *TWO_BY_TWO[name][1:])
                    if two
                    else bench.paddle_ms('local', os.path.join(work, name), LOCAL[name][1])
                )
                found[name]['paddle'].append(theirs)
    show(found, python, load, args)


def processor():
    with open('/proc/cpuinfo') as handle:
        for line in handle:
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    return platform.machine()


def show(found, python, load, args):
    print(
        'workers a process: %d; %d rounds; %s, %d cores, Linux %s, load %.1f at the '
        'beginning and %.1f at the end'
        % (
            args.workers,
            args.rounds,
            processor(),
            os.cpu_count(),
            platform.release(),
            load,
            os.getloadavg()[0],
        )
    )
    row = '| %-26s | %8s | %8s | %8s | %12s | %5s |'
    print(row % ('', 'step ms', 'least', 'loop ms', 'Paddle 1.8.5', 'ratio'))
    print('|---|---|---|---|---|---|')
    for name, times in found.items():
        title = (TWO_BY_TWO if name in TWO_BY_TWO else LOCAL)[name][0]
        ours = statistics.median(times['ours'])
        theirs, ratio = 'not here', ''
        if python:
            theirs = '%.2f' % statistics.median(times['paddle'])
            ratio = '%.2f' % statistics.median(
                a / b for a, b in zip(times['ours'], times['paddle'])
            )
        numbers = (ours, min(times['ours']), statistics.median(times['loop']))
        print(row % ((title,) + tuple('%.2f' % n for n in numbers) + (theirs, ratio)))
    if args.json:
        with open(args.json, 'w') as handle:
            json.dump(found, handle, indent=1)


if __name__ == '__main__':
    main()
