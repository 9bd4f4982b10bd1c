# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a build, recorded cases (places.py says where), a cluster that is always ended."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cluster as cluster_module  # noqa: E402
import places  # noqa: E402


@pytest.fixture(scope='session')
def build():
    where = places.build_folder()
    binary = os.path.join(where, 'pserver', 'pserver')
    if not os.path.exists(binary):
        pytest.fail('%s does not exist: build first, or set SLUICE_BUILD' % binary)
    return where


@pytest.fixture(scope='session')
def goldens():
    return places.goldens_folder()


@pytest.fixture
def golden(goldens):
    """golden(name): the folder of a recorded case, of the clone or of what is shared beside it."""

    def find(name):
        for root in (goldens, os.path.join(places.shared_folder(), 'goldens')):
            if os.path.isdir(os.path.join(root, name)):
                return os.path.join(root, name)
        return places.missing('golden case %s (SLUICE_SHARED)' % name)

    return find


@pytest.fixture
def cluster(build, tmp_path, request):
    made = cluster_module.Cluster(build, tmp_path)
    yield made
    made.end()


@pytest.fixture
def paddle():
    """A Python that has real Paddle 1.8.5. Not part of any installation: skipping is no failure."""
    python = os.environ.get('SLUICE_PADDLE_PYTHON')
    if not python:
        pytest.skip('real Paddle is not here (SLUICE_PADDLE_PYTHON)')
    return python
