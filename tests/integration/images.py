# SPDX-License-Identifier: Apache-2.0
"""Small image sets in MNIST's idx format that a network can learn: a bright bar tells the class."""

import gzip
import os
import random
import struct


def write(folder, train=640, test=200, seed=1, zipped=True):
    """Writes the four files of a data set; returns the folder."""
    os.makedirs(folder, exist_ok=True)
    rng = random.Random(seed)
    for part, count in (('train', train), ('t10k', test)):
        labels = bytes(rng.randrange(10) for _ in range(count))
        pixels = bytearray(rng.getrandbits(8) >> 3 for _ in range(784 * count))
        for i, label in enumerate(labels):
            start = 784 * i + 56 * label + 60
            for k in range(28):
                pixels[start + k] = 200 + (pixels[start + k] & 31)
        _put(
            folder,
            part + '-images-idx3-ubyte',
            struct.pack('>IIII', 0x803, count, 28, 28) + bytes(pixels),
            zipped,
        )
        _put(folder, part + '-labels-idx1-ubyte', struct.pack('>II', 0x801, count) + labels, zipped)
    return str(folder)


def _put(folder, name, data, zipped):
    path = os.path.join(folder, name)
    if zipped:
        with gzip.GzipFile(path + '.gz', 'wb', mtime=0) as handle:
            handle.write(data)
    else:
        with open(path, 'wb') as handle:
            handle.write(data)
