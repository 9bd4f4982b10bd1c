# SPDX-License-Identifier: Apache-2.0
"""What only trainers hold (batch_norm statistics): saved by trainer 0, handed back by servers."""

import os

import pytest

import cluster as c
import tensors

CASE = 'lenet_digits_bn'
STATISTICS = ['batch_norm_0.w_1', 'batch_norm_0.w_2']


def run(cluster, case, tmp, first_step, steps, load=(), pservers=2):
    """Two trainers on the case's feeds; returns the folder that trainer 0 saved."""
    tmp.mkdir()
    facts, job = c.golden_job(case)
    servers = cluster.servers(pservers, 2, *job, *load)
    feed = os.path.join(case, facts['dist_run']['feed_dir'], 'trainer_{trainer_id}')
    flags = ['--loss', facts['loss'], '--feed_dir', feed]
    flags += ['--test_data', 'feed_dir://' + os.path.join(case, facts['feed_dir'])]
    flags += ['--first_step', first_step, '--steps', steps]
    trainers = []
    for number in range(2):
        save = ['--save_dir', tmp / 'saved'] if number == 0 else []
        out = ['--report', tmp / ('report_%d' % number), '--summary', tmp / ('summary_%d' % number)]
        trainers.append(cluster.trainer(number, servers, 2, *job, *flags, *out, *save))
    cluster.finish(trainers + servers)
    if load:
        assert all('came back from the servers' in t.text for t in trainers), cluster.story()
    return c.summary(tmp / 'summary_0')['saved_to']


def pull(cluster, servers, out):
    """What the servers hold, as a folder; returns what the command said."""
    endpoints = ','.join(s.endpoint for s in servers)
    code, text = cluster.run('sluice', 'ckpt', 'pull', '--pservers', endpoints, '--out', out)
    assert code == 0, text
    return text


@pytest.mark.parametrize('pservers', [2, 3])
def test_statistics_and_evaluation_go_on(cluster, golden, tmp_path, pservers):
    case = golden(CASE)
    whole = run(cluster, case, tmp_path / 'whole', 0, 8)
    first = run(cluster, case, tmp_path / 'first', 0, 5)
    rest = run(cluster, case, tmp_path / 'rest', 5, 3, ['--load_dir', first], pservers)
    assert tensors.same_folder(whole, rest) == []
    for number in range(2):
        name = 'report_%d' % number
        got, want = (c.losses(tmp_path / part / name) for part in ('rest', 'whole'))
        assert got == want[5:]
    got, want = (c.summary(tmp_path / part / 'summary_0') for part in ('rest', 'whole'))
    assert got['test'] is not None and got['test'] == want['test']


@pytest.mark.parametrize('pservers', [1, 3])
def test_a_pulled_folder_is_complete(cluster, golden, tmp_path, pservers):
    case = golden(CASE)
    saved = run(cluster, case, tmp_path / 'first', 0, 3)
    job = c.golden_job(case)[1]
    pull(cluster, cluster.servers(pservers, 2, *job, '--load_dir', saved), tmp_path / 'pulled')
    assert tensors.same_folder(saved, tmp_path / 'pulled') == []


def test_fresh_servers_do_not_have_them_and_say_so(cluster, golden, tmp_path):
    case = golden(CASE)
    text = pull(cluster, cluster.servers(2, 2, *c.golden_job(case)[1]), tmp_path / 'pulled')
    assert all(name in text for name in STATISTICS)
    assert not set(STATISTICS) & set(tensors.names(tmp_path / 'pulled'))


def test_a_folder_that_paddle_saved_gives_them_too(cluster, golden, tmp_path):
    case = golden(CASE)
    saved = os.path.join(case, 'dist_run', 'saved')
    servers = cluster.servers(2, 2, *c.golden_job(case)[1], '--load_dir', saved)
    pull(cluster, servers, tmp_path / 'pulled')
    for name in STATISTICS:
        assert tensors.same_values(
            os.path.join(saved, name), str(tmp_path / 'pulled' / name)
        ), name
