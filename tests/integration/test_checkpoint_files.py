# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint folder says of itself, and what a load says it did, as files for scripts."""

import json
import os
import subprocess

import pytest

import cluster as c
import images
import tensors

MODEL = [
    '--model', 'recognize_digits', '--hidden', '32', '--optimizer', 'adam',
    '--learning_rate', '0.002',
]
BATCH = ['--batch_size', '32']


@pytest.fixture
def data(tmp_path):
    return images.write(tmp_path / 'images', train=320)


def manifest_of(folder):
    with open(os.path.join(folder, 'sluice.manifest.json')) as handle:
        return json.load(handle)


def local(cluster, data, tmp_path, steps, *more):
    code, text = cluster.run(
        'trainer', '--role', 'local', *MODEL, *BATCH, '--data', data, '--steps', steps,
        '--save_dir', tmp_path / 'saved', *more
    )
    return code, text


def on_servers(cluster, data, tmp_path, count, steps, *loading):
    servers = cluster.servers(count, 2, *MODEL, *loading)
    trainers = [
        cluster.trainer(
            i, servers, 2, *MODEL, *BATCH, '--data', data, '--steps', steps,
            *(['--save_dir', tmp_path / 'saved'] if i == 0 else [])
        )
        for i in range(2)
    ]
    cluster.finish(trainers + servers)


def test_sha256sum_finds_every_file_in_order_and_a_changed_one(cluster, data, tmp_path):
    assert local(cluster, data, tmp_path, 2)[0] == 0
    folder = str(tmp_path / 'saved' / 'step_2')
    check = ['sha256sum', '--strict', '-c', 'sluice.sha256']
    done = subprocess.run(check, cwd=folder, stdout=subprocess.PIPE, timeout=c.WAIT)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0 and lines == [n + ': OK' for n in tensors.names(folder)]
    path = os.path.join(folder, 'fc_0.b_0')
    with open(path, 'r+b') as handle:
        handle.seek(-1, os.SEEK_END)
        last = handle.read(1)
        handle.seek(-1, os.SEEK_END)
        handle.write(bytes([last[0] ^ 1]))
    done = subprocess.run(check, cwd=folder, stdout=subprocess.PIPE, timeout=c.WAIT)
    assert done.returncode != 0 and b'fc_0.b_0: FAILED' in done.stdout


def test_record_the_current_epoch_and_step_id(cluster, data, tmp_path):
    on_servers(cluster, data, tmp_path, 2, 3)
    manifest = manifest_of(str(tmp_path / 'saved' / 'step_3'))
    facts, progress = manifest['facts'], manifest['progress']
    assert (facts['servers'], facts['trainers']) == (2, 2)
    assert (progress['step'], progress['epoch']) == (3, 0)
    assert (progress['reader_epoch'], progress['reader_sample']) == (0, 3 * 2 * 32)
    assert len(facts['program']) == 16 and len(facts['forward']) > 5
    for entry in manifest['files']:
        assert entry['bytes'] == os.path.getsize(
            str(tmp_path / 'saved' / 'step_3' / entry['name'])
        )


def test_a_load_report_has_file_offset_bytes_checksum_and_step(cluster, data, tmp_path):
    assert local(cluster, data, tmp_path, 2)[0] == 0
    folder = str(tmp_path / 'saved' / 'step_2')
    report = tmp_path / 'load.json'
    code, text = local(
        cluster, data, tmp_path, 1, '--load_dir', folder, '--load_report', report,
        '--load_except', 'fc_0.b_0'
    )
    assert code == 0, text
    with open(str(report)) as handle:
        told = json.load(handle)
    names = tensors.names(folder)
    assert (told['path'], told['step'], told['sha256_checked']) == (folder, 2, True)
    assert told['counts']['loaded'] == len(names) - 1 and told['counts']['left out'] == 1
    sums = dict((f['name'], f) for f in manifest_of(folder)['files'])
    for item in told['variables']:
        assert item['file'] == item['name'] and item['sha256'] == sums[item['name']]['sha256']
        assert item['step'] == 2
        if item['fate'] == 'loaded':
            t = tensors.read(os.path.join(folder, item['file']))
            size = sums[item['name']]['bytes']
            assert (item['offset'], item['bytes']) == (size - len(t.raw), len(t.raw))
        else:
            assert (item['name'], item['fate']) == ('fc_0.b_0', 'left out')


def test_servers_report_the_rows_that_they_took(cluster, data, tmp_path):
    assert local(cluster, data, tmp_path, 2)[0] == 0
    report = tmp_path / 'load.json'
    on_servers(
        cluster, data, tmp_path, 3, 1, '--load_dir', tmp_path / 'saved', '--load_report', report
    )
    rows = []
    for i in range(3):
        with open('%s.%d' % (report, i)) as handle:
            told = json.load(handle)
        for item in told['variables']:
            if item['file'] == 'fc_0.w_0':
                assert item['fate'] == 'sliced' and item['bytes'] == item['rows'] * 32 * 4
                rows.append((item['row'], item['rows']))
    rows.sort()
    assert len(rows) == 3 and rows[0][0] == 0
    assert [r for r, _ in rows[1:]] == [r + n for r, n in rows[:-1]]
    assert sum(n for _, n in rows) == 784


def test_a_refused_load_is_reported_too(cluster, data, tmp_path):
    assert local(cluster, data, tmp_path, 2)[0] == 0
    folder = str(tmp_path / 'saved' / 'step_2')
    os.remove(os.path.join(folder, 'fc_1.b_0'))
    report = tmp_path / 'load.json'
    code, text = local(
        cluster, data, tmp_path, 1, '--load_dir', folder, '--load_report', report
    )
    assert code == 1 and 'fc_1.b_0' in text
    if report.exists():
        with open(str(report)) as handle:
            told = json.load(handle)
        assert told['counts']['missing'] == 1


def test_a_combined_file_is_cut_by_servers(cluster, build, golden, tmp_path):
    """`filename=`: one file for all variables, in order of name, as Fluid writes it."""
    case = golden('digits_adam')
    facts, job = c.golden_job(case)
    feed = os.path.join(case, facts['feed_dir'])
    tool = os.path.join(build, 'tests', 'interop', 'interop_state')
    one, many = str(tmp_path / 'one'), str(tmp_path / 'many')
    subprocess.run(
        [
            tool, os.path.join(case, 'main.pb'), os.path.join(case, 'startup.pb'), feed,
            facts['loss'], 'startup', 'run=0,2', 'save_persistables=%s,all' % one,
            'save_persistables=%s' % many,
        ],
        check=True,
        timeout=c.WAIT,
    )
    assert tensors.names(one) == ['all']
    want = b''
    for name in tensors.names(many):
        with open(os.path.join(many, name), 'rb') as handle:
            want += handle.read()
    with open(os.path.join(one, 'all'), 'rb') as handle:
        assert handle.read() == want
    for how in (['--load_dir', many], ['--load_dir', one, '--load_filename', 'all']):
        servers = cluster.servers(2, 1, *job, *how)
        out = str(tmp_path / ('pulled%d' % len(how)))
        code, text = cluster.run(
            'sluice', 'ckpt', 'pull', '--pservers', ','.join(s.endpoint for s in servers),
            '--out', out
        )
        assert code == 0, text
        assert tensors.same_folder(out, many) == []
