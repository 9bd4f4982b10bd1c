# SPDX-License-Identifier: Apache-2.0
"""Writes a program that has every recurrent and structured layer, with gradients.

    python layers_recurrent.py --out DIR

DIR/recurrent_main.pb and DIR/recurrent_startup.pb; they are kept in tests/data,
and tests/unit/layers/test_recurrent_layers.c builds the same.
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import paddle.fluid as fluid  # noqa: E402
from paddle.fluid import layers  # noqa: E402

import golden_io  # noqa: E402


def fed(name, shape, dtype='float32', lod_level=0):
    var = layers.data(name, shape, dtype=dtype, lod_level=lod_level,
                      append_batch_size=False)
    var.stop_gradient = dtype != 'float32'
    return var


def lstms(x, h, c):
    return [
        layers.dynamic_lstm(x, 24)[0],
        layers.dynamic_lstm(x, 24, h_0=h, c_0=c, use_peepholes=False,
                            is_reverse=True, gate_activation='tanh',
                            cell_activation='relu',
                            candidate_activation='identity', name='mine')[0],
        layers.dynamic_lstmp(x, 24, 5)[0],
        layers.dynamic_lstmp(x, 24, 5, cell_clip=0.5, proj_clip=0.25,
                             use_peepholes=False,
                             proj_activation='identity')[0],
    ]


def grus(x, h):
    return [
        layers.dynamic_gru(x, 6),
        layers.dynamic_gru(x, 6, h_0=h, bias_attr=False, origin_mode=True,
                           is_reverse=True, gate_activation='relu',
                           candidate_activation='sigmoid'),
    ]


def units(h, c):
    gates = fed('gates', [-1, 18])
    hidden, cell = layers.lstm_unit(fed('word', [-1, 7]), h, c,
                                    forget_bias=0.5)
    return [
        layers.gru_unit(gates, h, 18)[0],
        layers.gru_unit(gates, h, 18, bias_attr=False, origin_mode=True)[0],
        layers.elementwise_add(hidden, cell),
    ]


def chains():
    shared = fluid.ParamAttr(name='chain')
    packed = fed('packed', [-1, 6], lod_level=1)
    tags = fed('tags', [-1, 1], 'int64', 1)
    padded = fed('padded', [-1, 9, 6])
    padded_tags = fed('padded_tags', [-1, 9], 'int64')
    length = fed('length', [-1, 1], 'int64')
    cost = layers.linear_chain_crf(packed, tags, shared)
    layers.crf_decoding(packed, shared)
    layers.crf_decoding(packed, shared, label=tags)
    other = layers.linear_chain_crf(padded, padded_tags, length=length)
    layers.crf_decoding(padded, shared, label=padded_tags, length=length)
    return [cost, other]


def classes():
    x = fed('x', [-1, 8])
    label = fed('label', [-1, 1], 'int64')
    table = fed('table', [-1, 4], 'int64')
    code = fed('code', [-1, 4], 'int64')
    weight = fed('weight', [-1, 1])
    weight.stop_gradient = True
    return [
        layers.hsigmoid(x, label, 11),
        layers.hsigmoid(x, label, 11, path_table=table, path_code=code,
                        is_custom=True, is_sparse=True, bias_attr=False),
        layers.nce(x, label, 7, seed=3),
        layers.nce(x, label, 7, num_neg_samples=4, seed=3, is_sparse=True,
                   sampler='log_uniform', bias_attr=False),
        layers.nce(x, label, 7, seed=3, sampler='custom_dist',
                   custom_dist=[.1, .2, .3, .1, .1, .1, .1],
                   sample_weight=weight),
    ]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--out', required=True)
    out = parser.parse_args().out
    program, startup = fluid.Program(), fluid.Program()
    program.random_seed = startup.random_seed = 7
    with fluid.program_guard(program, startup), fluid.unique_name.guard():
        h, c = fed('h', [-1, 6]), fed('c', [-1, 6])
        outs = lstms(fed('lstm_in', [-1, 24], lod_level=1), h, c)
        outs += grus(fed('gru_in', [-1, 18], lod_level=1), h)
        outs += units(h, c) + chains() + classes()
        loss = layers.sums([layers.mean(each) for each in outs])
        fluid.optimizer.SGD(0.1).minimize(loss)
    golden_io.write_program(os.path.join(out, 'recurrent_main.pb'), program)
    golden_io.write_program(os.path.join(out, 'recurrent_startup.pb'), startup)


if __name__ == '__main__':
    main()
