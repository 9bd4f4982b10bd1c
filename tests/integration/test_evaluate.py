# SPDX-License-Identifier: Apache-2.0
"""--eval_every: evaluations on the way, and the best checkpoint that is kept."""

import json
import os
import random

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


def predictions(cluster, tmp, model, rows):
    """The classes that `sluice infer` tells for rows of 784 pixels."""
    feeds = tmp / 'feeds' / 'step_000'
    feeds.mkdir(parents=True)
    tensors.write(str(feeds / 'img'), 5, [len(rows), 784], [x for row in rows for x in row])
    code, text = cluster.run('sluice', 'infer', model, '--feed_dir', tmp / 'feeds', '--out',
                             tmp / 'out')
    assert code == 0, text
    (path,) = [p for p in (tmp / 'out' / 'step_000').rglob('*') if p.is_file()]
    values = list(tensors.read(str(path)).values)
    return [max(range(10), key=lambda k: values[10 * i + k]) for i in range(len(rows))]


def bars(count=50):
    """Pictures as images.write draws them, scaled as the reader does, and their classes."""
    rng = random.Random(7)
    rows, labels = [], [rng.randrange(10) for _ in range(count)]
    for label in labels:
        pixels = [rng.getrandbits(8) >> 3 for _ in range(784)]
        for k in range(28):
            pixels[56 * label + 60 + k] = 200 + (pixels[56 * label + 60 + k] & 31)
        rows.append([x / 127.5 - 1 for x in pixels])
    return rows, labels


@pytest.mark.parametrize('servers', [0, 2])
def test_the_model_for_prediction_is_saved_at_the_end(cluster, tmp_path, servers):
    data = images.write(tmp_path / 'more', train=640, test=10)
    job = [*MODEL, '--data', data, '--epochs', '15']
    model = tmp_path / 'inference'
    if servers:
        started = cluster.servers(servers, 1, *NETWORK)
        cluster.finish([cluster.trainer(0, started, 1, *job, '--save_inference', model)] + started)
    else:
        local(cluster, tmp_path, *job[len(MODEL):], '--save_inference', model)
    rows, labels = bars()
    told = predictions(cluster, tmp_path, model, rows)
    assert sum(a == b for a, b in zip(told, labels)) > 45
    assert not [n for n in os.listdir(model) if 'moment' in n or 'learning_rate' in n]
    assert cluster.run('sluice', 'ckpt', 'verify', model)[0] == 0


def test_targets_are_looked_at_before_training(cluster, data, tmp_path):
    code, text = cluster.run('trainer', '--role', 'local', *MODEL, '--data', data, '--steps', 5,
                             '--save_inference', tmp_path / 'i', '--targets', 'nothing')
    assert code != 0 and 'nothing' in text and not os.path.exists(tmp_path / 'i'), text
