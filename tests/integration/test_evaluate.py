# SPDX-License-Identifier: Apache-2.0
"""--eval_every: evaluations on the way, and the best checkpoint that is kept."""

import json
import os

import pytest

import cluster as c
import images
import tensors

NETWORK = ['--model', 'recognize_digits', '--hidden', '16', '--optimizer', 'adam']
MODEL = NETWORK + ['--batch_size', '20']


@pytest.fixture
def data(tmp_path):
    return images.write(tmp_path / 'data', train=200, test=100)


def local(cluster, tmp, *flags):
    code, text = cluster.run('trainer', '--role', 'local', *MODEL, '--summary', tmp / 's', *flags)
    assert code == 0, text
    return c.summary(tmp / 's'), text


def test_evaluations_and_the_best_of_them(cluster, data, tmp_path):
    end, text = local(cluster, tmp_path, '--data', data, '--test_data', data, '--epochs', 6,
                      '--eval_every', '1epoch', '--save_dir', tmp_path / 'm')
    found = end['evaluations']
    assert [e['step'] for e in found] == [10, 20, 30, 40, 50, 60]
    assert all(e['samples'] == 100 for e in found) and end['test'] == found[-1]
    best = max(found, key=lambda e: (e['acc'], -e['step']))
    assert end['best'] == {'metric': 'acc', 'value': best['acc'], 'step': best['step'],
                           'path': str(tmp_path / 'm' / 'best')}
    shown = json.loads(cluster.run('sluice', 'ckpt', 'show', tmp_path / 'm' / 'best', '--json')[1])
    assert shown['progress']['step'] == best['step']
    assert text.count('test  step') == 6 and 'best so far: acc' in text
    # What is kept gives the evaluation that it was kept for.
    again, _ = local(cluster, tmp_path, '--data', data, '--test_data', data, '--steps', 1,
                     '--load_dir', tmp_path / 'm' / 'best', '--learning_rate', '0')
    assert again['test']['acc'] == best['acc']


def test_training_does_not_see_evaluations(cluster, data, tmp_path):
    flags = ['--data', data, '--steps', 30, '--save_dir']
    local(cluster, tmp_path, *flags, tmp_path / 'a')
    local(cluster, tmp_path, *flags, tmp_path / 'b', '--test_data', data, '--eval_every', 7)
    a, b = (str(tmp_path / name / 'step_30') for name in 'ab')
    assert tensors.same_folder(a, b) == []


def test_the_best_of_a_run_that_goes_on(cluster, data, tmp_path):
    job = ['--data', data, '--test_data', data, '--eval_every', '10', '--best_metric', 'loss',
           '--save_dir', tmp_path / 'm']
    first, _ = local(cluster, tmp_path, *job, '--steps', 20)
    note = json.loads((tmp_path / 'm' / 'best.json').read_text())
    assert note['metric'] == 'loss' and note['step'] == first['best']['step'] == 20
    # A later part that only gets worse leaves the best alone.
    later, _ = local(cluster, tmp_path, *job, '--steps', 20, '--load_dir', tmp_path / 'm',
                     '--learning_rate', '1.0')
    assert later['evaluations'][-1]['loss'] > first['best']['value']
    assert later['best']['step'] == 20
    assert json.loads((tmp_path / 'm' / 'best.json').read_text()) == note


@pytest.mark.parametrize('flags,words', [
    (['--eval_every', '5'], ['--test_data']),
    (['--eval_every', '5', '--test_data', 'DATA', '--best_metric', 'auc'], ['auc', 'acc', 'loss']),
])
def test_wrong_options_are_told_before_training(cluster, data, tmp_path, flags, words):
    flags = [data if f == 'DATA' else f for f in flags]
    code, text = cluster.run('trainer', '--role', 'local', *MODEL, '--data', data, '--steps', 5,
                             '--save_dir', tmp_path / 'm', *flags)
    assert code == 2 and all(w in text for w in words), text


def test_trainer_0_evaluates_while_the_others_wait(cluster, data, tmp_path):
    servers = cluster.servers(2, 2, *NETWORK)
    job = [*MODEL, '--data', data, '--steps', 15]
    trainers = [
        cluster.trainer(0, servers, 2, *job, '--summary', tmp_path / 's', '--test_data', data,
                        '--eval_every', 5, '--save_dir', tmp_path / 'm'),
        cluster.trainer(1, servers, 2, *job),
    ]
    cluster.finish(trainers + servers)
    end = c.summary(tmp_path / 's')
    assert [e['step'] for e in end['evaluations']] == [5, 10, 15]
    assert os.path.isdir(tmp_path / 'm' / 'best')


def test_the_auc_of_all_batches_decides_before_that_of_the_last(cluster, golden, tmp_path):
    """fluid.layers.auc puts the window's operator in front of the whole one."""
    where = golden('ctr_dnn_sgd')
    facts = json.loads(open(os.path.join(where, 'case.json')).read())
    feeds = 'feed_dir://' + os.path.join(where, facts['feed_dir'])
    code, text = cluster.run(
        'trainer', '--role', 'local', '--main_program', os.path.join(where, 'main.pb'),
        '--startup_program', os.path.join(where, 'startup.pb'), '--loss', facts['loss'],
        '--data', feeds, '--test_data', feeds, '--steps', 4, '--eval_every', 2,
        '--save_dir', tmp_path / 'm', '--summary', tmp_path / 's')
    assert code == 0, text
    assert c.summary(tmp_path / 's')['best']['metric'] == 'auc'
