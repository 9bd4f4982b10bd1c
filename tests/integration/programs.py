# SPDX-License-Identifier: Apache-2.0
"""A recorded program with another size of its table: the protobuf is read and written again with
the standard library only.

Messages are given as {field: kind}: a dict for a message inside, 'rows' for numbers that may be the
table's rows. All else is copied as it is.
"""

from tensors import bytes_of_varint, varint

TENSOR = {2: 'rows'}   # TensorDesc.dims
LOD_TENSOR = {1: TENSOR}
VAR_TYPE = {2: TENSOR, 3: LOD_TENSOR}
VAR = {2: VAR_TYPE}
ATTR = {6: 'rows', 15: 'rows'}   # ints, longs: the shapes of initializers
OP = {4: ATTR}
BLOCK = {3: VAR, 4: OP}
PROGRAM = {1: BLOCK}


def _rewrite(raw, kinds, old, new):
    out, at = bytearray(), 0
    while at < len(raw):
        begin = at
        tag, at = varint(raw, at)
        kind, wire = kinds.get(tag >> 3), tag & 7
        if wire == 0:
            value, at = varint(raw, at)
            value = new if kind == 'rows' and value == old else value
            out += bytes_of_varint(tag) + bytes_of_varint(value)
        elif wire == 2:
            size, at = varint(raw, at)
            inside = raw[at : at + size]
            at += size
            if isinstance(kind, dict):
                inside = _rewrite(inside, kind, old, new)
            out += bytes_of_varint(tag) + bytes_of_varint(len(inside)) + inside
        else:
            at += {1: 8, 5: 4}[wire]
            out += raw[begin:at]
    return bytes(out)


def with_rows(path, out, old, new):
    """Writes path's program to out, every side of old rows made new ones."""
    with open(path, 'rb') as handle:
        raw = handle.read()
    with open(out, 'wb') as handle:
        handle.write(_rewrite(raw, PROGRAM, old, new))
