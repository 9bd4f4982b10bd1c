# SPDX-License-Identifier: Apache-2.0
"""Every model of the zoo learns from the reader that fits it, by one command; metrics of the whole
job are those of all its samples.

The data are drawn by a fixed seed and have something to learn that a model of that kind finds.
"""

import os
import random
import signal
import struct

import pytest

import cluster as c
import tensors

LARGE = 1000001


def write(path, lines):
    with open(str(path), 'w') as out:
        out.write('\n'.join(lines) + '\n')
    return str(path)


def clicks(count, seed=5):
    """Criteo's lines: the click depends on six of the words."""
    draw = random.Random(seed)
    for _ in range(count):
        words = [draw.randrange(30) + 1000 * slot for slot in range(26)]
        score = sum(word % 3 - 1 for word in words[:6])
        numbers = [str(draw.randrange(20)) if draw.random() < 0.8 else '' for _ in range(13)]
        yield '\t'.join(
            [str(int(score + draw.gauss(0, 0.5) > 0))] + numbers + ['%08x' % w for w in words]
        )


def walks(count):
    """Lines of tokens: the next one follows from the one before."""
    draw = random.Random(6)
    for _ in range(count):
        token, line = draw.randrange(50), []
        for _ in range(12):
            line.append(token)
            token = (token * 3 + 1) % 50
        yield ' '.join(map(str, line))


def reviews(count):
    """A label, then tokens, two of which tell it."""
    draw = random.Random(7)
    for _ in range(count):
        label = draw.randrange(2)
        words = [draw.randrange(10, 100) for _ in range(draw.randrange(3, 12))]
        for _ in range(2):
            words[draw.randrange(len(words))] = label + 1
        yield '%d %s' % (label, ' '.join(map(str, words)))


def counted(columns):
    return ' '.join('%d %s' % (len(col), ' '.join(map(str, col))) for col in columns)


def sentences(count):
    """Nine sequences of one length; a word's tag follows from the word."""
    draw = random.Random(8)
    for _ in range(count):
        size = draw.randrange(3, 9)
        words = [draw.randrange(60) for _ in range(size)]
        verb = draw.randrange(size)
        near = [[words[min(max(verb + d, 0), size - 1)]] * size for d in (-2, -1, 0, 1, 2)]
        marks = [int(i == verb) for i in range(size)]
        tags = [8 if w % 4 == 3 else w % 4 * 2 for w in words]
        yield counted([words] + near + [[words[verb]] * size, marks, tags])


def ratings(count):
    """User, movie, categories, title and the score, which hangs on movie and category."""
    draw = random.Random(9)
    for _ in range(count):
        movie = draw.randrange(100)
        user = [draw.randrange(n) for n in (200, 2, 7, 21)] + [movie]
        categories = [draw.randrange(18) for _ in range(draw.randrange(1, 4))]
        title = [draw.randrange(300) for _ in range(draw.randrange(1, 6))]
        score = (4 if movie % 3 == 0 else 1.5) + 0.5 * (categories[0] % 2)
        yield counted([[u] for u in user] + [categories, title, ['%g' % score]])


def local(cluster, tmp_path, *flags):
    """Runs a model to its end; what its summary says of the epochs."""
    out = tmp_path / 'summary'
    code, text = cluster.run(
        'trainer', '--role', 'local', *flags, '--summary', out, '--seed', 3
    )
    assert code == 0, text
    return c.summary(out)


CLICKS = ['--model', 'ctr_dnn', '--table_rows', 1001, '--hidden', '32,16']
BATCH = ['--batch_size', 32]


def job(cluster, tmp_path, servers, trainers, flags, each=lambda i: [], load=()):
    """A job of servers and trainers; the summaries of its trainers."""
    found = cluster.servers(servers, trainers, *flags, *load)
    os.makedirs(str(tmp_path), exist_ok=True)
    working = [
        cluster.trainer(i, found, trainers, *flags, '--summary', tmp_path / ('summary_%d' % i),
                        *each(i))
        for i in range(trainers)
    ]
    cluster.finish(working + found)
    return [c.summary(tmp_path / ('summary_%d' % i)) for i in range(trainers)], working


# model, data, flags, metric, what it must reach in the last epoch (a loss: at most)
MODELS = [
    ('ctr_dnn', ('criteo', clicks, 3000), ['--table_rows', 1001, '--learning_rate', 0.002],
     'auc', 0.85),
    ('wide_deep', ('criteo', clicks, 3000), ['--table_rows', 1001], 'auc', 0.9),
    ('deepfm', ('criteo', clicks, 3000), ['--table_rows', 1015, '--learning_rate', 0.002],
     'auc', 0.85),
    ('word2vec', ('tokens', walks, 600),
     ['--ngram', 4, '--table_rows', 50, '--optimizer', 'adam', '--learning_rate', 0.01],
     'loss', 0.5),
    ('sentiment_conv', ('tokens', reviews, 1000), ['--table_rows', 100, '--hidden', 32],
     'acc', 0.95),
    ('sentiment_lstm', ('tokens', reviews, 1000), ['--table_rows', 100, '--hidden', 32],
     'acc', 0.9),
    ('sentiment_gru', ('tokens', reviews, 1000), ['--table_rows', 100, '--hidden', 32],
     'acc', 0.9),
    ('label_semantic', ('multislot', sentences, 800),
     ['--table_rows', 60, '--classes', 9, '--hidden', '32,32', '--learning_rate', 0.005],
     'f1', 0.8),
    ('recommender', ('multislot', ratings, 2000),
     ['--optimizer', 'adam', '--learning_rate', 0.005], 'loss', 0.5),
]


@pytest.mark.parametrize('model,data,flags,metric,reached', MODELS, ids=[m[0] for m in MODELS])
def test_a_model_learns_from_its_reader(cluster, tmp_path, model, data, flags, metric, reached):
    scheme, lines, count = data
    path = write(tmp_path / 'data', lines(count))
    told = local(cluster, tmp_path, '--model', model, '--data', '%s://%s' % (scheme, path),
                 '--batch_size', 32, '--epochs', 3, *flags)
    epochs = [epoch[metric] for epoch in told['epochs']]
    assert len(epochs) == 3 and told['steps'] >= 75
    if metric == 'loss':
        assert epochs[2] < reached and epochs[2] < 0.7 * epochs[0], epochs
    else:
        assert epochs[2] > reached and epochs[2] > epochs[0], epochs


@pytest.mark.parametrize('model,data,flags,metric,reached', MODELS, ids=[m[0] for m in MODELS])
def test_a_model_learns_on_servers(cluster, tmp_path, model, data, flags, metric, reached):
    scheme, lines, count = data
    path = write(tmp_path / 'data', lines(count))
    flags = ['--model', model] + flags
    reading = ['--data', '%s://%s' % (scheme, path), '--epochs', 2] + BATCH
    told, _ = job(cluster, tmp_path, 2, 2, flags, lambda i: reading)
    first, second = told[0]['epochs']
    assert first['trainers'] == second['trainers'] == 2
    assert first['samples'] == told[1]['samples'] and second['loss'] < first['loss']
    assert metric == 'loss' or second[metric] > first[metric]


def test_wrong_sizes_are_told(cluster, tmp_path):
    for flags, text in (
        (['--model', 'ctr_dnn', '--classes', 3], 'ctr_dnn: the model has no --classes'),
        (['--model', 'word2vec', '--ngram', 1], 'word2vec: --ngram must be 2..64, not 1'),
        (['--model', 'fit_a_line', '--table_rows', 9], 'fit_a_line: the model has no --table_rows'),
    ):
        code, said = cluster.run('trainer', '--role', 'local', '--data', 'x', *flags)
        assert code == 2 and text in said, said


def test_a_word_beyond_the_table_is_told(cluster, tmp_path):
    path = write(tmp_path / 'words', walks(20))
    code, said = cluster.run('trainer', '--role', 'local', '--model', 'word2vec', '--data',
                             'tokens://' + path, '--table_rows', 40, '--shuffle=false')
    assert code == 1 and 'shared_w' in said and '40' in said, said


# ---- metrics of the whole job

def area(samples, thresholds=4096):
    """Fluid's auc of (score, label): trapezes over counts by bucket, from the highest."""
    counts = [[0, 0] for _ in range(thresholds + 1)]
    for score, label in samples:
        product = struct.unpack('f', struct.pack('f', score * thresholds))[0]   # in float32
        counts[int(product)][label > 0] += 1
    negatives = positives = found = 0
    for neg, pos in reversed(counts):
        found += neg * (positives + positives + pos) / 2.0
        negatives, positives = negatives + neg, positives + pos
    return found / positives / negatives


def predictions(folder):
    """(score of yes, label) of all rows that were fetched."""
    found = []
    for step in sorted(os.listdir(str(folder))):
        where = os.path.join(str(folder), step)
        name = next(n for n in os.listdir(where) if n != 'label')
        scores = tensors.read(os.path.join(where, name)).values
        found += zip(scores[1::2], tensors.read(os.path.join(where, 'label')).values)
    return found


def test_merged_auc_is_that_of_one_process(cluster, tmp_path):
    """Without learning, so that every sample has the same score in both."""
    data = 'criteo://' + write(tmp_path / 'data', clicks(640))
    flags = CLICKS + ['--optimizer', 'sgd', '--learning_rate', 0, '--seed', 3]
    reading = BATCH + ['--data', data, '--epochs', 2]
    alone = local(cluster, tmp_path, *(flags[:-2] + reading))
    both, working = job(cluster, tmp_path, 2, 2, flags + ['--init', 'whole'], lambda i: reading)
    for one, two in zip(alone['epochs'] + [alone['total']], both[0]['epochs'] + [both[0]['total']]):
        assert two['trainers'] == 2 and one['samples'] == two['samples']
        assert one['auc'] == two['auc'] and 0.3 < one['auc'] < 0.7
        assert two['loss'] == pytest.approx(one['loss'], rel=1e-5)
    assert [e['epoch'] for e in both[0]['epochs']] == [1, 2]
    assert both[0]['total']['samples'] == 1280
    assert both[1]['epochs'] == [] and both[1]['total'] is None
    assert 'run in all' in working[0].text and '(1280 samples of 2 trainers)' in working[0].text
    assert 'in all' not in working[1].text


def test_merged_auc_is_that_of_all_predictions(cluster, tmp_path):
    """While it learns, with trainers that have files of their own of other sizes: trainer 0 ends
    early and tells the job's auc when the other one has ended."""
    write(tmp_path / 'part-0', clicks(200, 1))
    write(tmp_path / 'part-1', clicks(390, 2))
    flags = CLICKS + ['--learning_rate', 0.01, '--seed', 3]
    both, _ = job(
        cluster, tmp_path, 2, 2, flags,
        lambda i: ['--data', 'criteo://%s/part-*' % tmp_path, '--shard', 'file', '--epochs', 1,
                   '--drop_last=false', *BATCH, '--fetch', 'fc_2.tmp_2,label', '--fetch_dir',
                   tmp_path / ('fetched_%d' % i)],
    )
    parts = [predictions(tmp_path / ('fetched_%d' % i)) for i in range(2)]
    total = both[0]['total']
    assert total['samples'] == len(parts[0]) + len(parts[1]) == 590 and total['trainers'] == 2
    assert total['auc'] == pytest.approx(area(parts[0] + parts[1]), abs=1e-9)
    assert total['auc'] != pytest.approx(area(parts[0]), abs=1e-6)
    assert both[0]['epochs'][0]['auc'] == total['auc']


@pytest.mark.parametrize('how', ['dies', 'stop'])
def test_a_trainer_that_is_done_does_not_hang_on_the_others(cluster, tmp_path, how):
    """Trainer 0 has saved and completed, and waits for the metrics of the job; then the other one
    dies, or trainer 0 is asked to stop: its own work is complete."""
    write(tmp_path / 'part-0', clicks(64, 1))
    write(tmp_path / 'part-1', clicks(64, 2))
    found = cluster.servers(2, 2, *CLICKS)
    reading = ['--data', 'criteo://%s/part-*' % tmp_path, '--shard', 'file'] + BATCH
    first = cluster.trainer(0, found, 2, *CLICKS, *reading, '--epochs', 1, '--summary',
                            tmp_path / 'summary', '--save_dir', tmp_path / 'models')
    second = cluster.trainer(1, found, 2, *CLICKS, *reading, '--epochs', 1000000)
    first.wait_line('waiting .* for the other trainers to end')
    if how == 'dies':
        second.kill()
    else:
        first.signal(signal.SIGTERM)
    cluster.finish([first])
    told = c.summary(tmp_path / 'summary')
    assert told['complete'] and told['saved_to'] and told['total'] is None
    assert how == 'stop' or 'the metrics of the whole job are not known' in first.text, first.text


def test_auc_counts_what_workers_saw(cluster, tmp_path):
    """Several workers have counts of their own: the epoch has all of them."""
    data = 'criteo://' + write(tmp_path / 'data', clicks(320))
    flags = CLICKS + BATCH + ['--optimizer', 'sgd', '--learning_rate', 0, '--data', data]
    one = local(cluster, tmp_path, *flags)['total']
    two = local(cluster, tmp_path, *flags, '--cpu_num', 2)['total']
    assert one['samples'] == two['samples'] == 320
    assert two['auc'] == pytest.approx(one['auc'], abs=1e-4)


def test_an_epoch_after_a_load_counts_itself_only(cluster, tmp_path):
    data = 'criteo://' + write(tmp_path / 'data', clicks(320))
    flags = CLICKS + BATCH + ['--optimizer', 'sgd', '--learning_rate', 0, '--data', data]
    first = local(cluster, tmp_path, *flags, '--save_dir', tmp_path / 'models')
    again = local(cluster, tmp_path, *flags, '--load_dir', tmp_path / 'models')
    assert again['loaded']['step'] == 10 and again['epochs'][0]['epoch'] == 2
    assert again['total']['samples'] == 320
    assert again['total']['auc'] == first['total']['auc'] == first['epochs'][0]['auc']


# ---- the large table

def test_a_large_table_goes_on_with_more_servers(cluster, tmp_path):
    data = 'criteo://' + write(tmp_path / 'data', clicks(640))
    flags = ['--model', 'ctr_dnn', '--table_rows', LARGE, '--optimizer', 'adagrad',
             '--learning_rate', 0.01]
    saving = ['--save_dir', tmp_path / 'models']

    def each(i):
        return BATCH + ['--data', data, '--epochs', 2] + (saving if i == 0 else [])

    first, _ = job(cluster, tmp_path / 'first', 2, 2, flags, each)
    load = ['--load_dir', tmp_path / 'models']
    second, _ = job(cluster, tmp_path / 'second', 3, 2, flags, each, load)
    assert first[0]['global_step'] == 20 and second[0]['global_step'] == 40
    assert second[0]['loaded_from'] == 'the servers' and second[0]['global_epoch'] == 4
    assert second[0]['total']['auc'] > first[0]['epochs'][0]['auc']
    table = tmp_path / 'models' / 'epoch_4' / 'SparseFeatFactors'
    assert tensors.read(str(table)).dims == [LARGE, 10]
