# SPDX-License-Identifier: Apache-2.0
"""Networks of the cases."""
import numpy as np
import paddle.fluid as fluid
from paddle.fluid import layers, ParamAttr

from case import Net


def data(name, shape, dtype='float32', lod_level=0):
    return layers.data(name=name, shape=shape, dtype=dtype, lod_level=lod_level)


def fit_a_line():
    x, y = data('x', [13]), data('y', [1])
    predict = layers.fc(x, 1)
    loss = layers.mean(layers.square_error_cost(input=predict, label=y))
    return Net([x, y], loss, targets=[predict])


def classify(feeds, predict, label, checkpoints=()):
    loss = layers.mean(layers.cross_entropy(input=predict, label=label))
    acc = layers.accuracy(input=predict, label=label)
    return Net(feeds, loss, [acc], [predict], checkpoints=checkpoints)


def mlp(sizes=(16,), width=784, classes=10, act='relu', **fc_args):
    def make():
        img, label = data('img', [width]), data('label', [1], 'int64')
        hidden, inner = img, []
        for size in sizes:
            hidden = layers.fc(hidden, size, act=act, **fc_args)
            inner.append(hidden)
        predict = layers.fc(hidden, classes, act='softmax', **fc_args)
        return classify([img, label], predict, label, inner)
    return make


def mlp_dropout(seed=7, implementation='downgrade_in_infer'):
    def make():
        img, label = data('img', [784]), data('label', [1], 'int64')
        hidden = layers.fc(img, 16, act='relu')
        hidden = layers.dropout(hidden, 0.3, seed=seed,
                                dropout_implementation=implementation)
        predict = layers.fc(hidden, 10, act='softmax')
        net = classify([img, label], predict, label)
        net.fetches.append(hidden)
        return net
    return make


def mlp_attrs():
    """A learning rate of its own for a parameter, and its own decay."""
    img, label = data('img', [784]), data('label', [1], 'int64')
    hidden = layers.fc(
        img, 24, act='relu',
        param_attr=ParamAttr(name='first.w', learning_rate=2.0,
                             regularizer=fluid.regularizer.L1Decay(0.01)),
        bias_attr=ParamAttr(name='first.b', learning_rate=0.0))
    predict = layers.fc(
        hidden, 10, act='softmax',
        param_attr=ParamAttr(name='second.w', learning_rate=0.5),
        bias_attr=ParamAttr(name='second.b'))
    return classify([img, label], predict, label)


def lenet(batch_norm=False):
    def make():
        img, label = data('img', [1, 28, 28]), data('label', [1], 'int64')
        pool1 = fluid.nets.simple_img_conv_pool(
            input=img, filter_size=5, num_filters=6, pool_size=2,
            pool_stride=2, act='relu')
        if batch_norm:
            pool1 = layers.batch_norm(pool1)
        pool2 = fluid.nets.simple_img_conv_pool(
            input=pool1, filter_size=5, num_filters=8, pool_size=2,
            pool_stride=2, act='relu')
        predict = layers.fc(pool2, 10, act='softmax')
        return classify([img, label], predict, label)
    return make


def word2vec(is_sparse, dict_size=200, size=16):
    def make():
        names = ['firstw', 'secondw', 'thirdw', 'fourthw', 'nextw']
        words = [data(n, [1], 'int64') for n in names]
        embeds = [layers.embedding(
            input=w, size=[dict_size, size], dtype='float32',
            is_sparse=is_sparse, param_attr='shared_w') for w in words[:4]]
        concat = layers.concat(input=embeds, axis=1)
        hidden = layers.fc(concat, 32, act='sigmoid')
        predict = layers.fc(hidden, dict_size, act='softmax')
        loss = layers.mean(layers.cross_entropy(predict, words[4]))
        return Net(words, loss, targets=[predict], infer_feeds=names[:4])
    return make


def word2vec_batch(rng, batch=16, dict_size=200):
    names = ['firstw', 'secondw', 'thirdw', 'fourthw', 'nextw']
    ids = rng.zipf(1.3, size=(batch, 5)) % dict_size
    ids[0, :2] = dict_size - 1, dict_size // 2   # see touch_last_rows
    return dict((n, (ids[:, i:i + 1].astype('int64'), None))
                for i, n in enumerate(names))


def ctr_dnn(slots, dict_size=1001, size=10, hidden=(64, 64, 64)):
    """Slots of ids summed per row, dense values, a deep net, auc."""
    def make():
        dense = data('dense_input', [13])
        sparse = [data('C%d' % (i + 1), [1], 'int64', 1) for i in range(slots)]
        label = data('label', [1], 'int64')
        embeds = [layers.embedding(
            input=s, size=[dict_size, size], dtype='float32', is_sparse=True,
            param_attr=ParamAttr(
                name='SparseFeatFactors',
                initializer=fluid.initializer.Uniform())) for s in sparse]
        pooled = [layers.sequence_pool(e, 'sum') for e in embeds]
        last = layers.concat(pooled + [dense], axis=1)
        for width in hidden:
            last = layers.fc(
                last, width, act='relu', param_attr=ParamAttr(
                    initializer=fluid.initializer.Normal(
                        scale=1.0 / np.sqrt(last.shape[1]))))
        predict = layers.fc(last, 2, act='softmax', param_attr=ParamAttr(
            initializer=fluid.initializer.Normal(
                scale=1.0 / np.sqrt(last.shape[1]))))
        cost = layers.cross_entropy(input=predict, label=label)
        loss = layers.reduce_sum(cost)
        auc, batch_auc, _ = layers.auc(
            input=predict, label=label, num_thresholds=2 ** 8, slide_steps=3)
        feeds = [dense] + sparse + [label]
        return Net(feeds, loss, [auc, batch_auc], [predict])
    return make


def touch_last_rows(ids, dict_size):
    """Adam over SelectedRows walks all rows of the table and reads one row
    index past the end of the gradient once the last index was met.  With the
    last row of the table (or of its half on a server) in every batch the read
    never happens, so the numbers do not depend on old memory."""
    ids[0] = dict_size - 1
    ids[1] = dict_size // 2


def slots_batch(slots, dict_size=1001, batch=16):
    def make(rng):
        feed = {'dense_input': (rng.rand(batch, 13).astype('float32'), None)}
        score = np.zeros(batch)
        for s in range(slots):
            lengths = rng.randint(1, 5, size=batch).tolist()
            ids = rng.zipf(1.2, size=sum(lengths)) % dict_size
            touch_last_rows(ids, dict_size)
            score += np.array([p.sum() % 2 for p in np.split(
                ids, np.cumsum(lengths)[:-1])])
            feed['C%d' % (s + 1)] = (ids.astype('int64').reshape(-1, 1), lengths)
        label = (score > slots / 2.0).astype('int64').reshape(-1, 1)
        feed['label'] = (label, None)
        return feed
    return make


def wide_deep(slots=6, dict_size=500):
    """A linear part of ids (embedding of size 1) beside a deep part."""
    dense = data('dense_input', [13])
    sparse = [data('C%d' % (i + 1), [1], 'int64', 1) for i in range(slots)]
    label = data('label', [1], 'int64')
    wide = []
    for i, s in enumerate(sparse):
        embed = layers.embedding(s, [dict_size, 1], is_sparse=True,
                                 param_attr='wide_%d' % i)
        wide.append(layers.sequence_pool(embed, 'sum'))
    wide_sum = layers.sums(wide) if len(wide) > 1 else wide[0]
    deep = [layers.sequence_pool(layers.embedding(
        s, [dict_size, 8], is_sparse=True, param_attr='deep_%d' % i), 'average')
        for i, s in enumerate(sparse)]
    last = layers.concat(deep + [dense], axis=1)
    for width in (32, 16):
        last = layers.fc(last, width, act='relu')
    logit = layers.elementwise_add(layers.fc(last, 1), wide_sum)
    predict = layers.sigmoid(logit)
    loss = layers.mean(layers.sigmoid_cross_entropy_with_logits(
        logit, layers.cast(label, 'float32')))
    two = layers.concat([layers.scale(predict, -1.0, 1.0), predict], axis=1)
    auc, _, _ = layers.auc(two, label, num_thresholds=200, slide_steps=1)
    return Net([dense] + sparse + [label], loss, [auc], [predict])


def deepfm_flat():
    return deepfm(flat=True)


def deepfm(fields=8, dict_size=400, size=6, flat=False):
    """Factorisation machine and deep part over the same id embeddings."""
    fed_ids = data('feat_idx', [fields, 1], 'int64')
    ids = layers.reshape(fed_ids, [-1, 1]) if flat else fed_ids
    value = data('feat_value', [fields])
    label = data('label', [1], 'int64')
    init = fluid.initializer.TruncatedNormal(loc=0.0, scale=0.1)
    value3 = layers.reshape(value, [-1, fields, 1])
    first = layers.embedding(ids, [dict_size, 1], is_sparse=True,
                             padding_idx=0, param_attr=ParamAttr(
                                 name='fm_first', initializer=init))
    first = layers.reshape(first, [-1, fields, 1])
    y_first = layers.reduce_sum(first * value3, 1)
    embed = layers.embedding(ids, [dict_size, size], is_sparse=True,
                             padding_idx=0, param_attr=ParamAttr(
                                 name='fm_embed', initializer=init))
    embed = layers.reshape(embed, [-1, fields, size]) * value3
    summed_square = layers.square(layers.reduce_sum(embed, 1))
    square_summed = layers.reduce_sum(layers.square(embed), 1)
    y_second = 0.5 * layers.reduce_sum(
        summed_square - square_summed, 1, keep_dim=True)
    deep = layers.reshape(embed, [-1, fields * size])
    for width in (32, 16):
        deep = layers.fc(deep, width, act='relu')
    y_deep = layers.fc(deep, 1)
    predict = layers.sigmoid(y_first + y_second + y_deep)
    cost = layers.log_loss(input=predict, label=layers.cast(label, 'float32'))
    loss = layers.reduce_sum(cost)
    two = layers.concat([1 - predict, predict], 1)
    auc, _, _ = layers.auc(two, label, num_thresholds=200, slide_steps=0)
    return Net([fed_ids, value, label], loss, [auc], [predict])


def deepfm_batch(rng, batch=16, fields=8, dict_size=400):
    ids = rng.randint(0, dict_size, size=(batch, fields, 1)).astype('int64')
    touch_last_rows(ids[0, :, 0], dict_size)
    value = rng.rand(batch, fields).astype('float32')
    label = (ids.reshape(batch, -1).sum(1) % 2).reshape(-1, 1).astype('int64')
    return {'feat_idx': (ids, None), 'feat_value': (value, None),
            'label': (label, None)}


def text_conv(dict_size=300, size=16):
    words = data('words', [1], 'int64', 1)
    label = data('label', [1], 'int64')
    embed = layers.embedding(words, [dict_size, size], is_sparse=False)
    conv3 = fluid.nets.sequence_conv_pool(
        input=embed, num_filters=12, filter_size=3, act='tanh',
        pool_type='max')
    conv4 = fluid.nets.sequence_conv_pool(
        input=embed, num_filters=12, filter_size=4, act='tanh',
        pool_type='sqrt')
    predict = layers.fc([conv3, conv4], 2, act='softmax')
    return classify([words, label], predict, label)


def text_lstm(dict_size=300, size=16, hidden=12):
    words = data('words', [1], 'int64', 1)
    label = data('label', [1], 'int64')
    embed = layers.embedding(words, [dict_size, size], is_sparse=True)
    gates = layers.fc(embed, hidden * 4, act='tanh')
    state, _ = layers.dynamic_lstm(gates, hidden * 4)
    last = layers.sequence_last_step(state)
    predict = layers.fc(last, 2, act='softmax')
    return classify([words, label], predict, label)


def text_gru(dict_size=300, size=16, hidden=12):
    words = data('words', [1], 'int64', 1)
    label = data('label', [1], 'int64')
    embed = layers.embedding(words, [dict_size, size], is_sparse=False)
    gates = layers.fc(embed, hidden * 3)
    state = layers.dynamic_gru(gates, hidden, is_reverse=True)
    first = layers.sequence_first_step(state)
    predict = layers.fc(first, 2, act='softmax')
    return classify([words, label], predict, label)


def text_batch(rng, batch=12, dict_size=300):
    lengths = rng.randint(1, 9, size=batch).tolist()
    ids = rng.randint(0, dict_size, size=(sum(lengths), 1)).astype('int64')
    parts = np.split(ids.reshape(-1), np.cumsum(lengths)[:-1])
    label = np.array([[p.sum() % 2] for p in parts], 'int64')
    return {'words': (ids, lengths), 'label': (label, None)}


def initializers():
    """Parameters only; the startup program is what matters."""
    make = fluid.initializer
    from paddle.fluid.layers import create_parameter
    table = [
        ('constant', [7], make.Constant(0.25)),
        ('uniform_small', [5], make.Uniform(-1.0, 1.0, seed=3)),
        ('uniform_mid', [20, 30], make.Uniform(-0.5, 2.0, seed=99)),
        ('uniform_program_seed', [40, 25], make.Uniform(-1.0, 1.0)),
        ('normal_small', [5], make.Normal(0.0, 1.0, seed=3)),
        ('normal_odd', [33], make.Normal(1.5, 0.3, seed=12345)),
        ('normal_mid', [20, 50], make.Normal(0.0, 2.0, seed=77)),
        ('normal_program_seed', [16, 16], make.Normal()),
        ('truncated_small', [6], make.TruncatedNormal(0.0, 1.0, seed=3)),
        ('truncated_mid', [40, 20], make.TruncatedNormal(0.1, 0.5, seed=41)),
        ('truncated_program_seed', [30], make.TruncatedNormal()),
        ('xavier_uniform', [24, 18], make.Xavier(uniform=True, seed=5)),
        ('xavier_normal', [24, 18], make.Xavier(uniform=False, seed=6)),
        ('xavier_conv', [8, 3, 5, 5], make.Xavier(uniform=False)),
        ('xavier_fan', [10, 10], make.Xavier(fan_in=4, fan_out=9)),
        ('msra_uniform', [24, 18], make.MSRA(uniform=True, seed=8)),
        ('msra_normal', [24, 18], make.MSRA(uniform=False, seed=9)),
        ('msra_conv', [8, 3, 3, 3], make.MSRA(uniform=False)),
        ('bilinear', [2, 1, 4, 4], make.Bilinear()),
        ('numpy_array', [3, 4], make.NumpyArrayInitializer(
            np.arange(12).reshape(3, 4).astype('float32') / 7)),
    ]
    for name, shape, init in table:
        create_parameter(shape, 'float32', attr=ParamAttr(
            name=name, initializer=init))
    return Net([], None)
