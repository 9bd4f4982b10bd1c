# SPDX-License-Identifier: Apache-2.0
"""The rival of step.py: the same network in Paddle 1.8.5 (its Python runs this file).

python step_paddle.py local|2x2 STEPS WARM_UP      prints STEP_MS <median>
"""

import json
import socket
import subprocess
import sys
import time

import numpy as np


def network(fluid):
    main, startup = fluid.Program(), fluid.Program()
    main.random_seed = startup.random_seed = 1
    with fluid.program_guard(main, startup):
        img = fluid.layers.data('img', [784])
        label = fluid.layers.data('label', [1], 'int64')
        hidden = fluid.layers.fc(fluid.layers.fc(img, 200, act='relu'), 200, act='relu')
        predict = fluid.layers.fc(hidden, 10, act='softmax')
        loss = fluid.layers.mean(fluid.layers.cross_entropy(predict, label))
        accuracy = fluid.layers.accuracy(predict, label)
        fluid.optimizer.SGD(0.01).minimize(loss)
    return main, startup, [loss.name, accuracy.name]


def steps_of(exe, program, fetch, count):
    rng = np.random.RandomState(1)
    feeds = [
        {
            'img': rng.uniform(-1, 1, (64, 784)).astype('float32'),
            'label': rng.randint(0, 10, (64, 1)),
        }
        for _ in range(20)
    ]
    times = []
    for i in range(count):
        begun = time.perf_counter()
        exe.run(program, feed=feeds[i % 20], fetch_list=fetch)
        times.append((time.perf_counter() - begun) * 1e3)
    return times


def worker(spec):
    import paddle.fluid as fluid

    main, startup, fetch = network(fluid)
    exe = fluid.Executor(fluid.CPUPlace())
    if spec['role'] == 'local':
        exe.run(startup)
        return steps_of(exe, main, fetch, spec['steps'])
    config = fluid.DistributeTranspilerConfig()
    transpiler = fluid.DistributeTranspiler(config=config)
    endpoint = spec['endpoints'][spec['id']]
    transpiler.transpile(
        spec['id'] if spec['role'] == 'trainer' else 0,
        program=main,
        startup_program=startup,
        pservers=','.join(spec['endpoints']),
        trainers=2,
        sync_mode=True,
        current_endpoint=endpoint,
    )
    if spec['role'] == 'pserver':
        server, server_startup = transpiler.get_pserver_programs(endpoint)
        exe.run(server_startup)
        exe.run(server)
        return []
    program = transpiler.get_trainer_program()
    exe.run(startup)
    times = steps_of(exe, program, fetch, spec['steps'])
    exe.close()
    return times


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(('127.0.0.1', 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def main():
    if sys.argv[1] == 'worker':
        print('TIMES ' + json.dumps(worker(json.loads(sys.argv[2]))))
        return
    mode, steps, warm_up = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    roles = (
        [('local', 0)]
        if mode == 'local'
        else [('pserver', 0), ('pserver', 1), ('trainer', 0), ('trainer', 1)]
    )
    endpoints = ['127.0.0.1:%d' % port for port in free_ports(2)]
    running = []
    for role, number in roles:
        spec = {'role': role, 'id': number, 'steps': steps, 'endpoints': endpoints}
        running.append(
            (
                role,
                subprocess.Popen(
                    [sys.executable, __file__, 'worker', json.dumps(spec)], stdout=subprocess.PIPE
                ),
            )
        )
    worst = 0.0
    try:
        for role, process in running:
            if role == 'pserver':
                continue
            text = process.communicate(timeout=500)[0].decode()
            lines = [line for line in text.splitlines() if line.startswith('TIMES ')]
            if not lines:
                sys.exit('a Paddle process failed: ' + text)
            worst = max(worst, float(np.median(json.loads(lines[0][len('TIMES ') :])[warm_up:])))
    finally:
        # A server of 1.8.5 goes on waiting after the last trainer said it is complete.
        for _, process in running:
            if process.poll() is None:
                process.kill()
            process.wait()
    print('STEP_MS %.4f' % worst)


if __name__ == '__main__':
    main()
