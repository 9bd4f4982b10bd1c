# SPDX-License-Identifier: Apache-2.0
"""Writes a program that has every layer of sequences, with its gradients.

    python layers_sequence.py --out DIR

DIR/sequence_main.pb and DIR/sequence_startup.pb; they are kept in tests/data,
and tests/unit/layers/test_sequence_layers.c builds the same.
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import paddle.fluid as fluid  # noqa: E402
from paddle.fluid import layers, nets  # noqa: E402

import golden_io  # noqa: E402


def moved(x, short):
    """Layers that move rows, all of one width."""
    zero = layers.fill_constant([1], 'float32', 0.5)
    padded, length = layers.sequence_pad(x, zero)
    fixed, _ = layers.sequence_pad(x, zero, maxlen=12)
    back = layers.sequence_unpad(padded, length)
    offset = layers.data('offset', [1], dtype='int64')
    count = layers.data('count', [1], dtype='int64')
    joined = layers.sequence_concat([x, back])
    row = layers.data('row', [6], dtype='float32')
    outs = [
        layers.sequence_reverse(joined),
        layers.sequence_slice(x, offset, count),
        layers.sequence_expand(short, x, ref_level=0),
        layers.sequence_expand(row, x),
        layers.sequence_expand_as(row, x),
        layers.sequence_reshape(layers.sequence_reshape(x, 3), 6),
        layers.lod_reset(x, y=short),
        layers.lod_reset(x, target_lod=[0, 4, 9]),
        layers.lod_append(row, [0, 1, 4, 9]),
        layers.lod_append(row, layers.data('level', [1], dtype='int32')),
    ]
    return layers.sums([layers.mean(out) for out in outs + [fixed]])


def seen(x):
    """Layers with parameters, pools and softmax."""
    conv = layers.sequence_conv(x, 5)
    wide = layers.sequence_conv(
        x, 4, filter_size=4, padding_start=0, act='relu', bias_attr=False,
        param_attr=fluid.ParamAttr(name='wide.w'))
    ahead = layers.row_conv(x, 2, act='tanh')
    weights = layers.sequence_softmax(layers.fc(conv, 1))
    kinds = ('average', 'sum', 'sqrt', 'max', 'last', 'first')
    pooled = [layers.sequence_pool(conv, kind) for kind in kinds]
    pooled.append(layers.sequence_pool(wide, 'MAX', is_test=True,
                                       pad_value=-1.5))
    pooled.append(layers.sequence_first_step(ahead))
    pooled.append(layers.sequence_last_step(
        layers.elementwise_mul(conv, weights, axis=0)))
    pooled.append(nets.sequence_conv_pool(x, 7, 2, act='sigmoid',
                                          pool_type='sqrt'))
    pooled.append(layers.fc(nets.glu(x), 3))
    return layers.sums([layers.mean(each) for each in pooled])


def images():
    image = layers.data('image', [2, 6, 8])
    size = layers.data('size', [2])
    whole = layers.im2sequence(image, filter_size=[2, 3], stride=[1, 2],
                               padding=[1, 0, 0, 1])
    layers.im2sequence(image, filter_size=2, stride=1, input_image_size=size,
                       out_stride=2)
    return layers.sequence_pool(whole, 'average')


def scattered():
    base = layers.data('base', [9])
    ids = layers.data('ids', [1], dtype='int64', lod_level=1)
    updates = layers.data('updates', [1], lod_level=1)
    updates.stop_gradient = False
    return layers.sequence_scatter(layers.fc(base, 9), ids, updates)


def measured():
    """What has no gradient."""
    said = layers.data('said', [1], dtype='int64', lod_level=1)
    meant = layers.data('meant', [1], dtype='int64', lod_level=1)
    said_length = layers.data('said_length', [1], dtype='int64')
    meant_length = layers.data('meant_length', [1], dtype='int64')
    padded = layers.data('padded', [7], dtype='int64')
    other = layers.data('other', [7], dtype='int64')
    scores = layers.data('scores', [5], lod_level=1)
    batch = layers.data('batch', [7, 5])
    layers.sequence_enumerate(said, 3, pad_value=2)
    layers.sequence_mask(said_length, maxlen=5, dtype='float32')
    layers.sequence_mask(said_length)
    layers.sequence_mask(said_length,
                         maxlen=layers.fill_constant([1], 'int32', 4))
    layers.edit_distance(said, meant)
    layers.edit_distance(said, meant, normalized=False, ignored_tokens=[0, 3])
    layers.edit_distance(padded, other, input_length=said_length,
                         label_length=meant_length)
    layers.chunk_eval(said, meant, 'IOB', 4)
    layers.chunk_eval(padded, other, 'IOBES', 3, excluded_chunk_types=[1, 2],
                      seq_length=said_length)
    layers.ctc_greedy_decoder(scores, blank=0)
    layers.ctc_greedy_decoder(batch, blank=4, input_length=said_length,
                              padding_value=-1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--out', required=True)
    out = parser.parse_args().out
    program, startup = fluid.Program(), fluid.Program()
    program.random_seed = startup.random_seed = 7
    with fluid.program_guard(program, startup), fluid.unique_name.guard():
        words = layers.data('words', [1], dtype='int64', lod_level=1)
        x = layers.embedding(words, [40, 6])
        short = layers.data('short', [6], lod_level=1)
        terms = [moved(x, short), seen(x), images(), scattered()]
        loss = layers.sums([layers.mean(term) for term in terms])
        fluid.optimizer.SGD(0.1).minimize(loss)
        measured()
    golden_io.write_program(os.path.join(out, 'sequence_main.pb'), program)
    golden_io.write_program(os.path.join(out, 'sequence_startup.pb'), startup)


if __name__ == '__main__':
    main()
