# SPDX-License-Identifier: Apache-2.0
"""Real runs with several processes: servers and trainers on this machine."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import golden_io
import local_run
from datasets import split_feed

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = os.path.join(tempfile.gettempdir(), 'paddle_golden.%d' % os.getpid())
NEXT_PORT = [int(os.environ.get('GOLDEN_FIRST_PORT', '17000'))]


def start(spec, log):
    env = dict(os.environ, PYTHONHASHSEED='0', OMP_NUM_THREADS='1',
               CPU_NUM='1', MKL_NUM_THREADS='1', GLOG_v=os.environ.get('GLOG_v', '0'),
               FLAGS_rpc_deadline='60000')
    for name in ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'):
        env.pop(name, None)
    return subprocess.Popen(
        [sys.executable, os.path.join(HERE, 'dist_worker.py'),
         json.dumps(spec)], stdout=log, stderr=log, env=env)


def wait_all(awaited, everyone, seconds):
    """True when the awaited processes ended well; False at once when any
    process failed, or when time is up."""
    end = time.time() + seconds
    while time.time() < end:
        if any(p.poll() not in (None, 0) for p in everyone):
            return False
        if all(p.poll() == 0 for p in awaited):
            return True
        time.sleep(0.05)
    return False


def one_run(case, cases_file, work, first_step, steps, load_from=None):
    """Runs all processes once; work receives losses and saved/."""
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    servers, trainers = case.dist_run['pservers'], case.dist_run['trainers']
    endpoints = ['127.0.0.1:%d' % (NEXT_PORT[0] + i) for i in range(servers)]
    NEXT_PORT[0] += servers
    if NEXT_PORT[0] > 17990:
        NEXT_PORT[0] = 17000
    spec = {'cases': cases_file, 'case': case.name, 'endpoints': endpoints,
            'trainers': trainers, 'work': work, 'first_step': first_step,
            'steps': steps, 'load_from': load_from}
    running = []
    with open(os.path.join(work, 'log.txt'), 'w') as log:
        for role, count in (('pserver', servers), ('trainer', trainers)):
            for number in range(count):
                running.append(start(dict(spec, role=role, id=number), log))
        failed = not wait_all(running[servers:], running, 90)
        # A server of 1.8.5 goes on waiting after the last trainer said it is
        # complete, so it is ended from here.
        for process in running:
            if process.poll() is None:
                process.terminate() if not failed else process.kill()
        for process in running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    if failed:
        raise RuntimeError('distributed run failed, see %s/log.txt' % work)
    os.remove(os.path.join(work, 'saved.done'))


def keep(work, target):
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(work, target, ignore=shutil.ignore_patterns(
        'log.txt', 'load_*.json'))


def compare(one, two):
    """Whether two runs gave the same bytes, and the largest difference."""
    worst = 0.0
    for name in sorted(os.listdir(one)):
        if name.startswith('losses_trainer'):
            with open(os.path.join(one, name)) as a:
                with open(os.path.join(two, name)) as b:
                    for x, y in zip(a.read().split(), b.read().split()):
                        worst = max(worst, abs(float(x) - float(y)))
    gaps = local_run.differences(os.path.join(one, 'saved'),
                                 os.path.join(two, 'saved'))
    same = (local_run.folder_bytes(os.path.join(one, 'saved')) ==
            local_run.folder_bytes(os.path.join(two, 'saved')) and worst == 0)
    return {'bit_identical_over_two_runs': same,
            'largest_loss_difference': worst, 'saved_differences': gaps}


def surplus_files(folder):
    """Saved files that hold more data than their dims say, with the surplus."""
    found = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        array, lod = golden_io.read_tensor(path)
        surplus = os.path.getsize(path) - len(golden_io.tensor_bytes(array, lod))
        if surplus:
            found[name] = {'dims': list(array.shape), 'surplus_bytes': surplus}
    return found


def run(case, out, cases_file):
    folder = os.path.join(out, case.name)
    with open(os.path.join(folder, 'case.json')) as handle:
        text = json.load(handle)
    trainers = case.dist_run['trainers']
    steps = case.dist_run['steps']
    shared = case.dist_run.get('shared_feed')
    report = {'pservers': case.dist_run['pservers'], 'trainers': trainers,
              'sync_mode': True, 'steps': steps,
              'feed': 'trainer k reads share k of every batch, cut in order',
              'feed_dir': shared or 'dist_run/feed'}

    works = [os.path.join(WORK, case.name, str(i)) for i in (0, 1)]
    for work in works:
        one_run(case, cases_file, os.path.abspath(work), 0, steps)
    keep(works[0], os.path.join(folder, 'dist_run'))
    report.update(compare(works[0], works[1]))
    report['saved_with_surplus_data'] = surplus_files(os.path.join(
        folder, 'dist_run', 'saved'))
    report['saved_files'] = sorted(os.listdir(os.path.join(
        folder, 'dist_run', 'saved')))
    where = os.path.join(folder, report['feed_dir'])
    for trainer in range(trainers):
        for step in range(steps + case.dist_resume):
            step_dir = os.path.join(where, 'trainer_%d' % trainer,
                                    'step_%03d' % step)
            if not os.path.isdir(step_dir):
                local_run.write_feed(step_dir, split_feed(
                    case.data.batch(step), trainer, trainers))
    text['dist_run'] = report

    if case.dist_resume:
        saved = os.path.abspath(os.path.join(folder, 'dist_run', 'saved'))
        again = [os.path.join(WORK, case.name, 'r%d' % i)
                 for i in (0, 1)]
        for work in again:
            one_run(case, cases_file, os.path.abspath(work), steps,
                    case.dist_resume, load_from=saved)
        keep(again[0], os.path.join(folder, 'dist_resume'))
        resumed = {'first_step': steps, 'steps': case.dist_resume}
        resumed.update(compare(again[0], again[1]))
        loads = {}
        for server in range(case.dist_run['pservers']):
            with open(os.path.join(again[0], 'load_%d.json' % server)) as f:
                loads['pserver_%d' % server] = json.load(f)
        resumed['load_persistables'] = loads
        text['dist_resume'] = resumed
    text_path = dict(text)
    local_run.write_json(folder, text_path)
    return report['bit_identical_over_two_runs'], report[
        'largest_loss_difference']
