# SPDX-License-Identifier: Apache-2.0
"""Two servers and two trainers against what four processes of Paddle 1.8.5 computed."""

import os

import pytest

import cluster as c
import tensors

RUN = [
    'fit_a_line_synthetic',
    'fit_a_line',
    'digits_sgd',
    'digits_momentum',
    'digits_adam',
    'digits_adagrad',
    'digits_ftrl',
    'digits_rmsprop',
    'lr_exponential',
    'lr_piecewise',
    'reg_l2',
    'lenet_digits_bn',
    'word2vec',
    'word2vec_sparse',
    'deepfm_flat',
    'ctr_dnn_adam',
]
RESUME = [
    'fit_a_line_synthetic',
    'fit_a_line',
    'digits_momentum',
    'digits_adam',
    'lr_piecewise',
    'ctr_dnn_adam',
]
COUNTER = '@LR_DECAY_COUNTER@'
RING = 4 * 257 + 1  # auc's counts of 4 steps


def live(name):
    """Paddle saves no rate and the schedule's first count; ours are live."""
    return name.startswith('learning_rate') or name == COUNTER


def rate_of(folder):
    """The names in a saved folder that tell the learning rate."""
    return [n for n in tensors.names(folder) if live(n)]


def run(cluster, case, tmp, first_step, steps, load=(), pservers=2):
    """Runs the case with two trainers; returns the folder that trainer 0 saved."""
    facts, job = c.golden_job(case)
    servers = cluster.servers(pservers, 2, *job, *load)
    feed = os.path.join(case, facts['dist_run']['feed_dir'], 'trainer_{trainer_id}')
    trainers = []
    for number in range(2):
        save = ['--save_dir', tmp / 'saved'] if number == 0 else []
        trainers.append(
            cluster.trainer(
                number,
                servers,
                2,
                *job,
                '--loss',
                facts['loss'],
                '--feed_dir',
                feed,
                '--first_step',
                first_step,
                '--steps',
                steps,
                '--report',
                tmp / ('report_%d' % number),
                '--summary',
                tmp / ('summary_%d' % number),
                *save
            )
        )
    cluster.finish(trainers + servers)
    return c.summary(tmp / 'summary_0')['saved_to']


def is_count(folder, name):
    """Counts of auc: whole numbers that only trainers hold."""
    return tensors.read(os.path.join(folder, name)).dtype == 3 and not live(name)


def check_counts(first, rest, got):
    """Paddle's trainers count from nothing after a resume; ours go on. The counts of the last steps
    (a ring, the number of steps behind it) are those of the same batches, from another place on."""
    checked = 0
    for name in [n for n in tensors.names(first) if is_count(first, n)]:
        folders = (first, rest, got)
        one, two, both = (list(tensors.read(os.path.join(d, name)).values) for d in folders)
        if len(both) == RING:
            assert both[-1] == one[-1] + two[-1], name
            assert sum(both[:-1]) == sum(two[:-1]), name
        else:
            assert both == [a + b for a, b in zip(one, two)], name
        checked += 1
    assert checked == 4


def check(case, kind, tmp, saved):
    for number in range(2):
        want = tensors.read_losses(os.path.join(case, kind, 'losses_trainer_%d.txt' % number))
        tensors.assert_losses(c.losses(tmp / ('report_%d' % number)), want)
    want = os.path.join(case, kind, 'saved')
    counts = [n for n in tensors.names(want) if kind == 'dist_resume' and is_count(want, n)]
    tensors.assert_close(saved, want, exempt=lambda name: live(name) or name in counts)
    if counts:
        check_counts(os.path.join(case, 'dist_run', 'saved'), want, saved)


@pytest.mark.parametrize('name', RUN)
def test_run_and_saved_folder(cluster, golden, tmp_path, name):
    case = golden(name)
    saved = run(cluster, case, tmp_path, 0, c.golden_job(case)[0]['dist_run']['steps'])
    check(case, 'dist_run', tmp_path, saved)
    assert rate_of(saved)


@pytest.mark.parametrize('name', RESUME)
def test_resume_from_the_folder_that_paddle_saved(cluster, golden, tmp_path, name):
    case = golden(name)
    facts = c.golden_job(case)[0]['dist_resume']
    saved = run(
        cluster,
        case,
        tmp_path,
        facts['first_step'],
        facts['steps'],
        ['--load_dir', os.path.join(case, 'dist_run', 'saved')],
    )
    check(case, 'dist_resume', tmp_path, saved)
    servers = [p for p in cluster.all if p.name.startswith('pserver')]
    assert all('kept learning_rate' in s.text for s in servers), cluster.story()


@pytest.mark.parametrize('name', ['fit_a_line_synthetic', 'digits_adam'])
def test_trainers_begin_with_what_the_servers_drew(cluster, golden, tmp_path, name):
    case = golden(name)
    servers = cluster.servers(2, 2, *c.golden_job(case)[1])
    code, text = cluster.run(
        'sluice',
        'ckpt',
        'pull',
        '--pservers',
        ','.join(s.endpoint for s in servers),
        '--out',
        tmp_path / 'pulled',
    )
    assert code == 0, text
    received = os.path.join(case, 'dist_run', 'received')
    for name in tensors.names(received):
        assert tensors.same_values(
            str(tmp_path / 'pulled' / name), os.path.join(received, name)
        ), name


@pytest.mark.parametrize('pservers', [2, 3])
def test_init_whole_begins_as_one_machine_does(cluster, golden, tmp_path, pservers):
    case = golden('digits_adam')
    servers = cluster.servers(pservers, 2, *c.golden_job(case)[1], '--init', 'whole')
    endpoints = ','.join(s.endpoint for s in servers)
    out = tmp_path / 'pulled'
    code, text = cluster.run('sluice', 'ckpt', 'pull', '--pservers', endpoints, '--out', out)
    assert code == 0, text
    initial = os.path.join(case, 'init')
    for name in tensors.names(initial):
        assert tensors.same_values(str(out / name), os.path.join(initial, name)), name


def test_two_runs_are_bit_identical(cluster, golden, tmp_path):
    case = golden('digits_adam')
    folders = []
    for again in ('one', 'two'):
        (tmp_path / again).mkdir()
        folders.append(run(cluster, case, tmp_path / again, 0, 10))
    assert tensors.same_folder(*folders) == []
    for number in range(2):
        one, two = (c.losses(tmp_path / again / ('report_%d' % number)) for again in ('one', 'two'))
        assert one == two


@pytest.mark.parametrize('name', ['digits_momentum', 'lr_piecewise'])
def test_save_and_resume_equals_the_uninterrupted_run(cluster, golden, tmp_path, name):
    case = golden(name)
    for part in ('whole', 'first', 'rest'):
        (tmp_path / part).mkdir()
    whole = run(cluster, case, tmp_path / 'whole', 0, 10)
    first = run(cluster, case, tmp_path / 'first', 0, 4)
    rest = run(cluster, case, tmp_path / 'rest', 4, 6, ['--load_dir', first])
    assert tensors.same_folder(whole, rest) == []
    assert os.path.basename(rest) == 'step_10'
    assert c.losses(tmp_path / 'rest' / 'report_1') == c.losses(tmp_path / 'whole' / 'report_1')[4:]


def test_three_servers_go_on_from_two_with_the_same_losses(cluster, golden, tmp_path):
    case = golden('digits_adam')
    for part in ('two', 'three'):
        (tmp_path / part).mkdir()
    load = ['--load_dir', os.path.join(case, 'dist_run', 'saved')]
    run(cluster, case, tmp_path / 'two', 10, 5, load)
    run(cluster, case, tmp_path / 'three', 10, 5, load, pservers=3)
    assert c.losses(tmp_path / 'two' / 'report_0') == c.losses(tmp_path / 'three' / 'report_0')
