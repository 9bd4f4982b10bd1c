# SPDX-License-Identifier: Apache-2.0
"""A folder saved here, loaded by two servers and two trainers of real Paddle 1.8.5.

The other way round (servers here, a folder that Paddle's trainer 0 saved) is in
tests/integration/test_golden_dist.py, from recorded folders. Skipped aloud without
SLUICE_PADDLE_PYTHON.
"""

import json
import os
import re
import socket
import subprocess

import pytest

import cluster as c
import tensors

HERE = os.path.dirname(os.path.abspath(__file__))
BEFORE, AFTER = 3, 10
CASES = {'adam': 0.01, 'momentum': 0.05}


def free_endpoints(count):
    """Ports that were free a moment ago; all are held at once, so they differ."""
    held = [socket.socket() for _ in range(count)]
    for s in held:
        s.bind(('127.0.0.1', 0))
    names = ['127.0.0.1:%d' % s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return names


def paddle_job(python, spec, work):
    """The losses of every trainer. Servers of 1.8.5 never leave: they are ended."""
    path = os.path.join(work, 'spec.json')
    with open(path, 'w') as handle:
        json.dump(spec, handle)
    script = os.path.join(HERE, 'paddle_dist.py')
    env = dict(os.environ, OMP_NUM_THREADS='1', CPU_NUM='1')
    children = []

    def start(role, number):
        log = open(os.path.join(work, '%s_%d.log' % (role, number)), 'w+')
        child = subprocess.Popen(
            [python, script, path, role, str(number)], env=env, stdout=log, stderr=log
        )
        child.log = log
        children.append(child)
        return child

    def said(child):
        child.log.seek(0)
        return child.log.read()

    try:
        servers = [start('PSERVER', i) for i in range(len(spec['endpoints']))]
        trainers = [start('TRAINER', i) for i in range(spec['trainers'])]
        found = []
        for trainer in trainers:
            trainer.wait(120)
            match = re.search(r'^RESULT (.*)$', said(trainer), re.M)
            assert match, said(trainer) + ''.join(said(s) for s in servers)
            found.append(json.loads(match.group(1)))
        return found
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
            child.wait()
            child.log.close()


@pytest.mark.parametrize('optimizer', sorted(CASES))
def test_two_servers_of_paddle_load_what_was_saved_here(
    cluster, golden, paddle, tmp_path, optimizer
):
    case = golden('digits_' + optimizer)
    facts, job = c.golden_job(case)
    feed = os.path.join(case, facts['dist_run']['feed_dir'], 'trainer_{trainer_id}')

    def run(steps, first, loading, *more):
        servers = cluster.servers(2, 2, *job, *loading)
        trainers = [
            cluster.trainer(
                i, servers, 2, *job, '--feed_dir', feed, '--first_step', first, '--steps', steps,
                '--report', tmp_path / ('report_%d' % i), *more
            )
            for i in range(2)
        ]
        cluster.finish(trainers + servers)
        return [c.losses(tmp_path / ('report_%d' % i)) for i in range(2)]

    run(BEFORE, 0, [], '--save_dir', tmp_path / 'm')
    folder = str(tmp_path / 'm' / ('step_%d' % BEFORE))
    ours = run(AFTER, BEFORE, ['--load_dir', folder])
    theirs = paddle_job(
        paddle,
        {
            'optimizer': optimizer,
            'rate': CASES[optimizer],
            'hidden': 24,
            'endpoints': free_endpoints(2),
            'trainers': 2,
            'folder': folder,
            'feed_dir': feed,
            'first': BEFORE,
            'steps': AFTER,
        },
        str(tmp_path),
    )
    for i in range(2):
        tensors.assert_losses(ours[i], theirs[i])
