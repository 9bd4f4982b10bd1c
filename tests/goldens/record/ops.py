# SPDX-License-Identifier: Apache-2.0
"""The single-op cases."""
import numpy as np

from generate_ops import Op

R = np.random.RandomState(20200801)


def f(*shape, **kw):
    return R.uniform(kw.get('low', -1.0), kw.get('high', 1.0),
                     shape).astype('float32')


def pos(*shape):
    return f(*shape, low=0.1, high=2.0)


def ids(high, *shape):
    return R.randint(0, high, shape).astype('int64')


def one(value, dtype='float32'):
    return np.array([value], dtype)


def prob(*shape):
    x = np.exp(f(*shape))
    return (x / x.sum(-1, keepdims=True)).astype('float32')


def seq(lengths, *tail, **kw):
    return f(sum(lengths), *tail, **kw), lengths


def arithmetic():
    yield Op('mul', {'X': f(2, 3), 'Y': f(3, 4)}, ['X', 'Y'])
    yield Op('mul', {'X': f(2, 3, 4), 'Y': f(4, 5)}, ['X', 'Y'],
             x_num_col_dims=2, y_num_col_dims=1)
    yield Op('mul', {'X': f(2, 3, 4), 'Y': f(3, 4, 5)}, ['X', 'Y'],
             x_num_col_dims=1, y_num_col_dims=2)
    yield Op('matmul', {'X': f(2, 3), 'Y': f(3, 4)}, ['X', 'Y'])
    yield Op('matmul', {'X': f(3, 2), 'Y': f(4, 3)}, ['X', 'Y'],
             transpose_X=True, transpose_Y=True, alpha=0.5)
    yield Op('matmul', {'X': f(2, 3, 4), 'Y': f(2, 4, 5)}, ['X', 'Y'])
    yield Op('matmul', {'X': f(2, 3, 4), 'Y': f(2, 5, 4)}, ['X', 'Y'],
             transpose_Y=True)
    yield Op('matmul', {'X': f(2, 3, 4), 'Y': f(4, 5)}, ['X', 'Y'])
    yield Op('bmm', {'X': f(2, 3, 4), 'Y': f(2, 4, 2)}, ['X', 'Y'])
    yield Op('dot', {'X': f(3, 4), 'Y': f(3, 4)}, ['X', 'Y'])
    for name in ('add', 'sub', 'mul', 'div', 'max', 'min', 'pow'):
        make = pos if name in ('div', 'pow') else f
        for x, y, axis in [((2, 3, 4), (2, 3, 4), -1), ((2, 3, 4), (4,), -1),
                           ((2, 3, 4), (3,), 1), ((2, 3, 4), (2, 3), 0),
                           ((2, 3, 4), (1,), -1), ((2, 3, 4, 2), (3, 4), 1)]:
            yield Op('elementwise_' + name, {'X': make(*x), 'Y': make(*y)},
                     ['X', 'Y'], axis=axis)
    for name in ('mod', 'floordiv'):
        yield Op('elementwise_' + name, {'X': ids(50, 3, 4),
                                         'Y': ids(6, 3, 4) + 1})
    yield Op('minus', {'X': f(2, 3), 'Y': f(2, 3)}, ['X', 'Y'])
    yield Op('sum', {'X': [f(2, 3), f(2, 3), f(2, 3)]}, ['X'])
    yield Op('sum', {'X': [f(2, 3)]}, ['X'])
    yield Op('mean', {'X': f(3, 4)}, ['X'])
    yield Op('scale', {'X': f(3, 4)}, ['X'], scale=2.5, bias=0.5)
    yield Op('scale', {'X': f(3, 4)}, ['X'], scale=2.5, bias=0.5,
             bias_after_scale=False)
    yield Op('increment', {'X': one(3.0)}, step=2.0)
    yield Op('increment', {'X': one(3, 'int64')}, step=1.0)
    yield Op('pow', {'X': pos(3, 4)}, ['X'], factor=1.7)
    yield Op('cumsum', {'X': f(3, 4)}, ['X'], axis=1)
    yield Op('cumsum', {'X': f(3, 4)}, axis=0, exclusive=True, reverse=True)
    yield Op('cos_sim', {'X': f(3, 4), 'Y': f(3, 4)}, ['X', 'Y'])
    yield Op('cos_sim', {'X': f(3, 4), 'Y': f(1, 4)}, ['X', 'Y'])
    yield Op('norm', {'X': f(3, 4)}, ['X'], axis=1, epsilon=1e-10)
    yield Op('clip', {'X': f(4, 5)}, ['X'], min=-0.4, max=0.6)
    yield Op('clip_by_norm', {'X': f(4, 5)}, max_norm=0.5)
    yield Op('clip_by_norm', {'X': f(4, 5)}, max_norm=50.0)
    yield Op('squared_l2_norm', {'X': f(4, 5)}, ['X'])
    yield Op('l1_norm', {'X': f(4, 5)}, ['X'])
    yield Op('squared_l2_distance', {'X': f(3, 4), 'Y': f(3, 4)}, ['X', 'Y'])
    yield Op('bilinear_tensor_product', {
        'X': f(2, 3), 'Y': f(2, 4), 'Weight': f(5, 3, 4), 'Bias': f(1, 5)},
        ['X', 'Y', 'Weight', 'Bias'])
    yield Op('isfinite', {'X': f(2, 3)})


def activations():
    shape = (3, 5)
    for name in ('relu', 'sigmoid', 'tanh', 'exp', 'square', 'abs', 'softplus',
                 'softsign', 'logsigmoid', 'ceil', 'floor', 'round', 'sin',
                 'cos', 'atan', 'tanh_shrink', 'erf', 'sign', 'selu',
                 'hard_swish', 'relu6', 'gelu', 'elu', 'leaky_relu',
                 'hard_sigmoid', 'swish', 'brelu', 'soft_relu', 'stanh',
                 'softshrink', 'hard_shrink', 'thresholded_relu'):
        yield Op(name, {'X': f(*shape, low=-4.0, high=4.0)}, ['X'])
    for name in ('acos', 'asin'):
        yield Op(name, {'X': f(*shape, low=-0.9, high=0.9)}, ['X'])
    for name in ('log', 'sqrt', 'rsqrt', 'reciprocal', 'log1p'):
        yield Op(name, {'X': pos(*shape)}, ['X'])
    wide = f(*shape, low=-6.0, high=6.0)
    yield Op('gelu', {'X': wide}, ['X'], approximate=True)
    yield Op('leaky_relu', {'X': wide}, ['X'], alpha=0.3)
    yield Op('elu', {'X': wide}, ['X'], alpha=0.5)
    yield Op('relu6', {'X': wide}, ['X'], threshold=3.0)
    yield Op('hard_sigmoid', {'X': wide}, ['X'], slope=0.3, offset=0.4)
    yield Op('swish', {'X': wide}, ['X'], beta=1.5)
    yield Op('brelu', {'X': wide}, ['X'], t_min=-2.0, t_max=3.0)
    yield Op('soft_relu', {'X': wide}, ['X'], threshold=3.0)
    yield Op('thresholded_relu', {'X': wide}, ['X'], threshold=2.0)
    # Values where exp overflows or the result saturates.
    edge = np.array([[-200.0, -90.0, -50.0, -1e-6, 0.0, 1e-6, 50.0, 90.0,
                      200.0]], 'float32')
    for name in ('sigmoid', 'tanh', 'softplus', 'relu', 'gelu', 'swish',
                 'logsigmoid'):
        yield Op(name, {'X': edge})
    x = f(2, 4, 3, low=-2, high=2)
    yield Op('prelu', {'X': x, 'Alpha': one(0.25)}, ['X', 'Alpha'], mode='all')
    yield Op('prelu', {'X': x, 'Alpha': f(1, 4, 1)}, ['X', 'Alpha'],
             mode='channel')
    yield Op('prelu', {'X': x, 'Alpha': f(1, 4, 3)}, ['X', 'Alpha'],
             mode='element')
    yield Op('maxout', {'X': f(2, 6, 3, 3)}, ['X'], groups=3)
    yield Op('softmax', {'X': f(3, 6, low=-3, high=3)}, ['X'])
    yield Op('softmax', {'X': f(2, 3, 4)}, ['X'], axis=1)
    yield Op('softmax', {'X': edge})


def losses():
    label = ids(5, 4, 1)
    yield Op('cross_entropy', {'X': prob(4, 5), 'Label': label}, ['X'])
    yield Op('cross_entropy', {'X': prob(4, 5), 'Label': prob(4, 5)}, ['X'],
             soft_label=True)
    ignored = label.copy()
    ignored[1] = -100
    yield Op('cross_entropy', {'X': prob(4, 5), 'Label': ignored}, ['X'])
    zero = prob(4, 5)
    zero[np.arange(4), label.reshape(-1)] = 0.0
    yield Op('cross_entropy', {'X': zero, 'Label': label})
    yield Op('cross_entropy2', {'X': prob(4, 5), 'Label': label}, ['X'])
    yield Op('cross_entropy2', {'X': prob(4, 5), 'Label': ignored}, ['X'])
    yield Op('cross_entropy2', {'X': zero, 'Label': label})
    for kw in ({}, {'ignore_index': int(label[0, 0])}, {'axis': -1}):
        yield Op('softmax_with_cross_entropy', {
            'Logits': f(4, 5, low=-3, high=3), 'Label': label}, ['Logits'],
            out=['Loss'], **kw)
    yield Op('softmax_with_cross_entropy', {
        'Logits': f(4, 5), 'Label': prob(4, 5)}, ['Logits'], out=['Loss'],
        soft_label=True)
    yield Op('softmax_with_cross_entropy', {
        'Logits': f(2, 5, 3), 'Label': ids(5, 2, 1, 3)}, ['Logits'],
        out=['Loss'], axis=1)
    target = f(4, 5, low=0.0, high=1.0)
    yield Op('sigmoid_cross_entropy_with_logits', {
        'X': f(4, 5, low=-3, high=3), 'Label': target}, ['X'])
    marked = np.round(target)
    marked[0, 0] = -1
    for normalize in (False, True):
        yield Op('sigmoid_cross_entropy_with_logits', {
            'X': f(4, 5), 'Label': marked}, ['X'], ignore_index=-1,
            normalize=normalize)
    yield Op('log_loss', {'Predicted': f(4, 1, low=0.1, high=0.9),
                          'Labels': np.array([[0], [1], [1], [0]], 'float32')},
             ['Predicted'], out=['Loss'], epsilon=1e-4)
    yield Op('huber_loss', {'X': f(4, 1), 'Y': f(4, 1, low=-3, high=3)},
             ['X', 'Y'], delta=0.7)
    yield Op('smooth_l1_loss', {'X': f(4, 3), 'Y': f(4, 3, low=-2, high=2)},
             ['X', 'Y'], sigma=1.5)
    yield Op('smooth_l1_loss', {
        'X': f(4, 3), 'Y': f(4, 3), 'InsideWeight': pos(4, 3),
        'OutsideWeight': pos(4, 3)}, ['X'], sigma=1.0)
    binary = np.array([[0], [1], [1], [0]], 'float32')
    yield Op('hinge_loss', {'Logits': f(4, 1), 'Labels': binary}, ['Logits'],
             out=['Loss'])
    yield Op('modified_huber_loss', {'X': f(4, 1, low=-2, high=2),
                                     'Y': binary}, ['X'])
    yield Op('rank_loss', {'Label': binary, 'Left': f(4, 1), 'Right': f(4, 1)},
             ['Left', 'Right'])
    yield Op('margin_rank_loss', {
        'Label': binary * 2 - 1, 'X1': f(4, 1), 'X2': f(4, 1)}, ['X1', 'X2'],
        margin=0.1)
    for reduction in ('none', 'mean', 'sum', 'batchmean'):
        yield Op('kldiv_loss', {'X': f(3, 4), 'Target': prob(3, 4)}, ['X'],
                 out=['Loss'], reduction=reduction)
    yield Op('bpr_loss', {'X': f(4, 5), 'Label': label}, ['X'])
    yield Op('bce_loss', {'X': f(4, 2, low=0.1, high=0.9),
                          'Label': f(4, 2, low=0.0, high=1.0)}, ['X'])
    yield Op('teacher_student_sigmoid_loss', {
        'X': f(4, 1), 'Label': f(4, 1, low=0.0, high=1.0)}, ['X'])
    yield Op('label_smooth', {'X': np.eye(4, dtype='float32')}, ['X'],
             epsilon=0.1)
    yield Op('label_smooth', {'X': np.eye(4, dtype='float32'),
                              'PriorDist': prob(1, 4)}, ['X'], epsilon=0.2)
    yield Op('hierarchical_sigmoid', {
        'X': f(4, 3), 'W': f(5, 3), 'Label': ids(6, 4, 1), 'Bias': f(5, 1)},
        ['X', 'W', 'Bias'], num_classes=6, is_sparse=False)
    yield Op('linear_chain_crf', {
        'Emission': seq([3, 1, 2], 4), 'Transition': f(6, 4),
        'Label': (ids(4, 6, 1), [3, 1, 2])}, ['Emission', 'Transition'],
        out=['LogLikelihood'])
    yield Op('crf_decoding', {'Emission': seq([3, 1, 2], 4),
                              'Transition': f(6, 4)})
    yield Op('crf_decoding', {'Emission': seq([3, 1, 2], 4),
                              'Transition': f(6, 4),
                              'Label': (ids(4, 6, 1), [3, 1, 2])})


def reductions():
    for name in ('sum', 'mean', 'max', 'min', 'prod'):
        for kw in ({'dim': [0]}, {'dim': [1], 'keep_dim': True},
                   {'dim': [-1]}, {'dim': [0, 2]}, {'reduce_all': True}):
            yield Op('reduce_' + name, {'X': pos(2, 3, 4)}, ['X'], **kw)
    flags = R.rand(3, 4) > 0.5
    yield Op('reduce_all', {'X': flags}, dim=[1])
    yield Op('reduce_any', {'X': flags}, dim=[0])
    yield Op('arg_max', {'X': f(3, 4)}, axis=1)
    yield Op('arg_min', {'X': f(3, 4)}, axis=0)
    yield Op('argsort', {'X': f(3, 5)}, axis=1)
    yield Op('argsort', {'X': f(3, 5)}, axis=0, descending=True)
    yield Op('top_k', {'X': f(3, 6)}, k=2)
    ties = np.array([[1, 3, 3, 2], [0, 0, 0, 0]], 'float32')
    yield Op('top_k', {'X': ties}, k=3)
    yield Op('arg_max', {'X': ties}, axis=1)
    yield Op('argsort', {'X': ties}, axis=1)
    yield Op('accuracy', {'Out': f(4, 2), 'Indices': ids(5, 4, 2),
                          'Label': ids(5, 4, 1)})
    for kind in ('ROC', 'PR'):
        yield Op('auc', {'Predict': prob(8, 2), 'Label': ids(2, 8, 1),
                         'StatPos': np.zeros((1, 21), 'int64'),
                         'StatNeg': np.zeros((1, 21), 'int64')},
                 same={'StatPosOut': 'StatPos', 'StatNegOut': 'StatNeg'},
                 num_thresholds=20, curve=kind, slide_steps=0)
    yield Op('auc', {'Predict': prob(8, 2), 'Label': ids(2, 8, 1),
                     'StatPos': np.zeros((4, 21), 'int64'),
                     'StatNeg': np.zeros((4, 21), 'int64')},
             same={'StatPosOut': 'StatPos', 'StatNegOut': 'StatNeg'},
             num_thresholds=20, slide_steps=3)


def shaping():
    yield Op('cast', {'X': f(3, 4, low=-5, high=5)}, in_dtype=5, out_dtype=3)
    yield Op('cast', {'X': f(3, 4)}, in_dtype=5, out_dtype=6)
    yield Op('cast', {'X': ids(9, 3, 4)}, in_dtype=3, out_dtype=5)
    yield Op('cast', {'X': f(3, 4).round()}, in_dtype=5, out_dtype=0)
    yield Op('concat', {'X': [f(2, 3), f(1, 3)]}, ['X'], axis=0)
    yield Op('concat', {'X': [f(2, 3), f(2, 1), f(2, 2)]}, ['X'], axis=1)
    yield Op('concat', {'X': [f(2, 3, 2), f(2, 3, 1)]}, ['X'], axis=-1)
    yield Op('split', {'X': f(4, 6)}, ['X'], outputs={'Out': 3}, axis=1, num=3)
    yield Op('split', {'X': f(4, 6)}, ['X'], outputs={'Out': 2}, axis=0,
             sections=[1, 3])
    yield Op('reshape2', {'X': f(2, 3, 4)}, ['X'], shape=[0, -1],
             outputs={'XShape': 1})
    yield Op('reshape2', {'X': f(2, 3, 4)}, ['X'], shape=[4, 6],
             outputs={'XShape': 1})
    yield Op('reshape', {'X': f(2, 3, 4)}, ['X'], shape=[-1, 4])
    yield Op('transpose2', {'X': f(2, 3, 4)}, ['X'], axis=[2, 0, 1],
             outputs={'XShape': 1})
    yield Op('transpose', {'X': f(2, 3)}, ['X'], axis=[1, 0])
    yield Op('squeeze2', {'X': f(2, 1, 3, 1)}, ['X'], axes=[1, 3],
             outputs={'XShape': 1})
    yield Op('squeeze2', {'X': f(2, 1, 3, 1)}, ['X'], axes=[],
             outputs={'XShape': 1})
    yield Op('unsqueeze2', {'X': f(2, 3)}, ['X'], axes=[0, 2],
             outputs={'XShape': 1})
    yield Op('flatten2', {'X': f(2, 3, 4)}, ['X'], axis=2,
             outputs={'XShape': 1})
    yield Op('stack', {'X': [f(2, 3), f(2, 3)]}, ['X'], axis=1)
    yield Op('unstack', {'X': f(2, 3)}, ['X'], axis=1, num=3,
             outputs={'Y': 3})
    yield Op('slice', {'Input': f(3, 4, 5)}, ['Input'], axes=[0, 2],
             starts=[1, -3], ends=[3, -1],
             infer_flags=[1, 1])
    yield Op('slice', {'Input': f(3, 4)}, ['Input'], axes=[1], starts=[0],
             ends=[100], infer_flags=[1])
    yield Op('strided_slice', {'Input': f(3, 6)}, ['Input'], axes=[1],
             starts=[1], ends=[6], strides=[2],
             infer_flags=[1])
    yield Op('gather', {'X': f(5, 3), 'Index': np.array([4, 0, 4], 'int64')},
             ['X'])
    yield Op('gather_nd', {'X': f(3, 4), 'Index': np.array(
        [[0, 1], [2, 3]], 'int64')}, ['X'])
    for overwrite in (True, False):
        yield Op('scatter', {'X': f(5, 3), 'Ids': np.array([1, 3], 'int64'),
                             'Updates': f(2, 3)}, ['X', 'Updates'],
                 overwrite=overwrite)
    yield Op('expand', {'X': f(2, 3)}, ['X'], expand_times=[2, 2])
    yield Op('expand_as', {'X': f(2, 1), 'target_tensor': f(2, 3)}, ['X'])
    yield Op('one_hot', {'X': ids(4, 5, 1)}, depth=4)
    yield Op('one_hot_v2', {'X': ids(4, 2, 3)}, depth=4)
    yield Op('shape', {'Input': f(2, 3, 4)})
    yield Op('assign', {'X': f(2, 3)}, ['X'])
    yield Op('assign_value', shape=[2, 2], dtype=5,
             fp32_values=[1.0, -2.0, 0.5, 3.0])
    yield Op('fill_constant', shape=[2, 3], dtype=5, value=1.25)
    yield Op('fill_constant', shape=[2], dtype=3, value=7.0)
    yield Op('fill_constant', shape=[2], dtype=5, value=0.0, str_value='0.1')
    yield Op('fill_constant_batch_size_like', {'Input': f(5, 3)},
             shape=[-1, 2], dtype=5, value=0.5)
    yield Op('fill_zeros_like', {'X': f(2, 3)})
    yield Op('fill_any_like', {'X': f(2, 3)}, value=3.0)
    yield Op('range', {'Start': one(1.0), 'End': one(6.0), 'Step': one(2.0)})
    yield Op('linspace', {'Start': one(0.0), 'Stop': one(1.0),
                          'Num': one(5, 'int32')}, dtype=5)
    yield Op('pad', {'X': f(2, 3)}, ['X'], paddings=[1, 0, 0, 2],
             pad_value=0.5)
    yield Op('pad2d', {'X': f(1, 2, 3, 3)}, ['X'], paddings=[1, 0, 2, 1],
             mode='constant', pad_value=0.5)
    yield Op('pad2d', {'X': f(1, 2, 3, 3)}, ['X'], paddings=[1, 1, 1, 1],
             mode='reflect')
    yield Op('pad2d', {'X': f(1, 2, 3, 3)}, ['X'], paddings=[1, 1, 1, 1],
             mode='edge')
    yield Op('multiplex', {'X': [f(3, 2), f(3, 2)],
                           'Ids': np.array([[1], [0], [1]], 'int32')})
    yield Op('reverse', {'X': f(3, 4)}, axis=[0])
    yield Op('crop', {'X': f(4, 5)}, ['X'], offsets=[1, 2], shape=[2, 3])
    yield Op('is_empty', {'X': f(2)})
    yield Op('size', {'Input': f(2, 3)})
    table = f(7, 4)
    yield Op('lookup_table', {'W': table, 'Ids': ids(7, 5, 1)}, ['W'])
    yield Op('lookup_table', {'W': table, 'Ids': np.array(
        [[2], [0], [2], [6]], 'int64')}, ['W'], padding_idx=2)
    yield Op('lookup_table', {'W': table, 'Ids': (ids(7, 5, 1), [2, 3])},
             ['W'])
    yield Op('lookup_table_v2', {'W': table, 'Ids': ids(7, 2, 3)}, ['W'])
    x, y = f(2, 3), f(2, 3)
    y[0] = x[0]
    for name in ('less_than', 'less_equal', 'greater_than', 'greater_equal',
                 'equal', 'not_equal'):
        yield Op(name, {'X': x, 'Y': y})
    yield Op('less_than', {'X': one(3, 'int64'), 'Y': one(5, 'int64')})
    p, q = R.rand(2, 3) > 0.5, R.rand(2, 3) > 0.5
    for name in ('and', 'or', 'xor'):
        yield Op('logical_' + name, {'X': p, 'Y': q})
    yield Op('logical_not', {'X': p})
    yield Op('where', {'Condition': p, 'X': x, 'Y': y}, ['X', 'Y'])


def images():
    x = f(2, 4, 6, 5)
    for kw in ({}, {'strides': [2, 1], 'paddings': [1, 2]},
               {'dilations': [2, 1], 'paddings': [1, 1]},
               {'padding_algorithm': 'SAME', 'strides': [2, 2]},
               {'paddings': [0, 1, 2, 0]}):
        yield Op('conv2d', {'Input': x, 'Filter': f(3, 4, 3, 2)},
                 ['Input', 'Filter'], out=['Output'], **kw)
    yield Op('conv2d', {'Input': x, 'Filter': f(6, 2, 3, 3)},
             ['Input', 'Filter'], out=['Output'], groups=2)
    yield Op('conv2d', {'Input': x, 'Filter': f(3, 4, 1, 1)},
             ['Input', 'Filter'], out=['Output'])
    yield Op('depthwise_conv2d', {'Input': x, 'Filter': f(4, 1, 3, 3)},
             ['Input', 'Filter'], out=['Output'], groups=4, paddings=[1, 1])
    for kw in ({}, {'strides': [2, 2], 'paddings': [1, 0]},
               {'strides': [2, 1], 'dilations': [1, 2]}):
        yield Op('conv2d_transpose', {'Input': f(2, 3, 4, 3),
                                      'Filter': f(3, 2, 3, 3)},
                 ['Input', 'Filter'], out=['Output'], **kw)
    for kind in ('max', 'avg'):
        for kw in ({'ksize': [2, 2], 'strides': [2, 2]},
                   {'ksize': [3, 2], 'strides': [2, 1], 'paddings': [1, 1]},
                   {'ksize': [3, 3], 'strides': [2, 2], 'ceil_mode': True},
                   {'ksize': [2, 2], 'global_pooling': True},
                   {'ksize': [3, 3], 'strides': [2, 2], 'paddings': [1, 1],
                    'exclusive': False},
                   {'ksize': [2, 3], 'adaptive': True}):
            yield Op('pool2d', {'X': x}, ['X'], pooling_type=kind, **kw)
    norm = {'X': f(3, 2, 4, 3), 'Scale': pos(2), 'Bias': f(2),
            'Mean': f(2), 'Variance': pos(2)}
    moving = {'MeanOut': 'Mean', 'VarianceOut': 'Variance'}
    yield Op('batch_norm', norm, ['X', 'Scale', 'Bias'], same=moving,
             epsilon=1e-5, momentum=0.9)
    yield Op('batch_norm', norm, same=moving, is_test=True, epsilon=1e-3)
    yield Op('batch_norm', norm, ['X', 'Scale', 'Bias'], same=moving,
             use_global_stats=True)
    yield Op('batch_norm', dict(norm, X=f(6, 2)), ['X', 'Scale', 'Bias'],
             same=moving, momentum=0.7)
    yield Op('layer_norm', {'X': f(3, 4), 'Scale': pos(4), 'Bias': f(4)},
             ['X', 'Scale', 'Bias'])
    yield Op('layer_norm', {'X': f(2, 3, 4), 'Scale': pos(4), 'Bias': f(4)},
             ['X', 'Scale', 'Bias'], begin_norm_axis=2, epsilon=1e-3)
    yield Op('layer_norm', {'X': f(2, 3, 4)}, ['X'])
    yield Op('group_norm', {'X': f(2, 4, 3, 3), 'Scale': pos(4), 'Bias': f(4)},
             ['X', 'Scale', 'Bias'], groups=2, epsilon=1e-5)
    yield Op('instance_norm', {'X': f(2, 3, 4, 4), 'Scale': pos(3),
                               'Bias': f(3)}, ['X', 'Scale', 'Bias'])
    yield Op('lrn', {'X': f(2, 6, 3, 3)}, ['X'], n=5, k=1.0, alpha=1e-2,
             beta=0.75)
    yield Op('affine_channel', {'X': f(2, 3, 2, 2), 'Scale': f(3),
                                'Bias': f(3)}, ['X', 'Scale', 'Bias'],
             data_layout='NCHW')
    for kind in ('downgrade_in_infer', 'upscale_in_train'):
        yield Op('dropout', {'X': f(3, 8)}, dropout_prob=0.4, is_test=True,
                 dropout_implementation=kind)
        yield Op('dropout', {'X': f(6, 20)}, ['X'], dropout_prob=0.4,
                 fix_seed=True, seed=11, dropout_implementation=kind,
                 outputs={'Mask': 1})
    yield Op('bilinear_interp', {'X': f(1, 2, 3, 4)}, ['X'], out_h=5, out_w=6,
             interp_method='bilinear')
    yield Op('nearest_interp', {'X': f(1, 2, 3, 4)}, ['X'], out_h=5, out_w=6,
             interp_method='nearest')
    yield Op('im2sequence', {'X': f(1, 2, 4, 4)}, ['X'], kernels=[2, 2],
             strides=[2, 2])


def sequences():
    lengths = [3, 1, 2]
    for kind in ('SUM', 'AVERAGE', 'SQRT', 'MAX', 'LAST', 'FIRST'):
        yield Op('sequence_pool', {'X': seq(lengths, 4)}, ['X'], pooltype=kind)
    yield Op('sequence_pool', {'X': seq([2, 0, 3], 4)}, ['X'], pooltype='SUM',
             pad_value=0.5)
    yield Op('sequence_pool', {'X': seq([2, 0, 3], 4)}, pooltype='MAX')
    yield Op('sequence_softmax', {'X': seq(lengths, 1)}, ['X'])
    yield Op('sequence_expand', {'X': f(3, 2), 'Y': seq(lengths, 1)}, ['X'],
             ref_level=0)
    yield Op('sequence_expand', {'X': seq([1, 2], 2), 'Y': seq([2, 3], 1)},
             ['X'], ref_level=0)
    yield Op('sequence_expand_as', {'X': f(3, 2), 'Y': seq(lengths, 1)}, ['X'])
    for length, start in ((3, -1), (2, 0), (4, -2)):
        yield Op('sequence_conv', {'X': seq(lengths, 4),
                                   'Filter': f(4 * length, 5)},
                 ['X', 'Filter'], contextLength=length, contextStart=start,
                 contextStride=1)
    yield Op('sequence_concat', {'X': [seq(lengths, 2), seq([1, 2, 1], 2)]},
             ['X'])
    yield Op('sequence_reshape', {'X': seq([2, 4], 2)}, ['X'], new_dim=4)
    yield Op('sequence_reverse', {'X': seq(lengths, 2)}, ['X'])
    yield Op('sequence_slice', {
        'X': seq([3, 4], 2), 'Offset': np.array([[1], [0]], 'int64'),
        'Length': np.array([[2], [3]], 'int64')}, ['X'])
    yield Op('sequence_pad', {'X': seq(lengths, 2), 'PadValue': one(0.0)},
             ['X'], padded_length=-1)
    yield Op('sequence_pad', {'X': seq(lengths, 2), 'PadValue': one(9.0)},
             padded_length=4)
    yield Op('sequence_unpad', {'X': f(3, 4, 2),
                                'Length': np.array([3, 1, 4], 'int64')}, ['X'])
    yield Op('sequence_mask', {'X': np.array([3, 1, 2], 'int64')}, maxlen=4,
             out_dtype=3)
    yield Op('sequence_enumerate', {'X': (ids(9, 5, 1), [3, 2])}, win_size=2,
             pad_value=0)
    yield Op('sequence_erase', {'X': (np.array(
        [[1], [2], [3], [2], [5]], 'int64'), [3, 2])}, tokens=[2, 5])
    yield Op('lod_reset', {'X': f(6, 2)}, ['X'], target_lod=[0, 2, 6])
    yield Op('row_conv', {'X': seq(lengths, 3), 'Filter': f(2, 3)},
             ['X', 'Filter'])
    wide = 3
    for kw in ({'use_peepholes': False}, {'use_peepholes': True},
               {'use_peepholes': False, 'is_reverse': True}):
        bias = f(1, 7 * wide if kw['use_peepholes'] else 4 * wide)
        yield Op('lstm', {'Input': seq([3, 1, 2], 4 * wide),
                          'Weight': f(wide, 4 * wide), 'Bias': bias},
                 ['Input', 'Weight', 'Bias'], out=['Hidden', 'Cell'],
                 gate_activation='sigmoid', cell_activation='tanh',
                 candidate_activation='tanh', **kw)
    for kw in ({}, {'is_reverse': True}, {'origin_mode': True}):
        yield Op('gru', {'Input': seq([3, 1, 2], 3 * wide),
                         'Weight': f(wide, 3 * wide), 'Bias': f(1, 3 * wide)},
                 ['Input', 'Weight', 'Bias'], out=['Hidden'], **kw)
    yield Op('gru', {'Input': seq([2, 3], 3 * wide), 'H0': f(2, wide),
                     'Weight': f(wide, 3 * wide)}, ['Input', 'Weight', 'H0'],
             out=['Hidden'])
    yield Op('gru_unit', {'Input': f(2, 9), 'HiddenPrev': f(2, 3),
                          'Weight': f(3, 9), 'Bias': f(1, 9)},
             ['Input', 'HiddenPrev', 'Weight', 'Bias'], out=['Hidden'])
    yield Op('lstm_unit', {'X': f(2, 12), 'C_prev': f(2, 3)},
             ['X', 'C_prev'], out=['C', 'H'], forget_bias=0.5)
    yield Op('edit_distance', {
        'Hyps': (ids(4, 5, 1), [3, 2]), 'Refs': (ids(4, 6, 1), [2, 4])},
        normalized=False)
    yield Op('chunk_eval', {
        'Inference': (ids(5, 8, 1), [5, 3]), 'Label': (ids(5, 8, 1), [5, 3])},
        num_chunk_types=2, chunk_scheme='IOB')
    yield Op('cvm', {'X': pos(3, 5), 'CVM': pos(3, 2)}, use_cvm=True,
             outputs={'Y': 1})


def random_ops():
    for seed in (1, 17, 100000):
        yield Op('uniform_random', shape=[50], min=-1.0, max=1.0, seed=seed,
                 dtype=5)
        yield Op('gaussian_random', shape=[51], mean=0.0, std=1.0, seed=seed,
                 dtype=5)
        yield Op('truncated_gaussian_random', shape=[50], mean=0.0, std=1.0,
                 seed=seed, dtype=5)
    yield Op('uniform_random', shape=[10], min=2.0, max=5.0, seed=3, dtype=6)
    yield Op('gaussian_random', shape=[10], mean=2.0, std=0.5, seed=3, dtype=6)
    yield Op('uniform_random_batch_size_like', {'Input': f(4, 2)},
             shape=[-1, 3], min=0.0, max=1.0, seed=5, dtype=5)
    yield Op('gaussian_random_batch_size_like', {'Input': f(4, 2)},
             shape=[-1, 3], mean=0.0, std=1.0, seed=5, dtype=5)
    yield Op('randint', shape=[10], low=0, high=100, seed=9, dtype=3)


def optimizers():
    p, g, lr = f(3, 4), f(3, 4), one(0.1)
    common = {'Param': p, 'Grad': g, 'LearningRate': lr}
    keep = {'ParamOut': 'Param'}
    yield Op('sgd', common, same=keep)
    for nesterov in (False, True):
        yield Op('momentum', dict(common, Velocity=f(3, 4)), mu=0.9,
                 use_nesterov=nesterov,
                 same=dict(keep, VelocityOut='Velocity'))
    yield Op('lars_momentum', dict(common, Velocity=f(3, 4)), mu=0.9,
             lars_coeff=0.01, lars_weight_decay=0.0005,
             same=dict(keep, VelocityOut='Velocity'))
    yield Op('adagrad', dict(common, Moment=pos(3, 4)), epsilon=1e-6,
             same=dict(keep, MomentOut='Moment'))
    yield Op('decayed_adagrad', dict(common, Moment=pos(3, 4)), decay=0.9,
             epsilon=1e-6, same=dict(keep, MomentOut='Moment'))
    adam = dict(common, Moment1=f(3, 4), Moment2=pos(3, 4),
                Beta1Pow=one(0.729), Beta2Pow=one(0.997))
    adam_same = dict(keep, Moment1Out='Moment1', Moment2Out='Moment2',
                     Beta1PowOut='Beta1Pow', Beta2PowOut='Beta2Pow')
    yield Op('adam', adam, same=adam_same, beta1=0.9, beta2=0.999,
             epsilon=1e-8)
    yield Op('lamb', adam, same=dict(keep, Moment1Out='Moment1',
                                     Moment2Out='Moment2'),
             beta1=0.9, beta2=0.999, epsilon=1e-6, weight_decay=0.01)
    yield Op('adamax', dict(common, Moment=f(3, 4), InfNorm=pos(3, 4),
                            Beta1Pow=one(0.729)),
             same=dict(keep, MomentOut='Moment', InfNormOut='InfNorm'),
             beta1=0.9, beta2=0.999, epsilon=1e-8)
    yield Op('adadelta', {'Param': p, 'Grad': g, 'AvgSquaredGrad': pos(3, 4),
                          'AvgSquaredUpdate': pos(3, 4)}, rho=0.95,
             epsilon=1e-6, same=dict(
                 keep, AvgSquaredGradOut='AvgSquaredGrad',
                 AvgSquaredUpdateOut='AvgSquaredUpdate'))
    for centered in (False, True):
        yield Op('rmsprop', dict(common, MeanSquare=pos(3, 4) + 1,
                                 MeanGrad=f(3, 4, low=-0.1, high=0.1),
                                 Moment=f(3, 4)), decay=0.95, momentum=0.5,
                 epsilon=1e-6, centered=centered,
                 same=dict(keep, MomentOut='Moment',
                           MeanSquareOut='MeanSquare',
                           MeanGradOut='MeanGrad'))
    for power in (-0.5, -0.7):
        yield Op('ftrl', dict(common, SquaredAccumulator=pos(3, 4),
                              LinearAccumulator=f(3, 4)), l1=0.1, l2=0.2,
                 lr_power=power, same=dict(
                     keep, SquaredAccumOut='SquaredAccumulator',
                     LinearAccumOut='LinearAccumulator'))
    yield Op('proximal_gd', common, l1=0.1, l2=0.2, same=keep)
    yield Op('proximal_adagrad', dict(common, Moment=pos(3, 4)), l1=0.1,
             l2=0.2, same=dict(keep, MomentOut='Moment'))
    yield Op('average_accumulates', {
        'param': p, 'in_sum_1': f(3, 4), 'in_sum_2': f(3, 4),
        'in_sum_3': f(3, 4), 'in_num_accumulates': one(3, 'int64'),
        'in_old_num_accumulates': one(2, 'int64'),
        'in_num_updates': one(3, 'int64')}, average_window=0.5,
        min_average_window=2, max_average_window=4, same={
            'out_sum_1': 'in_sum_1', 'out_sum_2': 'in_sum_2',
            'out_sum_3': 'in_sum_3',
            'out_num_accumulates': 'in_num_accumulates',
            'out_old_num_accumulates': 'in_old_num_accumulates',
            'out_num_updates': 'in_num_updates'})


def ops():
    for group in (arithmetic, activations, losses, reductions, shaping,
                  images, sequences, random_ops, optimizers):
        for op in group():
            yield op
