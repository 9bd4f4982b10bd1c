# SPDX-License-Identifier: Apache-2.0
"""Cases of ParallelExecutor: one process with several workers (CPU_NUM).

    python generate.py --out DIR/parallel --cases parallel.py

A line of losses.txt has a number a worker, fetched values are what Fluid joins
of all of them; final/ is what it saves, which is worker 0's."""
import numpy as np
import paddle.fluid as fluid
from paddle.fluid import layers, ParamAttr

import nets
from case import Case, Net
from datasets import Line, Synthetic


def plain(make):
    def opt(net):
        make().minimize(net.loss)
        return None
    return opt


def images(batch, width=48, classes=4):
    """Blurred classes: something that can be learned."""
    def make(rng):
        label = rng.randint(0, classes, (batch, 1))
        centres = np.random.RandomState(3).normal(0, 1, (classes, width))
        x = centres[label[:, 0]] + rng.normal(0, 0.7, (batch, width))
        return {'img': (x.astype('float32'), None),
                'label': (label.astype('int64'), None)}
    return Synthetic(make, 101)


def mlp(**args):
    return nets.mlp((16,), width=48, classes=4, **args)


def small_conv(norms=2):
    """Biases in front of batch_norm have no gradient but rounding: none here."""
    def make():
        img, label = nets.data('img', [1, 12, 12]), nets.data('label', [1], 'int64')
        conv = layers.conv2d(img, 4, 3, bias_attr=False)
        norm = layers.batch_norm(conv, act='relu')
        hidden = layers.pool2d(norm, 2, 'max', 2)
        if norms > 1:
            hidden = layers.batch_norm(layers.fc(hidden, 8, bias_attr=False))
        predict = layers.fc(hidden, 4, act='softmax')
        net = nets.classify([img, label], predict, label)
        net.fetches.append(norm)
        return net
    return make


def conv_images(batch):
    make = images(batch, 144).make

    def shaped(rng):
        feed = make(rng)
        feed['img'] = (feed['img'][0].reshape(-1, 1, 12, 12), None)
        return feed
    return Synthetic(shaped, 211)


def dropout():
    img, label = nets.data('img', [48]), nets.data('label', [1], 'int64')
    hidden = layers.dropout(layers.fc(img, 16, act='relu'), 0.4, seed=11)
    predict = layers.fc(hidden, 4, act='softmax')
    net = nets.classify([img, label], predict, label)
    net.fetches.append(hidden)
    return net


def words(batch):
    return Synthetic(lambda rng: nets.word2vec_batch(rng, batch, 60), 307)


def sequences(batch):
    """Sums of embedded ids of sequences of unlike length."""
    def make(rng):
        lengths = rng.randint(1, 6, batch).tolist()
        ids = rng.randint(0, 50, (sum(lengths), 1))
        return {'ids': (ids.astype('int64'), lengths),
                'label': (rng.randint(0, 2, (batch, 1)).astype('int64'), None)}
    return Synthetic(make, 401)


def bag(is_sparse):
    def make():
        ids = nets.data('ids', [1], 'int64', 1)
        label = nets.data('label', [1], 'int64')
        embed = layers.embedding(ids, [50, 6], is_sparse=is_sparse)
        pooled = layers.sequence_pool(embed, 'sum')
        predict = layers.fc(pooled, 2, act='softmax')
        loss = layers.mean(layers.cross_entropy(predict, label))
        auc, batch_auc, _ = layers.auc(predict, label, num_thresholds=63,
                                       slide_steps=2)
        return Net([ids, label], loss, [auc, batch_auc, embed])
    return make


def shared_weight():
    """A parameter with two gradients, and one that is left alone."""
    x, y = nets.data('x', [13]), nets.data('y', [1])
    attr = ParamAttr(name='both')
    a = layers.fc(x, 13, act='tanh', param_attr=attr, bias_attr=False)
    b = layers.fc(a, 13, act='tanh', param_attr=attr, bias_attr=False)
    b = layers.fc(b, 13, param_attr=ParamAttr(name='still', trainable=False))
    loss = layers.mean(layers.square_error_cost(layers.fc(b, 1), y))
    return Net([x, y], loss)


def clip(make_clip, make):
    def opt(net):
        make(make_clip()).minimize(net.loss)
        return None
    return opt


def piecewise():
    return fluid.optimizer.SGD(layers.piecewise_decay([2, 4], [0.2, 0.1, 0.05]))


def cases():
    o, reg, gc = fluid.optimizer, fluid.regularizer, fluid.clip
    two = {'executor': 'CompiledProgram.with_data_parallel'}
    out = []

    def add(name, net, opt, data, workers=2, **more):
        out.append(Case(name, net, opt, data, two, steps=more.pop('steps', 5),
                        workers=workers, **more))

    add('pe_line_even', nets.fit_a_line, plain(lambda: o.SGD(0.05)), Line(20))
    add('pe_line_uneven', nets.fit_a_line, plain(lambda: o.SGD(0.05)), Line(5))
    add('pe_line_three', nets.fit_a_line, plain(lambda: o.SGD(0.05)), Line(7),
        workers=3)
    add('pe_momentum', mlp(), plain(lambda: o.Momentum(0.05, 0.9)), images(16))
    add('pe_adam', mlp(), plain(lambda: o.Adam(0.01)), images(9))
    add('pe_lr_schedule', mlp(),
        plain(lambda: o.SGD(layers.exponential_decay(0.2, 2, 0.5, True))),
        images(8))
    add('pe_lr_piecewise', mlp(), plain(piecewise), images(8), steps=6)
    add('pe_lr_warmup', mlp(), plain(lambda: o.Momentum(
        layers.linear_lr_warmup(layers.cosine_decay(0.1, 2, 4), 3, 0.0, 0.1),
        0.9)), images(8), steps=6)
    add('pe_l2', mlp(), plain(lambda: o.SGD(
        0.1, regularization=reg.L2Decay(0.05))), images(8))
    add('pe_clip_global_norm', mlp(), clip(
        lambda: gc.GradientClipByGlobalNorm(0.3),
        lambda c: o.Momentum(0.1, 0.9, grad_clip=c,
                             regularization=reg.L1Decay(0.01))), images(8))
    add('pe_clip_norm', mlp(), clip(lambda: gc.GradientClipByNorm(0.1),
                                    lambda c: o.SGD(0.1, grad_clip=c)), images(8))
    add('pe_clip_value', mlp(), clip(lambda: gc.GradientClipByValue(0.02),
                                     lambda c: o.SGD(0.1, grad_clip=c)), images(7))
    add('pe_batch_norm', small_conv(), plain(lambda: o.Momentum(0.05, 0.9)),
        conv_images(24), fetch_steps=[0])
    add('pe_batch_norm_uneven', small_conv(1), plain(lambda: o.SGD(0.05)),
        conv_images(5), fetch_steps=[0])
    add('pe_dropout', dropout, plain(lambda: o.SGD(0.1)), images(8))
    add('pe_shared_weight', shared_weight, plain(lambda: o.SGD(0.01)), Line(6))
    add('pe_word2vec', nets.word2vec(False, 60, 8), plain(lambda: o.SGD(0.1)),
        words(10))
    add('pe_word2vec_sparse', nets.word2vec(True, 60, 8),
        plain(lambda: o.SGD(0.1)), words(10))
    add('pe_word2vec_sparse_adagrad', nets.word2vec(True, 60, 8),
        plain(lambda: o.Adagrad(0.1)), words(9))
    add('pe_word2vec_sparse_adam', nets.word2vec(True, 60, 8),
        plain(lambda: o.Adam(0.01, lazy_mode=True)), words(10))
    add('pe_bag', bag(False), plain(lambda: o.SGD(0.1)), sequences(7))
    add('pe_bag_sparse', bag(True), plain(lambda: o.SGD(0.1)), sequences(7))
    add('pe_bag_three', bag(True), plain(lambda: o.Adagrad(0.1)), sequences(8),
        workers=3)
    servers = dict(dist=['dist'], dist_run={'pservers': 2, 'trainers': 2, 'steps': 5})
    add('pe_dist', nets.mlp((172,), width=96, classes=4), plain(lambda: o.SGD(0.1)),
        images(10, 96), grads=False, **servers)
    add('pe_dist_adam', mlp(), plain(lambda: o.Adam(0.01)), images(12), **servers)
    add('pe_dist_schedule', mlp(), plain(lambda: o.SGD(layers.exponential_decay(
        0.2, 2, 0.5, True), regularization=reg.L2Decay(0.02))), images(8), **servers)
    add('pe_dist_batch_norm', small_conv(1), plain(lambda: o.Momentum(0.05, 0.9)),
        conv_images(12), fetch_steps=[0], grads=False, **servers)
    add('pe_dist_sparse', nets.word2vec(True, 60, 8), plain(lambda: o.SGD(0.1)),
        words(12), **servers)
    return out
