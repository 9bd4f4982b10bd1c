#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Proves the tree: builds with warnings as errors and runs all tests. The last line is the sum,
# `N passed, N failed`; the exit code is not 0 when any failed or a part could not run.
#   bash tests/run.sh                 everything
#   bash tests/run.sh unit tidy       only these of: unit tidy integration sanitize valgrind
# BUILD_DIR (default build) is made or reused; the sanitized build is beside it. Other settings:
#   SLUICE_GOLDENS   recorded cases (default: tests/data/goldens.tar.xz, unpacked into the build)
#   SLUICE_SHARED    cases that the repository may not hold (default: ../shared when it is there)
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
build=${BUILD_DIR:-$root/build}
case $build in /*) ;; *) build=$root/$build ;; esac
sanitized=$build-sanitize
python=/usr/bin/python3
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(unit tidy integration sanitize valgrind)

# What valgrind looks at: decoders and state machines, where a wrong byte hides best.
valgrind_tests=(buf map fsutil option option_file tensor_io tensor program program_text slice_map
    frame session message round step state shard store_local ckpt_manifest ckpt_save_load idx)
# What runs with sanitizers as real processes (pytest -k): one of each kind.
sanitized_integration='losses_fetches or resume_from_the_folder or two_servers_saved or
    peer_that_speaks_garbage or sigterm_to_everybody or bad_job_file or truncated_feed or
    garbage_instead or damaged_and_unfitting'

passed=0 failed=0 skipped=0
add() {   # add "P F S"
    set -- $1
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}
broken() {   # a part that could not run is a failure
    echo "run: $*" >&2
    failed=$((failed + 1))
}
finish() {
    echo
    [ "$skipped" -eq 0 ] || echo "$skipped skipped; their names are above"
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}
wanted() {
    local part
    for part in "${parts[@]}"; do [ "$part" = "$1" ] && return 0; done
    return 1
}
title() {
    echo
    echo "== $* ($SECONDS s)"
}

# make_build DIR OPTION...: configures (again, when the folder came from elsewhere) and compiles.
make_build() {
    local where=$1
    shift
    if [ -f "$where/build.ninja" ] && ! meson configure "$where" "$@" >/dev/null 2>&1; then
        rm -rf "$where"
        mkdir -p "$logs"
    fi
    if [ ! -f "$where/build.ninja" ] && ! meson setup "$where" "$root" "$@" >"$logs/setup.log" 2>&1; then
        tail -n 15 "$logs/setup.log"
        return 1
    fi
    if ! ninja -C "$where" >"$logs/ninja.log" 2>&1; then
        grep -E 'error|warning|FAILED' "$logs/ninja.log" | head -n 40
        return 1
    fi
}

# meson_tests DIR NAME ARG...: runs meson test and adds what its programs report.
meson_tests() {
    local where=$1 name=$2
    shift 2
    rm -f "$where"/meson-logs/testlog*.json
    timeout 900 meson test -C "$where" --no-rebuild --logbase testlog "$@" >"$logs/$name.log" 2>&1
    local code=$? log
    log=$(ls "$where"/meson-logs/testlog*.json 2>/dev/null | head -n 1)
    if [ -z "$log" ]; then
        tail -n 20 "$logs/$name.log"
        broken "$name: meson test left no log (exit code $code)"
        return
    fi
    local sum
    sum=$("$python" tests/harness/tally.py meson "$log") || { broken "$name: no tally"; return; }
    echo "$name: $sum (passed failed skipped)"
    add "$sum"
    set -- $sum
    if [ "$code" -ne 0 ] && [ "$2" -eq 0 ]; then
        broken "$name: meson test ended with $code"
    fi
}

# pytests NAME SECONDS ARG...: runs pytest and adds what it reports.
pytests() {
    local name=$1 limit=$2
    shift 2
    rm -f "$logs/$name.xml"
    PYTHONDONTWRITEBYTECODE=1 timeout "$limit" "$python" -m pytest -q -p no:cacheprovider -rfE \
        --junitxml="$logs/$name.xml" "$@" >"$logs/$name.log" 2>&1
    local code=$?
    if [ ! -f "$logs/$name.xml" ]; then
        tail -n 30 "$logs/$name.log"
        broken "$name: pytest did not end (exit code $code)"
        return
    fi
    [ "$code" -eq 0 ] || tail -n 60 "$logs/$name.log"
    local sum
    sum=$("$python" tests/harness/tally.py junit "$logs/$name.xml") ||
        { broken "$name: no tally"; return; }
    echo "$name: $sum (passed failed skipped)"
    add "$sum"
    set -- $sum
    if [ "$code" -ne 0 ] && [ "$2" -eq 0 ]; then
        broken "$name: pytest ended with $code"
    fi
}

title "packages"
bash deploy/setup.sh test || { broken "packages are missing"; finish; }
mkdir -p "$build" || { broken "cannot make $build"; finish; }
logs=$build/test-logs
mkdir -p "$logs"

title "build"
if ! make_build "$build" -Dwerror=true; then
    broken "the build failed; whole output: $logs/ninja.log"
    finish
fi
export SLUICE_BUILD=$build
[ -n "${SLUICE_SHARED:-}" ] || [ ! -d ../shared ] || SLUICE_SHARED=$(cd ../shared && pwd)
[ -z "${SLUICE_SHARED:-}" ] || export SLUICE_SHARED
if [ -z "${SLUICE_GOLDENS:-}" ]; then
    SLUICE_GOLDENS=$("$python" tests/goldens/unpack.py "$build" ${SLUICE_SHARED:+"$SLUICE_SHARED"}) ||
        broken "cannot unpack the goldens"
fi
export SLUICE_GOLDENS

if wanted unit; then
    title "unit tests, examples, simulator"
    meson_tests "$build" unit
fi
if wanted tidy; then
    title "tidy"
    pytests tidy 300 tests/tidy
fi
if wanted integration; then
    title "integration"
    pytests integration 900 tests/integration tests/interop
fi
if wanted valgrind; then
    title "valgrind"
    names=()
    known=$(meson test -C "$build" --list 2>/dev/null | sed 's/.* \/ //')
    for name in "${valgrind_tests[@]}"; do
        grep -qx "$name" <<<"$known" && names+=("$name")
    done
    meson_tests "$build" valgrind --timeout-multiplier 10 \
        --wrap 'valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite' \
        "${names[@]}"
fi
if wanted sanitize; then
    title "address and undefined-behaviour sanitizers"
    export ASAN_OPTIONS=allocator_may_return_null=1:detect_stack_use_after_return=0
    export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
    # Instrumented code makes the compiler see faults that are none; the plain build judged warnings.
    if make_build "$sanitized" -Dwerror=false -Db_sanitize=address,undefined -Db_lundef=false; then
        meson_tests "$sanitized" sanitize-unit --suite unit --timeout-multiplier 4
        SLUICE_BUILD=$sanitized SLUICE_TEST_WAIT=180 pytests sanitize-integration 600 tests/integration \
            -k "$(tr '\n' ' ' <<<"$sanitized_integration")"
    else
        broken "the sanitized build failed; whole output: $logs/ninja.log"
    fi
fi
finish
