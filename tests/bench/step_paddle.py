# SPDX-License-Identifier: Apache-2.0
"""The rival of step.py: the same programs in Paddle 1.8.5 (its Python runs this file).

python step_paddle.py export NETWORK FOLDER                   writes main.pb, startup.pb, feed/
python step_paddle.py local FOLDER STEPS WARM_UP              both print STEP_MS <median>
python step_paddle.py 2x2 NETWORK STEPS WARM_UP
"""

import json
import os
import socket
import struct
import subprocess
import sys
import time

import numpy as np

BATCH = 64
CTR_BATCH = 100
BATCHES = 20   # different ones; steps go round them
WORDS = 20000
SLOTS, FEATURES = 26, 1000001
TOKENS = 5000


def classify(fluid, predict):
    label = fluid.layers.data('label', [1], dtype='int64')
    loss = fluid.layers.mean(fluid.layers.cross_entropy(predict, label))
    fluid.layers.accuracy(predict, label)
    return loss


def mlp(fluid):
    img = fluid.layers.data('img', [784])
    hidden = fluid.layers.fc(fluid.layers.fc(img, 200, act='relu'), 200, act='relu')
    loss = classify(fluid, fluid.layers.fc(hidden, 10, act='softmax'))
    fluid.optimizer.SGD(0.01).minimize(loss)
    return loss


def lenet(filters):
    def make(fluid):
        x = fluid.layers.data('img', [1, 28, 28])
        for count in filters:
            x = fluid.nets.simple_img_conv_pool(
                input=x, filter_size=5, num_filters=count, pool_size=2, pool_stride=2, act='relu'
            )
        loss = classify(fluid, fluid.layers.fc(x, 10, act='softmax'))
        fluid.optimizer.Momentum(0.01, 0.9).minimize(loss)
        return loss

    return make


def resnet(fluid):
    """Three stages of one basic block each on 32 x 32 images: the smallest of the book's chapter
    on image classification."""

    def conv_bn(x, filters, size, stride, act):
        x = fluid.layers.conv2d(x, filters, size, stride, (size - 1) // 2, bias_attr=False)
        return fluid.layers.batch_norm(x, act=act)

    x = conv_bn(fluid.layers.data('img', [3, 32, 32]), 16, 3, 1, 'relu')
    channels = 16
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        inner = conv_bn(conv_bn(x, filters, 3, stride, 'relu'), filters, 3, 1, None)
        around = x if filters == channels else conv_bn(x, filters, 1, stride, None)
        x = fluid.layers.elementwise_add(inner, around, act='relu')
        channels = filters
    x = fluid.layers.pool2d(x, pool_type='avg', global_pooling=True)
    loss = classify(fluid, fluid.layers.fc(x, 10, act='softmax'))
    fluid.optimizer.Momentum(0.01, 0.9).minimize(loss)
    return loss


def table(fluid, ids, size, name):
    return fluid.layers.embedding(
        ids, size, is_sparse=True, param_attr=fluid.ParamAttr(name=name)
    )


def word2vec(fluid):
    words = [fluid.layers.data('word_%d' % i, [1], dtype='int64') for i in range(4)]
    target = fluid.layers.data('target', [1], dtype='int64')
    embedded = [table(fluid, word, [WORDS, 64], 'words') for word in words]
    hidden = fluid.layers.fc(fluid.layers.concat(embedded, axis=1), 256, act='sigmoid')
    predict = fluid.layers.fc(hidden, 2000, act='softmax')
    loss = fluid.layers.mean(fluid.layers.cross_entropy(predict, target))
    fluid.optimizer.SGD(0.01).minimize(loss)
    return loss


def ctr_dnn(fluid):
    """All slots share one table, every row of which Adam moves at each step."""
    layers = fluid.layers
    slots = [layers.data('C%d' % i, [1], dtype='int64', lod_level=1) for i in range(SLOTS)]
    dense = layers.data('dense', [13])
    label = layers.data('label', [1], dtype='int64')
    pooled = [
        layers.sequence_pool(table(fluid, ids, [FEATURES, 10], 'features'), 'sum') for ids in slots
    ]
    x = layers.concat(pooled + [dense], axis=1)
    for _ in range(3):
        x = layers.fc(x, 400, act='relu')
    predict = layers.fc(x, 2, act='softmax')
    loss = layers.mean(layers.cross_entropy(predict, label))
    layers.auc(predict, label)
    fluid.optimizer.Adam(0.001).minimize(loss)
    return loss


def lstm(fluid):
    layers = fluid.layers
    text = layers.data('text', [1], dtype='int64', lod_level=1)
    label = layers.data('label', [1], dtype='int64')
    x = layers.fc(table(fluid, text, [TOKENS, 128], 'tokens'), 4 * 128)
    hidden, _ = layers.dynamic_lstm(x, 4 * 128)
    predict = layers.fc(layers.sequence_pool(hidden, 'max'), 2, act='softmax')
    loss = layers.mean(layers.cross_entropy(predict, label))
    fluid.optimizer.Adagrad(0.002).minimize(loss)
    return loss


def images(shape):
    def batch(rng):
        return {
            'img': rng.uniform(-1, 1, [BATCH] + shape).astype('float32'),
            'label': rng.randint(0, 10, (BATCH, 1)),
        }

    return batch


def word2vec_batch(rng):
    batch = dict(('word_%d' % i, rng.randint(0, WORDS, (BATCH, 1))) for i in range(4))
    batch['target'] = rng.randint(0, 2000, (BATCH, 1))
    return batch


def ctr_batch(rng):
    ids = rng.randint(0, FEATURES, (SLOTS, CTR_BATCH, 1))
    ids[0, 0] = FEATURES - 1   # so that Paddle does not read past the gradient's rows
    batch = dict(('C%d' % i, (ids[i], [1] * CTR_BATCH)) for i in range(SLOTS))
    batch['dense'] = rng.uniform(0, 1, (CTR_BATCH, 13)).astype('float32')
    batch['label'] = rng.randint(0, 2, (CTR_BATCH, 1))
    return batch


def text_batch(rng):
    lengths = [int(n) for n in rng.randint(10, 71, BATCH)]
    return {
        'text': (rng.randint(0, TOKENS, (sum(lengths), 1)), lengths),
        'label': rng.randint(0, 2, (BATCH, 1)),
    }


# name: what builds it and minimizes, what makes a batch
NETWORKS = {
    'mlp': (mlp, images([784])),
    'lenet': (lenet((20, 50)), images([1, 28, 28])),
    'lenet_small': (lenet((6, 8)), images([1, 28, 28])),
    'resnet': (resnet, images([3, 32, 32])),
    'word2vec': (word2vec, word2vec_batch),
    'ctr_dnn': (ctr_dnn, ctr_batch),
    'lstm': (lstm, text_batch),
}


def network(fluid, name):
    main, startup = fluid.Program(), fluid.Program()
    main.random_seed = startup.random_seed = 1
    with fluid.program_guard(main, startup):
        loss = NETWORKS[name][0](fluid)
    return main, startup, loss.name


def batches(name):
    """Name to array, or to (array, lengths of its sequences)."""
    rng = np.random.RandomState(1)
    return [NETWORKS[name][1](rng) for _ in range(BATCHES)]


def to_feed(fluid, batch):
    feed = {}
    for name, value in batch.items():
        if isinstance(value, tuple):
            value = fluid.create_lod_tensor(value[0], [value[1]], fluid.CPUPlace())
        feed[name] = value
    return feed


def write_tensor(path, value, lengths=None):
    """A LoDTensor file: version, LoD levels, version, length of TensorDesc, TensorDesc, data."""
    number = {'float32': 5, 'int64': 3}[str(value.dtype)]
    desc = bytearray([0x08, number])
    for side in value.shape:
        desc.append(0x10)
        while side > 0x7F:
            desc.append(side & 0x7F | 0x80)
            side >>= 7
        desc.append(side)
    with open(path, 'wb') as handle:
        handle.write(struct.pack('<IQ', 0, 0 if lengths is None else 1))
        if lengths is not None:
            offsets = np.concatenate([[0], np.cumsum(lengths)]).astype('uint64')
            handle.write(struct.pack('<Q', offsets.nbytes) + offsets.tobytes())
        handle.write(struct.pack('<Ii', 0, len(desc)) + bytes(desc) + value.tobytes())


def export(name, folder):
    import paddle.fluid as fluid

    main, startup, loss = network(fluid, name)
    for program, path in ((main, 'main.pb'), (startup, 'startup.pb')):
        with open(os.path.join(folder, path), 'wb') as handle:
            handle.write(program.desc.serialize_to_string())
    for i, feed in enumerate(batches(name)):
        step = os.path.join(folder, 'feed', 'step_%03d' % i)
        os.makedirs(step)
        for key, value in feed.items():
            value, lengths = value if isinstance(value, tuple) else (value, None)
            write_tensor(os.path.join(step, key), value, lengths)
    with open(os.path.join(folder, 'facts.json'), 'w') as handle:
        json.dump({'network': name, 'loss': loss}, handle)


def steps_of(exe, program, name, loss, count):
    import paddle.fluid as fluid

    feeds = [to_feed(fluid, batch) for batch in batches(name)]
    times = []
    workers = int(os.environ.get('CPU_NUM', '1'))
    if workers > 1:
        program = fluid.CompiledProgram(program).with_data_parallel(
            loss_name=loss,
            places=[fluid.CPUPlace()] * workers,
        )
    for i in range(count):
        begun = time.perf_counter()
        exe.run(program, feed=feeds[i % BATCHES], fetch_list=[loss])
        times.append((time.perf_counter() - begun) * 1e3)
    return times


def local(spec):
    """The exported programs, as step.py runs them."""
    import paddle.fluid as fluid

    exe = fluid.Executor(fluid.CPUPlace())
    programs = []
    for path in ('startup.pb', 'main.pb'):
        with open(os.path.join(spec['network'], path), 'rb') as handle:
            programs.append(fluid.Program.parse_from_string(handle.read()))
    with open(os.path.join(spec['network'], 'facts.json')) as handle:
        facts = json.load(handle)
    exe.run(programs[0])
    return steps_of(exe, programs[1], facts['network'], facts['loss'], spec['steps'])


def worker(spec):
    import paddle.fluid as fluid

    if spec['role'] == 'local':
        return local(spec)
    main, startup, loss = network(fluid, spec['network'])
    exe = fluid.Executor(fluid.CPUPlace())
    config = fluid.DistributeTranspilerConfig()
    transpiler = fluid.DistributeTranspiler(config=config)
    endpoint = spec['endpoints'][spec['id']]
    transpiler.transpile(
        spec['id'] if spec['role'] == 'trainer' else 0,
        program=main,
        startup_program=startup,
        pservers=','.join(spec['endpoints']),
        trainers=2,
        sync_mode=True,
        current_endpoint=endpoint,
    )
    if spec['role'] == 'pserver':
        server, server_startup = transpiler.get_pserver_programs(endpoint)
        exe.run(server_startup)
        exe.run(server)
        return []
    program = transpiler.get_trainer_program()
    exe.run(startup)
    times = steps_of(exe, program, spec['network'], loss, spec['steps'])
    exe.close()
    return times


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(('127.0.0.1', 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def main():
    if sys.argv[1] == 'worker':
        print('TIMES ' + json.dumps(worker(json.loads(sys.argv[2]))))
        return
    if sys.argv[1] == 'export':
        export(sys.argv[2], sys.argv[3])
        return
    mode, name, steps, warm_up = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    roles = (
        [('local', 0)]
        if mode == 'local'
        else [('pserver', 0), ('pserver', 1), ('trainer', 0), ('trainer', 1)]
    )
    endpoints = ['127.0.0.1:%d' % port for port in free_ports(2)]
    running = []
    for role, number in roles:
        spec = {
            'role': role,
            'id': number,
            'network': name,
            'steps': steps,
            'endpoints': endpoints,
        }
        running.append(
            (
                role,
                subprocess.Popen(
                    [sys.executable, __file__, 'worker', json.dumps(spec)], stdout=subprocess.PIPE
                ),
            )
        )
    worst = 0.0
    try:
        for role, process in running:
            if role == 'pserver':
                continue
            text = process.communicate(timeout=500)[0].decode()
            lines = [line for line in text.splitlines() if line.startswith('TIMES ')]
            if not lines:
                sys.exit('a Paddle process failed: ' + text)
            worst = max(worst, float(np.median(json.loads(lines[0][len('TIMES ') :])[warm_up:])))
    finally:
        # A server of 1.8.5 goes on waiting after the last trainer said it is complete.
        for _, process in running:
            if process.poll() is None:
                process.kill()
            process.wait()
    print('STEP_MS %.4f' % worst)


if __name__ == '__main__':
    main()
