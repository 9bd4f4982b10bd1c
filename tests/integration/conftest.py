# SPDX-License-Identifier: Apache-2.0
"""Fixtures: where the binaries and the recorded cases are, and a cluster that is always ended.

SLUICE_BUILD    the meson build folder (default: build beside the sources)
SLUICE_GOLDENS  recorded cases (default: tests/data/goldens.tar.xz, unpacked into the build folder)
SLUICE_SHARED   what the repository may not hold, housing-fed cases among it (default: ../shared);
                without it such tests are skipped aloud, or fail when CI=true
"""

import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'goldens'))
sys.path.insert(0, HERE)

import cluster as cluster_module  # noqa: E402
import unpack  # noqa: E402


def build_folder():
    return os.path.abspath(os.environ.get('SLUICE_BUILD', os.path.join(ROOT, 'build')))


def goldens_folder():
    return os.environ.get('SLUICE_GOLDENS') or unpack.unpacked(build_folder())


def shared_folder():
    return os.environ.get('SLUICE_SHARED') or os.path.join(os.path.dirname(ROOT), 'shared')


def missing(what):
    """Says aloud that a test cannot run; under CI that is a failure."""
    if os.environ.get('CI') == 'true':
        pytest.fail('%s is missing, and CI=true' % what)
    pytest.skip(what + ' is missing')


@pytest.fixture(scope='session')
def build():
    where = build_folder()
    binary = os.path.join(where, 'pserver', 'pserver')
    if not os.path.exists(binary):
        pytest.fail('%s does not exist: build first, or set SLUICE_BUILD' % binary)
    return where


@pytest.fixture(scope='session')
def goldens():
    return goldens_folder()


@pytest.fixture
def golden(goldens):
    """golden(name): the folder of a recorded case, of the clone or of what is shared beside it."""

    def find(name):
        for root in (goldens, os.path.join(shared_folder(), 'goldens')):
            if os.path.isdir(os.path.join(root, name)):
                return os.path.join(root, name)
        return missing('golden case %s (SLUICE_SHARED)' % name)

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
