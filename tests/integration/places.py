# SPDX-License-Identifier: Apache-2.0
"""Where the binaries and the recorded cases are.

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
