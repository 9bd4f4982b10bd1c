# SPDX-License-Identifier: Apache-2.0
"""Reading and writing the files of a golden case.

Nothing here needs Paddle except strip_program(), which uses the protobuf
module that Paddle ships.
"""
import os
import struct

import numpy as np

# VarType.Type values of framework.proto for plain tensors.
DTYPE_CODES = {
    'bool': 0, 'int16': 1, 'int32': 2, 'int64': 3,
    'float16': 4, 'float32': 5, 'float64': 6, 'uint8': 20, 'int8': 21,
}


def _varint(value):
    """Protobuf varint; negative numbers are 64-bit two's complement."""
    if value < 0:
        value += 1 << 64
    out = bytearray()
    while True:
        byte = value & 0x7f
        value >>= 7
        if value:
            out.append(byte | 0x80)
        else:
            out.append(byte)
            return bytes(out)


def lengths_to_offsets(lengths):
    return [0] + np.cumsum(lengths).tolist()


def tensor_bytes(array, lod=()):
    """One LoDTensor in Fluid's file format.  lod is a list of offset levels."""
    array = np.ascontiguousarray(array)
    desc = b'\x08' + _varint(DTYPE_CODES[str(array.dtype)])
    for dim in array.shape:
        desc += b'\x10' + _varint(dim)
    out = [struct.pack('<IQ', 0, len(lod))]
    for level in lod:
        out.append(struct.pack('<Q', 8 * len(level)))
        out.append(struct.pack('<%dQ' % len(level), *level))
    out.append(struct.pack('<Ii', 0, len(desc)))
    out.append(desc)
    out.append(array.tobytes())
    return b''.join(out)


def write_tensor(path, array, lod=()):
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
        os.makedirs(folder)
    with open(path, 'wb') as handle:
        handle.write(tensor_bytes(array, lod))


def read_tensor(path):
    """Returns (array, lod) of a Fluid LoDTensor file."""
    with open(path, 'rb') as handle:
        raw = handle.read()
    version, levels = struct.unpack_from('<IQ', raw, 0)
    assert version == 0
    at = 12
    lod = []
    for _ in range(levels):
        size, = struct.unpack_from('<Q', raw, at)
        lod.append(list(struct.unpack_from('<%dQ' % (size // 8), raw, at + 8)))
        at += 8 + size
    version, size = struct.unpack_from('<Ii', raw, at)
    assert version == 0
    at += 8
    end = at + size
    dtype, dims = None, []
    while at < end:
        tag = raw[at]
        at += 1
        value, shift = 0, 0
        while True:
            byte = raw[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                break
        if tag == 0x08:
            dtype = value
        else:
            dims.append(value)
    name = [k for k, v in DTYPE_CODES.items() if v == dtype][0]
    # A file that Fluid merged from several servers may hold more data than its
    # dims say; like Fluid's load, this reads what the dims say.
    count = int(np.prod(dims))
    return np.frombuffer(raw[end:], dtype=name)[:count].reshape(dims), lod


def strip_program(raw, keep_callstack=False):
    """Takes the op_callstack attributes out of a serialized ProgramDesc.

    Fluid writes the Python stack of every op into the program.  It doubles the
    size and holds the paths of the machine.  With keep_callstack the attribute
    stays, with the folders cut from the file names.
    """
    from paddle.fluid.proto import framework_pb2
    program = framework_pb2.ProgramDesc()
    program.ParseFromString(raw)
    for block in program.blocks:
        for op in block.ops:
            if keep_callstack:
                for attr in op.attrs:
                    if attr.name == 'op_callstack':
                        lines = [_cut_folder(line) for line in attr.strings]
                        del attr.strings[:]
                        attr.strings.extend(lines)
            else:
                kept = [a for a in op.attrs if a.name != 'op_callstack']
                copies = []
                for attr in kept:
                    copy = framework_pb2.OpDesc.Attr()
                    copy.CopyFrom(attr)
                    copies.append(copy)
                del op.attrs[:]
                op.attrs.extend(copies)
    return program.SerializeToString()


def _cut_folder(line):
    start = line.find('File "')
    if start < 0:
        return line
    start += len('File "')
    end = line.find('"', start)
    return line[:start] + os.path.basename(line[start:end]) + line[end:]


def write_program(path, program, keep_callstack=False):
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        os.makedirs(folder)
    raw = program.desc.serialize_to_string()
    with open(path, 'wb') as handle:
        handle.write(strip_program(raw, keep_callstack))


def clean_model_file(path):
    with open(path, 'rb') as handle:
        raw = handle.read()
    with open(path, 'wb') as handle:
        handle.write(strip_program(raw))
