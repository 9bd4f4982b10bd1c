# SPDX-License-Identifier: Apache-2.0
"""Unpacks the archives of tests/data once into a folder, and prints where it is.

    python3 tests/goldens/unpack.py BUILD_FOLDER [SHARED]      prints BUILD_FOLDER/goldens

Cases that the archive may not hold (see README.md) are linked in from SHARED/goldens when it is
there, so that one folder has all that this machine has.
Safe when several tests start at once: one unpacks beside and renames.
"""

import glob
import hashlib
import os
import shutil
import sys
import tarfile
import tempfile

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'data')


def unpacked(build):
    """The folder of the cases below build, made when absent or out of date."""
    archives = sorted(glob.glob(os.path.join(DATA, '*.tar.xz')))
    digest = hashlib.sha256()
    for archive in archives:
        with open(archive, 'rb') as handle:
            digest.update(handle.read())
    digest = digest.hexdigest()
    where = os.path.join(build, 'goldens')
    mark = os.path.join(where, '.archive')
    if _read(mark) == digest:
        return where
    os.makedirs(build, exist_ok=True)
    beside = tempfile.mkdtemp(prefix='goldens.', dir=build)
    for archive in archives:
        with tarfile.open(archive) as tar:
            tar.extractall(beside)
    with open(os.path.join(beside, '.archive'), 'w') as handle:
        handle.write(digest)
    if os.path.isdir(where) and _read(mark) != digest:
        shutil.rmtree(where)
    try:
        os.rename(beside, where)
    except OSError:
        shutil.rmtree(beside)  # another process was first
    return where


def link_shared(where, shared):
    """Links the cases of shared/goldens that where does not have."""
    theirs = os.path.join(os.path.abspath(shared), 'goldens')
    for name in sorted(os.listdir(theirs)) if os.path.isdir(theirs) else []:
        link = os.path.join(where, name)
        if os.path.islink(link) and not os.path.exists(link):
            os.remove(link)
        if os.path.isdir(os.path.join(theirs, name)) and not os.path.lexists(link):
            try:
                os.symlink(os.path.join(theirs, name), link)
            except FileExistsError:
                pass  # another process was first


def _read(path):
    try:
        with open(path) as handle:
            return handle.read()
    except OSError:
        return None


if __name__ == '__main__':
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    folder = unpacked(os.path.abspath(sys.argv[1]))
    if len(sys.argv) == 3:
        link_shared(folder, sys.argv[2])
    print(folder)
