# SPDX-License-Identifier: Apache-2.0
"""More single-op cases of recurrent and structured operators.

    python generate_ops.py --out DIR/recurrent/ops --ops ops_recurrent.py

Activations, clips, padded chains, custom trees, drawn classes, double."""
import numpy as np

from generate_ops import Op

R = np.random.RandomState(77)
WIDE = 'float64'


def f(*shape, **kw):
    return R.uniform(-1, 1, shape).astype(kw.get('t', 'float32'))


def ids(high, *shape):
    return R.randint(0, high, shape).astype('int64')


def seq(lengths, width, **kw):
    return f(sum(lengths), width, **kw), lengths


def lstms():
    for width, lengths, states, t, attrs in [
            (5, [4, 0, 2], False, 'float32', dict(use_peepholes=False)),
            (3, [2] * 18, True, 'float32', dict(is_reverse=True)),
            (8, [3, 1], True, WIDE, {}),
            (6, [2, 4], True, WIDE, dict(
                gate_activation='tanh', cell_activation='relu',
                candidate_activation='identity', use_peepholes=False))]:
        bias = 7 if attrs.get('use_peepholes', True) else 4
        ins = {'Input': seq(lengths, 4 * width, t=t),
               'Weight': f(width, 4 * width, t=t),
               'Bias': f(1, bias * width, t=t)}
        if states:
            ins['H0'] = f(len(lengths), width, t=t)
            ins['C0'] = f(len(lengths), width, t=t)
        yield Op('lstm', ins, sorted(ins), ['Hidden'], **attrs)


def projected():
    for width, proj, t, attrs in [
            (3, 2, 'float32', {}),
            (5, 6, 'float32', dict(cell_clip=0.3, proj_clip=0.2)),
            (6, 3, WIDE, dict(cell_clip=0.1, proj_activation='relu',
                              is_reverse=True)),
            (4, 4, WIDE, dict(proj_activation='identity',
                              use_peepholes=False))]:
        bias = 7 if attrs.get('use_peepholes', True) else 4
        ins = {'Input': seq([5, 2, 3], 4 * width, t=t),
               'Weight': f(proj, 4 * width, t=t),
               'ProjWeight': f(width, proj, t=t),
               'Bias': f(1, bias * width, t=t),
               'H0': f(3, proj, t=t), 'C0': f(3, width, t=t)}
        yield Op('lstmp', ins, sorted(ins), ['Projection'], **attrs)


def grus():
    for width, t, attrs in [
            (4, 'float32', dict(gate_activation='tanh', activation='relu')),
            (5, WIDE, dict(gate_activation='relu', activation='sigmoid',
                           origin_mode=True, is_reverse=True))]:
        ins = {'Input': seq([3, 1, 4], 3 * width, t=t),
               'Weight': f(width, 3 * width, t=t),
               'Bias': f(1, 3 * width, t=t), 'H0': f(3, width, t=t)}
        yield Op('gru', ins, sorted(ins), ['Hidden'], **attrs)
    for attrs in (dict(activation=0, gate_activation=2),
                  dict(activation=3, gate_activation=1, origin_mode=True)):
        ins = {'Input': f(3, 12), 'HiddenPrev': f(3, 4), 'Weight': f(4, 12)}
        yield Op('gru_unit', ins, sorted(ins), ['Hidden'], **attrs)


def chains():
    for t in ('float32', WIDE):
        lengths = np.array([[5], [0], [2]], 'int64')
        label = ids(4, 3, 5)
        ins = {'Emission': f(3, 5, 4, t=t), 'Transition': f(6, 4, t=t),
               'Label': label, 'Length': lengths}
        yield Op('linear_chain_crf', ins, ['Emission', 'Transition'],
                 ['LogLikelihood'])
        yield Op('crf_decoding', ins)
        yield Op('crf_decoding', dict((k, ins[k]) for k in ins
                                      if k != 'Label'))
        packed = [4, 0, 1, 6]
        yield Op('linear_chain_crf',
                 {'Emission': seq(packed, 7, t=t), 'Transition': f(9, 7, t=t),
                  'Label': (ids(7, 11, 1), packed)},
                 ['Emission', 'Transition'], ['LogLikelihood'])


def classes():
    table = np.array([[0, 2, -1, -1], [0, 1, 3, -1], [0, 2, 5, 5]], 'int64')
    code = np.array([[0, 0, -1, -1], [1, 1, 1, -1], [0, 1, 1, 1]], 'int64')
    for t in ('float32', WIDE):
        yield Op('hierarchical_sigmoid',
                 {'X': f(3, 5, t=t), 'W': f(6, 5, t=t), 'Label': ids(6, 3, 1),
                  'PathTable': table, 'PathCode': code, 'Bias': f(6, 1, t=t)},
                 ['X', 'W', 'Bias'], ['Out'], num_classes=6)
        yield Op('hierarchical_sigmoid',
                 {'X': f(4, 3, t=t), 'W': f(16, 3, t=t),
                  'Label': ids(17, 4, 1)}, ['X', 'W'], ['Out'], num_classes=17)
        for sampler in (0, 1):
            yield Op('nce',
                     {'Input': f(5, 3, t=t), 'Label': ids(300, 5, 2),
                      'Weight': f(300, 3, t=t), 'Bias': f(300, 1, t=t),
                      'SampleWeight': np.abs(f(5, 1, t=t))},
                     ['Input', 'Weight', 'Bias'], ['Cost'], sampler=sampler,
                     num_total_classes=300, num_neg_samples=20, seed=5)
        share = np.abs(f(50))
        alias = ids(50, 50).astype('int32')
        alias[share > 0.9] = -1
        probs = np.abs(f(50)) + 0.01
        yield Op('nce',
                 {'Input': f(4, 3, t=t), 'Label': ids(50, 4, 1),
                  'Weight': f(50, 3, t=t),
                  'CustomDistProbs': (probs / probs.sum()).astype('float32'),
                  'CustomDistAlias': alias, 'CustomDistAliasProbs': share},
                 ['Input', 'Weight'], ['Cost'], sampler=2,
                 num_total_classes=50, num_neg_samples=20, seed=17)


def ops():
    for group in (lstms, projected, grus, chains, classes):
        for op in group():
            yield op
