# SPDX-License-Identifier: Apache-2.0
"""Saving and loading beside the disk itself, and what a save costs the training.

    python3 tests/bench/checkpoint.py [--build DIR] [--dir DIR] [--mib 1024] [--rounds N]
                                      [--part disk|training] [--json FILE]

disk: state of --mib MiB (64 variables) is saved and loaded in turns with one file of the same size
written and fsynced, and with reading the saved files; all below --dir (default: the folder for
temporary files), which must not be a memory file system if the numbers are to mean a disk. A save
should reach 80 % of the disk's rate.

training: a perceptron 784 - 4096 - 4096 - 4096 - 10 with Momentum (283 MiB of state), one compute
thread a process, trains with a save every 5th step and without any, in turns: in one process, and
on 2 servers with 2 trainers; once on all cores and once with all processes on one core. A trainer
that saves does not train meanwhile, the others wait for it at the next step: what a save adds to
the run is this wait and what the disk still does afterwards. Reported, not judged.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'integration'))

import cluster as cluster_module  # noqa: E402
import images  # noqa: E402

WANTED = 0.8   # of the disk's rate
STEPS, SAVE_EVERY = 20, 5
MODEL = ['--model', 'recognize_digits', '--hidden', '4096,4096,4096', '--optimizer', 'momentum']
MODEL += ['--learning_rate', '0.001']
ONE_THREAD = {'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1', 'CPU_NUM': '1'}
SAVED = re.compile(r'saved \S+  step \d+ .*  ([0-9.]+) s\b')


def options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--build', default=os.environ.get('SLUICE_BUILD', os.path.join(ROOT, 'build'))
    )
    parser.add_argument('--dir', help='where to write (default: the temporary folder)')
    parser.add_argument('--mib', type=int, default=1024)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--part', choices=['disk', 'training'])
    parser.add_argument('--json', metavar='FILE')
    return parser.parse_args()


def machine(folder):
    kind = subprocess.run(['stat', '-f', '-c', '%T', folder], capture_output=True, text=True)
    return {
        'kernel': platform.release(),
        'cores': os.cpu_count(),
        'file_system': kind.stdout.strip() or 'unknown',
        'load': round(os.getloadavg()[0], 1),
    }


def disk(build, folder, mib, rounds):
    binary = os.path.join(build, 'tests', 'bench', 'ckpt_bench')
    if not os.path.exists(binary):
        sys.exit('checkpoint.py: %s does not exist: build first, or give --build' % binary)
    command = [binary, folder, str(mib), str(rounds)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for rival, ours in (('disk_write', 'save'), ('file_read', 'load')):
        found[ours]['rate_ratio'] = found[rival]['median_s'] / found[ours]['median_s']
    for times in (found[name] for name in ('disk_write', 'save', 'file_read', 'load')):
        times['mib_per_s'] = mib / times['median_s']
        times['cpu_s_per_gib'] = times['cpu_s'] * 1024 / mib
    return found


def show_disk(found):
    row = '| %-22s | %8s | %8s | %8s | %10s | %14s |'
    titles = ('median s', 'least s', 'MiB/s', 'CPU s/GiB', 'of the rival')
    print(row % (('%d MiB' % found['mib'],) + titles))
    print('|---|---|---|---|---|---|')
    for name, title in (
        ('disk_write', 'write and fsync a file'),
        ('save', 'save'),
        ('file_read', 'read the files'),
        ('load', 'load'),
    ):
        times = found[name]
        ratio = times.get('rate_ratio')
        print(
            row
            % (
                title,
                '%.2f' % times['median_s'],
                '%.2f' % times['min_s'],
                '%.0f' % times['mib_per_s'],
                '%.2f' % times['cpu_s_per_gib'],
                '' if ratio is None else '%.0f %%' % (100 * ratio),
            )
        )
    ratio = found['save']['rate_ratio']
    print(
        'a save runs at %.0f %% of the disk: %s %.0f %%'
        % (100 * ratio, 'at least' if ratio >= WANTED else 'LESS THAN', 100 * WANTED)
    )


@contextlib.contextmanager
def cores(one):
    """Processes started within run on all cores, or all on one."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)} if one else before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Training(object):
    """One run: times of its trainers' steps in ms, seconds of all steps, seconds of each save."""

    def __init__(self, build, folder):
        self.build, self.folder, self.runs = os.path.abspath(build), folder, 0
        self.data = images.write(os.path.join(folder, 'images'), train=64 * 50, test=64)

    def run(self, servers, saves):
        self.runs += 1
        work = os.path.join(self.folder, 'run_%d' % self.runs)
        os.mkdir(work)
        made = cluster_module.Cluster(self.build, work, ONE_THREAD)
        count = 2 if servers else 1
        flags = MODEL + ['--data', self.data, '--batch_size', '16', '--steps', STEPS]
        if saves:
            flags += ['--save_dir', os.path.join(work, 'models'), '--save_every', SAVE_EVERY]
            flags += ['--keep', '1']
        try:
            if servers:
                daemons = made.servers(2, 2, *MODEL)
                trainers = [
                    made.trainer(i, daemons, 2, *flags, *self.tell(work, i)) for i in range(2)
                ]
                made.finish(trainers + daemons, 600)
            else:
                trainers = [
                    made.start('trainer', 'trainer', '--role', 'local', *flags, *self.tell(work, 0))
                ]
                made.finish(trainers, 600)
            lines = [cluster_module.report(os.path.join(work, 'report_%d' % i))
                     for i in range(count)]
            return {
                'steps_ms': [[line['ms'] for line in part] for part in lines],
                'seconds': cluster_module.summary(os.path.join(work, 'summary_0'))['seconds'],
                'save_s': [float(s) for s in SAVED.findall(trainers[0].text)],
            }
        finally:
            made.end()
            shutil.rmtree(work)

    @staticmethod
    def tell(work, i):
        return ['--report', os.path.join(work, 'report_%d' % i), '--summary',
                os.path.join(work, 'summary_%d' % i), '--progress', 'off']


def training(build, folder, rounds):
    one = Training(build, folder)
    found = []
    for servers, narrow in ((0, False), (0, True), (2, False), (2, True)):
        plain, saving = [], []
        with cores(narrow):
            for _ in range(rounds):
                plain.append(one.run(servers, False))
                saving.append(one.run(servers, True))
        found.append(about(servers, narrow, plain, saving))
        print(line_of(found[-1]), flush=True)
    return found


def about(servers, narrow, plain, saving):
    def step(runs):
        return statistics.median(statistics.median(run['steps_ms'][0]) for run in runs)

    saves = [len(run['save_s']) for run in saving]
    assert min(saves) == max(saves) == STEPS // SAVE_EVERY, saves
    added = [(b['seconds'] - a['seconds']) / saves[0] for a, b in zip(plain, saving)]
    return {
        'servers': servers,
        'trainers': 2 if servers else 1,
        'one_core': narrow,
        'load': round(os.getloadavg()[0], 1),
        'step_ms': step(plain),
        'step_ms_saving': step(saving),
        'save_s': statistics.median(s for run in saving for s in run['save_s']),
        'added_s': statistics.median(added),
        'longest_step_ms_of_others': [max(run['steps_ms'][1]) for run in saving if servers],
        'runs': {'plain': plain, 'saving': saving},
    }


ROW = '| %-32s | %9s | %13s | %9s | %18s | %15s |'


def line_of(row):
    where = '2 servers, 2 trainers' if row['servers'] else 'one process'
    steps = 1e3 * row['added_s'] / row['step_ms']
    return ROW % (
        where + (', one core' if row['one_core'] else ', all cores'),
        '%.0f' % row['step_ms'],
        '%.0f' % row['step_ms_saving'],
        '%.2f' % row['save_s'],
        '%.2f s, %.1f steps' % (row['added_s'], steps),
        '%.0f' % statistics.median(row['longest_step_ms_of_others']) if row['servers'] else '',
    )


def main():
    chosen = options()
    told = {}
    with tempfile.TemporaryDirectory(dir=chosen.dir, prefix='sluice_bench_') as folder:
        told['machine'] = machine(folder)
        print('kernel %(kernel)s, %(cores)d cores, %(file_system)s, load %(load).1f' %
              told['machine'])
        if chosen.part != 'training':
            told['disk'] = disk(chosen.build, folder, chosen.mib, chosen.rounds)
            show_disk(told['disk'])
        if chosen.part != 'disk':
            print(ROW % ('a save every %d steps' % SAVE_EVERY, 'step ms', 'with saves', 'a save s',
                         'a save adds', 'longest of t. 1'))
            print('|---|---|---|---|---|---|')
            told['training'] = training(chosen.build, folder, chosen.rounds)
    print('load at the end %.1f' % os.getloadavg()[0])
    if chosen.json:
        with open(chosen.json, 'w') as file:
            json.dump(told, file, indent=1)


if __name__ == '__main__':
    main()
