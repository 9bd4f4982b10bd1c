# SPDX-License-Identifier: Apache-2.0
"""Writes single-op golden cases: ops/<op_type>/<n>/.

    python generate_ops.py --out DIR [--ops ops.py] [--only TYPE,...]

A case holds main.pb (the op, and where gradients were asked for the loss
mean(out * w) and its backward ops), feed/<variable>, expected/<variable>.
"""
import argparse
import importlib.util
import json
import os
import shutil
import sys
import zlib

os.environ.setdefault('OMP_NUM_THREADS', '1')
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import numpy as np  # noqa: E402
import paddle.fluid as fluid  # noqa: E402
from paddle.fluid import core  # noqa: E402
from paddle.fluid.framework import OpProtoHolder  # noqa: E402

import golden_io  # noqa: E402
from local_run import to_lod_tensor, write_fetch  # noqa: E402


class Op(object):
    """type, inputs {slot: array | (array, lengths) | list of them},
    grad: input slots to differentiate; out: slots the loss is made of;
    outputs {slot: count or names}: overrides what the op proto declares;
    same {output slot: input slot}: output variable is the input variable."""

    def __init__(self, type, inputs=None, grad=(), out=None, outputs=None,
                 same=None, **attrs):
        self.type = type
        self.inputs = inputs or {}
        self.grad = grad
        self.out = out
        self.outputs = outputs or {}
        self.same = same or {}
        self.attrs = attrs


def as_list(value):
    return value if isinstance(value, list) else [value]


def out_dtype(op):
    """Outputs are declared as double where an input is."""
    arrays = [with_lod(item)[0] for value in op.inputs.values()
              for item in as_list(value)]
    wide = any(array.dtype == np.float64 for array in arrays)
    return 'float64' if wide else 'float32'


def with_lod(value):
    return value if isinstance(value, tuple) else (value, None)


def build(op, weights):
    """The program of an op; weights {output name: array} adds a backward."""
    main, startup = fluid.Program(), fluid.Program()
    main.random_seed = startup.random_seed = 1
    with fluid.program_guard(main, startup), fluid.unique_name.guard():
        block = main.global_block()
        feed, slots, made = {}, {}, {}
        for slot, value in op.inputs.items():
            names = []
            for i, item in enumerate(as_list(value)):
                array, lengths = with_lod(item)
                name = '%s_%d' % (slot, i)
                shape = list(array.shape)
                if lengths is not None:
                    shape[0] = -1
                names.append(block.create_var(
                    name=name, shape=shape, dtype=str(array.dtype),
                    lod_level=0 if lengths is None else 1, is_data=True,
                    stop_gradient=False))
                feed[name] = (array, lengths)
            slots[slot] = names
        proto = OpProtoHolder.instance().get_op_proto(op.type)
        for out in proto.outputs:
            asked = op.outputs.get(out.name)
            if out.name in op.same:
                made[out.name] = slots[op.same[out.name]]
                continue
            if asked is None:
                if out.dispensable:
                    continue
                asked = 1
            if asked == 0:
                continue
            made[out.name] = [block.create_var(
                name='%s_out_%d' % (out.name, i), dtype=out_dtype(op))
                for i in range(asked)]
        block.append_op(type=op.type, inputs=slots, outputs=made,
                        attrs=dict(op.attrs))
        grads = {}
        if weights is not None:
            terms = []
            for name, array in sorted(weights.items()):
                w = block.create_var(name=name + '_w', shape=array.shape,
                                     dtype=str(array.dtype), is_data=True)
                feed[name + '_w'] = (array, None)
                term = fluid.layers.mean(fluid.layers.elementwise_mul(
                    block.var(name), w))
                terms.append(term)
            loss = fluid.layers.sums(terms) if len(terms) > 1 else terms[0]
            inputs = [v for slot in op.grad for v in slots[slot]]
            for var, grad in zip(inputs,
                                 fluid.backward.gradients([loss], inputs)):
                if grad is not None:
                    grads[var.name] = grad.name
    outs = {}
    for slot, variables in made.items():
        outs[slot] = [v.name for v in variables]
    ins = dict((s, [v.name for v in vs]) for s, vs in slots.items())
    return main, feed, ins, outs, grads


def run(main, feed, names):
    exe = fluid.Executor(fluid.CPUPlace())
    with fluid.scope_guard(core.Scope()):
        return exe.run(main, feed=dict((n, to_lod_tensor(a, l))
                                       for n, (a, l) in feed.items()),
                       fetch_list=names, return_numpy=False)


def fetchable(main, feed, outs):
    """Runs forward, dropping outputs that no kernel fills on the CPU."""
    names = sorted(set(n for ns in outs.values() for n in ns))
    good = {}
    try:
        values = run(main, feed, names)
        return dict(zip(names, values))
    except Exception:
        pass
    for name in names:
        try:
            value = run(main, feed, [name])[0]
            np.array(value)
            good[name] = value
        except Exception:
            pass
    if not good:
        run(main, feed, names)
    return good


def write_case(op, number, out):
    folder = os.path.join(out, op.type, str(number))
    shutil.rmtree(folder, ignore_errors=True)
    main, feed, ins, outs, _ = build(op, None)
    values = fetchable(main, feed, outs)
    weights = None
    grads = {}
    if op.grad:
        rng = np.random.RandomState(zlib.crc32(op.type.encode()) % 99991 + number)
        chosen = op.out or [s for s in ('Out', 'Y', 'Output', 'Loss')
                            if s in outs][:1]
        weights = {}
        for slot in chosen:
            for name in outs[slot]:
                shape = np.array(values[name]).shape
                weights[name] = rng.uniform(0.5, 2.0, shape).astype(
                    np.array(values[name]).dtype)
        main, feed, ins, outs, grads = build(op, weights)
        names = sorted(values) + sorted(grads.values())
        results = run(main, feed, names)
        values = dict(zip(names, results))
    golden_io.write_program(os.path.join(folder, 'main.pb'), main)
    for name, (array, lengths) in feed.items():
        lod = [] if lengths is None else [golden_io.lengths_to_offsets(lengths)]
        golden_io.write_tensor(os.path.join(folder, 'feed', name), array, lod)
    for name, value in values.items():
        write_fetch(os.path.join(folder, 'expected', name), value)
    with open(os.path.join(folder, 'case.json'), 'w') as handle:
        json.dump({'op': op.type, 'attrs': op.attrs, 'inputs': ins,
                   'outputs': outs, 'expected': sorted(values),
                   'gradients': grads,
                   'loss': 'sum over the weighted outputs of mean(out * out_w)'
                   if grads else None}, handle, indent=1, sort_keys=True)
        handle.write('\n')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--out', required=True)
    parser.add_argument('--ops', default=os.path.join(HERE, 'ops.py'))
    parser.add_argument('--only', default='')
    args = parser.parse_args()
    spec = importlib.util.spec_from_file_location('golden_ops', args.ops)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    wanted = [n for n in args.only.split(',') if n]
    count, failed = {}, []
    for op in module.ops():
        if wanted and op.type not in wanted:
            continue
        number = count.get(op.type, 0)
        error = attempt(lambda: write_case(op, number, args.out))
        if error is None:
            count[op.type] = number + 1
        else:
            shutil.rmtree(os.path.join(args.out, op.type, str(number)),
                          ignore_errors=True)
            failed.append((op.type, op.attrs, error))
    print('%d op types, %d cases' % (len(count), sum(count.values())))
    for line in failed:
        print('failed', line)


def attempt(work):
    """Returns None, or a line about the error."""
    try:
        work()
    except Exception as error:
        lines = [l.strip() for l in str(error).split('\n') if l.strip()]
        hint = [l for l in lines if 'Hint' in l or 'Error:' in l]
        return (hint or lines or [repr(error)])[-1][:300]


if __name__ == '__main__':
    main()
