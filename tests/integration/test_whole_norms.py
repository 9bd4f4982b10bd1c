# SPDX-License-Identifier: Apache-2.0
"""Numbers that need all servers: norms of cut parameters, and clipping of the merged gradient.

Two trainers take the halves of the batches that one process takes; with the second phase of the
barrier both end with the same parameters.
"""

import os

import pytest

import cluster as c
import tensors

STEPS = 8
CLIPS = ['clip_global_norm', 'clip_global_norm_l2', 'clip_norm', 'clip_value']


def alone(cluster, case, tmp):
    """One process; returns the folder that it saved."""
    facts, job = c.golden_job(case)
    flags = ['--feed_dir', os.path.join(case, facts['feed_dir']), '--steps', STEPS]
    flags += ['--save_dir', tmp / 'alone', '--summary', tmp / 'summary_alone']
    flags += ['--role', 'local', '--loss', facts['loss']]
    cluster.finish([cluster.start('local', 'trainer', *job, *flags)])
    return c.summary(tmp / 'summary_alone')['saved_to']


def together(cluster, case, tmp, pservers, *more):
    """The same batches, half of each for each of two trainers."""
    facts, job = c.golden_job(case)
    servers = cluster.servers(pservers, 2, *job, '--init', 'whole', *more)
    halves = os.path.join(case, facts['feed_dir'] + '_2trainers', 'trainer_{trainer_id}')
    flags = ['--loss', facts['loss'], '--feed_dir', halves, '--steps', STEPS]
    trainers = []
    for number in range(2):
        save = ['--save_dir', tmp / 'saved'] if number == 0 else []
        out = ['--summary', tmp / ('summary_%d' % number)]
        trainers.append(cluster.trainer(number, servers, 2, *job, *flags, *out, *save, *more))
    cluster.finish(trainers + servers)
    return c.summary(tmp / 'summary_0')['saved_to']


def distance(one, two):
    """The largest difference of any variable, in parts of its largest value."""
    worst = 0.0
    assert tensors.names(one) == tensors.names(two)
    for name in tensors.names(one):
        a, b = (tensors.read(os.path.join(str(d), name)).values for d in (one, two))
        size = max(abs(value) for value in b) or 1.0
        worst = max(worst, max(abs(x - y) for x, y in zip(a, b)) / size)
    return worst


@pytest.mark.parametrize('pservers', [1, 2, 3])
@pytest.mark.parametrize('name', ['digits_lamb', 'digits_lars'])
def test_cut_parameters_are_scaled_by_norms_of_the_whole(
    cluster, golden, tmp_path, name, pservers
):
    case = golden(name)
    want = alone(cluster, case, tmp_path)
    assert distance(together(cluster, case, tmp_path, pservers), want) < 1e-5


@pytest.mark.parametrize('name', CLIPS)
def test_clip_merged_equals_one_process(cluster, golden, tmp_path, name):
    case = golden(name)
    want = alone(cluster, case, tmp_path)
    assert distance(together(cluster, case, tmp_path, 2, '--clip_merged'), want) < 1e-5


@pytest.mark.parametrize('name', ['clip_global_norm', 'clip_global_norm_l2'])
def test_each_trainer_clips_its_own_by_default(cluster, golden, tmp_path, name):
    case = golden(name)
    want = alone(cluster, case, tmp_path)
    assert distance(together(cluster, case, tmp_path, 2), want) > 1e-4
