# SPDX-License-Identifier: Apache-2.0
"""Everything of a case that one process can make: the programs, the initial
values, a training run, the saved models."""
import json
import os
import shutil
import traceback

import numpy as np
import paddle
import paddle.fluid as fluid
from paddle.fluid import core

import golden_io
from case import DIST_VARIANTS, build, endpoints_of, transpile

DTYPE_NAMES = {core.VarDesc.VarType.FP32: 'float32',
               core.VarDesc.VarType.FP64: 'float64',
               core.VarDesc.VarType.INT64: 'int64',
               core.VarDesc.VarType.INT32: 'int32',
               core.VarDesc.VarType.BOOL: 'bool'}


def to_lod_tensor(array, lengths):
    tensor = core.LoDTensor()
    tensor.set(array, core.CPUPlace())
    if lengths is not None:
        tensor.set_recursive_sequence_lengths([list(lengths)])
    return tensor


def to_feed(batch):
    return dict((name, to_lod_tensor(array, lengths))
                for name, (array, lengths) in batch.items())


def write_feed(folder, batch):
    for name, (array, lengths) in batch.items():
        lod = [] if lengths is None else [golden_io.lengths_to_offsets(lengths)]
        golden_io.write_tensor(os.path.join(folder, name), array, lod)


def write_fetch(path, tensor):
    golden_io.write_tensor(path, np.array(tensor), tensor.lod())


def folder_bytes(folder):
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            with open(path, 'rb') as handle:
                found[os.path.relpath(path, folder)] = handle.read()
    return found


def differences(one, two):
    """Per file the largest absolute difference of two folders of tensors,
    and the rows that differ."""
    found = {}
    for name in sorted(os.listdir(one)):
        a = golden_io.read_tensor(os.path.join(one, name))[0].astype('float64')
        b = golden_io.read_tensor(os.path.join(two, name))[0].astype('float64')
        gap = np.abs(a - b)
        if gap.size and gap.max() > 0:
            rows = sorted(set(np.argwhere(gap > 0)[:, 0].tolist()))
            found[name] = {'largest': float(gap.max()), 'rows': rows[:20]}
    return found


def gradient_names(built):
    """Dense parameter gradients, small enough to keep."""
    names = []
    block = built.main.global_block()
    for param in built.main.all_parameters():
        name = param.name + '@GRAD'
        if not block.has_var(name):
            continue
        if block.var(name).type != core.VarDesc.VarType.LOD_TENSOR:
            continue
        if np.prod(param.shape) <= 20000:
            names.append(name)
    return names


def train(case, built, folder, record):
    """Runs the case in a fresh scope.  With record, writes its files."""
    exe = fluid.Executor(fluid.CPUPlace())
    losses = []
    info = {}
    with fluid.scope_guard(core.Scope()):
        exe.run(built.startup)
        runnable = built.main
        if case.workers > 1:
            runnable = fluid.CompiledProgram(built.main).with_data_parallel(
                loss_name=built.net.loss.name,
                places=[fluid.CPUPlace()] * case.workers)
        fluid.io.save_persistables(exe, os.path.join(folder, 'init'),
                                   main_program=built.main)
        if case.init_only:
            return losses, info
        loss_name = built.net.loss.name
        fetches = [v if isinstance(v, str) else v.name for v in built.net.fetches]
        grads = gradient_names(built) if case.grads else []
        info['gradient_fetches'] = grads
        kept = case.fetch_steps
        if kept is None:
            kept = [0, 1, case.steps - 1]
        for step in range(case.steps):
            names = [loss_name] + fetches + (grads if step == 0 else [])
            values = exe.run(runnable, feed=to_feed(case.data.batch(step)),
                             fetch_list=names, return_numpy=False)
            losses.append([float(v) for v in np.array(values[0]).reshape(-1)])
            if record and step in kept:
                for name, value in zip(names[1:], values[1:]):
                    write_fetch(os.path.join(
                        folder, 'fetch', 'step_%03d' % step, name), value)
        fluid.io.save_persistables(exe, os.path.join(folder, 'final'),
                                   main_program=built.main)
        if not record:
            return losses, info
        if case.params:
            fluid.io.save_params(exe, os.path.join(folder, 'params'),
                                 main_program=built.main)
        if case.inference or case.combined:
            save_inference(case, built, exe, folder)
        if hasattr(built.extra, 'apply'):
            extra = built.extra
            if hasattr(extra, 'apply_program'):
                golden_io.write_program(os.path.join(
                    folder, 'averaged_apply.pb'), extra.apply_program)
                golden_io.write_program(os.path.join(
                    folder, 'averaged_restore.pb'), extra.restore_program)
            with extra.apply(exe):
                fluid.io.save_params(exe, os.path.join(folder, 'averaged'),
                                     main_program=built.main)
    return losses, info


def save_inference(case, built, exe, folder):
    names = built.net.infer_feeds or [
        v.name for v in built.net.feeds if v.name not in ('label', 'y')]
    batch = case.data.batch(0)
    feed = to_feed(dict((n, batch[n]) for n in names))
    kinds = []
    if case.inference:
        kinds.append(('inference', None))
    if case.combined:
        kinds.append(('inference_combined', '__params__'))
    for kind, combined in kinds:
        where = os.path.join(folder, kind)
        fluid.io.save_inference_model(
            where, names, built.net.targets, exe, main_program=built.main,
            params_filename=combined)
        golden_io.clean_model_file(os.path.join(where, '__model__'))
        with fluid.scope_guard(core.Scope()):
            program, feeds, targets = fluid.io.load_inference_model(
                where, exe, params_filename=combined)
            values = exe.run(program, feed=feed, fetch_list=targets,
                             return_numpy=False)
        if kind == 'inference':
            for target, value in zip(built.net.targets, values):
                write_fetch(os.path.join(where, 'expected', target.name), value)
            with open(os.path.join(where, 'targets.json'), 'w') as handle:
                json.dump({'feeds': feeds,
                           'targets_in_model': [v.name for v in targets],
                           'expected_files': [v.name for v in built.net.targets],
                           'fed_from': 'feed of step 0'}, handle, indent=1)


def describe_error(error):
    """The telling lines of a Paddle error, or where a bare one came from."""
    lines = [line.strip() for line in str(error).split('\n')]
    telling = [line for line in lines
               if line.startswith(('[Hint', 'Error:')) or 'Error: ' in line]
    if not telling and lines[-1]:
        telling = lines[-1:]
    if not telling:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        telling = ['in %s: %s' % (frame.name, frame.line)]
    return '%s: %s' % (type(error).__name__, ' '.join(telling))


def write_dist_programs(case, folder):
    """The transpiled programs of every variant; errors are recorded."""
    outcome = {}
    for variant in case.dist:
        settings = DIST_VARIANTS[variant]
        endpoints = endpoints_of(settings['pservers'])
        where = os.path.join(folder, variant)
        try:
            for trainer in range(settings['trainers']):
                built = build(case)
                t = transpile(built, trainer, endpoints, **settings)
                program = t.get_trainer_program(wait_port=False)
                golden_io.write_program(os.path.join(
                    where, 'trainer_%d.pb' % trainer), program)
                if trainer == 0:
                    golden_io.write_program(os.path.join(
                        where, 'trainer_startup.pb'), built.startup)
            for index, endpoint in enumerate(endpoints):
                built = build(case)
                t = transpile(built, 0, endpoints, current_endpoint=endpoint,
                              **settings)
                main, startup = t.get_pserver_programs(endpoint)
                golden_io.write_program(os.path.join(
                    where, 'pserver_%d.pb' % index), main)
                golden_io.write_program(os.path.join(
                    where, 'pserver_startup_%d.pb' % index), startup)
            outcome[variant] = dict(settings, endpoints=endpoints)
        except Exception as error:
            shutil.rmtree(where, ignore_errors=True)
            outcome[variant] = {'refused': describe_error(error)}
    return outcome


def run_case(case, out):
    folder = os.path.join(out, case.name)
    again = folder + '.again'
    for path in (folder, again):
        shutil.rmtree(path, ignore_errors=True)
    built = build(case)
    golden_io.write_program(os.path.join(folder, 'main.pb'), built.main,
                            case.keep_callstack)
    golden_io.write_program(os.path.join(folder, 'startup.pb'), built.startup)
    if not case.init_only:
        golden_io.write_program(os.path.join(folder, 'test.pb'), built.test)
    losses, info = train(case, built, folder, True)
    rebuilt = build(case)
    losses_again, _ = train(case, rebuilt, again, False)

    repeated = {'init_bit_identical':
                folder_bytes(os.path.join(folder, 'init')) ==
                folder_bytes(os.path.join(again, 'init'))}
    if not case.init_only:
        repeated['losses_bit_identical'] = losses == losses_again
        repeated['final_bit_identical'] = (
            folder_bytes(os.path.join(folder, 'final')) ==
            folder_bytes(os.path.join(again, 'final')))
        if not repeated['final_bit_identical']:
            repeated['final_differences'] = differences(
                os.path.join(folder, 'final'), os.path.join(again, 'final'))
            repeated['loss_largest_difference'] = float(np.abs(
                np.array(losses) - np.array(losses_again)).max())
        with open(os.path.join(folder, 'losses.txt'), 'w') as handle:
            handle.writelines(' '.join('%.9g' % value for value in row) + '\n'
                              for row in losses)
    shutil.rmtree(again, ignore_errors=True)

    feed_dir = None
    if not case.init_only:
        feed_dir = case.shared_feed or 'feed'
        where = os.path.join(folder, feed_dir)
        for step in range(case.steps):
            step_dir = os.path.join(where, 'step_%03d' % step)
            if not (case.shared_feed and os.path.isdir(step_dir)):
                write_feed(step_dir, case.data.batch(step))

    text = dict(case.info)
    text.update(name=case.name, paddle_version=paddle.__version__,
                random_seed=case.seed, steps=case.steps, feed_dir=feed_dir,
                repeated_run=repeated, notes=case.notes)
    if case.workers > 1:
        text['workers'] = case.workers
    block = built.main.global_block()
    text['persistables'] = sorted(os.listdir(os.path.join(folder, 'init')))
    text['parameters'] = [
        {'name': p.name, 'shape': list(p.shape),
         'lr_multiplier': p.optimize_attr.get('learning_rate', 1.0)}
        for p in built.main.all_parameters()]
    if not case.init_only:
        batch = case.data.batch(0)
        text['batch_size'] = getattr(case.data, 'batch_size', None) or len(
            list(batch.values())[0][0])
        text['feeds'] = [
            {'name': v.name, 'shape': list(v.shape),
             'dtype': DTYPE_NAMES[v.dtype], 'lod_level': v.lod_level}
            for v in built.net.feeds]
        text['loss'] = built.net.loss.name
        text['fetches'] = [v if isinstance(v, str) else v.name
                           for v in built.net.fetches]
        text.update(info)
        text['targets'] = [v.name for v in built.net.targets]
    text['dist_programs'] = write_dist_programs(case, folder)
    write_json(folder, text)
    return text


def write_json(folder, text):
    with open(os.path.join(folder, 'case.json'), 'w') as handle:
        json.dump(text, handle, indent=1, sort_keys=True)
        handle.write('\n')
