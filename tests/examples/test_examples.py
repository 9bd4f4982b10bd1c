# SPDX-License-Identifier: Apache-2.0
"""Runs the example programs as real processes: EXAMPLES is the folder of their binaries."""
import os
import re
import socket
import subprocess

import pytest

BIN = os.environ.get('EXAMPLES') or os.path.join(
    os.environ.get('SLUICE_BUILD', 'build'), 'tests', 'examples')
WAIT = float(os.environ.get('SLUICE_TEST_WAIT', '60'))


def start(name, *args):
    return subprocess.Popen([os.path.join(BIN, name)] + [str(a) for a in args],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(child, code=0):
    """The output of a child that ends well."""
    try:
        out, err = child.communicate(timeout=WAIT)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        pytest.fail('%s still runs after %g s:\n%s%s' % (child.args, WAIT, out, err))
    assert child.returncode == code, '%s\n%s%s' % (child.args, out, err)
    child.said = err
    return out


def run(name, *args):
    return end(start(name, *args))


def losses(out):
    return dict((int(n), v) for n, v in re.findall(r'^loss (\d+) (\S+)$', out, re.M))


def endpoints(count):
    """Ports that were free a moment ago; all are held at once, so they differ."""
    held = [socket.socket() for _ in range(count)]
    for s in held:
        s.bind(('127.0.0.1', 0))
    names = ['127.0.0.1:%d' % s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return names


def job(servers, folder, trainers):
    """Starts servers and the given trainers, returns the outputs of both when all have ended."""
    names = endpoints(servers)
    pservers, n = ','.join(names), len(trainers)
    children = [start('distributed', 'PSERVER', folder, pservers, n, name) for name in names]
    children += [start(*t(pservers, n)) for t in trainers]
    try:
        outs = [end(child) for child in children]
        job.said = [child.said for child in children[servers:]]
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
    return outs[:servers], outs[servers:]


def trainer(trainer_id, first, steps):
    return lambda names, n: ('distributed', 'TRAINER', '-', names, n, trainer_id, first, steps)


def saving_trainer(folder, trainer_id, steps):
    return lambda names, n: ('trainer_save', folder, names, n, trainer_id, steps)


def test_a_model_for_prediction_needs_no_network_in_code(tmp_path):
    saved = run('inference', 'save', tmp_path / 'model')
    again = run('inference', 'predict', tmp_path / 'model')
    found = re.findall(r'^predict \d+ (\S+) of (\S+)$', again, re.M)
    assert len(found) == 16 and saved.endswith(again)
    error = sum((float(p) - float(y)) ** 2 for p, y in found) / len(found)
    assert not losses(again)
    assert error == pytest.approx(float(losses(saved)[10]), rel=1e-5)


def test_just_saving_the_model_parameters_will_be_enough(tmp_path):
    saved = run('save_params', tmp_path / 'm')
    loaded = run('load_params', tmp_path / 'm')
    assert losses(loaded) == dict((n, v) for n, v in losses(saved).items() if n >= 1000)
    assert re.search(r'^refused: .*fc_0\.b_0, fc_0\.w_0, fc_1\.b_0, fc_1\.w_0', loaded, re.M)
    files = set(os.listdir(tmp_path / 'm'))
    assert {'fc_0.w_0', 'fc_0.b_0', 'fc_1.w_0', 'fc_1.b_0'} <= files
    assert not [f for f in files if 'moment' in f or 'learning_rate' in f]


def test_save_leaves_foreign_files_alone(tmp_path):
    (tmp_path / 'notes.txt').write_text('mine')
    run('save_persistables', tmp_path, 1)
    run('save_params', tmp_path)
    assert (tmp_path / 'notes.txt').read_text() == 'mine'
    assert (tmp_path / 'learning_rate_0').exists()


def test_load_the_previously_saved_persistable_parameters_and_continue_training(tmp_path):
    whole = losses(run('save_persistables', tmp_path / 'whole', 10))
    first = losses(run('save_persistables', tmp_path / 'm', 5))
    out = run('incremental', tmp_path / 'm', 5, 5)
    rest = losses(out)
    first.update(rest)
    assert first == whole
    assert re.search(r'^loaded 21, missing 0$', out, re.M)


def test_trainer_0_will_call_save_persistables_and_the_pserver_calls_load_persistables(tmp_path):
    folder = tmp_path / 'models'
    _, whole = job(2, '-', [trainer(0, 0, 8), trainer(1, 0, 8)])
    _, first = job(2, '-', [saving_trainer(folder, 0, 5), saving_trainer(folder, 1, 5)])
    assert 'save: done' in first[0] and 'save: skipped' in first[1]
    assert (folder / 'fc_0.w_0_moment2_0').exists() and (folder / 'learning_rate_0').exists()
    servers, rest = job(3, folder, [trainer(0, 5, 3), trainer(1, 5, 3)])
    for i in range(2):
        seen = losses(first[i])
        seen.update(losses(rest[i]))
        assert seen == losses(whole[i])
    found = re.findall(r'loaded (\d+), sliced (\d+), missing (\d+)', ''.join(servers))
    counts = [tuple(map(int, m)) for m in found]
    assert len(counts) == 3 and all(c[2] == 0 for c in counts) and sum(c[1] for c in counts) > 0


def test_multi_node_folder_continues_on_a_single_node(tmp_path):
    folder = tmp_path / 'models'
    job(2, '-', [saving_trainer(folder, 0, 3), saving_trainer(folder, 1, 3)])
    out = run('incremental', folder, 3, 2)
    assert len(losses(out)) == 2
    assert re.search(r'^loaded 21, missing 0$', out, re.M)


def test_single_node_folder_continues_on_servers(tmp_path):
    run('save_persistables', tmp_path, 3)
    servers, outs = job(2, tmp_path, [trainer(0, 3, 2)])
    assert len(losses(outs[0])) == 2


def test_not_necessary_for_all_trainers_to_call_this_method(tmp_path):
    """Trainer 1 calls it too, for a folder of its own: nothing is written and one line says so."""
    _, outs = job(
        2, '-', [saving_trainer(tmp_path / 'zero', 0, 2), saving_trainer(tmp_path / 'one', 1, 2)]
    )
    assert 'save: done' in outs[0] and 'save: skipped' in outs[1]
    assert (tmp_path / 'zero' / 'fc_0.w_0').exists() and not (tmp_path / 'one').exists()
    lines = [line for line in job.said[1].splitlines() if 'writes nothing' in line]
    assert len(lines) == 1 and 'trainer 1' in lines[0]


def test_the_trainer_will_synchronize_the_parameters_from_the_pserver(tmp_path):
    """No trainer opens the folder: it is gone before they start."""
    folder = tmp_path / 'models'
    run('save_persistables', folder, 3)
    want = losses(run('incremental', folder, 3, 1))[3]
    name, = endpoints(1)
    server = start('distributed', 'PSERVER', folder, name, 1, name)
    for line in server.stdout:
        if line.startswith('ready'):
            break
    folder.rename(tmp_path / 'away')
    out = run(*trainer(0, 3, 1)(name, 1))
    assert losses(out)[3] == want
    assert server.wait(WAIT) == 0


def test_each_pserver_needs_to_have_complete_parameters(tmp_path):
    run('save_persistables', tmp_path / 'm', 1)
    (tmp_path / 'm' / 'fc_0.w_0').unlink()
    names = endpoints(2)
    children = [
        start('distributed', 'PSERVER', tmp_path / 'm', ','.join(names), 1, n) for n in names
    ]
    said = [child.communicate(timeout=WAIT)[1] for child in children]
    assert [child.returncode for child in children] == [1, 1]
    assert all('fc_0.w_0' in text and 'Nothing was loaded' in text for text in said), said


def test_servers_without_the_folder_say_so(tmp_path):
    name, = endpoints(1)
    child = start('distributed', 'PSERVER', tmp_path / 'nothing', name, 1, name)
    _, err = child.communicate(timeout=WAIT)
    assert child.returncode == 1 and 'nothing' in err
