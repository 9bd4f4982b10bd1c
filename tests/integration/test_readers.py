# SPDX-License-Identifier: Apache-2.0
"""Text data through whole processes: the recorded models from lines instead of step folders, broken
lines, commands, resuming, and SelectedRows in step folders."""

import gzip
import os
import struct

import pytest

import cluster as c
import places
import tensors


def lines_of_steps(feed_dir, slots):
    """MultiSlot lines of the samples in step folders. slots: (name, is it dense)."""
    out = []
    for step in sorted(os.listdir(feed_dir)):
        columns = []
        for name in slots:
            tensor = tensors.read(os.path.join(feed_dir, step, name))
            rows = tensor.dims[0]
            width = len(tensor.values) // rows
            offsets = tensor.lod[0] if tensor.lod else range(rows + 1)
            texts = [repr(v) for v in tensor.values]
            columns.append(
                [
                    texts[begin * width : end * width]
                    for begin, end in zip(offsets[:-1], offsets[1:])
                ]
            )
        for row in zip(*columns):
            out.append(' '.join('%d %s' % (len(values), ' '.join(values)) for values in row))
    return out


def criteo_sample():
    path = os.path.join(places.shared_folder(), 'data', 'ctr', 'criteo_slot_sample.txt')
    return path if os.path.exists(path) else places.missing(path)


def local(cluster, tmp_path, name, *args):
    """A local run: (exit code, text, losses, summary)."""
    report, summary = tmp_path / (name + '.report'), tmp_path / (name + '.summary')
    code, text = cluster.run(
        'trainer', '--role', 'local', '--report', report, '--summary', summary, *args
    )
    losses = c.losses(report) if report.exists() else []
    return code, text, losses, c.summary(summary) if summary.exists() else None


@pytest.mark.parametrize('prefetch', [0, 3])
def test_ctr_dnn_from_its_lines_is_what_was_recorded(cluster, golden, tmp_path, prefetch):
    case = golden('ctr_dnn_sgd')
    facts, job = c.golden_job(case)
    code, text, losses, summary = local(
        cluster,
        tmp_path,
        'run',
        *job,
        '--loss',
        facts['loss'],
        '--data',
        criteo_sample(),
        '--slots',
        'dense_input=dense_feature,C1..26=1..26,label=click',
        '--hash_dim',
        1001,
        '--no-shuffle',
        '--batch_size',
        facts['batch_size'],
        '--prefetch',
        prefetch
    )
    assert code == 0, text
    assert summary['bad_lines'] == 0
    tensors.assert_losses(losses, tensors.read_losses(os.path.join(case, 'losses.txt')))


@pytest.mark.parametrize('name', ['word2vec', 'ctr_dnn_adam'])
def test_multislot_lines_train_as_recorded(cluster, golden, tmp_path, name):
    case = golden(name)
    facts, job = c.golden_job(case)
    slots = [feed['name'] for feed in facts['feeds']]
    lines = lines_of_steps(os.path.join(case, facts['feed_dir']), slots)
    data = tmp_path / 'part-0.gz'
    with gzip.open(data, 'wt') as handle:
        handle.write('\n'.join(lines))
    code, text, losses, _ = local(
        cluster,
        tmp_path,
        'run',
        *job,
        '--loss',
        facts['loss'],
        '--data',
        'multislot://' + str(tmp_path / 'part-*'),
        '--slots',
        ','.join(slots),
        '--no-shuffle',
        '--batch_size',
        len(lines) // facts['steps']
    )
    assert code == 0, text
    tensors.assert_losses(losses, tensors.read_losses(os.path.join(case, 'losses.txt')))


@pytest.mark.parametrize('name', ['text_conv', 'text_gru', 'text_lstm'])
@pytest.mark.parametrize('place', ['first', 'last'])
def test_token_lines_train_as_recorded(cluster, golden, tmp_path, name, place):
    case = golden(name)
    facts, job = c.golden_job(case)
    feed_dir = os.path.join(case, facts['feed_dir'])
    lines = []
    for step in sorted(os.listdir(feed_dir)):
        words = tensors.read(os.path.join(feed_dir, step, 'words'))
        labels = tensors.read(os.path.join(feed_dir, step, 'label')).values
        for i, label in enumerate(labels):
            ids = [str(v) for v in words.values[words.lod[0][i] : words.lod[0][i + 1]]]
            ids.insert(0 if place == 'first' else len(ids), str(label))
            lines.append(' '.join(ids))
    (tmp_path / 'lines.txt').write_text('\n'.join(lines) + '\n')
    code, text, losses, _ = local(
        cluster,
        tmp_path,
        'run',
        *job,
        '--loss',
        facts['loss'],
        '--data',
        tmp_path / 'lines.txt',
        '--format',
        'tokens',
        '--label',
        place,
        '--no-shuffle',
        '--batch_size',
        len(lines) // facts['steps']
    )
    assert code == 0, text
    tensors.assert_losses(losses, tensors.read_losses(os.path.join(case, 'losses.txt')))


# ---- fit_a_line from lines "13 x1 ... x13 1 y"

MODEL = ['--model', 'fit_a_line', '--learning_rate', '0.01', '--slots', 'x,y']


def good_line(i):
    xs = ['%.3f' % (((i * 7 + k * 3) % 11) / 11 - 0.5) for k in range(13)]
    return '13 %s 1 %d.5' % (' '.join(xs), i % 9)


@pytest.fixture
def lines(tmp_path):
    """lines(name, broken): a file of 64 good lines, with broken ones before every eighth."""

    def write(name, broken=()):
        path = tmp_path / name
        with open(path, 'w') as handle:
            for i in range(64):
                if broken and i % 8 == 0:
                    handle.write(broken[i // 8 % len(broken)] + '\n')
                handle.write(good_line(i) + '\n')
        return path

    return write


BROKEN = ['13 1 2', '2 1 2 1 3', '13 ' + 'x ' * 13 + '1 2', '0 1 2', good_line(3) + ' 9', 'oops']


def test_a_bad_line_ends_the_run_with_its_place(cluster, tmp_path, lines):
    data = lines('a.txt', BROKEN)
    code, text, _, _ = local(cluster, tmp_path, 'run', *MODEL, '--data', data, '--batch_size', 8)
    assert code == 1
    assert 'a.txt: line 1: slot x: the line ends after 2 of 13 values (--bad_lines skip' in text


def test_bad_lines_left_out_train_as_if_they_were_not_there(cluster, tmp_path, lines):
    clean, broken = lines('clean.txt'), lines('broken.txt', BROKEN)
    flags = [*MODEL, '--batch_size', 6, '--epochs', 3]
    want = local(cluster, tmp_path, 'clean', *flags, '--data', clean)
    got = local(
        cluster,
        tmp_path,
        'broken',
        *flags,
        '--data',
        broken,
        '--bad_lines',
        'skip',
        '--test_data',
        broken,
        '--eval_every',
        '1epoch'
    )
    assert got[0] == 0, got[1]
    assert got[2] == want[2]
    assert got[3]['bad_lines'] == 8 and want[3]['bad_lines'] == 0
    assert got[3]['test']['bad_lines'] == 8 and got[3]['test']['samples'] == 64
    assert '8 bad lines are left out, 64 good samples' in got[1]
    assert 'broken.txt: line 1 is left out: slot x: the line ends' in got[1]
    assert 'data: 16 bad lines were left out' in got[1]


def test_a_resumed_run_goes_on_at_its_sample(cluster, tmp_path, lines):
    data = lines('a.txt', BROKEN)
    flags = [*MODEL, '--data', data, '--bad_lines', 'skip', '--batch_size', 6, '--prefetch', 4]
    whole = local(cluster, tmp_path, 'whole', *flags, '--epochs', 3, '--save_dir', tmp_path / 'w')
    first = local(cluster, tmp_path, 'first', *flags, '--steps', 13, '--save_dir', tmp_path / 'm')
    rest = local(
        cluster,
        tmp_path,
        'rest',
        *flags,
        '--epochs',
        3,
        '--resume',
        tmp_path / 'm',
        '--save_dir',
        tmp_path / 'r'
    )
    for run in (whole, first, rest):
        assert run[0] == 0, run[1]
    assert first[2] + rest[2] == whole[2]
    tensors.same_folder(whole[3]['saved_to'], rest[3]['saved_to'])
    # As many bytes but a line less: the samples have other numbers.
    text = data.read_text()
    data.write_text(text.replace(good_line(5), 'y' * len(good_line(5)), 1))
    assert os.path.getsize(data) == len(text)
    code, said, _, _ = local(
        cluster, tmp_path, 'other', *flags, '--epochs', 3, '--resume', tmp_path / 'm'
    )
    assert code == 1 and '64 samples then, 63 now' in said, said


def test_two_trainers_read_what_one_does(cluster, tmp_path, lines):
    data = lines('a.txt', BROKEN)
    flags = [*MODEL, '--data', data, '--bad_lines', 'skip']
    alone = local(
        cluster, tmp_path, 'one', *flags, '--batch_size', 8, '--save_dir', tmp_path / 'one'
    )
    assert alone[0] == 0, alone[1]
    servers = cluster.servers(1, 2, *MODEL[:4])
    trainers = [
        cluster.trainer(
            i,
            servers,
            2,
            *flags,
            '--batch_size',
            4,
            '--summary',
            tmp_path / ('summary%d' % i),
            '--save_dir',
            tmp_path / 'two'
        )
        for i in range(2)
    ]
    cluster.finish(trainers)
    cluster.finish(servers)
    for i in range(2):
        facts = c.summary(tmp_path / ('summary%d' % i))
        assert facts['samples'] == 32 and facts['bad_lines'] == 8
    two = c.summary(tmp_path / 'summary0')['saved_to']
    tensors.assert_close(two, alone[3]['saved_to'], 1e-5)


def test_text_goes_through_a_command(cluster, tmp_path, lines):
    plain, other = lines('plain.txt'), tmp_path / 'other.txt'
    other.write_text(plain.read_text().replace(' ', ';'))
    flags = [*MODEL, '--batch_size', 8]
    want = local(cluster, tmp_path, 'plain', *flags, '--data', plain)
    got = local(
        cluster, tmp_path, 'other', *flags, '--data', other, '--pipe_command', "tr ';' ' '"
    )
    assert want[0] == got[0] == 0, want[1] + got[1]
    assert got[2] == want[2]
    code, text, _, _ = local(
        cluster,
        tmp_path,
        'bad',
        *flags,
        '--data',
        other,
        '--pipe_command',
        'sh -c "echo no such day >&2; exit 4"'
    )
    assert code == 1
    assert 'other.txt: --pipe_command sh: ended with status 4; it said: no such day' in text


# ---- SelectedRows


def field(number, value):
    """One field of a protobuf message: an int is a varint, bytes are a length and themselves."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value % (1 << 64))
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value):
    out = b''
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def program(variables, ops):
    """A ProgramDesc: variables are (name, SelectedRows?), ops (type, input, output)."""
    block = field(1, 0) + field(2, -1)
    for name, is_rows in variables:
        tensor = field(1, 5) + field(2, -1) + field(2, 2)
        kind = field(1, 7) + field(3, field(1, tensor))
        if is_rows:
            kind = field(1, 8) + field(2, tensor)
        block += field(3, field(1, name.encode()) + field(2, kind) + field(3, 0))
    for op, source, target in ops:
        inside = field(1, field(1, b'X') + field(2, source.encode()))
        inside += field(2, field(1, b'Out') + field(2, target.encode()))
        block += field(4, inside + field(3, op.encode()))
    return field(1, block)


def rows_file(rows, height, values):
    desc = b'\x08\x05\x10' + bytes([len(rows)]) + b'\x10\x02'
    return (
        struct.pack('<IQ%dqq' % len(rows), 0, len(rows), *rows, height)
        + struct.pack('<Ii', 0, len(desc))
        + desc
        + struct.pack('<%df' % len(values), *values)
    )


def test_selected_rows_come_from_and_go_to_step_folders(cluster, tmp_path):
    main = program(
        [('g', True), ('merged', True), ('dense', False)],
        [
            ('merge_selected_rows', 'g', 'merged'),
            ('get_tensor_from_selected_rows', 'merged', 'dense'),
        ],
    )
    (tmp_path / 'main.pb').write_bytes(main)
    (tmp_path / 'startup.pb').write_bytes(program([], []))
    for step, rows in enumerate([[7, 2, 7], [5]]):
        folder = tmp_path / 'feed' / ('step_%03d' % step)
        os.makedirs(folder)
        values = [float(step + i) for i in range(2 * len(rows))]
        (folder / 'g').write_bytes(rows_file(rows, 9, values))
    flags = ['--main_program', tmp_path / 'main.pb', '--startup_program', tmp_path / 'startup.pb']
    flags += ['--feed_dir', tmp_path / 'feed', '--fetch', 'merged,dense,g', '--fetch_dir']
    code, text, _, _ = local(cluster, tmp_path, 'run', *flags, tmp_path / 'fetched')
    assert code == 0, text
    first, second = tmp_path / 'fetched' / 'step_000', tmp_path / 'fetched' / 'step_001'
    assert (first / 'merged').read_bytes() == rows_file([2, 7], 9, [2, 3, 4, 6])
    assert (first / 'g').read_bytes() == (tmp_path / 'feed' / 'step_000' / 'g').read_bytes()
    assert (second / 'merged').read_bytes() == rows_file([5], 9, [1, 2])
    assert list(tensors.read(first / 'dense').values) == [2, 3, 4, 6]
    whole = (tmp_path / 'feed' / 'step_001' / 'g').read_bytes()
    (tmp_path / 'feed' / 'step_001' / 'g').write_bytes(whole[:-3])
    code, text, _, _ = local(cluster, tmp_path, 'cut', *flags, tmp_path / 'fetched')
    assert code == 1 and 'step_001/g' in text
