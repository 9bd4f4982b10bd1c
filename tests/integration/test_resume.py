# SPDX-License-Identifier: Apache-2.0
"""Stop, save, resume, go on: the same bits as never having stopped, for every optimizer.

The network has batch_norm, dropout and a learning-rate schedule; the data is shuffled.
"""

import os
import subprocess

import pytest

import cluster as c
import images
import tensors

OPTIMIZERS = [
    'sgd',
    'momentum',
    'nesterov',
    'adam',
    'adam_lazy',
    'lars',
    'adagrad',
    'adamax',
    'decayed_adagrad',
    'adadelta',
    'rmsprop',
    'rmsprop_centered',
    'ftrl',
    'lamb',
    'dpsgd',
    'lookahead',
    'ema',
]
# Their extra operators are no optimizer operators: they stay on one node.
LOCAL_ONLY = ('lookahead', 'ema')
STEPS, STOP = 7, 4   # an epoch has 5 local steps, so one ends on either side of the stop


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return images.write(tmp_path_factory.mktemp('images'), train=160, test=10)


@pytest.fixture
def job(build, data, tmp_path):
    def make(optimizer):
        paths = [str(tmp_path / name) for name in ('main.pb', 'startup.pb')]
        tool = os.path.join(build, 'tests', 'integration', 'resume_net')
        subprocess.run([tool, optimizer] + paths, check=True, timeout=c.WAIT)
        return ['--main_program', paths[0], '--startup_program', paths[1]], [
            '--data', data, '--batch_size', 32, '--seed', 3,
        ]

    return make


def equal(whole, rest, names):
    """Losses after the stop, and the saved folders, bit for bit."""
    for name in names:
        assert c.losses(rest / name) == c.losses(whole / name)[STOP:]
    last = 'step_%d' % STEPS
    assert tensors.same_folder(str(whole / 'saved' / last), str(rest / 'saved' / last)) == []


@pytest.mark.parametrize('optimizer', OPTIMIZERS)
def test_resume_on_one_node_is_bit_for_bit(cluster, job, tmp_path, optimizer):
    program, data = job(optimizer)

    def run(part, steps, *more):
        (tmp_path / part).mkdir(exist_ok=True)
        code, text = cluster.run(
            'trainer', '--role', 'local', *program, *data, '--steps', steps,
            '--save_dir', tmp_path / part / 'saved', '--report', tmp_path / part / 'report', *more
        )
        assert code == 0, text

    run('whole', STEPS)
    run('rest', STOP)
    run('rest', STEPS, '--resume', tmp_path / 'rest' / 'saved')
    equal(tmp_path / 'whole', tmp_path / 'rest', ['report'])


@pytest.mark.parametrize('optimizer', [o for o in OPTIMIZERS if o not in LOCAL_ONLY])
def test_resume_on_another_number_of_servers_is_bit_for_bit(cluster, job, tmp_path, optimizer):
    program, data = job(optimizer)

    def run(part, count, steps, *loading):
        (tmp_path / part).mkdir(exist_ok=True)
        servers = cluster.servers(count, 2, *program, *loading)
        trainers = [
            cluster.trainer(
                i, servers, 2, *program, *data, '--steps', steps,
                '--report', tmp_path / part / ('report_%d' % i),
                *(['--save_dir', tmp_path / part / 'saved'] if i == 0 else [])
            )
            for i in range(2)
        ]
        cluster.finish(trainers + servers)

    run('whole', 2, STEPS)
    run('rest', 2, STOP)
    run('rest', 3, STEPS, '--resume', tmp_path / 'rest' / 'saved')
    equal(tmp_path / 'whole', tmp_path / 'rest', ['report_0', 'report_1'])
