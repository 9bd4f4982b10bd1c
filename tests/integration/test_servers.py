# SPDX-License-Identifier: Apache-2.0
"""Checkpoints across numbers of servers, and what servers and trainers agree on."""

import os

import pytest

import cluster as c
import images
import tensors

MODEL = ['--model', 'recognize_digits', '--optimizer', 'adam', '--learning_rate', '0.001']


@pytest.fixture
def data(tmp_path):
    return images.write(tmp_path / 'images')


def run(cluster, data, tmp, servers, trainers, *trainer_flags):
    found = [
        cluster.trainer(
            i,
            servers,
            trainers,
            *MODEL,
            '--data',
            data,
            '--batch_size',
            16,
            '--report',
            tmp / ('report_%d' % i),
            '--summary',
            tmp / ('summary_%d' % i),
            '--save_dir',
            tmp / 'saved',
            *trainer_flags
        )
        for i in range(trainers)
    ]
    cluster.finish(found + servers)
    return c.summary(tmp / 'summary_0')['saved_to']


def pull(cluster, servers, out):
    code, text = cluster.run(
        'sluice', 'ckpt', 'pull', '--pservers', ','.join(s.endpoint for s in servers), '--out', out
    )
    assert code == 0, text
    return str(out)


def test_two_servers_saved_any_number_loads(cluster, data, tmp_path):
    saved = run(cluster, data, tmp_path, cluster.servers(2, 2, *MODEL), 2, '--steps', 5)
    assert cluster.run('sluice', 'ckpt', 'verify', saved)[0] == 0
    for count in (1, 2, 3, 5):
        servers = cluster.servers(count, 2, *MODEL, '--load_dir', saved)
        pulled = pull(cluster, servers, tmp_path / ('pulled_%d' % count))
        assert tensors.same_folder(saved, pulled) == []
        assert cluster.run('sluice', 'ckpt', 'verify', pulled)[0] == 0
        for server in servers:
            assert 'sha256 ok' in server.text and '0 missing' in server.text
            server.kill()


def test_pull_while_training(cluster, data, tmp_path):
    servers = cluster.servers(2, 1, *MODEL)
    trainer = cluster.trainer(
        0,
        servers,
        1,
        *MODEL,
        '--data',
        data,
        '--batch_size',
        16,
        '--epochs',
        1000,
        '--save_dir',
        tmp_path / 'saved',
        '--save_every',
        5,
        '--keep',
        1
    )
    trainer.wait_line('saved .*step_5 ')
    for again in ('a', 'b'):
        pulled = pull(cluster, servers, tmp_path / again)
        assert cluster.run('sluice', 'ckpt', 'verify', pulled)[0] == 0
        assert len(tensors.names(pulled)) == 31  # 6 parameters, 4 states of each, the learning rate
    trainer.signal()
    assert trainer.wait() == 3, cluster.story()


def test_load_report_and_incremental_training(cluster, data, tmp_path):
    saved = run(cluster, data, tmp_path, cluster.servers(2, 2, *MODEL), 2, '--epochs', 1)
    assert os.path.basename(saved) == 'epoch_1'
    first = c.report(tmp_path / 'report_0')
    servers = cluster.servers(3, 2, *MODEL, '--load_dir', tmp_path / 'saved')
    again = run(cluster, data, tmp_path, servers, 2, '--epochs', 1)
    second = c.report(tmp_path / 'report_0')
    assert os.path.basename(again) == 'epoch_2'
    assert second[0]['step'] == first[-1]['step'] + 1 and second[0]['epoch'] == 2
    assert second[0]['loss'] < first[0]['loss']
    assert all('load %s' % saved in s.text for s in servers), cluster.story()


def test_resume_equals_the_uninterrupted_run(cluster, data, tmp_path):
    for part in ('whole', 'part'):
        (tmp_path / part).mkdir()
    whole = run(cluster, data, tmp_path / 'whole', cluster.servers(2, 2, *MODEL), 2, '--epochs', 2)
    run(cluster, data, tmp_path / 'part', cluster.servers(2, 2, *MODEL), 2, '--steps', 13)
    servers = cluster.servers(3, 2, *MODEL, '--resume', tmp_path / 'part' / 'saved')
    rest = run(cluster, data, tmp_path / 'part', servers, 2, '--epochs', 2)
    for i in range(2):
        want, got = (c.losses(tmp_path / part / ('report_%d' % i)) for part in ('whole', 'part'))
        assert got == want[13:]
    assert tensors.same_folder(whole, rest) == []


def test_init_from_on_servers(cluster, data, tmp_path):
    saved = run(cluster, data, tmp_path, cluster.servers(2, 2, *MODEL), 2, '--steps', 3)
    fresh = pull(cluster, cluster.servers(2, 2, *MODEL), tmp_path / 'fresh')
    pulled = pull(cluster, cluster.servers(2, 2, *MODEL, '--init_from', saved), tmp_path / 'pulled')
    for name in tensors.names(pulled):
        source = (
            saved
            if name in ('fc_%d.%s_0' % (i, kind) for i in range(3) for kind in 'wb')
            else fresh
        )
        assert tensors.same_values(os.path.join(pulled, name), os.path.join(source, name)), name


def test_servers_with_different_checkpoints_are_refused(cluster, data, tmp_path):
    one = run(
        cluster, data, tmp_path, cluster.servers(2, 2, *MODEL), 2, '--steps', 2, '--save_every', 1
    )
    other = os.path.join(os.path.dirname(one), 'step_1')
    for loads in ([one, other], [one, None]):
        servers = [
            cluster.server(i, 2, 1, *MODEL, *(['--load_dir', load] if load else []))
            for i, load in enumerate(loads)
        ]
        for server in servers:
            server.endpoint = server.wait_line(c.READY).group(1)
        code = cluster.trainer(0, servers, 1, *MODEL, '--data', data)
        assert code.wait() == 1
        assert servers[0].endpoint in code.text or servers[1].endpoint in code.text, code.text
        for server in servers:
            server.kill()


def test_one_server_and_one_trainer(cluster, data, tmp_path):
    run(cluster, data, tmp_path, cluster.servers(1, 1, *MODEL), 1, '--steps', 3)


def test_more_servers_than_pieces(cluster, golden, tmp_path):
    case = golden('fit_a_line_synthetic')
    facts, job = c.golden_job(case)
    servers = cluster.servers(4, 1, *job)
    trainer = cluster.trainer(
        0,
        servers,
        1,
        *job,
        '--feed_dir',
        os.path.join(case, 'feed'),
        '--steps',
        20,
        '--report',
        tmp_path / 'report'
    )
    cluster.finish([trainer] + servers)
    tensors.assert_losses(
        c.losses(tmp_path / 'report'), tensors.read_losses(os.path.join(case, 'losses.txt'))
    )


def test_three_trainers_divide_every_batch(cluster, data, tmp_path):
    """The mean over N trainers of B samples is what one process computes on N x B."""
    sgd = [
        '--model',
        'recognize_digits',
        '--hidden',
        '16',
        '--optimizer',
        'sgd',
        '--learning_rate',
        '0.1',
    ]
    servers = cluster.servers(2, 3, *sgd)
    trainers = [
        cluster.trainer(
            i,
            servers,
            3,
            *sgd,
            '--data',
            data,
            '--batch_size',
            8,
            '--steps',
            6,
            '--save_dir',
            tmp_path / 'three'
        )
        for i in range(3)
    ]
    cluster.finish(trainers + servers)
    code, text = cluster.run(
        'trainer',
        '--role',
        'local',
        *sgd,
        '--data',
        data,
        '--batch_size',
        24,
        '--steps',
        6,
        '--save_dir',
        tmp_path / 'one'
    )
    assert code == 0, text
    tensors.assert_close(str(tmp_path / 'three' / 'step_6'), str(tmp_path / 'one' / 'step_6'))


def test_a_schedule_moves_a_bias_of_one_element(cluster, golden, tmp_path):
    """fit_a_line's bias has the shape of a learning rate."""
    case = golden('fit_a_line_synthetic')
    model = ['--model', 'fit_a_line', '--lr_schedule', 'exponential', '--decay_steps', 2]
    data = ['--feed_dir', os.path.join(case, 'feed'), '--steps', 6, '--save_dir']
    code, text = cluster.run('trainer', '--role', 'local', *model, *data, tmp_path / 'alone')
    assert code == 0, text
    servers = cluster.servers(2, 1, *model, '--init', 'whole')
    cluster.finish([cluster.trainer(0, servers, 1, *model, *data, tmp_path / 'saved')] + servers)
    alone, saved = (str(tmp_path / name / 'step_6') for name in ('alone', 'saved'))
    assert tensors.same_folder(alone, saved) == []
