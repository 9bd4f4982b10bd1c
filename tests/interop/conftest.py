# SPDX-License-Identifier: Apache-2.0
"""The fixtures of the integration tests, and one run of real Paddle for all tests here."""

import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
INTEGRATION = os.path.join(os.path.dirname(HERE), 'integration')
sys.path.insert(0, INTEGRATION)
sys.path.insert(0, HERE)

_spec = importlib.util.spec_from_file_location(
    'integration_fixtures', os.path.join(INTEGRATION, 'conftest.py')
)
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

build = _fixtures.build
goldens = _fixtures.goldens
golden = _fixtures.golden
cluster = _fixtures.cluster
paddle = _fixtures.paddle
