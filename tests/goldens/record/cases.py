# SPDX-License-Identifier: Apache-2.0
"""The cases."""
import paddle.fluid as fluid
from paddle.fluid import layers

import nets
from case import Case
from datasets import Criteo, Digits, Housing, Line, Synthetic

DIGITS = dict(shared_feed='../feeds/digits', data=Digits(32), grads=False)
TWO = {'pservers': 2, 'trainers': 2, 'steps': 10}
OPTIMIZER_NOTES = {
    'adadelta': 'the transpiler takes only ops with a LearningRate input for '
                'optimizers, so the servers of dist/ have an empty block and '
                'would never change a parameter',
    'dpsgd': 'adds Gaussian noise from a time-seeded engine; sigma 1e-8 keeps '
             'it below what a float32 parameter can show',
    'lamb': 'the transpiler refuses lamb',
    'rmsprop': 'mean_grad is not cut on the servers: each holds the full '
               'shape, and saving joins both copies in one file',
}
SMALL = nets.mlp((24,))


def plain(make):
    """minimize with the optimizer that make() builds."""
    def opt(net):
        optimizer = make()
        optimizer.minimize(net.loss)
        return None
    return opt


def with_recompute(net):
    optimizer = fluid.optimizer.RecomputeOptimizer(fluid.optimizer.SGD(0.1))
    optimizer._set_checkpoints(net.checkpoints)
    optimizer.minimize(net.loss)


def with_model_average(net):
    fluid.optimizer.Momentum(0.05, 0.9).minimize(net.loss)
    return fluid.optimizer.ModelAverage(
        0.5, min_average_window=2, max_average_window=4)


def with_ema(net):
    fluid.optimizer.Momentum(0.05, 0.9).minimize(net.loss)
    ema = fluid.optimizer.ExponentialMovingAverage(0.9)
    ema.update()
    return ema


def with_lookahead(net):
    inner = fluid.optimizer.SGD(0.1)
    fluid.optimizer.LookaheadOptimizer(inner, alpha=0.5, k=3).minimize(net.loss)


def with_clip(clip, make, per_param=False):
    def opt(net):
        if per_param:
            fluid.clip.set_gradient_clip(clip)
            make().minimize(net.loss)
        else:
            make(clip).minimize(net.loss)
    return opt


def cases():
    o = fluid.optimizer
    reg = fluid.regularizer
    out = []

    line_variants = ['dist', 'dist_async', 'dist_noslice', 'dist_3ps_hash',
                     'dist_1ps_1tr', 'dist_half_async', 'dist_dc_asgd']
    for name, data in (('fit_a_line', Housing(20)),
                       ('fit_a_line_synthetic', Line(20))):
        out.append(Case(
            name, nets.fit_a_line, plain(lambda: o.SGD(0.01)), data,
            {'model': 'fc 13-1, square error', 'optimizer': 'SGD lr 0.01'},
            steps=20, inference=True, combined=True, params=True,
            keep_callstack=True, dist=line_variants,
            dist_run={'pservers': 2, 'trainers': 2, 'steps': 20},
            dist_resume=10))

    everything = [
        ('sgd', 'SGD lr 0.1', lambda: o.SGD(0.1)),
        ('momentum', 'Momentum lr 0.05 mu 0.9', lambda: o.Momentum(0.05, 0.9)),
        ('momentum_nesterov', 'Momentum lr 0.05 mu 0.9 nesterov',
         lambda: o.Momentum(0.05, 0.9, use_nesterov=True)),
        ('lars', 'LarsMomentum lr 0.5 mu 0.9 coeff 0.001 decay 0.0005',
         lambda: o.LarsMomentum(0.5, 0.9)),
        ('adagrad', 'Adagrad lr 0.05 eps 1e-6', lambda: o.Adagrad(0.05)),
        ('adagrad_init', 'Adagrad lr 0.05 initial accumulator 0.1',
         lambda: o.Adagrad(0.05, initial_accumulator_value=0.1)),
        ('adam', 'Adam lr 0.01', lambda: o.Adam(0.01)),
        ('adam_lazy', 'Adam lr 0.01 beta 0.8 0.95 lazy_mode',
         lambda: o.Adam(0.01, beta1=0.8, beta2=0.95, lazy_mode=True)),
        ('adamax', 'Adamax lr 0.01', lambda: o.Adamax(0.01)),
        ('dpsgd', 'Dpsgd lr 0.01 clip 10 batch_size 32 sigma 0',
         lambda: o.Dpsgd(0.01, clip=10.0, batch_size=32.0, sigma=1e-8)),
        ('decayed_adagrad', 'DecayedAdagrad lr 0.02 decay 0.95',
         lambda: o.DecayedAdagrad(0.02)),
        ('adadelta', 'Adadelta lr 1.0 eps 1e-6 rho 0.95',
         lambda: o.Adadelta(1.0)),
        ('rmsprop', 'RMSProp lr 0.005 rho 0.95', lambda: o.RMSProp(0.005)),
        ('rmsprop_momentum', 'RMSProp lr 0.005 momentum 0.5',
         lambda: o.RMSProp(0.005, rho=0.9, momentum=0.5)),
        ('rmsprop_centered', 'RMSProp lr 0.005 centered',
         lambda: o.RMSProp(0.005, centered=True)),
        ('ftrl', 'Ftrl lr 0.1 l1 0.001 l2 0.001 power -0.5',
         lambda: o.Ftrl(0.1, l1=0.001, l2=0.001)),
        ('ftrl_power', 'Ftrl lr 0.1 l1 0.01 l2 0 power -0.7',
         lambda: o.Ftrl(0.1, l1=0.01, l2=0.0, lr_power=-0.7)),
        ('lamb', 'Lamb lr 0.01 weight decay 0.01', lambda: o.Lamb(0.01)),
    ]
    run_two = ('sgd', 'momentum', 'adam', 'adagrad', 'ftrl', 'rmsprop')
    for name, text, make in everything:
        variants = ['dist']
        if name in ('sgd', 'adam'):
            variants += ['dist_3ps_hash', 'dist_noslice', 'dist_async',
                         'dist_minblock_1024', 'dist_minblock_16384',
                         'dist_3ps', 'dist_4x4',
                         'dist_half_async']
        if name == 'momentum':
            variants += ['dist_noslice', 'dist_minblock_16384', 'dist_dc_asgd']
        out.append(Case(
            'digits_' + name, SMALL, plain(make), info={
                'model': 'fc 784-24 relu, 24-10 softmax', 'optimizer': text},
            dist=variants, steps=10,
            dist_run=dict(TWO, shared_feed='../feeds/digits_2trainers')
            if name in run_two else None,
            dist_resume=5 if name in ('momentum', 'adam') else 0,
            params=name == 'sgd', inference=name == 'adam',
            notes=OPTIMIZER_NOTES.get(name, ''), **DIGITS))

    for name, text, opt in [
            ('model_average', 'Momentum 0.05 0.9 + ModelAverage 0.5, 2, 4',
             with_model_average),
            ('ema', 'Momentum 0.05 0.9 + ExponentialMovingAverage 0.9',
             with_ema),
            ('lookahead', 'Lookahead of SGD 0.1, alpha 0.5, k 3',
             with_lookahead),
            ('recompute', 'Recompute of SGD 0.1', with_recompute)]:
        out.append(Case('digits_' + name, SMALL, opt, info={
            'model': 'fc 784-24 relu, 24-10 softmax', 'optimizer': text},
            steps=10, **DIGITS))

    out.append(Case(
        'mlp_digits', nets.mlp((64, 64)), plain(lambda: o.SGD(0.05)),
        Digits(32), {'model': 'fc 784-64-64 relu, softmax 10',
                     'optimizer': 'SGD lr 0.05'},
        steps=20, inference=True, shared_feed='../feeds/digits', grads=False,
        dist=['dist']))

    for bn in (False, True):
        out.append(Case(
            'lenet_digits' + ('_bn' if bn else ''), nets.lenet(bn),
            plain(lambda: o.Momentum(0.02, 0.9)), Digits(8, (1, 28, 28)),
            {'model': 'conv 6x5x5 pool conv 8x5x5 pool fc softmax' +
             (' with batch_norm' if bn else ''),
             'optimizer': 'Momentum lr 0.02 mu 0.9'},
            steps=8, inference=True, combined=bn, params=bn, dist=['dist'],
            dist_run={'pservers': 2, 'trainers': 2, 'steps': 8} if bn else None,
            notes='batch_norm moving mean and variance are persistable but '
                  'not sent to the servers' if bn else ''))

    for sparse in (False, True):
        out.append(Case(
            'word2vec' + ('_sparse' if sparse else ''), nets.word2vec(sparse),
            plain(lambda: o.SGD(0.1)), Synthetic(nets.word2vec_batch, 11),
            {'model': '4 shared embeddings, concat, fc, softmax',
             'optimizer': 'SGD lr 0.1'}, steps=10, inference=sparse,
            dist=['dist', 'dist_async'],
            dist_run=TWO))
    out.append(Case(
        'word2vec_sparse_adam', nets.word2vec(True),
        plain(lambda: o.Adam(0.01)), Synthetic(nets.word2vec_batch, 11),
        {'model': '4 shared embeddings, concat, fc, softmax',
         'optimizer': 'Adam lr 0.01 over SelectedRows gradients'}, steps=10))
    for name, make in [
            ('adam_lazy', lambda: o.Adam(0.01, lazy_mode=True)),
            ('momentum', lambda: o.Momentum(0.05, 0.9)),
            ('adagrad', lambda: o.Adagrad(0.05)),
            ('rmsprop', lambda: o.RMSProp(0.005)),
            ('l2decay', lambda: o.SGD(
                0.1, regularization=reg.L2Decay(0.01)))]:
        out.append(Case(
            'word2vec_sparse_' + name, nets.word2vec(True), plain(make),
            Synthetic(nets.word2vec_batch, 11),
            {'model': '4 shared embeddings, concat, fc, softmax',
             'optimizer': name + ' over SelectedRows gradients'}, steps=10))

    out.append(Case(
        'ctr_dnn_sgd', nets.ctr_dnn(26), plain(lambda: o.SGD(0.001)),
        Criteo(16), {'model': '26 slots, emb 1001x10 shared, fc 64x3, auc',
                     'optimizer': 'SGD lr 0.001'}, steps=5, grads=False,
        dist=['dist']))
    out.append(Case(
        'ctr_dnn_adam', nets.ctr_dnn(5, 2001, hidden=(32, 32)),
        plain(lambda: o.Adam(0.005)), Synthetic(nets.slots_batch(5, 2001), 21),
        {'model': '5 slots of 1-4 ids, emb 2001x10 shared, fc 32x2, auc',
         'optimizer': 'Adam lr 0.005'}, steps=10, inference=True, grads=False,
        dist=['dist', 'dist_async', 'dist_half_async'],
        dist_run=TWO, dist_resume=5))

    out.append(Case(
        'wide_deep', nets.wide_deep, plain(lambda: o.Adagrad(0.05)),
        Synthetic(nets.slots_batch(6, 500), 31),
        {'model': 'wide and deep, 6 slots', 'optimizer': 'Adagrad lr 0.05'},
        steps=6, grads=False, dist=['dist']))
    out.append(Case(
        'deepfm', nets.deepfm, plain(lambda: o.Adam(0.01)),
        Synthetic(nets.deepfm_batch, 41),
        {'model': 'deepfm, 8 fields', 'optimizer': 'Adam lr 0.01'},
        steps=8, dist=['dist'], notes='the transpiler refuses ids of three '
        'dimensions for a sparse table; deepfm_flat reshapes them'))
    out.append(Case(
        'deepfm_flat', nets.deepfm_flat, plain(lambda: o.Adam(0.01)),
        Synthetic(nets.deepfm_batch, 41),
        {'model': 'deepfm, 8 fields, ids reshaped to two dimensions',
         'optimizer': 'Adam lr 0.01'}, steps=8, dist=['dist'],
        dist_run=dict(TWO, steps=8)))

    for name, net, make in [
            ('text_conv', nets.text_conv, lambda: o.Adagrad(0.05)),
            ('text_lstm', nets.text_lstm, lambda: o.Adam(0.01)),
            ('text_gru', nets.text_gru, lambda: o.SGD(0.1))]:
        out.append(Case(name, net, plain(make), Synthetic(nets.text_batch, 51),
                        {'model': name, 'optimizer': 'see main.pb'},
                        steps=8, inference=True, dist=['dist']))

    d = layers
    schedules = [
        ('exponential', lambda: d.exponential_decay(0.1, 3, 0.5)),
        ('exponential_stair',
         lambda: d.exponential_decay(0.1, 3, 0.5, staircase=True)),
        ('natural_exp', lambda: d.natural_exp_decay(0.1, 3, 0.5)),
        ('inverse_time', lambda: d.inverse_time_decay(0.1, 3, 0.5)),
        ('polynomial', lambda: d.polynomial_decay(0.1, 6, 0.01, 2.0)),
        ('polynomial_cycle',
         lambda: d.polynomial_decay(0.1, 4, 0.01, 1.0, cycle=True)),
        ('piecewise', lambda: d.piecewise_decay([3, 6], [0.1, 0.05, 0.01])),
        ('noam', lambda: d.noam_decay(16, 4)),
        ('cosine', lambda: d.cosine_decay(0.1, 2, 6)),
        ('warmup', lambda: d.linear_lr_warmup(0.1, 5, 0.01, 0.1)),
        ('warmup_cosine', lambda: d.linear_lr_warmup(
            d.cosine_decay(0.1, 2, 6), 3, 0.01, 0.1)),
    ]
    for name, rate in schedules:
        run = name in ('piecewise', 'exponential')
        out.append(Case(
            'lr_' + name, nets.mlp((8,), 196),
            lambda net, rate=rate: _with_rate(net, rate),
            data=Digits(16, (196,), crop=(7, 14)),
            info={'model': 'fc 196-8 relu, 8-10 softmax', 'optimizer': 'SGD',
                  'lr_schedule': name}, steps=10,
            shared_feed='../feeds/digits_crop', grads=False,
            fetch_steps=list(range(10)),
            dist=['dist'] + (['dist_async'] if run else []),
            dist_run=dict(TWO, shared_feed='../feeds/digits_crop_2trainers')
            if run else None, dist_resume=4 if name == 'piecewise' else 0))

    crop = dict(data=Digits(16, (196,), crop=(7, 14)),
                shared_feed='../feeds/digits_crop', steps=10)
    tiny = nets.mlp((8,), 196)
    described = {'model': 'fc 196-8 relu, 8-10 softmax'}

    def add(name, net, opt, **more):
        info = dict(described, **more.pop('info', {}))
        out.append(Case(name, net, opt, info=info, dist=['dist'],
                        **dict(crop, **more)))

    add('reg_l1', tiny, plain(lambda: o.SGD(
        0.1, regularization=reg.L1Decay(0.01))),
        info={'optimizer': 'SGD 0.1', 'regularizer': 'L1 0.01'})
    add('reg_l2', tiny, plain(lambda: o.Momentum(
        0.05, 0.9, regularization=reg.L2Decay(0.05))),
        info={'optimizer': 'Momentum 0.05 0.9', 'regularizer': 'L2 0.05'},
        dist_run=dict(TWO, shared_feed='../feeds/digits_crop_2trainers'))
    out.append(Case(
        'reg_per_param', nets.mlp_attrs, plain(lambda: o.SGD(
            0.1, regularization=reg.L2Decay(0.02))),
        info={'model': 'fc 784-24-10, parameter attributes',
              'optimizer': 'SGD 0.1',
              'regularizer': 'L1 0.01 on first.w, L2 0.02 on the others',
              'learning_rates': 'first.w x2, first.b x0, second.w x0.5'},
        dist=['dist'], steps=10, **DIGITS))
    for name, clip in [
            ('value', lambda: fluid.clip.GradientClipByValue(0.01, -0.02)),
            ('norm', lambda: fluid.clip.GradientClipByNorm(0.1)),
            ('global_norm', lambda: fluid.clip.GradientClipByGlobalNorm(0.1))]:
        add('clip_' + name, tiny, with_clip(
            clip(), lambda c: o.SGD(0.1, grad_clip=c)),
            info={'optimizer': 'SGD 0.1 grad_clip argument', 'clip': name},
            notes='dist/ programs are what 1.8.5 writes, but they cannot run: '
                  'the trainer sends the clipped gradient, which only the '
                  'server would compute from a gradient it never receives '
                  '(the server stops in op sum: "Sum operator should have at '
                  'least one tensor")')
    add('clip_global_norm_l2', tiny, with_clip(
        fluid.clip.GradientClipByGlobalNorm(0.1), lambda c: o.Adam(
            0.01, regularization=reg.L2Decay(0.02), grad_clip=c)),
        info={'optimizer': 'Adam 0.01', 'clip': 'global_norm 0.1',
              'regularizer': 'L2 0.02'})

    for implementation in ('downgrade_in_infer', 'upscale_in_train'):
        out.append(Case(
            'dropout_' + implementation, nets.mlp_dropout(
                7, implementation), plain(lambda: o.SGD(0.1)),
            info={'model': 'fc 784-16 dropout 0.3 fc 10',
                  'optimizer': 'SGD 0.1', 'dropout_seed': 7},
            steps=10, inference=True, **DIGITS))

    for seed in (1, 90, 2020):
        out.append(Case(
            'initializers_%d' % seed, nets.initializers, None, None,
            {'model': 'parameters only'}, seed=seed, steps=0, init_only=True))
    return out


def _with_rate(net, rate):
    value = rate()
    fluid.optimizer.SGD(value).minimize(net.loss)
    net.fetches.append(value)
