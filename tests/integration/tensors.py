# SPDX-License-Identifier: Apache-2.0
"""Fluid's tensor files, read and written with the standard library only.

u32 version | u64 LoD levels, each u64 bytes + u64 offsets | u32 tensor version | i32 length
of TensorDesc | TensorDesc {1: data_type, 2: dims} | data. What lies behind the data that the
dims say is surplus: Paddle's distributed saves have it, and its loader ignores it.
"""

import array
import math
import os
import struct

TYPES = {
    0: ('B', 1),
    1: ('h', 2),
    2: ('i', 4),
    3: ('q', 8),
    5: ('f', 4),
    6: ('d', 8),
    20: ('B', 1),
    21: ('b', 1),
}


class Tensor(object):
    def __init__(self, dtype, dims, raw, surplus, lod):
        self.dtype, self.dims, self.raw, self.surplus, self.lod = dtype, dims, raw, surplus, lod

    @property
    def values(self):
        out = array.array(TYPES[self.dtype][0])
        out.frombytes(self.raw)
        return out

    @property
    def plain(self):
        """The bytes that matter: type, shape and data, without surplus."""
        return self.dtype, tuple(self.dims), self.raw


def read(path):
    with open(path, 'rb') as handle:
        raw = handle.read()
    version, levels = struct.unpack_from('<IQ', raw, 0)
    assert version == 0, path
    at, lod = 12, []
    for _ in range(levels):
        (size,) = struct.unpack_from('<Q', raw, at)
        lod.append(struct.unpack_from('<%dQ' % (size // 8), raw, at + 8))
        at += 8 + size
    version, size = struct.unpack_from('<Ii', raw, at)
    assert version == 0, path
    at += 8
    end, dtype, dims = at + size, None, []
    while at < end:
        tag, at = varint(raw, at)
        value, at = varint(raw, at)
        if tag == 8:
            dtype = value
        else:
            assert tag == 16, path
            dims.append(value)
    width = TYPES[dtype][1]
    for size in dims:
        width *= size
    assert len(raw) >= end + width, '%s: shorter than its dims say' % path
    return Tensor(dtype, dims, raw[end : end + width], len(raw) - end - width, lod)


def varint(raw, at):
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def bytes_of_varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write(path, dtype, dims, values):
    desc = b'\x08' + bytes_of_varint(dtype)
    for size in dims:
        desc += b'\x10' + bytes_of_varint(size)
    data = array.array(TYPES[dtype][0], values).tobytes()
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as handle:
        handle.write(struct.pack('<IQIi', 0, 0, 0, len(desc)) + desc + data)


def write_sequences(path, dtype, sequences):
    """One column [rows, 1] with a LoD of one level."""
    offsets = [0]
    for sequence in sequences:
        offsets.append(offsets[-1] + len(sequence))
    write(path, dtype, [offsets[-1], 1], [v for sequence in sequences for v in sequence])
    with open(path, 'rb') as handle:
        raw = handle.read()
    lod = struct.pack('<%dQ' % len(offsets), *offsets)
    with open(path, 'wb') as handle:
        handle.write(struct.pack('<IQQ', 0, 1, len(lod)) + lod + raw[12:])


def names(folder):
    """The variable files of a checkpoint folder, nested ones too, without manifest and sums."""
    found = []
    for base, _, files in os.walk(folder):
        for name in files:
            path = os.path.relpath(os.path.join(base, name), folder)
            if not path.startswith(('.', 'sluice.')) and not path.endswith('.json'):
                found.append(path)
    return sorted(found)


def same_folder(one, two):
    """The names of the variable files of one and two that are not byte for byte the same."""
    wrong = sorted(set(names(one)) ^ set(names(two)))
    for name in set(names(one)) & set(names(two)):
        with open(os.path.join(one, name), 'rb') as a, open(os.path.join(two, name), 'rb') as b:
            if a.read() != b.read():
                wrong.append(name)
    return wrong


def same_values(path_one, path_two):
    """Equal type, shape and bits; surplus does not count."""
    return read(path_one).plain == read(path_two).plain


def largest_gap(path_got, path_want):
    """Largest difference, relative to the largest value that was wanted."""
    got, want = read(path_got), read(path_want)
    assert (got.dtype, got.dims) == (want.dtype, want.dims), (path_got, got.dims, want.dims)
    a, b = got.values, want.values
    top = max([abs(v) for v in b] or [0])
    gap = max([abs(x - y) for x, y in zip(a, b)] or [0])
    assert not math.isnan(gap), path_got
    return gap / top if top else gap


def assert_close(folder_got, folder_want, bound=1e-4, exempt=lambda name: False):
    """Every variable of folder_want is in folder_got and near; nothing else is there."""
    want = [n for n in names(folder_want) if not exempt(n)]
    got = [n for n in names(folder_got) if not exempt(n)]
    assert got == want
    for name in want:
        gap = largest_gap(os.path.join(folder_got, name), os.path.join(folder_want, name))
        assert gap <= bound, '%s: differs by %g of its largest value' % (name, gap)


def assert_losses(got, want):
    assert len(got) == len(want), (len(got), len(want))
    for step, (a, b) in enumerate(zip(got, want)):
        assert abs(a - b) <= 1e-5 * abs(b) + 1e-7, 'step %d: loss %.9g, Paddle has %.9g' % (
            step,
            a,
            b,
        )


def read_losses(path):
    with open(path) as handle:
        return [float(line) for line in handle if not line.startswith('#')]
