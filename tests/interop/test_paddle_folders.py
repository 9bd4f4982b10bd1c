# SPDX-License-Identifier: Apache-2.0
"""Folders and fluid.save files between Sluice and real Paddle 1.8.5, both ways.

One process of Paddle does everything that Paddle has to do: for every optimizer it trains, saves
and goes on, and loads what Sluice saved and goes on. Needs SLUICE_PADDLE_PYTHON (tests/interop/
setup makes one); skipped aloud without.
"""

import json
import os
import re
import subprocess

import pytest

import cluster as c
import tensors

HERE = os.path.dirname(os.path.abspath(__file__))
BEFORE, AFTER = 5, 10

OPTIMIZERS = [
    'digits_sgd',
    'digits_momentum',
    'digits_momentum_nesterov',
    'digits_adagrad',
    'digits_adagrad_init',
    'digits_adam',
    'digits_adam_lazy',
    'digits_adamax',
    'digits_decayed_adagrad',
    'digits_adadelta',
    'digits_ftrl',
    'digits_ftrl_power',
    'digits_rmsprop',
    'digits_rmsprop_centered',
    'digits_rmsprop_momentum',
    'digits_lamb',
    'digits_lars',
    'digits_dpsgd',
    'digits_ema',
    'digits_lookahead',
    'digits_model_average',
]
# The prediction of the digits_* networks.
FEED, TARGET = 'img', 'fc_1.tmp_2'
# fluid.save's three files, and one combined file.
STATES = ['digits_adam', 'digits_ftrl', 'digits_sgd']


def files(job):
    """What a job's files are called in each of the ways to save."""
    return {
        'folder': ('save_persistables', 'load_persistables', [os.path.join(job, 'folder'), None]),
        'combined': ('save_persistables', 'load_persistables', [os.path.join(job, 'one'), 'all']),
        'state': ('save', 'load', [os.path.join(job, 'state', 'model')]),
    }


def ways(name):
    return ['folder', 'combined', 'state'] if name in STATES else ['folder']


class Exchange(object):
    """The losses of both sides after loading what either saved."""

    def __init__(self, build, goldens, python, work):
        self.build, self.work = build, work
        self.facts, self.where = {}, {}
        for name in OPTIMIZERS:
            self.where[name] = os.path.join(goldens, name)
            with open(os.path.join(self.where[name], 'case.json')) as handle:
                self.facts[name] = json.load(handle)
        self.ours_own = dict(
            (n, self.ours(n, 'startup', *self.saving(n, 'ours'))) for n in OPTIMIZERS
        )
        self.results = self.paddles(python)

    def feed_dir(self, name):
        return os.path.join(self.where[name], self.facts[name]['feed_dir'])

    def saving(self, name, side):
        """Steps in interop_state's language: train, save in all ways, go on."""
        steps = ['run=0,%d' % BEFORE]
        for way in ways(name):
            save, _, args = files(os.path.join(self.work, side, name))[way]
            steps.append('%s=%s' % (save, ','.join(a for a in args if a)))
        model = os.path.join(self.work, side, name, 'model')
        steps.append('save_inference=%s,%s,%s' % (model, FEED, TARGET))
        return steps + ['run=%d,%d' % (BEFORE, AFTER)]

    def loading(self, name, side, way):
        _, load, args = files(os.path.join(self.work, side, name))[way]
        return [
            'startup',
            '%s=%s' % (load, ','.join(a for a in args if a)),
            'run=%d,%d' % (BEFORE, AFTER),
        ]

    def ours(self, name, *steps):
        where = self.where[name]
        done = subprocess.run(
            [
                os.path.join(self.build, 'tests', 'interop', 'interop_state'),
                os.path.join(where, 'main.pb'),
                os.path.join(where, 'startup.pb'),
                self.feed_dir(name),
                self.facts[name]['loss'],
            ]
            + list(steps),
            env=dict(os.environ, OPENBLAS_NUM_THREADS='1'),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=c.WAIT,
        )
        text = done.stdout.decode('utf-8', 'replace')
        assert done.returncode == 0, '%s %s\n%s' % (name, steps, text)
        return [float(v) for v in re.findall(r'^loss \d+ (\S+)$', text, re.M)]

    def paddles(self, python):
        jobs = []
        for name in OPTIMIZERS:
            jobs.append(self.job(name, 'own', ['startup'] + self.saving(name, 'paddle')))
            for way in ways(name):
                jobs.append(self.job(name, way, self.loading(name, 'ours', way)))
            load = self.loading(name, 'ours', 'folder')[:-1]
            ours, again = (os.path.join(self.work, s, name, 'model') for s in ('ours', 'again'))
            save = 'save_inference=%s,%s,%s' % (again, FEED, TARGET)
            jobs.append(self.job(name, 'model', ['infer=' + ours]))
            jobs.append(self.job(name, 'model again', load + [save, 'infer=' + again]))
        path = os.path.join(self.work, 'jobs.json')
        with open(path, 'w') as handle:
            json.dump(jobs, handle)
        done = subprocess.run(
            [python, os.path.join(HERE, 'paddle_side.py'), path],
            env=dict(os.environ, OMP_NUM_THREADS='1', CPU_NUM='1'),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
        )
        text = done.stdout.decode('utf-8', 'replace')
        lines = [line for line in text.splitlines() if line.startswith('RESULT ')]
        results = [json.loads(line[len('RESULT ') :]) for line in lines]
        assert len(results) == len(jobs), text
        return dict((r['name'], r) for r in results)

    def job(self, name, what, steps):
        """interop_state's language as paddle_side's."""
        parsed = []
        for step in steps:
            do, _, rest = step.partition('=')
            args = rest.split(',') if rest else []
            if do == 'run':
                args = [int(a) for a in args]
            elif do.endswith('_persistables') and len(args) == 1:
                args.append(None)
            parsed.append([do] + args)
        where = self.where[name]
        return {
            'name': '%s %s' % (name, what),
            'main': os.path.join(where, 'main.pb'),
            'startup': os.path.join(where, 'startup.pb'),
            'feed_dir': self.feed_dir(name),
            'loss': self.facts[name]['loss'],
            'parameters': [p['name'] for p in self.facts[name]['parameters']],
            'steps': parsed,
        }

    def paddle_losses(self, name, what):
        result = self.results['%s %s' % (name, what)]
        assert 'losses' in result, result.get('error')
        return result['losses']


@pytest.fixture(scope='module')
def exchange(build, goldens, tmp_path_factory):
    python = os.environ.get('SLUICE_PADDLE_PYTHON')
    if not python:
        pytest.skip('real Paddle is not here (SLUICE_PADDLE_PYTHON; tests/interop/setup makes one)')
    return Exchange(build, goldens, python, str(tmp_path_factory.mktemp('exchange')))


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_paddle_goes_on_from_what_was_saved_here(exchange, name):
    for way in ways(name):
        tensors.assert_losses(exchange.paddle_losses(name, way), exchange.ours_own[name][BEFORE:])


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_training_goes_on_from_what_paddle_saved(exchange, name):
    want = exchange.paddle_losses(name, 'own')[BEFORE:]
    assert len(want) == AFTER
    for way in ways(name):
        tensors.assert_losses(exchange.ours(name, *exchange.loading(name, 'paddle', way)), want)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_paddle_predicts_with_a_model_that_was_saved_here(exchange, name):
    """The same numbers as with the model that Paddle makes of the same variables."""
    ours, want = (exchange.paddle_losses(name, what) for what in ('model', 'model again'))
    assert len(ours) % 10 == 0 and len(ours) > 0 and ours == want
