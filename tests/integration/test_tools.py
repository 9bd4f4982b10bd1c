# SPDX-License-Identifier: Apache-2.0
"""The operator's tools: `sluice ckpt ...`, `infer`, `program dot | prune`, `doctor`."""

import hashlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import zipfile

import pytest

import places
import tensors


def copy_of(goldens, tmp, case, folder='final'):
    """A copy that a test may change."""
    target = str(tmp / (case + '_' + folder))
    shutil.copytree(os.path.join(goldens, case, folder), target)
    for name in os.listdir(target):
        os.chmod(os.path.join(target, name), 0o644)
    os.chmod(target, 0o755)
    return target


def sums(folder):
    out = {}
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            with open(path, 'rb') as f:
                out[os.path.relpath(path, folder)] = hashlib.sha256(f.read()).hexdigest()
    return out


def ok(cluster, *args):
    code, text = cluster.run('sluice', *args)
    assert code == 0, text
    return text


@pytest.mark.parametrize('servers', [1, 2, 3, 7])
@pytest.mark.parametrize(
    'case,folder',
    [('digits_adam', 'final'), ('lenet_digits_bn', 'inference'), ('text_lstm', 'final')],
)
def test_slices_join_to_the_same_files(cluster, goldens, tmp_path, case, folder, servers):
    whole = os.path.join(goldens, case, folder)
    ok(cluster, 'ckpt', 'slice', whole, '--servers', servers, '--out', tmp_path / 's')
    assert os.path.isdir(tmp_path / 's' / 'server_0')
    ok(cluster, 'ckpt', 'convert', tmp_path / 's', '--join', '--out', tmp_path / 'j')
    joined = sums(str(tmp_path / 'j'))
    for name, digest in sums(whole).items():
        assert joined[name] == digest, name
    ok(cluster, 'ckpt', 'verify', tmp_path / 'j')


def test_a_manifest_survives_slicing(cluster, goldens, tmp_path):
    made = tmp_path / 'made'
    ok(cluster, 'ckpt', 'convert', os.path.join(goldens, 'digits_adam', 'final'), '--out', made)
    ok(cluster, 'ckpt', 'slice', made, '--servers', 3, '--out', tmp_path / 's')
    ok(cluster, 'ckpt', 'convert', tmp_path / 's', '--join', '--out', tmp_path / 'j')
    assert sums(str(made)) == sums(str(tmp_path / 'j'))


def test_a_changed_piece_is_found(cluster, goldens, tmp_path):
    ok(cluster, 'ckpt', 'slice', os.path.join(goldens, 'digits_adam', 'final'), '--servers', 2,
       '--out', tmp_path / 's')
    piece = next((tmp_path / 's').glob('server_*/fc_0.w_0.block1'))
    data = bytearray(piece.read_bytes())
    data[-1] ^= 1
    piece.write_bytes(data)
    code, text = cluster.run('sluice', 'ckpt', 'convert', tmp_path / 's', '--join', '--out',
                             tmp_path / 'j')
    assert code == 1 and 'fc_0.w_0' in text and not os.path.exists(tmp_path / 'j')


def test_conversions_lead_back(cluster, goldens, tmp_path):
    first = os.path.join(goldens, 'digits_adam', 'final')
    program = os.path.join(goldens, 'digits_adam', 'main.pb')
    ok(cluster, 'ckpt', 'convert', first, '--to', 'npz', '--out', tmp_path / 'a.npz')
    ok(cluster, 'ckpt', 'convert', tmp_path / 'a.npz', '--to', 'npy', '--out', tmp_path / 'npy')
    ok(cluster, 'ckpt', 'convert', tmp_path / 'npy', '--to', 'combined', '--file', 'all', '--out',
       tmp_path / 'combined')
    last = tmp_path / 'last'
    ok(cluster, 'ckpt', 'convert', tmp_path / 'combined', '--filename', 'all', '--program', program,
       '--out', last)
    before, after = sums(first), sums(str(last))
    for name in before:
        assert after[name] == before[name], name
    # What numpy would see: a stored zip of .npy members with the raw bytes at their end.
    with zipfile.ZipFile(tmp_path / 'a.npz') as archive:
        assert archive.testzip() is None
        data = archive.read('fc_0.w_0.npy')
    with open(os.path.join(first, 'fc_0.w_0'), 'rb') as f:
        assert f.read().endswith(data[-784 * 24 * 4:])
    assert data.startswith(b'\x93NUMPY\x01\x00') and b"'shape': (784, 24)" in data[:128]


def test_a_damaged_npz_never_looks_whole(cluster, tmp_path):
    """Compressed as numpy.savez_compressed does: only the archive's own CRC can tell."""
    data = bytes(range(256)) * 16
    head = b"{'descr': '<i4', 'fortran_order': False, 'shape': (64, 16), }"
    array = b'\x93NUMPY\x01\x00' + struct.pack('<H', 118) + head.ljust(117) + b'\n' + data
    whole = tmp_path / 'whole.npz'
    with zipfile.ZipFile(whole, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('dir/w.npy', array)
        archive.writestr('v.npy', array)
    ok(cluster, 'ckpt', 'convert', whole, '--out', tmp_path / 'want')
    want = sums(str(tmp_path / 'want'))
    assert 'v' in want and os.path.join('dir', 'w') in want
    bad = tmp_path / 'bad.npz'
    for at in range(0, len(whole.read_bytes()), 7):
        changed = bytearray(whole.read_bytes())
        changed[at] ^= 0x10
        bad.write_bytes(changed)
        code, text = cluster.run('sluice', 'ckpt', 'convert', bad, '--out', tmp_path / 'got')
        if code == 0:   # a date, a comment's length: nothing that is read
            assert sums(str(tmp_path / 'got')) == want, at
        else:
            assert code == 1 and 'bad.npz' in text, text
    with zipfile.ZipFile(bad, 'w') as archive:
        archive.writestr('v.npy', array)
        archive.writestr('w.txt', array)
    code, text = cluster.run('sluice', 'ckpt', 'convert', bad, '--out', tmp_path / 'got')
    assert code == 1 and 'w.txt' in text, text


def test_a_combined_file_of_a_model_takes_names_from_it(cluster, goldens, tmp_path):
    combined = os.path.join(goldens, 'lenet_digits_bn', 'inference_combined')
    separate = os.path.join(goldens, 'lenet_digits_bn', 'inference')
    ok(cluster, 'ckpt', 'convert', combined, '--filename', '__params__', '--out', tmp_path / 'out')
    got = sums(str(tmp_path / 'out'))
    names = [n for n in sums(separate) if '/' not in n and n not in ('__model__', 'targets.json')]
    assert names
    for name in names:
        assert got[name] == sums(separate)[name], name


def test_diff_tells_how_far(cluster, goldens, tmp_path):
    a = copy_of(goldens, tmp_path, 'digits_sgd')
    b = str(tmp_path / 'b')
    shutil.copytree(a, b)
    assert '0 of' in ok(cluster, 'ckpt', 'diff', a, b)
    path = os.path.join(b, 'fc_1.b_0')
    with open(path, 'r+b') as f:
        f.seek(-4, os.SEEK_END)
        value = struct.unpack('<f', f.read(4))[0]
        f.seek(-4, os.SEEK_END)
        f.write(struct.pack('<f', value + 0.5))
    code, text = cluster.run('sluice', 'ckpt', 'diff', a, b, '--json')
    assert code == 1
    rows = json.loads(text)
    assert [r['name'] for r in rows] == ['fc_1.b_0'] and rows[0]['unequal'] == 1
    assert abs(rows[0]['absolute'] - 0.5) < 1e-6
    assert cluster.run('sluice', 'ckpt', 'diff', a, b, '--tolerance', '1e9')[0] == 0
    os.remove(path)
    code, text = cluster.run('sluice', 'ckpt', 'diff', a, b)
    assert code == 1 and 'only in A' in text
    code, text = cluster.run('sluice', 'ckpt', 'diff', a, tmp_path / 'nowhere')
    assert code == 1 and 'nowhere' in text


def test_ls_and_show(cluster, goldens, tmp_path):
    source = os.path.join(goldens, 'digits_sgd', 'final')
    ok(cluster, 'ckpt', 'convert', source, '--out', tmp_path / 'm' / 'epoch_1')
    shutil.copytree(source, str(tmp_path / 'm' / 'plain'))
    rows = {os.path.basename(r['path']): r
            for r in json.loads(ok(cluster, 'ckpt', 'ls', tmp_path / 'm', '--json'))}
    assert rows['epoch_1']['complete'] and rows['epoch_1']['newest']
    assert not rows['plain']['complete']
    assert 'epoch_1' in ok(cluster, 'ckpt', 'ls', tmp_path / 'm')
    shown = json.loads(ok(cluster, 'ckpt', 'show', tmp_path / 'm' / 'epoch_1', '--json'))
    weights = [v for v in shown['variables'] if v['name'] == 'fc_0.w_0'][0]
    assert weights['shape'] == [784, 24] and weights['dtype'] == 'float32'
    assert weights['sha256'] == sums(source)['fc_0.w_0']
    os.remove(tmp_path / 'm' / 'epoch_1' / 'fc_0.w_0')
    assert 'fc_0.w_0 is missing' in ok(cluster, 'ckpt', 'ls', tmp_path / 'm')
    code, text = cluster.run('sluice', 'ckpt', 'ls', tmp_path / 'none')
    assert code == 1 and 'none' in text


AUC_PROGRAM = ('ctr_dnn_adam', 'deepfm_flat', 'wide_deep')


def test_zero_auc_changes_the_states_only(cluster, goldens, tmp_path):
    case = [c for c in AUC_PROGRAM if os.path.isdir(os.path.join(goldens, c))][0]
    folder = copy_of(goldens, tmp_path, case)
    before = sums(folder)
    text = ok(cluster, 'ckpt', 'zero-auc', folder, '--program',
              os.path.join(goldens, case, 'main.pb'))
    states = [line.split(':')[0] for line in text.splitlines() if line.endswith(': zero')]
    assert len(states) >= 2
    after = sums(folder)
    for name in before:
        if name not in states:
            assert after[name] == before[name], name
        else:
            with open(os.path.join(folder, name), 'rb') as f:
                assert not any(f.read()[-64:])
    ok(cluster, 'ckpt', 'verify', folder)
    code, text = cluster.run('sluice', 'ckpt', 'zero-auc', folder, '--vars', 'fc_0.w_0')
    assert code == 1 and 'int64' in text


def test_dot_is_a_graph_of_all_operators(cluster, goldens):
    program = os.path.join(goldens, 'lr_piecewise', 'main.pb')
    text = ok(cluster, 'program', 'dot', program)
    assert text.startswith('digraph') and text.count('{') == text.count('}')
    assert 'cluster_1' in text and '"mul"' in text and '"sgd"' in text
    assert '"sgd"' not in ok(cluster, 'program', 'dot', program, '--forward')


def test_doctor_names_what_is_wrong(cluster, tmp_path):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen(1)
        address = '127.0.0.1:%d' % taken.getsockname()[1]
        cluster.env['PADDLE_TRAINERS_NUM'] = '3'
        cluster.env['PADDLE_TRAINERS'] = '2'
        rows = json.loads(ok(cluster, 'doctor', '--pservers', address, '--save_dir', tmp_path,
                             '--json'))
    found = {r['what']: r for r in rows}
    assert found['trainers']['found'].startswith('3  (PADDLE_TRAINERS_NUM)')
    assert 'PADDLE_TRAINERS=2' in found['contradiction']['found']
    assert 'somebody listens' in found[address]['found']
    code, text = cluster.run('sluice', 'doctor', '--pservers', 'no-such-host.invalid:1')
    assert code == 1 and 'no-such-host.invalid:1' in text and 'WRONG' in text


def test_doctor_reads_numbers_as_the_programs_do(cluster):
    cluster.env.update(PADDLE_TRAINERS_NUM='3', PADDLE_TRAINER_ID='3', CPU_NUM='many')
    code, text = cluster.run('sluice', 'doctor')
    assert code == 1
    assert 'PADDLE_TRAINER_ID=3: a number from 0 to 2 is expected' in text, text
    assert 'CPU_NUM=many: a number from 1 to' in text, text


def test_nothing_is_cut_from_nothing(cluster, tmp_path):
    (tmp_path / 'empty').mkdir()
    code, text = cluster.run('sluice', 'ckpt', 'slice', tmp_path / 'empty', '--servers', 2, '--out',
                             tmp_path / 's')
    assert code == 1 and 'no variable' in text and not (tmp_path / 's').exists()


def scratch(cluster, goldens, tmp, case):
    """The files that the examples of the help texts speak of."""
    shutil.copytree(os.path.join(goldens, case, 'inference'), tmp / 'models' / 'inference')
    with open(os.path.join(goldens, case, 'case.json')) as f:
        feeds = os.path.join(goldens, case, json.load(f)['feed_dir'])
    shutil.copytree(os.path.join(feeds, 'step_000'), tmp / 'feeds' / 'step_000')
    os.mkdir(tmp / 'other')
    for name in ('main.pb', 'startup.pb'):
        shutil.copy(os.path.join(goldens, case, name), tmp / name)
        shutil.copy(os.path.join(goldens, case, name), tmp / 'other' / name)
    for number, folder in ((2, 'init'), (3, 'final')):
        ok(cluster, 'ckpt', 'convert', os.path.join(goldens, case, folder), '--out',
           tmp / 'models' / ('epoch_%d' % number))


def runnable(line):
    """An example without what it pipes into, where that is not on this machine."""
    line, _, rest = line.partition(' | ')
    return line + ' | ' + rest if rest and shutil.which(rest.split()[0]) else line


COMMANDS = ['program show', 'program check', 'program copy', 'program diff', 'program dot',
            'transpile', 'ckpt ls', 'ckpt show', 'ckpt diff', 'ckpt verify', 'ckpt convert',
            'ckpt slice', 'ckpt zero-auc', 'ckpt pull', 'doctor', 'infer', 'program prune']


def test_commands_are_those_that_help_lists(cluster):
    listed = re.findall(r'^  ([a-z-]+(?: [a-z-]+)?)  +[A-Z]', ok(cluster, '--help'), re.M)
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize('command', COMMANDS)
def test_the_examples_of_help_work(cluster, goldens, tmp_path, command):
    case = 'ctr_dnn_adam' if command == 'ckpt zero-auc' else 'digits_adam'
    text = ok(cluster, *(command.split() + ['--help']))
    lines = re.search(r'^examples?:\n((?:  .*\n?)+)', text, re.M).group(1)
    lines = lines.replace('\\\n', ' ').splitlines()
    assert lines and all(line.startswith('  sluice ' + command) for line in lines)
    scratch(cluster, goldens, tmp_path, case)
    env = dict(cluster.env, PATH='%s:%s' % (os.path.dirname(cluster.binary('sluice')),
                                            os.environ['PATH']))
    for line in lines:
        if command == 'ckpt pull':
            servers = cluster.servers(2, 1, '--main_program', tmp_path / 'main.pb',
                                      '--startup_program', tmp_path / 'startup.pb',
                                      '--load_dir', tmp_path / 'models' / 'epoch_3')
            line = re.sub(r'127\S+', ','.join(s.endpoint for s in servers), line)
        done = subprocess.run(
            ['bash', '-c', 'set -o pipefail;' + runnable(line)], cwd=str(tmp_path), env=env,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        assert done.returncode == (1 if command == 'ckpt diff' else 0), done.stdout.decode()


def test_an_inference_model_is_shown(cluster, goldens, tmp_path):
    made = tmp_path / 'made'
    ok(cluster, 'ckpt', 'convert', os.path.join(goldens, 'digits_adam', 'inference'), '--out', made)
    shown = json.loads(ok(cluster, 'ckpt', 'show', made, '--json'))
    found = [v['name'] for v in shown['variables'] if not v['name'].startswith('expected/')]
    assert found == ['fc_0.b_0', 'fc_0.w_0', 'fc_1.b_0', 'fc_1.w_0']
    assert 'version' not in ok(cluster, 'ckpt', 'ls', tmp_path)


def infer(cluster, tmp, model, feeds, *flags):
    """Runs one step; feeds: {name: (dtype, dims, values)}. Returns {target: tensor}."""
    for name, (dtype, dims, values) in feeds.items():
        path = tmp / 'feeds' / 'step_000' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors.write(str(path), dtype, dims, values)
    text = ok(cluster, 'infer', model, '--feed_dir', tmp / 'feeds', '--out', tmp / 'out', *flags)
    assert 'samples/s' in text
    found = sorted((tmp / 'out' / 'step_000').rglob('*'))
    return [tensors.read(str(p)) for p in found if p.is_file()]


@pytest.mark.parametrize('case', ['digits_adam', 'lenet_digits_bn', 'word2vec_sparse'])
def test_infer_gives_what_paddle_gave(cluster, golden, tmp_path, case):
    folder = golden(case)
    model = os.path.join(folder, 'inference')
    with open(os.path.join(folder, 'case.json')) as f:
        feed_dir = os.path.join(folder, json.load(f)['feed_dir'])
    shutil.copytree(os.path.join(feed_dir, 'step_000'), str(tmp_path / 'feeds' / 'step_000'))
    ok(cluster, 'infer', model, '--feed_dir', tmp_path / 'feeds', '--out', tmp_path / 'out')
    got = [str(p) for p in sorted((tmp_path / 'out' / 'step_000').rglob('*')) if p.is_file()]
    want = [os.path.join(model, 'expected', n) for n in os.listdir(os.path.join(model, 'expected'))]
    assert len(got) == len(want) == 1
    assert tensors.largest_gap(got[0], want[0]) < 1e-5


def test_infer_gives_the_known_answer(cluster, tmp_path):
    model = os.path.join(places.shared_folder(), 'data', 'uci_housing_model')
    if not os.path.isdir(model):
        places.missing(model)
    row = [0.0137, -0.1136, 0.2553, -0.0692, 0.0582, -0.0727, -0.1583, -0.0584, 0.6283, 0.4919,
           0.1856, 0.0795, -0.0332]
    (out,) = infer(cluster, tmp_path, model, {'x': (5, [1, 13], row)})
    assert list(out.values) == [18.901151657104492]
    # Of two steps the slower is the 99th percentile.
    shutil.copytree(tmp_path / 'feeds' / 'step_000', tmp_path / 'feeds' / 'step_001')
    text = ok(cluster, 'infer', model, '--feed_dir', tmp_path / 'feeds', '--out', tmp_path / 'two')
    median, slow = re.search(r'a step ([0-9.]+) ms \(median\), ([0-9.]+) ms \(99%\)', text).groups()
    assert 'inferred 2 steps' in text and float(median) <= float(slow), text


def test_infer_names_the_missing_feed(cluster, golden, tmp_path):
    tensors.write(str(tmp_path / 'x'), 5, [1], [1.0])
    (tmp_path / 'feeds' / 'step_000').mkdir(parents=True)
    shutil.copy(str(tmp_path / 'x'), str(tmp_path / 'feeds' / 'step_000' / 'other'))
    code, text = cluster.run('sluice', 'infer', os.path.join(golden('digits_adam'), 'inference'),
                             '--feed_dir', tmp_path / 'feeds', '--out', tmp_path / 'out')
    assert code == 1 and 'img' in text and not (tmp_path / 'out').exists()


def test_prune_is_what_save_inference_model_writes(cluster, golden, tmp_path):
    main = os.path.join(golden('digits_adam'), 'main.pb')
    text = ok(cluster, 'program', 'prune', main, tmp_path / 'model', '--feeds', 'img', '--targets',
              'fc_1.tmp_2')
    assert 'fc_1.tmp_2 is save_infer_model/scale_0.tmp_0' in text
    shown = ok(cluster, 'program', 'show', tmp_path / 'model')
    assert 'adam' not in shown and 'feed' in shown and 'fetch' in shown
    code, text = cluster.run('sluice', 'program', 'prune', main, tmp_path / 'm2', '--feeds',
                             'label', '--targets', 'fc_1.tmp_2')
    assert code == 1 and 'img' in text


def test_verify_rehearses_a_load_on_servers(cluster, golden, tmp_path):
    folder = golden('digits_adam')
    job = ['--program', os.path.join(folder, 'main.pb'), '--pservers', '10.0.0.1:1,10.0.0.2:1']
    text = ok(cluster, 'ckpt', 'verify', os.path.join(folder, 'final'), *job)
    assert 'fc_0.w_0.block0  rows 0..392 of fc_0.w_0' in text
    assert 'fc_0.w_0.block1  rows 392..784 of fc_0.w_0' in text
    lacking = copy_of(os.path.dirname(folder), tmp_path, 'digits_adam')
    os.remove(os.path.join(lacking, 'fc_1.b_0'))
    code, text = cluster.run('sluice', 'ckpt', 'verify', lacking, *job)
    assert code == 1 and 'fc_1.b_0' in text


def test_a_damaged_variable_is_not_left_out(cluster, goldens, tmp_path):
    folder = copy_of(goldens, tmp_path, 'digits_sgd')
    path = os.path.join(folder, 'fc_1.b_0')
    with open(path, 'r+b') as f:
        f.seek(16)
        f.write(b'\x07')   # the version of the tensor inside
    for command in (['convert', folder, '--to', 'npz', '--out', tmp_path / 'a.npz'],
                    ['show', folder], ['slice', folder, '--servers', 2, '--out', tmp_path / 's']):
        code, text = cluster.run('sluice', 'ckpt', *command)
        assert code == 1 and 'fc_1.b_0' in text, text
    with open(os.path.join(folder, 'notes.txt'), 'w') as f:
        f.write('what was tried')
    shutil.copy(os.path.join(goldens, 'digits_sgd', 'final', 'fc_1.b_0'), path + '.new')
    os.replace(path + '.new', path)
    text = ok(cluster, 'ckpt', 'convert', folder, '--to', 'npz', '--out', tmp_path / 'a.npz')
    assert 'left out: notes.txt' in text
