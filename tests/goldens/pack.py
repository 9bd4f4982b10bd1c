# SPDX-License-Identifier: Apache-2.0
"""Packs recorded cases into tests/data/goldens.tar.xz, the same bytes every time.

    python3 tests/goldens/pack.py OUT.tar.xz FOLDER [FOLDER ...]

Every case of the folders goes in, except those that were fed with data that is
not ours to hand on; of two folders with the same case the later one wins.
"""

import io
import lzma
import os
import sys
import tarfile

# Fed with UCI housing rows, with Criteo lines, or of unstated feed.
KEPT_OUT = ('fit_a_line', 'ctr_dnn_sgd', 'grpc')
LARGEST = 9 * 1000 * 1000


def collect(folders):
    """{path in the archive: path on disk} of every file."""
    found = {}
    for folder in folders:
        for case in sorted(os.listdir(folder)):
            top = os.path.join(folder, case)
            if case in KEPT_OUT or not os.path.isdir(top):
                continue
            for name in [n for n in found if n.startswith(case + '/')]:
                del found[name]
            for base, _, names in os.walk(top):
                for name in names:
                    path = os.path.join(base, name)
                    found[os.path.relpath(path, folder)] = path
    return found


def pack(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.mode = 0o644
            with open(files[name], 'rb') as handle:
                data = handle.read()
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    filters = [{'id': lzma.FILTER_LZMA2, 'preset': 9 | lzma.PRESET_EXTREME, 'dict_size': 64 << 20}]
    return lzma.compress(out.getvalue(), lzma.FORMAT_XZ, filters=filters)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    files = collect(sys.argv[2:])
    data = pack(files)
    if len(data) > LARGEST:
        sys.exit('%d bytes: more than %d' % (len(data), LARGEST))
    with open(sys.argv[1], 'wb') as handle:
        handle.write(data)
    print('%s: %d files, %d bytes' % (sys.argv[1], len(files), len(data)))


if __name__ == '__main__':
    main()
