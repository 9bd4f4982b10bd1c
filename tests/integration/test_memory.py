# SPDX-License-Identifier: Apache-2.0
"""Thousands of steps of 2 servers and 2 trainers need no more memory than the first hundreds."""

import fcntl
import os
import select
import time

import cluster as c
import images

STEPS = 3000
FIRST, LAST = 700, 2900   # steps after which processes are weighed
GROWTH_BYTES_MAX = 1 << 20
F_SETPIPE_SZ = 1031        # of Linux; the fcntl module names it from Python 3.10 on
MODEL = ['--model', 'recognize_digits', '--hidden', '32', '--optimizer', 'adam']


def resident_bytes(process):
    with open('/proc/%d/statm' % process.pid) as handle:
        return int(handle.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


class Steps(object):
    """The lines of a report that is a pipe: the trainer writes, the test counts and holds it back
    by not reading, so that nothing ends while it is weighed."""

    def __init__(self, path):
        os.mkfifo(path)
        self.file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self.file, F_SETPIPE_SZ, 4096)
        self.poll = select.poll()
        self.poll.register(self.file, select.POLLIN)
        self.count = 0

    def read_to(self, step, cluster):
        """Reads until so many steps were told."""
        end = time.monotonic() + c.WAIT
        while self.count < step:
            left = end - time.monotonic()
            assert left > 0 and self.poll.poll(left * 1e3), cluster.story()
            data = os.read(self.file, 1 << 16)
            assert data, 'the trainer ended after %d steps\n%s' % (self.count, cluster.story())
            self.count += data.count(b'\n')

    def close(self):
        os.close(self.file)


def test_memory_of_servers_and_trainers_stays_flat(cluster, tmp_path):
    data = images.write(tmp_path / 'images', train=640, test=20)
    steps = Steps(str(tmp_path / 'report'))
    servers = cluster.servers(2, 2, *MODEL)
    trainers = [
        cluster.trainer(
            i, servers, 2, *MODEL, '--data', data, '--batch_size', 8, '--steps', STEPS,
            '--progress', 'off', *(['--report', tmp_path / 'report'] if i == 0 else [])
        )
        for i in range(2)
    ]
    steps.read_to(FIRST, cluster)
    before = [resident_bytes(p) for p in servers + trainers]
    steps.read_to(LAST, cluster)
    grown = [resident_bytes(p) - b for p, b in zip(servers + trainers, before)]
    steps.read_to(STEPS, cluster)
    steps.close()
    cluster.finish(trainers + servers)
    for process, bytes_more in zip(servers + trainers, grown):
        assert bytes_more <= GROWTH_BYTES_MAX, '%s grew: %s' % (process.name, grown)
    print('bytes grown from step %d to %d: %s of %s' % (FIRST, LAST, grown, before))
