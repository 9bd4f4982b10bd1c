# SPDX-License-Identifier: Apache-2.0
"""One clear error for each kind of bad input: 2 for what options, environment or job file alone
show, 1 for all else; nothing half-written."""

import os
import shutil
import subprocess

import pytest

import cluster as c
import images
import tensors

ZOO = ['--model', 'fit_a_line']
LOCAL = ['--role', 'local']
TWO = ['--pservers', '127.0.0.1:6174,127.0.0.1:6175', '--trainers', '2']
AT = ['--current_endpoint', '127.0.0.1:6174']


@pytest.mark.parametrize(
    'binary,flags,words',
    [
        ('trainer', LOCAL + ZOO + ['--bach_size', '3'], ['--bach_size', '--batch_size']),
        ('trainer', LOCAL + ZOO + ['--steps', '3', '--steps', '4'], ['--steps']),
        ('trainer', LOCAL + ZOO + ['--steps', 'many'], ['--steps', 'many']),
        ('trainer', LOCAL + ZOO + ['--steps', '-1'], ['--steps']),
        ('trainer', LOCAL + ZOO + ['--batch_size', '0'], ['--batch_size']),
        ('trainer', LOCAL + ZOO + ['--steps'], ['--steps']),
        ('trainer', LOCAL + ZOO + ['surprise'], ['surprise']),
        ('trainer', LOCAL + ZOO, ['--data']),
        ('trainer', LOCAL + ['--data', 'x'], ['--model']),
        (
            'trainer',
            LOCAL + ['--data', 'x', '--model', 'resnet50'],
            ['resnet50', 'recognize_digits'],
        ),
        ('trainer', LOCAL + ['--data', 'x', '--main_program', 'x'], ['--startup_program']),
        ('trainer', LOCAL + ZOO + ['--main_program', 'x'], ['model', 'main_program', 'give one']),
        (
            'trainer',
            LOCAL + ZOO + ['--data', 'x', '--load_dir', 'a', '--resume', 'b'],
            ['load_dir', 'resume', 'give one'],
        ),
        (
            'trainer',
            LOCAL + ZOO + ['--data', 'x', '--save_every', '3weeks'],
            ['--save_every', '3weeks'],
        ),
        (
            'trainer',
            LOCAL + ZOO + ['--data', 'x', '--current_endpoint', '127.0.0.1:1'],
            ['--current_endpoint'],
        ),
        ('trainer', ZOO + TWO + ['--data', 'x', '--trainer_id', '2'], ['trainer_id', '2']),
        (
            'trainer',
            ZOO + TWO + ['--data', 'x', '--trainer_id', '0', '--sync_mode', 'false'],
            ['sync_mode'],
        ),
        ('trainer', ZOO + ['--data', 'x', '--trainer_id', '0'], ['--pservers']),
        (
            'trainer',
            ZOO + TWO + ['--data', 'x', '--trainer_id', '0', '--load_dir', 'x'],
            ['--load_dir'],
        ),
        (
            'pserver',
            ZOO + TWO + ['--current_endpoint', '127.0.0.1:7000'],
            ['127.0.0.1:7000', '--pservers'],
        ),
        ('pserver', ZOO + TWO, ['--current_endpoint']),
        (
            'pserver',
            ZOO + AT + ['--pservers', '127.0.0.1', '--trainers', '1'],
            ['--pservers', '127.0.0.1'],
        ),
        ('pserver', ZOO + AT + ['--pservers', '127.0.0.1:99999', '--trainers', '1'], ['99999']),
        (
            'pserver',
            ZOO + AT + ['--pservers', '127.0.0.1:6174,127.0.0.1:6174', '--trainers', '1'],
            ['6174'],
        ),
        ('pserver', ZOO + TWO + AT + ['--sync_mode=false'], ['sync_mode']),
        ('pserver', ZOO + TWO + AT + ['--pserver_id', '2'], ['pserver_id']),
        ('pserver', ZOO + TWO + AT + ['--min_block_size', '100'], ['min_block_size', '8192']),
        ('pserver', ZOO + TWO + AT + ['--data', 'x'], ['--data']),
        ('trainer', LOCAL + ZOO + ['--data', 'x', '--save_every', '5'], ['--save_dir']),
        ('trainer', LOCAL + ZOO + ['--data', 'x', '--fetch_dir', 'f'], ['--fetch']),
        ('trainer', LOCAL + ZOO + ['--data', 'x', '--partial'], ['--partial', '--load_dir']),
        (
            'trainer',
            LOCAL + ['--main_program', 'a', '--startup_program', 'b', '--optimizer', 'adam'],
            ['--optimizer=adam', 'main_program'],
        ),
        ('trainer', ZOO + ['--data', 'x', '--pservers', '127.0.0.1:0'], ['127.0.0.1:0', 'port 0']),
        ('sluice', ['ckpt', 'pull', '--pservers', '127.0.0.1:1'], ['--out']),
        ('sluice', ['ckpt', 'pull', '--pservers', 'nonsense', '--out', 'x'], ['nonsense']),
        ('sluice', ['ckpt', 'explode'], ['explode']),
    ],
)
def test_what_options_show_is_exit_2(cluster, tmp_path, binary, flags, words):
    code, text = cluster.run(binary, *flags)
    assert code == 2, text
    for word in words:
        assert word in text, text
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    'text,words',
    [
        ('[model]\nmodel = fit_a_line\nspeed = 9\n', ['job.conf:3', 'speed']),
        ('[model]\nmodel = fit_a_line\nmodel = fit_a_line\n', ['job.conf:3', 'model']),
        ('[model] ; text\nmodel = fit_a_line\n', ['job.conf:1']),
        ('[model]\nmodel = fit_a_line\n  more\n', ['job.conf:3']),
        ('[data]\nbatch_size = zero\n', ['job.conf:2', 'batch_size']),
    ],
)
def test_bad_job_file(cluster, tmp_path, text, words):
    with open(tmp_path / 'job.conf', 'w') as handle:
        handle.write(text)
    code, said = cluster.run('trainer', '--role', 'local', '--config', tmp_path / 'job.conf')
    assert code == 2, said
    for word in words:
        assert word in said, said


def test_bad_environment(cluster):
    flags = ['--model', 'fit_a_line', '--data', 'x', '--pservers', '127.0.0.1:1']
    code, text = cluster.run('trainer', *flags, PADDLE_TRAINERS_NUM='two', PADDLE_TRAINER_ID='0')
    assert code == 2 and 'PADDLE_TRAINERS_NUM' in text, text
    code, text = cluster.run('trainer', *flags, PADDLE_TRAINERS_NUM='2', PADDLE_TRAINER_ID='7')
    assert code == 2 and 'PADDLE_TRAINER_ID' in text, text


def test_environment_of_fluid_launchers(cluster, tmp_path):
    data = images.write(tmp_path / 'images', train=64)
    model = ['--model', 'recognize_digits', '--hidden', '8']
    server = cluster.start(
        'pserver',
        'pserver',
        *model,
        '--pserver_id',
        0,
        PADDLE_TRAINING_ROLE='PSERVER',
        PADDLE_PSERVERS_IP_PORT_LIST='127.0.0.1:1',
        PADDLE_TRAINERS_NUM='1',
        POD_IP='127.0.0.1',
        PADDLE_PORT='0'
    )
    endpoint = server.wait_line(c.READY).group(1)
    trainer = cluster.start(
        'trainer',
        'trainer',
        *model,
        '--data',
        data,
        '--steps',
        1,
        TRAINING_ROLE='TRAINER',
        PADDLE_PSERVER_ENDPOINTS=endpoint,
        PADDLE_TRAINERS_NUM='1',
        PADDLE_TRAINER_ID='0'
    )
    cluster.finish([trainer, server])


@pytest.mark.parametrize(
    'flags,words',
    [
        (['--main_program', 'no.pb', '--startup_program', 'no.pb', '--data', 'x'], ['no.pb']),
        (['--model', 'recognize_digits', '--data', 'no/data'], ['no/data']),
        (['--model', 'fit_a_line', '--feed_dir', 'no/feed'], ['no/feed']),
        (['--config', 'no.conf'], ['no.conf']),
    ],
)
def test_missing_files(cluster, flags, words):
    code, text = cluster.run('trainer', '--role', 'local', *flags)
    assert code == (2 if '--config' in flags else 1), text
    for word in words:
        assert word in text, text


def test_garbage_instead_of_a_program(cluster, golden, tmp_path):
    case = golden('fit_a_line_synthetic')
    bad = tmp_path / 'bad.pb'
    with open(os.path.join(case, 'main.pb'), 'rb') as handle:
        bad.write_bytes(handle.read()[:-7])
    code, text = cluster.run(
        'trainer',
        '--role',
        'local',
        '--main_program',
        bad,
        '--startup_program',
        os.path.join(case, 'startup.pb'),
        '--feed_dir',
        os.path.join(case, 'feed'),
    )
    assert code == 1 and 'bad.pb' in text, text


def test_missing_ops_are_all_named(cluster, golden):
    case = golden('text_lstm')
    code, text = cluster.run(
        'trainer',
        '--role',
        'local',
        '--main_program',
        os.path.join(case, 'main.pb'),
        '--startup_program',
        os.path.join(case, 'startup.pb'),
        '--feed_dir',
        os.path.join(case, 'feed'),
        '--steps',
        1,
    )
    if code == 0:
        pytest.skip('this program runs by now')
    assert code == 1 and 'block 0' in text and 'lstm' in text, text


def test_feed_of_another_shape(cluster, golden, tmp_path):
    case = golden('fit_a_line_synthetic')
    facts, job = c.golden_job(case)
    tensors.write(str(tmp_path / 'feed' / 'step_000' / 'x'), 5, [4, 12], [0.5] * 48)
    tensors.write(str(tmp_path / 'feed' / 'step_000' / 'y'), 5, [4, 1], [0.5] * 4)
    code, text = cluster.run(
        'trainer', '--role', 'local', *job, '--feed_dir', tmp_path / 'feed', '--steps', 1
    )
    assert code == 1 and 'x' in text and '12' in text and '13' in text, text


def test_truncated_feed(cluster, golden, tmp_path):
    case = golden('fit_a_line_synthetic')
    facts, job = c.golden_job(case)
    shutil.copytree(os.path.join(case, 'feed', 'step_000'), tmp_path / 'feed' / 'step_000')
    with open(tmp_path / 'feed' / 'step_000' / 'x', 'r+b') as handle:
        handle.truncate(50)
    code, text = cluster.run(
        'trainer', '--role', 'local', *job, '--feed_dir', tmp_path / 'feed', '--steps', 1
    )
    assert code == 1 and 'step_000' in text, text


def test_too_little_data(cluster, tmp_path):
    data = images.write(tmp_path / 'images', train=10)
    code, text = cluster.run(
        'trainer',
        '--role',
        'local',
        '--model',
        'recognize_digits',
        '--data',
        data,
        '--batch_size',
        32,
    )
    assert code == 1 and 'batch_size' in text, text


def test_unknown_fetch(cluster, tmp_path):
    data = images.write(tmp_path / 'images', train=64)
    code, text = cluster.run(
        'trainer',
        '--role',
        'local',
        '--model',
        'recognize_digits',
        '--data',
        data,
        '--steps',
        1,
        '--fetch',
        'no_such_var',
    )
    assert code == 1 and 'no_such_var' in text, text


def test_unwritable_places(cluster, tmp_path):
    data = images.write(tmp_path / 'images', train=64)
    (tmp_path / 'file').write_text('')
    run = ['--role', 'local', '--model', 'recognize_digits', '--data', data, '--steps', 1]
    for flag, path in (('--save_dir', 'file/m'), ('--report', 'file/r'), ('--summary', 'file/s')):
        code, text = cluster.run('trainer', *run, flag, tmp_path / path)
        assert code == 1 and 'file' in text, (flag, text)


def test_test_data_is_looked_at_before_training(cluster, tmp_path):
    data = images.write(tmp_path / 'images', train=64)
    run = ['--role', 'local', '--model', 'recognize_digits', '--data', data, '--batch_size', 8]
    code, text = cluster.run('trainer', *run, '--test_data', 'no/test', '--save_dir', 'm')
    assert code == 1 and 'no/test' in text, text
    assert not (tmp_path / 'm').exists()


def test_a_startup_program_of_another_model(cluster, golden):
    case, other = golden('mlp_digits'), golden('fit_a_line_synthetic')
    code, text = cluster.run(
        'trainer',
        '--role',
        'local',
        '--main_program',
        os.path.join(case, 'main.pb'),
        '--startup_program',
        os.path.join(other, 'startup.pb'),
        '--feed_dir',
        os.path.join(case, c.golden_job(case)[0]['feed_dir']),
    )
    assert code == 1 and 'has no value' in text, text


def test_results_that_cannot_be_written(cluster, tmp_path):
    data = images.write(tmp_path / 'images', train=64)
    run = ['--role', 'local', '--model', 'recognize_digits', '--data', data, '--steps', 1]
    os.symlink('/dev/full', tmp_path / 'full')
    for flag in ('--report', '--summary'):
        code, text = cluster.run('trainer', *run, flag, tmp_path / 'full')
        assert code == 1 and flag in text and 'No space' in text, text
        assert os.path.islink(tmp_path / 'full')
    line = [str(w) for w in [cluster.binary('trainer'), *run]]
    with open('/dev/full', 'w') as full:
        done = subprocess.run(line, env=cluster.env, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and b'stdout' in done.stderr, done.stderr


@pytest.mark.parametrize('binary', ['pserver', 'trainer'])
def test_help_and_version(cluster, binary):
    code, text = cluster.run(binary, '--help')
    assert code == 0 and '--pservers' in text and 'usage' in text
    code, text = cluster.run(binary, '--version')
    assert code == 0 and text.startswith('sluice ')
