# SPDX-License-Identifier: Apache-2.0
"""Real Paddle 1.8.5 loads what we save. Needs SLUICE_PADDLE_PYTHON; skipped aloud without."""

import json
import os
import subprocess

import pytest

import cluster as c
import tensors

LOADER = r'''
import json, sys
import numpy as np
import paddle.fluid as fluid
from paddle.fluid import core
main = fluid.Program.parse_from_string(open(sys.argv[1], 'rb').read())
startup = fluid.Program.parse_from_string(open(sys.argv[2], 'rb').read())
exe = fluid.Executor(fluid.CPUPlace())
exe.run(startup)
fluid.io.load_persistables(exe, sys.argv[3], main)
out = {}
for name in sys.argv[4:]:
    out[name] = np.array(fluid.global_scope().find_var(name).get_tensor()).tobytes().hex()
print('LOADED ' + json.dumps(out))
'''


def load(paddle, case, folder, names):
    env = dict(os.environ, OMP_NUM_THREADS='1', CPU_NUM='1')
    done = subprocess.run(
        [
            paddle,
            '-c',
            LOADER,
            os.path.join(case, 'main.pb'),
            os.path.join(case, 'startup.pb'),
            folder,
        ]
        + names,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
    )
    text = done.stdout.decode('utf-8', 'replace')
    lines = [line for line in text.splitlines() if line.startswith('LOADED ')]
    assert lines, text
    return json.loads(lines[0][len('LOADED ') :])


@pytest.mark.parametrize('name', ['digits_adam', 'word2vec_sparse', 'ctr_dnn_adam'])
def test_paddle_loads_what_two_servers_saved(cluster, golden, paddle, tmp_path, name):
    case = golden(name)
    facts, job = c.golden_job(case)
    servers = cluster.servers(2, 2, *job)
    feed = os.path.join(case, facts['dist_run']['feed_dir'], 'trainer_{trainer_id}')
    trainers = [
        cluster.trainer(
            i, servers, 2, *job, '--loss', facts['loss'], '--feed_dir', feed, '--steps', 4,
            '--save_dir', tmp_path / 'm'
        )
        for i in range(2)
    ]
    cluster.finish(trainers + servers)
    saved = str(tmp_path / 'm' / 'step_4')
    names = tensors.names(saved)
    assert names == facts['persistables']
    loaded = load(paddle, case, saved, names)
    for name in names:
        assert loaded[name] == tensors.read(os.path.join(saved, name)).raw.hex(), name
