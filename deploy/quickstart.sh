#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a clone to incremental training in one command:
#   bash deploy/quickstart.sh
# Installs what is missing (as root; else says what), builds into build/, trains recognize_digits
# on Fashion-MNIST with 2 pservers and 2 trainers, saves, stops everything, and goes on from the
# checkpoint with 3 pservers. What it writes is below build/quickstart. SLUICE_DATA names another
# idx folder.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
build=$PWD/build
data=${SLUICE_DATA:-/usr/share/datasets/fashion-mnist}
work=$build/quickstart
epochs=3
pids=()

say() { printf '\n== %s\n' "$*"; }
die() {
    printf 'quickstart: %s\n' "$*" >&2
    exit 1
}
end_all() {
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null
    done
    wait
}
trap end_all EXIT
trap 'exit 130' INT TERM

failed_build() {
    tail -n "$1" "$build/$2" >&2
    die "$3 failed; all it said is in build/$2"
}

install_and_build() {
    say "packages"
    bash deploy/setup.sh || exit 1
    [ -e "$data/train-images-idx3-ubyte.gz" ] || [ -e "$data/train-images-idx3-ubyte" ] ||
        die "$data holds no idx images; install dataset-fashion-mnist or set SLUICE_DATA"
    say "build (into build/)"
    if [ ! -e "$build/build.ninja" ]; then
        mkdir -p "$build"
        meson setup "$build" . >"$build/setup.log" 2>&1 ||
            failed_build 20 setup.log "meson setup"
    fi
    ninja -C "$build" pserver/pserver trainer/trainer deploy/sluice/sluice \
        >"$build/ninja.log" 2>&1 || failed_build 30 ninja.log "the build"
    echo "built pserver, trainer and sluice"
}

write_job() {
    rm -rf "$work"
    mkdir -p "$work"
    cd "$work" || exit 1
    cat >job.conf <<CONF
; read by every process of the job; flags and environment win over it
[job]
trainers = 2
[model]
model = recognize_digits
optimizer = adam
learning_rate = 0.001
[data]
data = $data
batch_size = 64
epochs = $epochs
[checkpoint]
save_dir = models
save_every = 1epoch
keep = 3
CONF
}

# start_servers COUNT STAGE [FLAG...]: servers on free ports; sets endpoints to "host:port,...".
start_servers() {
    local count=$1 stage=$2 stand_ins="" i line ready
    shift 2
    for ((i = 1; i <= count; i++)); do stand_ins+=${stand_ins:+,}127.0.0.1:$i; done
    endpoints=""
    for ((i = 0; i < count; i++)); do
        "$build/pserver/pserver" --config job.conf --pservers "$stand_ins" --pserver_id "$i" \
            --current_endpoint 127.0.0.1:0 "$@" 2>"$stage.serverlog.$i" &
        pids+=($!)
    done
    for ((i = 0; i < count; i++)); do
        ready=""
        # Follows the log until the server says where it listens, or ends.
        while [ -z "$ready" ] && read -r line; do
            [[ $line =~ ready\ on\ ([0-9.:]+)\ in ]] && ready=${BASH_REMATCH[1]}
        done < <(tail -n +1 -f --pid="${pids[i]}" "$stage.serverlog.$i")
        [ -n "$ready" ] || { cat "$stage.serverlog.$i" >&2; die "server $i did not start"; }
        echo "${line#pserver: }"
        endpoints+=${endpoints:+,}$ready
    done
}

# train STAGE [FLAG...]: two trainers, trainer 0 on this terminal; waits for everything to end well.
train() {
    local stage=$1 pid status=0
    shift
    "$build/trainer/trainer" --config job.conf --pservers "$endpoints" --trainer_id 1 \
        --report "$stage.report.1" >"$stage.summary.1" 2>"$stage.workerlog.1" &
    pids+=($!)
    "$build/trainer/trainer" --config job.conf --pservers "$endpoints" --trainer_id 0 \
        --report "$stage.report.0" --summary "$stage.summary.0" "$@" >/dev/null || status=$?
    for pid in "${pids[@]}"; do
        wait "$pid" || status=1
    done
    pids=()
    if [ "$status" -ne 0 ]; then
        tail -n 5 "$stage".*log.* >&2
        die "the job failed; its logs are in $work"
    fi
    echo "trainers and servers have ended, all with exit code 0"
}

show() {
    python3 - <<'PYTHON'
import json
import sys

runs = [json.load(open(s + '.summary.0')) for s in ('first', 'second')]
lines = [[json.loads(x) for x in open(s + '.report.0')] for s in ('first', 'second')]
mean = lambda part: sum(x['loss'] for x in part) / len(part)
start, last, first = mean(lines[0][:20]), mean(lines[0][-20:]), mean(lines[1][:20])
accuracy = runs[1]['test_accuracy'] or 0
rows = [('', 'first run', 'second run'),
        ('servers x trainers', '2 x 2', '3 x 2'),
        ('began from', 'nothing', 'the checkpoint of the first'),
        ('steps', runs[0]['steps'], runs[1]['steps']),
        ('global step at its end', runs[0]['global_step'], runs[1]['global_step']),
        ('loss, first 20 steps', '%.4f' % start, '%.4f' % first),
        ('loss, last 20 steps', '%.4f' % last, '%.4f' % mean(lines[1][-20:])),
        ('seconds', '%.1f' % runs[0]['seconds'], '%.1f' % runs[1]['seconds']),
        ('samples/s, both trainers', *(round(2 * r['samples_per_second']) for r in runs)),
        ('saved to', runs[0]['saved_to'], runs[1]['saved_to']),
        ('test accuracy', '', '%.4f of %d images' % (accuracy, runs[1]['test']['samples']))]
for row in rows:
    print('  %-26s %-18s %s' % row)
print()
print('The second run went on where the first stopped: %.4f -> %.4f (a fresh start is at %.4f).' %
      (last, first, start))
if runs[1]['loaded']['step'] != runs[0]['global_step']:
    sys.exit('quickstart: the second run began at step %s, the first ended at %s' %
             (runs[1]['loaded']['step'], runs[0]['global_step']))
if abs(first - last) > 0.25 * (start - last):
    sys.exit('quickstart: the loss did not go on where it stopped')
if accuracy < 0.85:
    sys.exit('quickstart: test accuracy %.4f is below 0.85' % accuracy)
PYTHON
}

install_and_build
write_job
say "first run: 2 pservers, 2 trainers, synchronous; trainer 0 saves each epoch"
start_servers 2 first
train first
say "second run: 3 pservers load the checkpoint, each its own rows; the trainers load nothing"
start_servers 3 second --load_dir models
grep -h -m 1 'load ' second.serverlog.*
train second --test_data "$data"
say "result"
show || exit 1
cat <<NEXT

Try next (the job file, logs, reports and checkpoints are there):
  cd "$work"
  ../deploy/sluice/sluice ckpt verify models/epoch_$((2 * epochs))
  ../trainer/trainer --role local --config job.conf --load_dir models --test_data "$data"
  ../pserver/pserver --help; ../trainer/trainer --help; ../deploy/sluice/sluice --help
and from the clone: bash tests/run.sh
NEXT
