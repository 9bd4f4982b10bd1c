# SPDX-License-Identifier: Apache-2.0
"""Runs under a Python that has Paddle 1.8.5: a list of jobs, one result line each.

    python paddle_side.py JOBS.json

A job: {"name", "main", "startup", "feed_dir", "loss", "steps": [...]}, with the steps of
interop_state.c: ["startup"], ["run", FIRST, COUNT], ["save_persistables", DIR, FILE or null],
["load_persistables", ...], ["save", PREFIX], ["load", PREFIX], ["save_inference", DIR, FEED,
TARGET], and ["infer", DIR], whose results count as losses.
Prints `RESULT {"name", "losses" or "error"}`.
"""

import json
import os
import sys
import traceback

import numpy as np
import paddle.fluid as fluid
from paddle.fluid import core

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'integration'))
import tensors  # noqa: E402

NUMPY = {0: 'bool', 1: 'int16', 2: 'int32', 3: 'int64', 5: 'float32', 6: 'float64'}


def feed_of(folder, step):
    where, out = os.path.join(folder, 'step_%03d' % step), {}
    for name in tensors.names(where):
        t = tensors.read(os.path.join(where, name))
        value = np.frombuffer(t.raw, NUMPY[t.dtype]).reshape(t.dims)
        if t.lod:
            holder = core.LoDTensor()
            holder.set(value, fluid.CPUPlace())
            holder.set_lod([list(level) for level in t.lod])
            value = holder
        out[name] = value
    return out


def program(path):
    with open(path, 'rb') as handle:
        return fluid.Program.parse_from_string(handle.read())


def mark_parameters(main, names):
    """A parsed program has no Parameters; fluid.save and load need to know them."""
    block = main.global_block()
    for name in names:
        var = block.var(name)
        block.vars[name] = fluid.framework.Parameter(
            block, var.shape, var.dtype, name=name
        )


def run_job(job):
    main, startup = program(job['main']), program(job['startup'])
    mark_parameters(main, job.get('parameters', []))
    losses = []
    with fluid.scope_guard(core.Scope()):
        exe = fluid.Executor(fluid.CPUPlace())
        for step in job['steps']:
            do = step[0]
            if do == 'startup':
                exe.run(startup)
            elif do == 'run':
                for n in range(step[1], step[1] + step[2]):
                    got = exe.run(main, feed=feed_of(job['feed_dir'], n), fetch_list=[job['loss']])
                    losses.append(float(np.array(got[0]).reshape(-1)[0]))
            elif do == 'save_persistables':
                fluid.io.save_persistables(exe, step[1], main, filename=step[2])
            elif do == 'load_persistables':
                fluid.io.load_persistables(exe, step[1], main, filename=step[2])
            elif do == 'save':
                fluid.save(main, step[1])
            elif do == 'load':
                fluid.load(main, step[1], exe)
            elif do == 'save_inference':
                target = main.global_block().var(step[3])
                fluid.io.save_inference_model(step[1], [step[2]], [target], exe, main)
            elif do == 'infer':
                model, feeds, targets = fluid.io.load_inference_model(step[1], exe)
                fed = feed_of(job['feed_dir'], 0)
                got = exe.run(
                    model, feed=dict((n, fed[n]) for n in feeds), fetch_list=targets
                )
                losses.extend(float(v) for v in np.array(got[0]).reshape(-1))
            else:
                raise ValueError(do)
    return losses


def main():
    with open(sys.argv[1]) as handle:
        jobs = json.load(handle)
    for job in jobs:
        try:
            result = {'name': job['name'], 'losses': run_job(job)}
        except Exception:
            result = {'name': job['name'], 'error': traceback.format_exc()}
        print('RESULT ' + json.dumps(result))
        sys.stdout.flush()


if __name__ == '__main__':
    main()
