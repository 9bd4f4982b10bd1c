# SPDX-License-Identifier: Apache-2.0
"""One process of a distributed job of real Paddle 1.8.5, on a folder of ours.

    python paddle_dist.py SPEC.json ROLE NUMBER

SPEC: {"optimizer", "rate", "hidden", "endpoints": [...], "trainers", "folder", "feed_dir"
(with {trainer_id}), "first", "steps"}. A server runs its start-up, loads the folder in the one way
that 1.8.5 can (its main program, and current_endpoint in transpile) and serves. A trainer prints
`RESULT [losses]`.
"""

import json
import os
import sys

import paddle.fluid as fluid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import paddle_side  # noqa: E402

OPTIMIZERS = {
    'adam': lambda rate: fluid.optimizer.Adam(rate),
    'momentum': lambda rate: fluid.optimizer.Momentum(rate, 0.9),
}


def network(spec):
    img = fluid.layers.data('img', [784])
    label = fluid.layers.data('label', [1], 'int64')
    hidden = fluid.layers.fc(img, spec['hidden'], act='relu')
    out = fluid.layers.fc(hidden, 10, act='softmax')
    loss = fluid.layers.mean(fluid.layers.cross_entropy(out, label))
    OPTIMIZERS[spec['optimizer']](spec['rate']).minimize(loss)
    return loss


def main():
    with open(sys.argv[1]) as handle:
        spec = json.load(handle)
    role, number = sys.argv[2], int(sys.argv[3])
    loss = network(spec)
    exe = fluid.Executor(fluid.CPUPlace())
    t = fluid.DistributeTranspiler(config=fluid.DistributeTranspilerConfig())
    endpoints = ','.join(spec['endpoints'])
    if role == 'PSERVER':
        here = spec['endpoints'][number]
        t.transpile(
            0, pservers=endpoints, trainers=spec['trainers'], sync_mode=True, current_endpoint=here
        )
        program, startup = t.get_pserver_programs(here)
        exe.run(startup)
        fluid.io.load_persistables(exe, spec['folder'], program)
        exe.run(program)
        return
    t.transpile(number, pservers=endpoints, trainers=spec['trainers'], sync_mode=True)
    program = t.get_trainer_program()
    exe.run(fluid.default_startup_program())
    feed_dir = spec['feed_dir'].replace('{trainer_id}', str(number))
    losses = []
    for n in range(spec['first'], spec['first'] + spec['steps']):
        got = exe.run(program, feed=paddle_side.feed_of(feed_dir, n), fetch_list=[loss])
        losses.append(float(got[0].reshape(-1)[0]))
    print('RESULT ' + json.dumps(losses))
    sys.stdout.flush()
    exe.close()


if __name__ == '__main__':
    main()
