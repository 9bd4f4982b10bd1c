# SPDX-License-Identifier: Apache-2.0
"""What breaks: processes that die, peers that speak nonsense, ids that are taken, signals."""

import os
import signal
import socket

import pytest

import cluster as c
import images

MODEL = ['--model', 'recognize_digits', '--hidden', '16', '--learning_rate', '0.01']
DEADLINE = 15


@pytest.fixture
def data(tmp_path):
    return images.write(tmp_path / 'images')


def job(cluster, data, tmp, servers=2, trainers=2, *flags):
    """A job that trains until something happens to it, some steps under way."""
    running = cluster.servers(servers, trainers, *MODEL)
    working = [
        cluster.trainer(
            i,
            running,
            trainers,
            *MODEL,
            '--data',
            data,
            '--batch_size',
            16,
            '--epochs',
            100000,
            '--save_dir',
            tmp / 'm',
            '--save_every',
            200,
            '--keep',
            1,
            *flags
        )
        for i in range(trainers)
    ]
    working[0].wait_line('saved .*step_200 ')
    return running, working


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize('number', [0, 1])
def test_death_of_a_trainer_ends_the_job(cluster, data, tmp_path, number):
    servers, trainers = job(cluster, data, tmp_path)
    trainers[number].kill()
    left = servers + [trainers[1 - number]]
    cluster.finish(left, DEADLINE, code=1)
    for process in left:
        assert 'trainer %d' % number in process.text, process.text


@pytest.mark.parametrize('number', [0, 1])
def test_death_of_a_server_ends_the_job(cluster, data, tmp_path, number):
    servers, trainers = job(cluster, data, tmp_path)
    servers[number].kill()
    cluster.finish(trainers + [servers[1 - number]], DEADLINE, code=1)
    for trainer in trainers:
        assert servers[number].endpoint in trainer.text, trainer.text


def test_a_frozen_trainer_ends_the_job(cluster, data, tmp_path):
    servers, trainers = job(cluster, data, tmp_path, 2, 2)
    trainers[1].signal(signal.SIGSTOP)
    cluster.finish(servers + [trainers[0]], DEADLINE, code=1)
    assert 'trainer 1' in trainers[0].text


def test_the_last_checkpoint_is_whole_after_a_death(cluster, data, tmp_path):
    servers, trainers = job(cluster, data, tmp_path)
    servers[0].kill()
    cluster.finish(trainers, DEADLINE, code=1)
    name = [n for n in os.listdir(tmp_path / 'm') if n.startswith('step_')]
    assert len(name) == 1
    assert cluster.run('sluice', 'ckpt', 'verify', tmp_path / 'm' / name[0])[0] == 0


@pytest.mark.parametrize(
    'junk',
    [b'', b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', os.urandom(4096), b'\x00' * 65536, b'\xff' * 4096],
    ids=['nothing', 'http', 'random', 'zeros', 'ones'],
)
def test_a_peer_that_speaks_garbage_harms_nobody(cluster, data, tmp_path, junk):
    servers, trainers = job(cluster, data, tmp_path)
    host, port = servers[0].endpoint.split(':')
    for _ in range(3):
        with socket.create_connection((host, int(port)), 5) as peer:
            try:
                peer.sendall(junk)
                peer.shutdown(socket.SHUT_WR)
                peer.settimeout(5)
                while junk and peer.recv(4096):
                    pass
            except OSError:
                pass
    for trainer in trainers:
        trainer.signal()
    cluster.finish(trainers, code=3)
    for server in servers:
        assert server.wait() == 0, cluster.story()


def test_a_trainer_id_that_is_taken(cluster, data, tmp_path):
    servers, trainers = job(cluster, data, tmp_path)
    second = cluster.trainer(1, servers, 2, *MODEL, '--data', data)
    assert second.wait() == 1
    assert 'trainer 1 is already here from 127.0.0.1:' in second.text, second.text
    assert all(t.child.poll() is None for t in trainers)


@pytest.mark.parametrize(
    'change', [['--hidden', '24'], ['--trainers', '3'], ['--optimizer', 'momentum']]
)
def test_a_job_of_another_topology_is_refused(cluster, data, change):
    servers = cluster.servers(2, 2, *MODEL)
    flags = dict(zip(MODEL[::2], MODEL[1::2]), **{'--trainers': '2'})
    flags[change[0]] = change[1]
    code, text = cluster.run(
        'trainer',
        '--trainer_id',
        0,
        '--pservers',
        ','.join(s.endpoint for s in servers),
        '--data',
        data,
        *[word for pair in flags.items() for word in pair]
    )
    assert code == 1 and servers[0].endpoint in text or servers[1].endpoint in text, text
    assert all(s.child.poll() is None for s in servers)


def test_a_server_that_is_not_there_yet_is_waited_for(cluster, data):
    port = free_port()
    trainer = cluster.start(
        'trainer 0',
        'trainer',
        '--pservers',
        '127.0.0.1:%d' % port,
        '--trainers',
        1,
        '--trainer_id',
        0,
        *MODEL,
        '--data',
        data,
        '--steps',
        2
    )
    trainer.wait_line('waiting .*127.0.0.1:%d' % port)
    server = cluster.start(
        'pserver',
        'pserver',
        '--pservers',
        '127.0.0.1:%d' % port,
        '--trainers',
        1,
        '--current_endpoint',
        '127.0.0.1:%d' % port,
        *MODEL
    )
    cluster.finish([trainer, server])


def test_a_server_that_never_comes(cluster, data):
    port = free_port()
    code, text = cluster.run(
        'trainer',
        '--pservers',
        '127.0.0.1:%d' % port,
        '--trainers',
        1,
        '--trainer_id',
        0,
        *MODEL,
        '--data',
        data,
        '--connect_timeout',
        '2s'
    )
    assert code == 1 and '127.0.0.1:%d' % port in text and 'connect_timeout' in text, text


def test_a_trainer_that_never_comes_ends_the_job(cluster, data):
    servers = cluster.servers(2, 2, *MODEL, '--connect_timeout', '3s')
    trainer = cluster.trainer(0, servers, 2, *MODEL, '--data', data)
    cluster.finish(servers + [trainer], DEADLINE, code=1)
    for process in servers + [trainer]:
        assert 'trainer 1 has not come within' in process.text, process.text


def test_a_server_that_dies_before_the_trainers_come_ends_the_job(cluster, data):
    servers = cluster.servers(2, 2, *MODEL)
    servers[0].kill()
    trainers = [
        cluster.trainer(i, servers, 2, *MODEL, '--data', data, '--connect_timeout', '2s')
        for i in range(2)
    ]
    cluster.finish(trainers + servers[1:], DEADLINE, code=1)
    for process in trainers + servers[1:]:
        assert servers[0].endpoint in process.text, process.text


def test_a_port_in_use(cluster):
    holder = cluster.servers(1, 1, *MODEL)[0]
    code, text = cluster.run(
        'pserver',
        '--pservers',
        holder.endpoint,
        '--current_endpoint',
        holder.endpoint,
        '--trainers',
        1,
        *MODEL
    )
    assert (
        code == 1 and holder.endpoint in text and 'in use' in text and str(holder.pid) in text
    ), text


def test_sigterm_to_everybody_saves_and_ends(cluster, data, tmp_path):
    servers, trainers = job(cluster, data, tmp_path)
    for process in trainers + servers:
        process.signal()
    cluster.finish(trainers, code=3)
    for server in servers:
        assert server.wait() == 3, cluster.story()
    name = [n for n in os.listdir(tmp_path / 'm') if n.startswith('step_')]
    assert cluster.run('sluice', 'ckpt', 'verify', tmp_path / 'm' / name[0])[0] == 0


def test_sigterm_to_a_server_alone_ends_the_job(cluster, data, tmp_path):
    servers, trainers = job(cluster, data, tmp_path)
    servers[0].signal()
    cluster.finish(trainers, DEADLINE, code=1)
    assert servers[0].wait() == 3
    assert servers[1].wait(DEADLINE) == 1
    for trainer in trainers:
        said = 'server %s was stopped on request' % servers[0].endpoint
        assert said in trainer.text, trainer.text


def test_sigterm_twice_ends_at_once(cluster, data, tmp_path):
    servers, trainers = job(cluster, data, tmp_path)
    trainers[1].signal(signal.SIGSTOP)  # now no step can be finished
    trainers[0].signal()
    trainers[0].wait_line('asked to stop')
    trainers[0].signal()
    assert trainers[0].wait(5) == 1


def test_sigterm_before_the_first_step(cluster, data):
    server = cluster.servers(1, 1, *MODEL)[0]
    server.signal()
    assert server.wait(5) == 3
    trainer = cluster.start(
        'trainer 0',
        'trainer',
        '--pservers',
        server.endpoint,
        '--trainers',
        1,
        '--trainer_id',
        0,
        *MODEL,
        '--data',
        data
    )
    trainer.wait_line('waiting')
    trainer.signal()
    assert trainer.wait(5) == 3


def test_listening_beyond_loopback_needs_insecure(cluster):
    flags = [
        '--pservers',
        '127.0.0.1:1',
        '--pserver_id',
        0,
        '--trainers',
        1,
        '--current_endpoint',
        '0.0.0.0:0',
        *MODEL,
    ]
    code, text = cluster.run('pserver', *flags)
    assert code in (1, 2) and '--insecure' in text, text
    server = cluster.start('pserver', 'pserver', *flags, '--insecure')
    server.wait_line('ready on 0.0.0.0:')
    assert 'insecure' in server.text
