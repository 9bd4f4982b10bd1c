# SPDX-License-Identifier: Apache-2.0
"""One process of a distributed run: a parameter server or a trainer.

Started by dist_run.py with a JSON description as its only argument.
"""
import json
import os
import socket
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import paddle.fluid as fluid  # noqa: E402

import local_run  # noqa: E402
from case import build, transpile  # noqa: E402
from datasets import split_feed  # noqa: E402
from generate import load_cases  # noqa: E402

import numpy as np  # noqa: E402


def wait_for(path_or_endpoint, seconds=120):
    """Waits for a file to exist or an endpoint to accept connections."""
    end = time.time() + seconds
    while time.time() < end:
        if os.sep in path_or_endpoint:
            if os.path.exists(path_or_endpoint):
                return
        else:
            host, port = path_or_endpoint.split(':')
            probe = socket.socket()
            probe.settimeout(1)
            failed = probe.connect_ex((host, int(port)))
            probe.close()
            if not failed:
                return
        time.sleep(0.05)
    raise RuntimeError('waited too long for ' + path_or_endpoint)


def pserver(spec, case):
    built = build(case)
    endpoint = spec['endpoints'][spec['id']]
    t = transpile(built, 0, spec['endpoints'], spec['trainers'],
                  current_endpoint=endpoint)
    main, startup = t.get_pserver_programs(endpoint)
    exe = fluid.Executor(fluid.CPUPlace())
    exe.run(startup)
    if spec.get('load_from'):
        report = {}
        # Which program load_persistables accepts is part of what is recorded.
        for name, program in (('pserver_startup', startup),
                              ('pserver_main', main)):
            try:
                fluid.io.load_persistables(exe, spec['load_from'], program)
                report[name] = 'works'
            except Exception as error:
                report[name] = local_run.describe_error(error).replace(
                    spec['load_from'], 'dist_run/saved')
        report['variables_after_load'] = server_values(main)
        with open(os.path.join(spec['work'], 'load_%d.json' % spec['id']),
                  'w') as handle:
            json.dump(report, handle)
    exe.run(main)


def server_values(program):
    """First values of every filled persistable variable of the server."""
    scope = fluid.global_scope()
    found = {}
    for name, var in sorted(program.global_block().vars.items()):
        place = scope.find_var(name)
        if place is None or not var.persistable or '@GRAD' in name:
            continue
        try:
            value = np.array(place.get_tensor()).reshape(-1)
        except Exception:
            continue
        if value.size:
            found[name] = [float(v) for v in value[:3]]
    return found


def trainer(spec, case):
    built = build(case)
    loss_name = built.net.loss.name
    names = [v if isinstance(v, str) else v.name for v in built.net.fetches]
    number = spec['id']
    t = transpile(built, number, spec['endpoints'], spec['trainers'])
    program = t.get_trainer_program(wait_port=False)
    for endpoint in spec['endpoints']:
        wait_for(endpoint)
    exe = fluid.Executor(fluid.CPUPlace())
    exe.run(built.startup)
    if number == 0:
        # What every trainer starts from: local values overwritten by recv.
        # Tables that stay on the servers are only declared (fake_init).
        remote = set()
        for op in built.startup.global_block().ops:
            if op.type == 'fake_init':
                remote.update(op.output_arg_names)
        fluid.io.save_vars(exe, os.path.join(spec['work'], 'received'),
                           main_program=program,
                           vars=[program.global_block().var(p.name)
                                 for p in program.all_parameters()
                                 if p.name not in remote])
    runnable = program
    if case.workers > 1:
        runnable = fluid.CompiledProgram(program).with_data_parallel(
            loss_name=loss_name, places=[fluid.CPUPlace()] * case.workers)
    losses, fetched = [], []
    produced = set()
    for op in program.global_block().ops:
        produced.update(op.output_arg_names)
    names = [n for n in names if n in produced]
    for step in range(spec['first_step'], spec['first_step'] + spec['steps']):
        batch = split_feed(case.data.batch(step), number, spec['trainers'])
        values = exe.run(runnable, feed=local_run.to_feed(batch),
                         fetch_list=[loss_name] + names)
        losses.append([float(v) for v in np.array(values[0]).reshape(-1)])
        fetched.append([float(np.array(v).reshape(-1)[0]) for v in values[1:]])
    with open(os.path.join(spec['work'], 'losses_trainer_%d.txt' % number),
              'w') as handle:
        handle.writelines(' '.join('%.9g' % v for v in row) + '\n'
                          for row in losses)
    if names:
        with open(os.path.join(spec['work'], 'fetches_trainer_%d.txt' % number),
                  'w') as handle:
            handle.write('# first element of ' + ' '.join(names) + '\n')
            for row in fetched:
                handle.write(' '.join('%.9g' % v for v in row) + '\n')
    if number == 0:
        fluid.io.save_persistables(exe, os.path.join(spec['work'], 'saved'),
                                   program)
        open(os.path.join(spec['work'], 'saved.done'), 'w').close()
    else:
        wait_for(os.path.join(spec['work'], 'saved.done'))
    exe.close()


def main():
    spec = json.loads(sys.argv[1])
    case = [c for c in load_cases(spec['cases']) if c.name == spec['case']][0]
    {'pserver': pserver, 'trainer': trainer}[spec['role']](spec, case)


if __name__ == '__main__':
    main()
