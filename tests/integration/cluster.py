# SPDX-License-Identifier: Apache-2.0
"""Starts and always ends real pserver and trainer processes.

Servers listen on port 0 and say where; trainers get those addresses. Every wait has a time-out,
after which the test fails with all that the processes said.
"""

import json
import os
import re
import signal
import subprocess
import threading
import time

WAIT = float(os.environ.get('SLUICE_TEST_WAIT', '60'))
READY = re.compile(r'ready on ([0-9.]+:[0-9]+) in ')


class Process(object):
    """One child. Its stderr is collected by a thread; stdout goes to the same place."""

    def __init__(self, name, argv, env, cwd):
        self.name, self.argv = name, argv
        self.lines = []
        self.changed = threading.Condition()
        self.ended = False
        self.child = subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.reader = threading.Thread(target=self._collect, daemon=True)
        self.reader.start()

    def _collect(self):
        for line in self.child.stdout:
            with self.changed:
                self.lines.append(line.decode('utf-8', 'replace').rstrip('\n'))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    @property
    def pid(self):
        return self.child.pid

    @property
    def text(self):
        with self.changed:
            return '\n'.join(self.lines)

    def wait_line(self, pattern, seconds=WAIT):
        """The match of the first line that has the pattern, already said or still to come."""
        wanted = re.compile(pattern)
        end = time.monotonic() + seconds
        seen = 0
        with self.changed:
            while True:
                while seen < len(self.lines):
                    found = wanted.search(self.lines[seen])
                    if found:
                        return found
                    seen += 1
                left = end - time.monotonic()
                if self.ended or left <= 0:
                    raise AssertionError(
                        '%s: no line like %r %s:\n%s'
                        % (
                            self.name,
                            pattern,
                            'before its end' if self.ended else 'in %g s' % seconds,
                            '\n'.join(self.lines),
                        )
                    )
                self.changed.wait(left)

    def wait(self, seconds=WAIT):
        """Its exit code."""
        try:
            code = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError('%s still runs after %g s:\n%s' % (self.name, seconds, self.text))
        self.reader.join(5)
        return code

    def signal(self, number=signal.SIGTERM):
        self.child.send_signal(number)

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self.reader.join(5)


class Cluster(object):
    """Everything that one test starts."""

    def __init__(self, build, work, env=None):
        self.build, self.work = build, str(work)
        self.env = dict(os.environ, OPENBLAS_NUM_THREADS='1')
        for name in list(self.env):
            if name.startswith('PADDLE_') or name in (
                'TRAINING_ROLE',
                'POD_IP',
                'CURRENT_ENDPOINT',
            ):
                del self.env[name]
        self.env.update(env or {})
        self.all = []

    def binary(self, name):
        return os.path.join(
            self.build, {'sluice': 'deploy/sluice/sluice'}.get(name, name + '/' + name)
        )

    def start(self, name, binary, *args, **env):
        argv = [self.binary(binary)] + [str(a) for a in args]
        process = Process(name, argv, dict(self.env, **env), self.work)
        self.all.append(process)
        return process

    def run(self, binary, *args, **env):
        """Runs to the end: (exit code, everything said)."""
        process = self.start(binary, binary, *args, **env)
        code = process.wait()
        return code, process.text

    def server(self, index, count, trainers, *args, **env):
        """Starts one of count servers on a free port; the list's addresses do not matter then."""
        stand_ins = ','.join('127.0.0.1:%d' % (i + 1) for i in range(count))
        return self.start(
            'pserver %d' % index,
            'pserver',
            '--pservers',
            stand_ins,
            '--trainers',
            trainers,
            '--current_endpoint',
            '127.0.0.1:0',
            '--pserver_id',
            index,
            *args,
            **env
        )

    def servers(self, count, trainers, *args, **env):
        """Starts count servers on free ports; returns them once all are ready."""
        found = [self.server(i, count, trainers, *args, **env) for i in range(count)]
        for server in found:
            server.endpoint = server.wait_line(READY).group(1)
        return found

    def trainer(self, number, servers, trainers, *args, **env):
        endpoints = servers if isinstance(servers, str) else ','.join(s.endpoint for s in servers)
        return self.start(
            'trainer %d' % number,
            'trainer',
            '--role',
            'trainer',
            '--trainer_id',
            number,
            '--pservers',
            endpoints,
            '--trainers',
            trainers,
            *args,
            **env
        )

    def finish(self, processes, seconds=WAIT, code=0):
        """Waits for the processes; each must end with code."""
        for process in processes:
            got = process.wait(seconds)
            assert got == code, '%s: exit %d, wanted %d\n%s' % (
                process.name,
                got,
                code,
                self.story(),
            )

    def story(self):
        return '\n'.join(
            '--- %s: %s\n%s' % (p.name, ' '.join(p.argv[1:]), p.text) for p in self.all
        )

    def end(self):
        for process in self.all:
            process.kill()


def report(path):
    """The JSON lines of --report."""
    with open(path) as handle:
        return [json.loads(line) for line in handle]


def losses(path):
    return [line['loss'] for line in report(path)]


def summary(path):
    with open(path) as handle:
        return json.load(handle)


def golden_job(case):
    """The flags that name a golden case's program."""
    with open(os.path.join(case, 'case.json')) as handle:
        facts = json.load(handle)
    args = [
        '--main_program',
        os.path.join(case, 'main.pb'),
        '--startup_program',
        os.path.join(case, 'startup.pb'),
    ]
    return facts, args
