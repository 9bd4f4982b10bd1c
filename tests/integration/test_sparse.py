# SPDX-License-Identifier: Apache-2.0
"""Tables that only the servers hold: ctr_dnn with 26 slots over Criteo's kind of lines.

The programs are the recorded ones of Paddle, with other sizes of the table.
"""

import os
import random
import signal
import socket
import threading

import pytest

import cluster as c
import programs
import tensors

RECORDED = {'ctr_dnn_sgd': 1001, 'ctr_dnn_adam': 2001}   # rows
SLOTS = {'ctr_dnn_sgd': 26, 'ctr_dnn_adam': 5}
ROWS, LARGE = 2001, 1000001
TABLE = 'SparseFeatFactors'
DEADLINE = 15
ENDLESS = ['--epochs', 100000]


@pytest.fixture
def ctr(golden, tmp_path):
    """ctr(name, rows): flags of a recorded ctr_dnn with so many rows."""

    def make(name, rows):
        facts, _ = c.golden_job(golden(name))
        flags = ['--loss', facts['loss']]
        for flag, file in (('--main_program', 'main.pb'), ('--startup_program', 'startup.pb')):
            out = str(tmp_path / ('%s_%d_%s' % (name, rows, file)))
            programs.with_rows(os.path.join(golden(name), file), out, RECORDED[name], rows)
            flags += [flag, out]
        return flags

    return make


@pytest.fixture
def lines(tmp_path):
    """Lines like Criteo's: a label, 13 integers, 26 words, some of each missing."""
    draw = random.Random(7)
    path = tmp_path / 'criteo.txt'
    with open(str(path), 'w') as out:
        for _ in range(400):
            numbers = ['' if draw.random() < 0.2 else str(draw.randrange(0, 60)) for _ in range(13)]
            words = ['' if draw.random() < 0.1 else '%08x' % draw.randrange(300) for _ in range(26)]
            out.write('\t'.join([str(draw.randrange(2))] + numbers + words) + '\n')
    return 'criteo://%s' % path


def start(cluster, servers, trainers, flags, data, tmp, *more, saving=()):
    """Starts trainers; trainer 0 saves below tmp, as saving says; each reports."""
    os.makedirs(str(tmp), exist_ok=True)
    endpoints = servers if isinstance(servers, str) else ','.join(s.endpoint for s in servers)
    return [
        cluster.trainer(
            i, endpoints, trainers, *flags, *data, '--report', tmp / ('report_%d' % i), '--seed', 3,
            *(['--save_dir', tmp / 'saved', *saving] if i == 0 else []),
            *(['--summary', tmp / 'summary'] if i == 0 else []), *more
        )
        for i in range(trainers)
    ]


def criteo(lines, rows, batch=16):
    return ['--data', lines, '--hash_dim', rows, '--batch_size', batch]


def run(cluster, pservers, trainers, flags, data, tmp, steps, load=()):
    """A whole job; returns the folder that trainer 0 saved last."""
    servers = cluster.servers(pservers, trainers, *flags, *load)
    working = start(cluster, servers, trainers, flags, data, tmp, '--steps', steps)
    cluster.finish(working + servers)
    newest = [n for n in os.listdir(str(tmp / 'saved')) if n.startswith('step_')]
    return str(tmp / 'saved' / max(newest, key=lambda n: int(n[5:])))


@pytest.mark.parametrize('name, rows', [('ctr_dnn_sgd', LARGE), ('ctr_dnn_adam', 20001)])
def test_a_table_trains_saves_and_resumes_on_three_servers(
    cluster, ctr, lines, tmp_path, name, rows
):
    flags, data = ctr(name, rows), criteo(lines, rows)
    whole = run(cluster, 2, 2, flags, data, tmp_path / 'whole', 8)
    assert tensors.read(os.path.join(whole, TABLE)).dims == [rows, 10]
    run(cluster, 2, 2, flags, data, tmp_path / 'rest', 4)
    resumed = tmp_path / 'rest' / 'saved'
    rest = run(cluster, 3, 2, flags, data, tmp_path / 'rest', 8, ['--resume', resumed])
    assert tensors.same_folder(whole, rest) == []
    for number in range(2):
        report = 'report_%d' % number
        assert c.losses(tmp_path / 'rest' / report) == c.losses(tmp_path / 'whole' / report)[4:]


def highest_bytes(process):
    """The most memory that it ever had, in bytes."""
    with open('/proc/%d/status' % process.pid) as handle:
        for line in handle:
            if line.startswith('VmHWM:'):
                return int(line.split()[1]) * 1024
    raise AssertionError('no VmHWM')


def test_a_trainer_does_not_grow_with_the_table(cluster, ctr, lines, tmp_path):
    most = {}
    for rows in (ROWS, LARGE):
        flags, tmp = ctr('ctr_dnn_sgd', rows), tmp_path / str(rows)
        servers = cluster.servers(2, 1, *flags)
        data, often = criteo(lines, rows) + ENDLESS, ['--save_every', 5, '--keep', 1]
        trainer = start(cluster, servers, 1, flags, data, tmp, saving=often)[0]
        trainer.wait_line('saved .*step_10 ')   # the table went through it twice, in slices
        most[rows] = highest_bytes(trainer)
        trainer.signal()
        cluster.finish([trainer], code=3)
        cluster.finish(servers)
    table = LARGE * 10 * 4
    print('highest bytes of a trainer: %s' % most)
    assert most[LARGE] - most[ROWS] < table // 4, most


def test_one_trainer_equals_one_process(cluster, ctr, lines, tmp_path):
    flags = ctr('ctr_dnn_adam', ROWS)
    data = criteo(lines, ROWS) + ['--test_data', lines]
    folder = run(cluster, 2, 1, flags + ['--init', 'whole'], data, tmp_path / 'servers', 6)
    code, text = cluster.run(
        'trainer', '--role', 'local', *flags, *data, '--seed', 3, '--steps', 6, '--save_dir',
        tmp_path / 'local', '--report', tmp_path / 'report', '--summary', tmp_path / 'summary'
    )
    assert code == 0, text
    assert c.losses(tmp_path / 'servers' / 'report_0') == c.losses(tmp_path / 'report')
    assert tensors.same_folder(folder, str(tmp_path / 'local' / 'step_6')) == []
    one, two = (c.summary(tmp_path / place) for place in ('servers/summary', 'summary'))
    assert one['test'] and one['test'] == two['test']


def write_feed(folder, slots, steps, ids):
    """Batches of 4 samples whose ids come from the call."""
    draw = random.Random(11)
    for step in range(steps):
        base = os.path.join(str(folder), 'step_%03d' % step)
        for slot in range(1, slots + 1):
            tensors.write_sequences(
                os.path.join(base, 'C%d' % slot), 3, [[ids(draw)] for _ in range(4)]
            )
        dense = [draw.random() for _ in range(4 * 13)]
        tensors.write(os.path.join(base, 'dense_input'), 5, [4, 13], dense)
        tensors.write(os.path.join(base, 'label'), 3, [4, 1], [draw.randrange(2) for _ in range(4)])


@pytest.mark.parametrize('half', [0, 1])
def test_a_batch_that_touches_no_row_of_a_server(cluster, ctr, tmp_path, half):
    rows = 2000
    write_feed(tmp_path / 'feed', 5, 5, lambda draw: half * rows // 2 + draw.randrange(rows // 2))
    flags, data = ctr('ctr_dnn_adam', rows), ['--feed_dir', tmp_path / 'feed']
    init = flags + ['--init', 'whole']
    one = run(cluster, 1, 2, init, data, tmp_path / 'one', 5)
    two = run(cluster, 2, 2, init, data, tmp_path / 'two', 5)
    assert tensors.same_folder(one, two) == []


def test_an_id_out_of_range_is_one_clear_error(cluster, ctr, tmp_path):
    draws = iter(range(1, 10**6))

    def ids(draw):   # a step has 104 ids; the one that does not fit is in the last
        return ROWS if next(draws) == 19 * 104 + 50 else draw.randrange(ROWS)

    write_feed(tmp_path / 'feed', 26, 20, ids)
    flags = ctr('ctr_dnn_sgd', ROWS)
    data = ['--feed_dir', tmp_path / 'feed', '--steps', 20]
    servers = cluster.servers(2, 2, *flags)
    trainers = start(cluster, servers, 2, flags, data, tmp_path, saving=['--save_every', 2])
    cluster.finish(trainers + servers, DEADLINE, code=1)
    said = 'id 1 is %d, but table %s has rows 0..%d' % (ROWS, TABLE, ROWS - 1)
    assert any(said in t.text for t in trainers), cluster.story()
    kept = [n for n in os.listdir(str(tmp_path / 'saved')) if n.startswith('step_')]
    assert kept   # what was saved is whole, and the job goes on from there
    for name in kept:
        assert cluster.run('sluice', 'ckpt', 'verify', tmp_path / 'saved' / name)[0] == 0
    again = ['--feed_dir', tmp_path / 'feed', '--first_step', 0]
    run(cluster, 2, 2, flags, again, tmp_path / 'again', 2, ['--load_dir', tmp_path / 'saved'])


# ---- faults under way


def training(cluster, ctr, lines, tmp, endpoints=None):
    """2 x 2 in the middle of its steps."""
    flags = ctr('ctr_dnn_adam', 5001)
    data, often = criteo(lines, 5001) + ENDLESS, ['--save_every', 20, '--keep', 1]
    servers = cluster.servers(2, 2, *flags)
    trainers = start(cluster, servers, 2, flags, data, tmp, saving=often)
    trainers[0].wait_line('saved .*step_20 ')
    return servers, trainers


@pytest.mark.parametrize('victim', ['server', 'trainer'])
def test_a_death_ends_the_job_and_keeps_the_checkpoint(cluster, ctr, lines, tmp_path, victim):
    servers, trainers = training(cluster, ctr, lines, tmp_path)
    (servers if victim == 'server' else trainers)[1].kill()
    left = [servers[0], trainers[0], trainers[1] if victim == 'server' else servers[1]]
    cluster.finish(left, DEADLINE, code=1)
    named = servers[1].endpoint if victim == 'server' else 'trainer 1'
    assert named in trainers[0].text, trainers[0].text
    folder = [n for n in os.listdir(str(tmp_path / 'saved')) if n.startswith('step_')]
    assert len(folder) == 1
    assert cluster.run('sluice', 'ckpt', 'verify', tmp_path / 'saved' / folder[0])[0] == 0


def test_a_frozen_trainer_ends_the_job(cluster, ctr, lines, tmp_path):
    servers, trainers = training(cluster, ctr, lines, tmp_path)
    trainers[1].signal(signal.SIGSTOP)
    cluster.finish(servers + [trainers[0]], DEADLINE, code=1)
    assert 'trainer 1' in trainers[0].text


class Proxy(object):
    """Passes bytes on to a server, and cuts every connection after so many of them."""

    def __init__(self, endpoint, every):
        self.target, self.every, self.cuts = endpoint.split(':'), every, 0
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.endpoint = '127.0.0.1:%d' % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection((self.target[0], int(self.target[1])))
            left = [self.every]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other, left), daemon=True).start()

    def _pump(self, source, sink, left):
        try:
            while True:
                data = source.recv(4096)
                if not data:
                    break
                left[0] -= len(data)
                sink.sendall(data)
                if left[0] <= 0 and self.cuts < 12:
                    self.cuts += 1
                    break
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


def test_broken_connections_change_nothing(cluster, ctr, lines, tmp_path):
    flags, data = ctr('ctr_dnn_adam', 5001), criteo(lines, 5001)
    whole = run(cluster, 2, 2, flags, data, tmp_path / 'whole', 10)
    servers = cluster.servers(2, 2, *flags)
    proxies = [Proxy(s.endpoint, 150000) for s in servers]
    endpoints = ','.join(p.endpoint for p in proxies)
    trainers = start(
        cluster, endpoints, 2, flags, data, tmp_path / 'cut', '--steps', 10
    )
    cluster.finish(trainers + servers)
    for proxy in proxies:
        proxy.close()
    assert sum(p.cuts for p in proxies) >= 4
    assert tensors.same_folder(whole, str(tmp_path / 'cut' / 'saved' / 'step_10')) == []
    for number in range(2):
        report = 'report_%d' % number
        assert c.losses(tmp_path / 'cut' / report) == c.losses(tmp_path / 'whole' / report)
