# SPDX-License-Identifier: Apache-2.0
"""Saving, the three ways to begin from a folder, and how a run ends, in the local role."""

import json
import os
import shutil
import signal

import pytest

import cluster as c
import images
import tensors

MODEL = [
    '--model',
    'recognize_digits',
    '--hidden',
    '16',
    '--optimizer',
    'adam',
    '--learning_rate',
    '0.002',
    '--batch_size',
    '32',
]


@pytest.fixture
def data(tmp_path):
    return images.write(tmp_path / 'images')


@pytest.fixture
def train(cluster, data, tmp_path):
    """train(name, flags): a local run; returns (exit code, text, report lines, summary or None)."""

    def go(name, *args):
        report, summary = tmp_path / (name + '.report'), tmp_path / (name + '.summary')
        code, text = cluster.run(
            'trainer',
            '--role',
            'local',
            *MODEL,
            '--data',
            data,
            '--report',
            report,
            '--summary',
            summary,
            *args
        )
        lines = c.report(report) if report.exists() else []
        return code, text, lines, c.summary(summary) if summary.exists() else None

    return go


def ok(result):
    assert result[0] == 0, result[1]
    return result


def folder(tmp_path, *parts):
    return str(tmp_path.joinpath(*parts))


def test_load_dir_takes_everything_and_begins_with_new_data(train, tmp_path):
    first = ok(train('first', '--steps', 9, '--save_dir', tmp_path / 'm'))
    second = ok(
        train('second', '--steps', 3, '--save_dir', tmp_path / 'm', '--load_dir', tmp_path / 'm')
    )
    assert [line['step'] for line in second[2]] == [10, 11, 12]
    assert second[3]['loaded_from'] == folder(tmp_path, 'm', 'step_9')
    assert second[3]['saved_to'] == folder(tmp_path, 'm', 'step_12')
    # The same first batch as the first run, on better parameters.
    assert second[2][0]['loss'] < first[2][0]['loss']
    with open(tmp_path / 'm' / 'LATEST') as handle:
        assert handle.read().strip() == 'step_12'


def test_resume_goes_on_at_the_next_sample(train, tmp_path):
    whole = ok(train('whole', '--epochs', 2, '--save_dir', tmp_path / 'whole'))
    ok(train('part', '--steps', 7, '--save_dir', tmp_path / 'part'))
    rest = ok(
        train('rest', '--epochs', 2, '--save_dir', tmp_path / 'part', '--resume', tmp_path / 'part')
    )
    assert len(whole[2]) == 40
    assert [line['loss'] for line in rest[2]] == [line['loss'] for line in whole[2]][7:]
    assert os.path.basename(rest[3]['saved_to']) == 'epoch_2'
    assert tensors.same_folder(whole[3]['saved_to'], rest[3]['saved_to']) == []


def test_resume_counts_the_steps_of_the_whole_run(train, tmp_path):
    ok(train('part', '--steps', 7, '--save_dir', tmp_path / 'm'))
    rest = ok(
        train('rest', '--steps', 12, '--save_dir', tmp_path / 'm', '--resume', tmp_path / 'm')
    )
    assert rest[3]['steps'] == 5 and rest[3]['global_step'] == 12


def test_resume_of_a_complete_run_is_an_error(train, tmp_path):
    ok(train('all', '--epochs', 1, '--save_dir', tmp_path / 'm'))
    code, text, _, _ = train(
        'again', '--epochs', 1, '--save_dir', tmp_path / 'm', '--resume', tmp_path / 'm'
    )
    assert code == 1 and 'nothing is left' in text and '--load_dir' in text


def test_resume_refuses_other_data(train, cluster, tmp_path):
    ok(train('one', '--steps', 2, '--save_dir', tmp_path / 'm'))
    other = images.write(tmp_path / 'other', train=320, seed=2)
    code, text = cluster.run(
        'trainer', '--role', 'local', *MODEL, '--data', other, '--resume', tmp_path / 'm'
    )
    assert code == 1 and '--load_dir' in text and 'other' in text


def test_resume_uses_the_seed_of_the_run(train, tmp_path):
    whole = ok(train('whole', '--steps', 6, '--seed', 5))
    ok(train('part', '--steps', 3, '--seed', 5, '--save_dir', tmp_path / 'm'))
    rest = ok(train('rest', '--steps', 6, '--resume', tmp_path / 'm'))
    assert [line['loss'] for line in rest[2]] == [line['loss'] for line in whole[2]][3:]
    assert '--seed' in rest[1]


def test_init_from_takes_parameters_only(train, tmp_path):
    ok(train('one', '--steps', 4, '--save_dir', tmp_path / 'm'))
    ok(train('fresh', '--steps', 0, '--save_dir', tmp_path / 'fresh'))
    init = ok(
        train('init', '--steps', 0, '--save_dir', tmp_path / 'i', '--init_from', tmp_path / 'm')
    )
    assert init[3]['global_step'] == 0
    for name in tensors.names(folder(tmp_path, 'i', 'step_0')):
        parameter = name in ('fc_0.w_0', 'fc_0.b_0', 'fc_1.w_0', 'fc_1.b_0')
        source = (
            folder(tmp_path, 'm', 'step_4') if parameter else folder(tmp_path, 'fresh', 'step_0')
        )
        assert tensors.same_values(
            folder(tmp_path, 'i', 'step_0', name), os.path.join(source, name)
        ), name


def test_the_newest_is_told_by_its_step(train, tmp_path):
    ok(train('run', '--steps', 10, '--save_every', 3, '--save_dir', tmp_path / 'm'))
    for name in ('step_9', 'step_10', 'step_3'):  # modification times the wrong way round
        os.utime(tmp_path / 'm' / name)
    load = ok(train('load', '--steps', 1, '--load_dir', tmp_path / 'm'))
    assert load[3]['loaded_from'] == folder(tmp_path, 'm', 'step_10')


def test_an_incomplete_checkpoint_is_passed_over(train, tmp_path):
    ok(train('run', '--steps', 10, '--save_every', 9, '--save_dir', tmp_path / 'm'))
    os.remove(tmp_path / 'm' / 'step_10' / 'fc_0.w_0')
    load = ok(train('load', '--steps', 1, '--load_dir', tmp_path / 'm'))
    assert load[3]['loaded_from'] == folder(tmp_path, 'm', 'step_9')
    assert 'step_10' in load[1]


def test_missing_checkpoint(train, tmp_path):
    code, text, _, _ = train('missing', '--steps', 1, '--load_dir', tmp_path / 'nothing')
    assert code == 1 and 'nothing' in text and 'if_no_checkpoint' in text
    os.mkdir(tmp_path / 'empty')
    assert train('empty', '--steps', 1, '--load_dir', tmp_path / 'empty')[0] == 1
    begun = ok(
        train(
            'start', '--steps', 1, '--load_dir', tmp_path / 'nothing', '--if_no_checkpoint', 'start'
        )
    )
    assert begun[3]['loaded_from'] is None


def test_damaged_and_unfitting_files_load_nothing(train, tmp_path):
    saved = ok(train('run', '--steps', 2, '--save_dir', tmp_path / 'm'))[3]['saved_to']
    path = os.path.join(saved, 'fc_0.w_0')
    with open(path, 'r+b') as handle:
        handle.seek(100)
        handle.write(b'\x55')
    code, text, _, _ = train('flipped', '--steps', 1, '--load_dir', saved)
    assert code == 1 and 'fc_0.w_0' in text
    with open(path, 'r+b') as handle:
        handle.truncate(1000)
    code, text, _, _ = train('short', '--steps', 1, '--load_dir', saved)
    assert code == 1 and 'fc_0.w_0' in text


def test_files_of_another_shape_are_listed(train, cluster, data, tmp_path):
    saved = ok(train('run', '--steps', 2, '--save_dir', tmp_path / 'm'))[3]['saved_to']
    model = MODEL[:2] + ['--hidden', '24'] + MODEL[4:]
    code, text = cluster.run(
        'trainer', '--role', 'local', *model, '--data', data, '--steps', 1, '--load_dir', saved
    )
    assert code == 1, text
    for words in ('fc_0.w_0', '[784,16]', '[784,24]', 'fc_0.b_0', 'fc_1.w_0'):
        assert words in text, text


def test_a_plain_folder_without_manifest_loads(train, tmp_path):
    saved = ok(train('run', '--steps', 2, '--save_dir', tmp_path / 'm'))[3]['saved_to']
    plain = folder(tmp_path, 'plain')
    os.mkdir(plain)
    for name in tensors.names(saved):
        shutil.copy(os.path.join(saved, name), plain)
    with open(os.path.join(plain, 'notes.txt'), 'w') as handle:
        handle.write('not a variable')
    load = ok(train('load', '--steps', 0, '--load_dir', plain, '--save_dir', tmp_path / 'again'))
    assert '1 extra' in load[1] and 'notes.txt' in load[1]
    assert tensors.same_folder(saved, load[3]['saved_to']) == []


def test_partial_loads_what_fits(train, tmp_path):
    saved = ok(train('run', '--steps', 2, '--save_dir', tmp_path / 'm'))[3]['saved_to']
    plain = folder(tmp_path, 'plain')
    os.mkdir(plain)
    for name in tensors.names(saved):
        if name != 'fc_1.b_0':
            shutil.copy(os.path.join(saved, name), plain)
    code, text, _, _ = train('strict', '--steps', 0, '--load_dir', plain)
    assert code == 1 and 'fc_1.b_0: missing' in text and '--partial' in text, text
    flags = ['--load_dir', plain, '--partial', '--save_dir', tmp_path / 'again']
    load = ok(train('load', '--steps', 0, *flags))
    assert '1 missing (fc_1.b_0)' in load[1], load[1]
    wrong = tensors.same_folder(saved, load[3]['saved_to'])
    assert wrong == ['fc_1.b_0']


@pytest.mark.parametrize(
    'way,flags,want',
    [
        ('--load_dir', [], 0.002),
        ('--load_dir', ['--learning_rate', '0.5'], 0.5),
        ('--load_dir', ['--learning_rate', '0.5', '--learning_rate_from', 'checkpoint'], 0.002),
        ('--resume', ['--learning_rate', '0.5'], 0.002),
        ('--resume', ['--learning_rate', '0.5', '--learning_rate_from', 'job'], 0.5),
    ],
)
def test_whose_learning_rate_counts(train, cluster, data, tmp_path, way, flags, want):
    ok(train('run', '--steps', 2, '--save_dir', tmp_path / 'm'))
    model = MODEL[:6] + MODEL[8:]
    code, text = cluster.run(
        'trainer',
        '--role',
        'local',
        *model,
        '--data',
        data,
        '--steps',
        3,
        way,
        tmp_path / 'm',
        '--save_dir',
        tmp_path / 'm2',
        '--summary',
        tmp_path / 'sum',
        *flags
    )
    assert code == 0, text
    rate = tensors.read(os.path.join(c.summary(tmp_path / 'sum')['saved_to'], 'learning_rate_0'))
    assert rate.values[0] == pytest.approx(want, rel=1e-6)
    assert ('learning' in text and '0.5' in text) or not flags


def test_save_every_epoch_and_keep(train, tmp_path):
    end = ok(
        train(
            'run',
            '--epochs',
            4,
            '--save_every',
            '1epoch',
            '--keep',
            2,
            '--save_dir',
            tmp_path / 'm',
        )
    )
    assert sorted(os.listdir(tmp_path / 'm')) == ['LATEST', 'epoch_3', 'epoch_4']
    assert end[3]['saved_to'] == folder(tmp_path, 'm', 'epoch_4')
    assert end[1].count('saved ') == 4


def test_foreign_folder_is_never_replaced(train, tmp_path):
    os.makedirs(tmp_path / 'm' / 'step_2')
    with open(tmp_path / 'm' / 'step_2' / 'thesis.txt', 'w') as handle:
        handle.write('years of work')
    code, text, _, _ = train('run', '--steps', 2, '--save_dir', tmp_path / 'm')
    assert code == 1 and 'step_2' in text
    assert os.listdir(tmp_path / 'm' / 'step_2') == ['thesis.txt']


def test_nothing_that_is_not_finite_is_saved(train, cluster, data, tmp_path):
    good = ok(train('good', '--steps', 2, '--save_dir', tmp_path / 'm'))[3]
    model = MODEL[:4] + ['--optimizer', 'sgd', '--learning_rate', '1e30'] + MODEL[8:]
    code, text = cluster.run(
        'trainer',
        '--role',
        'local',
        *model,
        '--data',
        data,
        '--steps',
        5,
        '--init_from',
        good['saved_to'],
        '--save_dir',
        tmp_path / 'm'
    )
    assert code == 1, text
    assert sorted(os.listdir(tmp_path / 'm')) == ['LATEST', 'step_2']
    code, text = cluster.run('sluice', 'ckpt', 'verify', good['saved_to'])
    assert code == 0, text


def test_evaluation_at_the_end(train, data):
    end = ok(train('run', '--epochs', 10, '--test_data', data))[3]
    assert end['test']['samples'] == 200
    assert end['test_accuracy'] > 0.9
    assert end['last_loss'] < 0.5 * end['first_loss']


def test_sigterm_finishes_the_step_saves_and_says_so(cluster, data, tmp_path):
    run = cluster.start(
        'trainer',
        'trainer',
        '--role',
        'local',
        *MODEL,
        '--data',
        data,
        '--epochs',
        100000,
        '--save_dir',
        tmp_path / 'm',
        '--save_every',
        5,
        '--keep',
        1,
        '--summary',
        tmp_path / 'sum'
    )
    run.wait_line('saved .*step_5 ')
    run.signal(signal.SIGTERM)
    assert run.wait() == 3, run.text
    end = c.summary(tmp_path / 'sum')
    assert end['complete'] is False
    assert os.path.basename(end['saved_to']) == 'step_%d' % end['global_step']
    assert cluster.run('sluice', 'ckpt', 'verify', end['saved_to'])[0] == 0
    # What was stopped goes on exactly where it was.
    code, text = cluster.run(
        'trainer',
        '--role',
        'local',
        *MODEL,
        '--data',
        data,
        '--resume',
        tmp_path / 'm',
        '--steps',
        end['global_step'] + 3,
        '--summary',
        tmp_path / 'sum2'
    )
    assert code == 0 and c.summary(tmp_path / 'sum2')['steps'] == 3, text


def test_report_lines_are_json_with_short_numbers(train):
    lines = ok(train('run', '--steps', 2, '--fetch', 'fc_1.b_0'))[2]
    assert set(lines[0]) >= {'step', 'epoch', 'loss', 'acc', 'fetches', 'ms'}
    assert len(lines[0]['fetches']['fc_1.b_0']) == 10
    assert len(repr(lines[0]['loss'])) < 16


def test_summary_is_printed_as_one_line(cluster, data):
    code, text = cluster.run('trainer', '--role', 'local', *MODEL, '--data', data, '--steps', 1)
    assert code == 0
    assert json.loads(text.splitlines()[-1])['steps'] == 1


def test_job_file_and_environment(cluster, data, tmp_path):
    with open(tmp_path / 'job.conf', 'w') as handle:
        handle.write(
            '[model]\nmodel = recognize_digits\nhidden = 16\n[data]\ndata = %s\nsteps = 2\n'
            '[checkpoint]\nsave_dir = %s\n' % (data, tmp_path / 'm')
        )
    code, text = cluster.run(
        'trainer', '--role', 'local', '--config', tmp_path / 'job.conf', '--batch_size', 8
    )
    assert code == 0, text
    assert os.path.isdir(tmp_path / 'm' / 'step_2')
    assert 'hidden=16 (' in text and 'batch_size=8 (flag)' in text
