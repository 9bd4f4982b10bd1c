# SPDX-License-Identifier: Apache-2.0
"""Prints the ops of a serialized program: python describe.py FILE.pb ..."""
import sys

from paddle.fluid.proto import framework_pb2

HIDDEN = ('op_callstack', 'op_namescope', 'op_device', 'use_mkldnn',
          'use_cudnn', 'use_quantizer', 'mkldnn_data_type')


def attr_value(attr):
    kind = framework_pb2.AttrType.Name(attr.type)
    field = {'INT': 'i', 'FLOAT': 'f', 'STRING': 's', 'INTS': 'ints',
             'FLOATS': 'floats', 'STRINGS': 'strings', 'BOOLEAN': 'b',
             'BOOLEANS': 'bools', 'BLOCK': 'block_idx', 'LONG': 'l',
             'BLOCKS': 'blocks_idx', 'LONGS': 'longs'}[kind]
    value = getattr(attr, field)
    if kind.endswith('S'):
        value = list(value)
        if len(value) > 24:
            value = value[:24] + ['...']
    return value


def describe(path):
    program = framework_pb2.ProgramDesc()
    with open(path, 'rb') as handle:
        program.ParseFromString(handle.read())
    print('==', path, 'version', program.version.version)
    for block in program.blocks:
        print('block %d parent %d' % (block.idx, block.parent_idx))
        for var in block.vars:
            kind = framework_pb2.VarType.Type.Name(var.type.type)
            shape = ''
            for field in ('lod_tensor', 'selected_rows'):
                if var.type.HasField(field):
                    desc = getattr(var.type, field)
                    desc = desc.tensor if field == 'lod_tensor' else desc
                    shape = '%s %s' % (list(desc.dims),
                                       framework_pb2.VarType.Type.Name(
                                           desc.data_type))
            print('  var %s %s %s%s' % (var.name, kind, shape,
                                        ' persistable'
                                        if var.persistable else ''))
        for op in block.ops:
            ins = ', '.join('%s=%s' % (i.parameter, list(i.arguments))
                            for i in op.inputs if i.arguments)
            outs = ', '.join('%s=%s' % (o.parameter, list(o.arguments))
                             for o in op.outputs if o.arguments)
            attrs = dict((a.name, attr_value(a)) for a in op.attrs
                         if a.name not in HIDDEN)
            print('  op %s(%s) -> %s %s' % (op.type, ins, outs, attrs))


if __name__ == '__main__':
    for name in sys.argv[1:]:
        describe(name)
