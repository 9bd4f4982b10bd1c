# SPDX-License-Identifier: Apache-2.0
"""The local role against what one process of Paddle 1.8.5 computed."""

import json
import os

import pytest

import cluster as c
import tensors

CASES = [
    'fit_a_line_synthetic',
    'fit_a_line',
    'clip_global_norm',
    'clip_global_norm_l2',
    'clip_norm',
    'clip_value',
    'digits_adadelta',
    'digits_adagrad',
    'digits_adagrad_init',
    'digits_adam',
    'digits_adam_lazy',
    'digits_adamax',
    'digits_decayed_adagrad',
    'digits_dpsgd',
    'digits_ema',
    'digits_ftrl',
    'digits_lamb',
    'digits_lars',
    'digits_lookahead',
    'digits_model_average',
    'digits_momentum',
    'digits_momentum_nesterov',
    'digits_recompute',
    'digits_rmsprop',
    'digits_rmsprop_centered',
    'digits_rmsprop_momentum',
    'digits_sgd',
    'lr_cosine',
    'lr_exponential',
    'lr_exponential_stair',
    'lr_inverse_time',
    'lr_natural_exp',
    'lr_noam',
    'lr_piecewise',
    'lr_polynomial',
    'lr_polynomial_cycle',
    'lr_warmup',
    'lr_warmup_cosine',
    'dropout_downgrade_in_infer',
    'dropout_upscale_in_train',
    'lenet_digits',
    'lenet_digits_bn',
    'mlp_digits',
    'reg_l1',
    'reg_l2',
    'reg_per_param',
]


def local(cluster, case, steps, *more):
    facts, job = c.golden_job(case)
    return cluster.run(
        'trainer',
        '--role',
        'local',
        *job,
        '--loss',
        facts['loss'],
        '--feed_dir',
        os.path.join(case, facts['feed_dir']),
        '--steps',
        steps,
        *more
    )


@pytest.mark.parametrize('name', CASES)
def test_initial_values_are_bit_identical(cluster, golden, tmp_path, name):
    case = golden(name)
    code, text = local(cluster, case, 0, '--save_dir', tmp_path / 'saved')
    assert code == 0, text
    assert tensors.same_folder(str(tmp_path / 'saved' / 'step_0'), os.path.join(case, 'init')) == []


@pytest.mark.parametrize('name', CASES)
def test_losses_fetches_and_final_values(cluster, golden, tmp_path, name):
    case = golden(name)
    with open(os.path.join(case, 'case.json')) as handle:
        facts = json.load(handle)
    steps = facts['steps']
    fetch = (
        ['--fetch', ','.join(facts['fetches']), '--fetch_dir', tmp_path / 'fetch']
        if facts['fetches']
        else []
    )
    code, text = local(
        cluster,
        case,
        steps,
        '--report',
        tmp_path / 'report',
        '--save_dir',
        tmp_path / 'saved',
        '--summary',
        tmp_path / 'summary',
        *fetch
    )
    assert code == 0, text
    tensors.assert_losses(
        c.losses(tmp_path / 'report'), tensors.read_losses(os.path.join(case, 'losses.txt'))
    )
    end = c.summary(tmp_path / 'summary')
    assert end['steps'] == steps
    assert end['saved_to'] == str(tmp_path / 'saved' / ('step_%d' % steps))
    tensors.assert_close(end['saved_to'], os.path.join(case, 'final'))
    for step in (0, steps - 1):
        for want in facts['fetches']:
            gap = tensors.largest_gap(
                str(tmp_path / 'fetch' / ('step_%03d' % step) / want),
                os.path.join(case, 'fetch', 'step_%03d' % step, want),
            )
            assert gap <= 1e-5, want


def test_parameter_gradients_can_be_fetched(cluster, golden, tmp_path):
    case = golden('fit_a_line_synthetic')
    code, text = local(
        cluster, case, 1, '--fetch', 'fc_0.w_0@GRAD,fc_0.b_0@GRAD', '--fetch_dir', tmp_path / 'f'
    )
    assert code == 0, text
    for name in ('fc_0.w_0@GRAD', 'fc_0.b_0@GRAD'):
        gap = tensors.largest_gap(
            str(tmp_path / 'f' / 'step_000' / name), os.path.join(case, 'fetch', 'step_000', name)
        )
        assert gap <= 1e-5, name


def test_stop_save_load_continue_equals_the_uninterrupted_run(cluster, golden, tmp_path):
    case = golden('digits_adam')
    code, text = local(
        cluster, case, 10, '--report', tmp_path / 'whole', '--save_dir', tmp_path / 'a'
    )
    assert code == 0, text
    code, text = local(cluster, case, 4, '--save_dir', tmp_path / 'b')
    assert code == 0, text
    code, text = local(
        cluster,
        case,
        6,
        '--first_step',
        4,
        '--load_dir',
        tmp_path / 'b',
        '--report',
        tmp_path / 'rest',
        '--save_dir',
        tmp_path / 'b',
    )
    assert code == 0, text
    assert c.losses(tmp_path / 'rest') == c.losses(tmp_path / 'whole')[4:]
    assert (
        tensors.same_folder(str(tmp_path / 'a' / 'step_10'), str(tmp_path / 'b' / 'step_10')) == []
    )


def test_zoo_model_equals_the_recorded_program(cluster, golden, tmp_path):
    case = golden('digits_adam')
    with open(os.path.join(case, 'case.json')) as handle:
        facts = json.load(handle)
    code, text = cluster.run(
        'trainer',
        '--role',
        'local',
        '--model',
        'recognize_digits',
        '--hidden',
        '24',
        '--optimizer',
        'adam',
        '--learning_rate',
        '0.01',
        '--seed',
        facts['random_seed'],
        '--feed_dir',
        os.path.join(case, facts['feed_dir']),
        '--steps',
        10,
        '--report',
        tmp_path / 'report',
        '--save_dir',
        tmp_path / 'saved',
    )
    assert code == 0, text
    tensors.assert_losses(
        c.losses(tmp_path / 'report'), tensors.read_losses(os.path.join(case, 'losses.txt'))
    )
