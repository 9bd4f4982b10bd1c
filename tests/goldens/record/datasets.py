# SPDX-License-Identifier: Apache-2.0
"""Input batches.  Every source is deterministic."""
import gzip
import os

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
SHARED = os.environ.get('SLUICE_SHARED', os.path.join(
    HERE, '..', '..', '..', '..', 'shared'))
DATA_DIR = os.environ.get('GOLDEN_DATA', os.path.join(SHARED, 'data'))
DIGITS_DIR = os.environ.get('GOLDEN_DIGITS', '/usr/share/datasets/fashion-mnist')


class Housing(object):
    """UCI housing normalised as paddle.dataset.uci_housing does."""

    def __init__(self, batch_size=20, names=('x', 'y')):
        self.batch_size = batch_size
        self.names = names

    def rows(self):
        data = np.fromfile(
            os.path.join(DATA_DIR, 'uci_housing', 'housing.data'), sep=' ')
        data = data.reshape(-1, 14)
        top, low = data.max(axis=0), data.min(axis=0)
        mean = data.sum(axis=0) / data.shape[0]
        for i in range(13):
            data[:, i] = (data[:, i] - mean[i]) / (top[i] - low[i])
        return data[:404]

    def batch(self, step):
        rows = self.rows()
        at = [(step * self.batch_size + i) % len(rows)
              for i in range(self.batch_size)]
        part = rows[at].astype('float32')
        return {self.names[0]: (part[:, :13], None),
                self.names[1]: (part[:, 13:], None)}


class Digits(object):
    """Fashion-MNIST, pixels scaled to [-1, 1] as paddle.dataset.mnist does."""
    cache = {}

    def __init__(self, batch_size=32, shape=(784,), crop=None, start=0):
        self.batch_size = batch_size
        self.shape = shape
        self.crop = crop
        self.start = start

    def load(self):
        if not self.cache:
            with gzip.open(os.path.join(
                    DIGITS_DIR, 'train-images-idx3-ubyte.gz')) as handle:
                raw = handle.read(16 + 784 * 4000)
            self.cache['x'] = np.frombuffer(raw[16:], 'uint8').reshape(-1, 784)
            with gzip.open(os.path.join(
                    DIGITS_DIR, 'train-labels-idx1-ubyte.gz')) as handle:
                raw = handle.read(8 + 4000)
            self.cache['y'] = np.frombuffer(raw[8:], 'uint8')
        return self.cache['x'], self.cache['y']

    def batch(self, step):
        x, y = self.load()
        low = self.start + step * self.batch_size
        x = x[low:low + self.batch_size].astype('float32')
        x = x / np.float32(255.0) * np.float32(2.0) - np.float32(1.0)
        if self.crop:
            top, size = self.crop
            x = x.reshape(-1, 28, 28)[:, top:top + size, top:top + size]
        x = np.ascontiguousarray(x).reshape((-1,) + tuple(self.shape))
        y = y[low:low + self.batch_size].astype('int64').reshape(-1, 1)
        return {'img': (x, None), 'label': (y, None)}


class Line(object):
    """Rows of 13 values and a noisy linear answer: the shape of the housing
    data, free to be handed on."""

    def __init__(self, batch_size=20, seed=61):
        self.batch_size = batch_size
        self.seed = seed

    def batch(self, step):
        weights = np.random.RandomState(self.seed).uniform(-8, 8, (13, 1))
        rng = np.random.RandomState(self.seed + 7919 * (step + 1))
        x = rng.uniform(-0.5, 0.5, (self.batch_size, 13))
        noise = rng.normal(0.0, 0.5, (self.batch_size, 1))
        y = x.dot(weights) + 22.5 + noise
        return {'x': (x.astype('float32'), None),
                'y': (y.astype('float32'), None)}


class Synthetic(object):
    """Batches from a function of (RandomState, step)."""

    def __init__(self, make, seed):
        self.make = make
        self.seed = seed

    def batch(self, step):
        return self.make(np.random.RandomState(self.seed + 7919 * step))


class Criteo(object):
    """The 80 sample lines: 13 dense values, 26 slots of one id each."""

    def __init__(self, batch_size=16, slots=26, dict_size=1001):
        self.batch_size = batch_size
        self.slots = slots
        self.dict_size = dict_size

    def batch(self, step):
        with open(os.path.join(DATA_DIR, 'ctr', 'criteo_slot_sample.txt')) as f:
            lines = [line.split() for line in f]
        low = step * self.batch_size
        rows = [lines[i % len(lines)] for i in range(low, low + self.batch_size)]
        dense, label = [], []
        slots = [[] for _ in range(self.slots)]
        lengths = [[] for _ in range(self.slots)]
        for row in rows:
            pairs = [item.split(':') for item in row]
            label.append([int(v) for k, v in pairs if k == 'click'])
            dense.append([float(v) for k, v in pairs if k == 'dense_feature'])
            for s in range(self.slots):
                ids = [int(v) % self.dict_size
                       for k, v in pairs if k == str(s + 1)] or [0]
                slots[s].extend(ids)
                lengths[s].append(len(ids))
        feed = {'dense_input': (np.array(dense, 'float32'), None),
                'label': (np.array(label, 'int64'), None)}
        for s in range(self.slots):
            feed['C%d' % (s + 1)] = (
                np.array(slots[s], 'int64').reshape(-1, 1), lengths[s])
        return feed


def split_feed(feed, part, parts):
    """The part-th share of a batch: consecutive rows, or consecutive
    sequences where a feed has a level of detail."""
    out = {}
    for name, (array, lengths) in feed.items():
        if lengths is None:
            size = len(array) // parts
            out[name] = (array[part * size:(part + 1) * size], None)
        else:
            size = len(lengths) // parts
            low, high = part * size, (part + 1) * size
            offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(int)
            out[name] = (array[offsets[low]:offsets[high]], lengths[low:high])
    return out
