# SPDX-License-Identifier: Apache-2.0
"""--cpu_num: several workers in a process, alone and with servers, against Paddle's
ParallelExecutor with as many."""

import os

import pytest

import cluster as c
import tensors

LOCAL = ['pe_line_uneven', 'pe_line_three', 'pe_batch_norm', 'pe_clip_global_norm', 'pe_bag_three']
SERVERS = ['pe_dist', 'pe_dist_adam', 'pe_dist_schedule', 'pe_dist_batch_norm', 'pe_dist_sparse']


def live(name):
    """Paddle's servers save no rate and the schedule's first count; ours are live."""
    return name.startswith('learning_rate') or name == '@LR_DECAY_COUNTER@'


def recorded(*path):
    """A list a step: the loss of each worker."""
    with open(os.path.join(*path)) as handle:
        return [[float(v) for v in line.split()] for line in handle if line.strip()]


def reported(path, loss):
    return [(line['loss'], line['fetches'][loss]) for line in c.report(path)]


def check_losses(path, loss, want):
    got = reported(path, loss)
    assert len(got) == len(want)
    for step, ((mean, workers), expected) in enumerate(zip(got, want)):
        assert len(workers) == len(expected)
        for a, b in zip(workers, expected):
            assert abs(a - b) <= 1e-5 * abs(b) + 1e-7, (step, workers, expected)
        assert abs(mean - sum(workers) / len(workers)) <= 1e-6 * abs(mean)


def job_of(golden, name):
    case = golden(os.path.join('parallel', name))
    facts, job = c.golden_job(case)
    return case, facts, [*job, '--loss', facts['loss'], '--fetch', facts['loss']]


def local(cluster, facts, case, job, tmp, *more, **env):
    code, text = cluster.run(
        'trainer',
        '--role',
        'local',
        *job,
        '--feed_dir',
        os.path.join(case, facts['feed_dir']),
        '--report',
        tmp / 'report',
        '--summary',
        tmp / 'summary',
        '--save_dir',
        tmp / 'saved',
        *more,
        **env
    )
    return code, text


@pytest.mark.parametrize('name', LOCAL)
def test_alone(cluster, golden, tmp_path, name):
    case, facts, job = job_of(golden, name)
    more = ['--cpu_num', facts['workers'], '--steps', facts['steps']]
    code, text = local(cluster, facts, case, job, tmp_path, *more)
    assert code == 0, text
    check_losses(tmp_path / 'report', facts['loss'], recorded(case, 'losses.txt'))
    saved = c.summary(tmp_path / 'summary')['saved_to']
    tensors.assert_close(saved, os.path.join(case, 'final'))


def test_the_environment_says_how_many(cluster, golden, tmp_path):
    case, facts, job = job_of(golden, 'pe_line_even')
    more = ['--steps', facts['steps']]
    code, text = local(cluster, facts, case, job, tmp_path, *more, CPU_NUM='2')
    assert code == 0, text
    check_losses(tmp_path / 'report', facts['loss'], recorded(case, 'losses.txt'))


def test_fewer_samples_than_workers(cluster, golden, tmp_path):
    case, facts, job = job_of(golden, 'pe_line_uneven')
    code, text = local(cluster, facts, case, job, tmp_path, '--cpu_num', 6, '--steps', 5)
    assert code == 1
    assert '5 samples' in text and 'CPU_NUM' in text


def run(cluster, golden, name, tmp):
    case, facts, job = job_of(golden, name)
    servers = cluster.servers(2, 2, *job[:-2])
    feed = os.path.join(case, facts['dist_run']['feed_dir'], 'trainer_{trainer_id}')
    trainers = []
    for number in range(2):
        save = ['--save_dir', tmp / 'saved'] if number == 0 else []
        steps = ['--feed_dir', feed, '--steps', facts['dist_run']['steps']]
        trainers.append(
            cluster.trainer(
                number,
                servers,
                2,
                *job,
                *steps,
                '--cpu_num',
                facts['workers'],
                '--report',
                tmp / ('report_%d' % number),
                '--summary',
                tmp / ('summary_%d' % number),
                *save
            )
        )
    cluster.finish(trainers + servers)
    return case, facts, c.summary(tmp / 'summary_0')['saved_to']


@pytest.mark.parametrize('name', SERVERS)
def test_with_servers(cluster, golden, tmp_path, name):
    case, facts, saved = run(cluster, golden, name, tmp_path)
    for number in range(2):
        want = recorded(case, 'dist_run', 'losses_trainer_%d.txt' % number)
        check_losses(tmp_path / ('report_%d' % number), facts['loss'], want)
    tensors.assert_close(saved, os.path.join(case, 'dist_run', 'saved'), exempt=live)


def test_two_runs_with_servers_are_bit_identical(cluster, golden, tmp_path):
    folders = []
    for again in ('one', 'two'):
        (tmp_path / again).mkdir()
        folders.append(run(cluster, golden, 'pe_dist_adam', tmp_path / again)[2])
    assert tensors.same_folder(*folders) == []
